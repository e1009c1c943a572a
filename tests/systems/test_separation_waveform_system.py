"""Separation on waveforms on a very small scale: data, augmentation, training, scores, windows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dl101 import cli
from dl101.data.songs import STEMS, SongTrack
from dl101.errors import ConfigError, ShapeError
from dl101.evaluation.separation import si_sdr
from dl101.systems import separation_waveform as system
from dl101.training import protocol, shipped, stem_batches
from tests.data.stem_songs import song_files

pytestmark = pytest.mark.slow

TINY_SIZES = {
    "wavenet": "{n_stacks: 1, n_layers: 3, channels: 4, skip_channels: 4, final_channels: [8, 4]}",
    "multi_resolution": "{kernels: [[4, 16], [3, 5]], n_filters: 3, strides: [4, 1]}",
    "wave_unet": "{n_layers: 3, channels: 3, down_kernel: 5, up_kernel: 3}",
    "demucs": "{n_layers: 2, channels: 6}",
    "conv_tasnet": "{kernel: 8, n_features: 8, channels: 4, hidden: 8, n_layers: 2, n_stacks: 1}",
}
TINY = [
    "data.patch_frames=2",
    "window_s=0.2",
    "training={max_epochs: 2, batch_size: 4, learning_rate: 1.0e-3}",
]


def settings_with(model: str = "demucs", *changes: str) -> system.SeparationWaveformConfig:
    return system.load_config(
        settings=[*TINY, f"model={model}", f"network={TINY_SIZES[model]}", *changes]
    )


def song(key: str, side: str, seed: int, n_samples: int = 4000) -> SongTrack:
    """Four stereo stems that differ in frequency and place; the bass is silent in one of two."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / 16_000
    stems = []
    for hz, place in ((1000, 0.5), (3000, 0.3), (90, 0.6), (400, 0.9)):
        tone = 0.1 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * t + rng.uniform(0, 6))
        stems.append(np.stack([place * tone, (1 - place) * tone]))
    stems = np.array(stems, dtype=np.float32)
    stems[2] *= seed % 2
    return SongTrack(key, side, stems)


@pytest.fixture(scope="module")
def tracks() -> dict[str, list[SongTrack]]:
    counts = {"train": 3, "validation": 1, "test": 2}
    return {
        side: [song(f"{side}-{i}.wav", side, i) for i in range(n)] for side, n in counts.items()
    }


# ---- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["lab", "full"])
@pytest.mark.parametrize("model", system.NETWORKS)
def test_every_network_is_one_setting_away(model, scale):
    settings = system.load_config(scale=scale, settings=[f"model={model}"])
    with torch.device("meta"):
        kind = system.NETWORKS[model][1]
        network = kind(settings.sizes, 4, settings.n_channels)
    n_parameters = sum(p.numel() for p in network.parameters())
    if scale == "full":
        assert settings.sizes == system.NETWORKS[model][0]()
    else:
        assert 90_000 < n_parameters < 400_000
    again = protocol.config.build(system.Config, protocol.config.to_dict(settings))
    assert again == settings
    assert again.variant == model + ("-si-sdr" if scale == "lab" else "")


def test_sizes_of_the_lab_are_stated():
    counts = {}
    for model, (_, kind) in system.NETWORKS.items():
        sizes = system.load_config(settings=[f"model={model}"]).sizes
        counts[model] = sum(p.numel() for p in kind(sizes, 4, 2).parameters())
    assert counts == {
        "wavenet": 94_902,
        "multi_resolution": 344_688,
        "wave_unet": 373_434,
        "demucs": 328_196,
        "conv_tasnet": 212_505,
    }


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match=r"network\.chanels.*\n?.*did you mean 'channels'"):
        system.load_config(settings=["network.chanels=3"])
    with pytest.raises(ConfigError, match="did you mean 'wave_unet'"):
        system.load_config(settings=["model=wave_unt"])
    with pytest.raises(ConfigError, match="one of stems"):
        system.load_tracks(system.load_config(settings=["data.dataset=chorales"]))


def test_variants_have_names():
    names = {
        settings_with("wave_unet", "network.upsampling=transposed").variant,
        settings_with("wave_unet", "network.context=false", "augmentation=null", "loss=l1").variant,
    }
    assert names == {"wave_unet-transposed-si-sdr", "wave_unet-padded-plain"}


# ---- data --------------------------------------------------------------------------------------


