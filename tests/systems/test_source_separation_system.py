"""Source separation on a very small scale: settings, batches, losses, windows, training, scores."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dl101 import cli
from dl101.data.songs import STEMS, SongTrack
from dl101.errors import ConfigError
from dl101.evaluation import results, separation
from dl101.systems import source_separation
from dl101.training import protocol, shipped
from tests.data.stem_songs import song_files

pytestmark = pytest.mark.slow

RATE = 4000
TINY = [
    f"sample_rate={RATE}",
    "window_samples=128",
    "hop_samples=64",
    "data.patch_frames=40",
    "model.widths=[3, 4]",
    "model.hidden=6",
    "model.top_bin=40",
    "windows=[128, 64]",
    "training.max_epochs=2",
    "training.batch_size=4",
]
KINDS, OUTPUTS = ("unet", "film", "recurrent"), ("mask", "shares", "spectrum", "parts")
LOSSES = ("l1", "si-sdr", "stft")
CELLS = [
    cell for cell in itertools.product(KINDS, OUTPUTS, LOSSES) if cell[:2] != ("film", "shares")
]


def settings_with(*changes: str) -> source_separation.SeparationConfig:
    return source_separation.load_config(settings=[*TINY, *changes])


def song(side: str, number: int, *, n_channels: int = 1, duration_s: float = 3.0) -> SongTrack:
    rng = np.random.default_rng([number, len(side)])
    t = np.arange(round(duration_s * RATE)) / RATE
    beat = (t % 0.5 < 0.05) * rng.standard_normal(len(t))
    vocals = np.sin(2 * np.pi * (600 + 50 * number) * t + 3 * np.sin(2 * np.pi * 5 * t))
    other = np.sign(np.sin(2 * np.pi * 330 * t)) * (t % 1.0 < 0.7)
    bass = np.sin(2 * np.pi * (70 + number) * t)
    stems = 0.1 * np.stack([vocals, beat, bass, other])[:, None].astype(np.float32)
    pan = np.linspace(1, 0.5, n_channels, dtype=np.float32)[:, None]
    return SongTrack(f"{number:05d}-{side}.wav", side, stems * pan)


@pytest.fixture(scope="module")
def tracks() -> dict[str, list[SongTrack]]:
    counts = {"train": 6, "validation": 2, "test": 2}
    return {side: [song(side, i) for i in range(n)] for side, n in counts.items()}


# ---- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["lab", "full"])
@pytest.mark.parametrize(("kind", "output", "loss"), CELLS)
def test_every_variant_is_one_setting_away(scale, kind, output, loss):
    changes = [f"model.kind={kind}", f"model.output={output}", f"loss={loss}"]
    settings = source_separation.load_config(scale=scale, settings=changes)
    with torch.device("meta"):  # sizes only
        built = source_separation.SeparationSystem(settings)
    ending = "-all" if kind == "film" and scale == "lab" else ""
    expected = f"{kind}{ending}-{output}-{loss}" + ("" if scale == "lab" else "-vocals")
    assert settings.variant == expected
    n_parameters = sum(p.numel() for p in built.parameters())
    assert scale == "full" or 200_000 < n_parameters < 800_000


def test_sizes_are_stated():
    def count(scale: str, *changes: str) -> int:
        settings = source_separation.load_config(scale=scale, settings=changes)
        with torch.device("meta"):
            built = source_separation.SeparationSystem(settings)
        return sum(p.numel() for p in built.parameters())

    assert count("lab") == 221_788
    assert count("lab", "model.kind=film") == 223_337
    assert count("lab", "model.kind=recurrent") == 372_266
    assert count("full") == 3_540_588
    assert count("full", "model.kind=film", f"stems={list(STEMS)}") == 3_544_684


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="each stem once"):
        settings_with("stems=[bass, bass]")
    with pytest.raises(ConfigError, match="at most half of it"):
        settings_with("hop_samples=65")
    with pytest.raises(ConfigError, match="'vocals', 'drums', 'bass', 'other'"):
        settings_with("stems=[guitar]")


# ---- loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unet", "film"])
def test_the_network_hears_the_sum_of_what_it_is_to_find(kind, monkeypatch):
    settings = settings_with(f"model.kind={kind}", "n_channels=2", "loss=l1")
    system = source_separation.build(settings)
    monkeypatch.setattr(source_separation.SeparationSystem, "log", lambda *_, **__: None)
    seen, wanted = [], []
    spectrum = system.network.spectrum
    monkeypatch.setattr(
        system.network,
        "spectrum",
        lambda audio: (seen if audio.ndim == 3 else wanted).append(audio) or spectrum(audio),
    )
    n = 2 * settings.piece_samples
    system.training_step({"stems": torch.randn(4, 4, 2, n)}, 0)
    assert seen[0].shape == (4, 2, settings.piece_samples)
    if kind == "unet":
        torch.testing.assert_close(seen[0], wanted[0].sum(1))
    else:  # the one that was asked for
        assert wanted[0].shape == (4, 1, 2, settings.piece_samples)


@pytest.mark.parametrize(("kind", "output", "loss"), CELLS)
def test_every_cell_learns_something(kind, output, loss):
    changes = (f"model.kind={kind}", f"model.output={output}", f"loss={loss}")
    system = source_separation.build(settings_with(*changes))
    stems = torch.from_numpy(np.stack([song("train", i).stems[..., :2496] for i in range(4)]))
    optimizer = torch.optim.Adam(system.parameters(), lr=0.01)
    values = []
    for _ in range(12):
        value = system.loss({"stems": stems})
        optimizer.zero_grad()
        value.backward()
        assert all(p.grad.isfinite().all() for p in system.parameters() if p.grad is not None)
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] - 0.01 * abs(values[0])


def test_the_loss_asks_for_the_stems_that_are_set():
    """A perfect network has no loss: for the bass alone, the bass is perfect."""
    stems = torch.from_numpy(np.stack([song("train", i).stems for i in range(2)]))
    system = source_separation.build(settings_with("stems=[bass, vocals]", "loss=l1"))
    system.network.forward = lambda spectrum, asked: system.network.spectrum(stems[:, [2, 0]])
    assert float(system.loss({"stems": stems})) == 0.0
    system.network.forward = lambda spectrum, asked: system.network.spectrum(stems[:, [0, 2]])
    assert float(system.loss({"stems": stems})) > 1e-4
    film = source_separation.build(
        settings_with("stems=[bass, vocals]", "loss=l1", "model.kind=film")
    )
    film.network.forward = lambda spectrum, asked: film.network.spectrum(stems[:, [2]])
    assert float(film.distance(stems, torch.tensor([0, 0]))) == 0.0
    assert float(film.distance(stems, torch.tensor([0, 1]))) > 1e-4


# ---- separating --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (2, 1023), (1, 1024), (2, 5000), (60_000,)])
def test_any_length_and_both_numbers_of_channels(n_channels, shape):
    system = source_separation.build(settings_with(f"n_channels={n_channels}"))
    system.train()
    audio = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = source_separation.predict(system, audio)
    assert found.shape == (4, *np.atleast_2d(audio).shape) and found.dtype == np.float32
    assert np.isfinite(found).all() and not system.training


@pytest.mark.parametrize("n_samples", [9999, 40_000, 40_001, 46_016, 46_017, 131_072])
def test_windows_add_up_to_the_whole(n_samples, monkeypatch):
    """What separates each frame by itself says of the windows what it says of the whole."""
    system = source_separation.build(settings_with("stems=[bass, other]"))
    share = torch.rand(65, 1)
    system.network.forward = lambda spectrum, asked=None: torch.stack(
        [share * spectrum, (1 - share) * spectrum], dim=1
    )
    audio = np.random.default_rng(0).standard_normal((2, n_samples)).astype(np.float32)
    found = source_separation.predict(system, audio)
    np.testing.assert_allclose(found.sum(axis=0), audio, atol=1e-4)
    np.testing.assert_allclose(found, system.separate(audio), atol=1e-4)
    if n_samples > 40_000:
        longest = []
        inner = system.separate
        monkeypatch.setattr(system, "separate", lambda x: longest.append(x.shape[-1]) or inner(x))
        source_separation.predict(system, audio)
        assert max(longest) <= 40_064 and len(longest) > 1


def test_a_mono_network_hears_each_side_by_itself():
    system = source_separation.build(settings_with())
    audio = np.random.default_rng(0).standard_normal((2, 3000)).astype(np.float32)
    both = source_separation.predict(system, audio)
    for side in range(2):
        alone = source_separation.predict(system, audio[side])
        np.testing.assert_allclose(both[:, side], alone[:, 0], atol=1e-5)


# ---- training and scores -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [(), ("model.kind=film", "augmentation=null"), ("model.kind=recurrent", "loss=si-sdr")],
)
def test_training_scores_and_loading_go_end_to_end(tracks, tmp_path, changes):
    settings = settings_with(*changes)
    run = protocol.run(source_separation, settings, tmp_path, tracks=tracks, progress=False)
    assert len(run.fit.history) == 2
    mean = run.evaluation.mean
    for name in ("si_sdr_db", "sdr_db", "gain_db"):
        assert {name, *(f"{name}_{stem}" for stem in STEMS)} <= mean.keys()
    assert mean["silent_frames"] == 0.0 and all(np.isfinite(v) for v in mean.values())
    (record,) = protocol.records(
        "source_separation", settings, run, {}, seed=0, command="dl101 train"
    )
    shipped.save(tmp_path / "w.safetensors", run.system, settings, record)
    again = shipped.load(tmp_path / "w.safetensors")
    audio = tracks["test"][0].mixture
    kept, loaded = (source_separation.predict(s, audio) for s in (run.system, again.system))
    assert separation.si_sdr(loaded, kept) > 20  # half precision on disk


def test_equal_seeds_train_equally(tracks, tmp_path):
    def weights(seed: int, place: str) -> torch.Tensor:
        settings = settings_with("training.max_epochs=1")
        run = protocol.run(
            source_separation, settings, tmp_path / place, seed=seed, tracks=tracks, progress=False
        )
        return torch.cat([p.flatten() for p in run.system.parameters()])

    first = weights(1, "a")
    assert torch.equal(first, weights(1, "b")) and not torch.equal(first, weights(2, "c"))


def test_answers_without_learning_lie_between_the_mixture_and_the_bounds(tracks):
    found = source_separation.baselines(settings_with(), tracks)
    assert {"mixture", "hpss", "repet", "nmf-dealt", *separation.BOUNDS} == found.keys()
    means = {name: evaluation.mean for name, evaluation in found.items()}
    assert means["mixture"]["gain_db"] == 0.0
    for bound in separation.BOUNDS:
        assert means[bound]["si_sdr_db"] > means["mixture"]["si_sdr_db"] + 5
    assert means["hpss"]["si_sdr_db_drums"] > means["mixture"]["si_sdr_db_drums"] + 3
    assert means["hpss"]["si_sdr_db_bass"] > means["mixture"]["si_sdr_db_bass"] + 3
    assert means["nmf-dealt"]["si_sdr_db"] > means["mixture"]["si_sdr_db"] + 3
    few = source_separation.baselines(settings_with("stems=[bass]"), tracks)
    assert few["hpss"].mean["si_sdr_db_bass"] == means["hpss"]["si_sdr_db_bass"]
    assert "si_sdr_db_drums" not in few["hpss"].mean


# ---- data --------------------------------------------------------------------------------------


def test_musdb18_goes_the_same_way(tmp_path, monkeypatch):
    song_files(tmp_path, monkeypatch)
    few = ["data.patch_frames=3", "training={max_epochs: 1, batch_size: 2}"]
    settings = source_separation.load_config(scale="full", settings=[*few, "model.widths=[4, 4]"])
    sides = source_separation.load_tracks(settings, progress=False)
    run = protocol.run(source_separation, settings, tmp_path / "run", tracks=sides, progress=False)
    assert np.isfinite(run.evaluation.mean["si_sdr_db_vocals"])
    assert "si_sdr_db_drums" not in run.evaluation.mean


def test_a_corpus_without_stems_is_refused():
    settings = source_separation.load_config(settings=["data.dataset=chorales"])
    with pytest.raises(ConfigError, match="one of stems"):
        source_separation.load_tracks(settings, progress=False)


# ---- the network that ships --------------------------------------------------------------------


def test_the_command_takes_the_network_that_ships(tmp_path, capsys):
    recording = tmp_path / "song.wav"
    sound = np.concatenate([song("test", i, n_channels=2).mixture for i in range(2)], axis=1).T
    soundfile.write(recording, sound, 22_050)
    assert cli.main(["separate", str(recording), "-o", str(tmp_path / "out")]) == 0
    names = [Path(name) for name in capsys.readouterr().out.split()]
    assert [name.name for name in names] == [f"song-{stem}.wav" for stem in STEMS]
    for name in names:
        made, rate = soundfile.read(name)
        assert rate == 22_050 and made.shape == sound.shape and np.isfinite(made).all()


def test_the_network_that_ships_is_better_than_no_learning():
    """Of methods that know no truth, on songs that neither saw."""
    records = {r.variant: r for r in results.load(results.find("source_separation"))}
    found = shipped.load("source_separation")
    record = records[found.settings.variant]
    assert found.record["metrics"] == record.metrics
    for name in ("mixture", "hpss", "repet"):
        assert record.metrics["si_sdr_db"] > records[name].metrics["si_sdr_db"] + 2
    for stem in STEMS:
        assert record.metrics[f"gain_db_{stem}"] > 3