def test_targets_lie_in_the_middle_of_their_mixture(tracks):
    """A network that answers a quarter of the mixture is scored as that."""
    settings = settings_with("wave_unet", "augmentation=null", "loss=l1")
    data = system.batches(settings, tracks)
    batch = next(iter(data.train_dataloader()))
    built = system.build(settings)
    assert batch["stems"].shape[-1] == built.lengths.input
    quarter = (batch["stems"].sum(dim=1) / 4)[:, None].expand(-1, 4, -1, -1)
    built.network.forward = lambda mixture: torch.stack(
        [system.middle(mixture / 4, built.lengths.output)] * 4, dim=1
    )
    start = built.network.margins[0]
    inside = slice(start, start + built.lengths.output)
    expected = (quarter - batch["stems"])[..., inside].abs().mean()
    torch.testing.assert_close(built.loss(batch), expected)


def test_the_published_network_takes_a_step_on_such_files(tmp_path, monkeypatch):
    """Its full depth, with fewer channels: the real one has 266 million weights."""
    song_files(tmp_path, monkeypatch)
    few = ["network.channels=2", "data.patch_frames=1", "training.batch_size=2"]
    settings = system.load_config(scale="full", settings=[*few, "training.num_workers=0"])
    assert settings.network["n_layers"] == 6 and settings.augmentation is not None
    tracks = system.load_tracks(settings, progress=False)
    built = system.build(settings)
    batch = next(iter(system.batches(settings, tracks).train_dataloader()))
    assert batch["stems"].shape[:3] == (2, 4, 2)
    assert batch["stems"].shape[-1] == built.lengths.input + built.lengths.output
    varied = stem_batches.vary(
        batch["stems"], built.lengths.input, np.random.default_rng(0), settings.augmentation
    )
    built.loss({"stems": varied}).backward()
    assert all(p.grad is not None for p in built.parameters())


# ---- training ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "loss"),
    [(model, loss) for model in system.NETWORKS for loss in ("l1", "si-sdr")]
    + [("demucs", "sdr"), ("demucs", "stft")],
)
def test_training_scores_and_loading_go_end_to_end(tracks, tmp_path, model, loss):
    settings = settings_with(model, f"loss={loss}")
    found = protocol.run(system, settings, tmp_path / "run", tracks=tracks, progress=False)
    assert len(found.fit.history) == 2
    scores = found.evaluation.mean
    assert {"si_sdr_db", "gain_db", "si_sdr_db_bass"} <= set(scores)
    assert all(math.isfinite(score) for score in scores.values())
    baselines = system.baselines(settings, tracks)
    records = protocol.records(
        "separation_waveform", settings, found, baselines, seed=0, command="dl101 train"
    )
    assert [r.variant for r in records] == [settings.variant, "mixture"]
    path = tmp_path / "network.safetensors"
    shipped.save(path, found.system, settings, records[0])
    again = shipped.load(path)
    assert again.settings == settings
    mixture = tracks["test"][0].mixture
    loaded, kept = system.predict(again.system, mixture), system.predict(found.system, mixture)
    assert si_sdr(loaded, kept) > 20  # half precision on disk


def test_scores_are_those_of_the_stems_that_sound(tracks):
    settings = settings_with()
    mixture = system.baselines(settings, tracks)["mixture"]
    silent, sounding = tracks["test"]
    assert not silent.stems[2].any() and sounding.stems[2].any()
    assert mixture.mean["gain_db"] == 0
    expected = si_sdr(sounding.mixture, sounding.stems[2])
    assert mixture.overall["si_sdr_db_bass"] == pytest.approx(expected)
    by_stem = [si_sdr(silent.mixture, silent.stems[row]) for row in (0, 1, 3)]
    assert mixture.scores[silent.key]["si_sdr_db"] == pytest.approx(np.mean(by_stem))


def test_gains_bring_stems_to_the_level_and_sign_of_the_truth(tracks):
    """What SI-SDR leaves open is found on the validation side; other losses leave nothing open."""
    factors = torch.tensor([2.0, -0.5, 1.0, 0.1])

    def gains_after_validation(*changes: str) -> torch.Tensor:
        built = system.build(settings_with("demucs", *changes))
        data = system.batches(built.settings, {**tracks, "validation": tracks["test"]})
        built.log = lambda *args, **options: None
        asked = []  # the network knows the truth, but for these factors
        built.network.forward = lambda mixture: factors[:, None, None] * asked.pop()
        for index, batch in enumerate(data.val_dataloader()):
            asked.append(system.middle(batch["stems"], built.lengths.output))
            built.validation_step(batch, index)
        built.on_validation_epoch_end()
        assert not built.products
        return built.gains

    torch.testing.assert_close(gains_after_validation(), 1 / factors)
    for changes in (["loss=l1"], ["loss=sdr"]):
        torch.testing.assert_close(gains_after_validation(*changes), torch.ones(4))


def test_a_recording_is_separated_with_the_gains():
    built = system.build(settings_with())
    audio = np.random.default_rng(0).normal(0, 0.1, (2, 2000)).astype(np.float32)
    plain = built.separate(audio)
    built.gains.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    expected = plain * np.array([1.0, -2.0, 0.5, 3.0], np.float32)[:, None, None]
    np.testing.assert_allclose(built.separate(audio), expected, rtol=1e-5)


def test_a_small_network_learns_to_separate_tones(tracks):
    """In a loop of our own: the stems come nearer than the mixture is."""
    settings = settings_with("wave_unet", "network.channels=6", "augmentation=null")
    built = system.build(settings, seed=1)
    data = system.batches(settings, tracks)
    batch = {"stems": torch.stack([data.train[i]["stems"] for i in range(12)])}
    optimiser = torch.optim.AdamW(built.parameters(), lr=5e-3)
    built.train()
    for _ in range(120):
        optimiser.zero_grad()
        built.loss(batch).backward()
        optimiser.step()
    assert system.evaluate(built, {"test": tracks["train"]}).mean["gain_db"] > 3


# ---- separating --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["wavenet", "wave_unet"])
def test_windows_give_what_the_whole_gives(model):
    """Nothing is padded and nothing recurs, so it does not matter where the windows are."""
    built = system.build(settings_with(model))
    audio = np.random.default_rng(0).normal(0, 0.1, (2, 9000)).astype(np.float32)
    found = system.predict(built, audio)
    assert found.shape == (4, 2, 9000)
    np.testing.assert_allclose(found, built.separate(audio), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), audio, atol=1e-5)  # difference


@pytest.mark.parametrize("model", system.NETWORKS)
@pytest.mark.parametrize("n_samples", [1, 1024, 1025, 4096, 5001])  # multiples of 1024 among them
def test_any_length_comes_back_as_long(model, n_samples):
    built = system.build(settings_with(model))
    for n_given in (1, 2):
        audio = np.random.default_rng(0).normal(0, 0.1, (n_given, n_samples)).astype(np.float32)
        made = built.separate(audio)
        assert made.shape == (4, n_given, n_samples) and made.dtype == np.float32
        assert system.predict(built, audio).shape == (4, n_given, n_samples)


def test_mono_and_stereo_pass_through_either_network():
    audio = np.random.default_rng(0).normal(0, 0.1, (2, 2000)).astype(np.float32)
    mono = system.build(settings_with("wave_unet", "n_channels=1"))
    both = mono.separate(audio)
    np.testing.assert_allclose(both[:, 1:], mono.separate(audio[1:]), atol=1e-6)
    stereo = system.build(settings_with("wave_unet"))
    twice = stereo.separate(np.repeat(audio[:1], 2, axis=0))
    np.testing.assert_allclose(stereo.separate(audio[:1])[:, 0], twice.mean(axis=1), atol=1e-6)
    with pytest.raises(ShapeError, match="1 or 2 channels"):
        stereo.separate(np.zeros((3, 100), np.float32))


def test_the_command_writes_files_that_sum_to_the_recording(tracks, tmp_path, capsys):
    settings = settings_with("demucs", "training.max_epochs=1")
    found = protocol.run(system, settings, tmp_path / "run", tracks=tracks, progress=False)
    (record,) = protocol.records(
        "separation_waveform", settings, found, {}, seed=0, command="dl101 train"
    )
    network, recording = tmp_path / "network.safetensors", tmp_path / "song.flac"
    shipped.save(network, found.system, settings, record)
    sound = np.random.default_rng(0).normal(0, 0.1, (30_000, 2))
    soundfile.write(recording, sound, 22_050)
    words = ["separate", str(recording), "-o", str(tmp_path / "out"), "--network"]
    assert cli.main([*words, str(network), "--residual"]) == 0
    names = capsys.readouterr().out.split()
    assert [Path(n).name for n in names] == [f"song-{s}.wav" for s in (*STEMS, "residual")]
    total = sum(soundfile.read(name)[0] for name in names)
    np.testing.assert_allclose(total, soundfile.read(recording)[0], atol=1e-5)
    assert cli.main([*words, "chords"]) == 1
    assert "which separates nothing" in capsys.readouterr().err
    words[1] = str(tmp_path / "none.wav")
    assert cli.main([*words, "chords"]) == 1
    assert "no such file" in capsys.readouterr().err
