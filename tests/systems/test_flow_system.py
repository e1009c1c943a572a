"""The latent flow on a very small scale: statistics, what is asked for, sounds, scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.data import pair, pyjama, source
from dl101.data.embedded.export import CorpusFiles
from dl101.data.sounds import SoundTrack
from dl101.errors import ConfigError, DataError
from dl101.evaluation.results import Record
from dl101.nn import flow as nn_flow
from dl101.systems import codec, flow, flow_data, notes_tagger
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow

TINY = [
    "data.patch_frames=14",
    "latents=6",
    "network={channels: [8, 12], hidden: 8, time_features: 4}",
    "vector=6",
    "sampler.n_steps=2",
    "training.max_epochs=2",
    "training.batch_size=8",
]
CODEC = [
    "bottleneck=vae",
    "also=null",
    "network={strides: [8, 20], channels: [4, 8, 12], latent_channels: 6}",
]  # 100 frames a second


def record_of(system: str) -> Record:
    nothing = {"data": {}, "metrics": {}, "config": {}, "split": "test", "n_items": 1}
    return Record(experiment=system, variant="tiny", seed=0, command="", wall_time_s=0.0, **nothing)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """Settings that name an untrained codec and an untrained judge on disk."""
    folder = tmp_path_factory.mktemp("networks")
    for name, module, settings in (
        ("codec", codec, codec.load_config(settings=CODEC)),
        ("notes_tagger", notes_tagger, notes_tagger.load_config()),
    ):
        path = folder / f"{name}.safetensors"
        shipped.save(path, module.build(settings), settings, record_of(name))
    return [f"codec={folder}/codec.safetensors", f"judge={folder}/notes_tagger.safetensors"]


@pytest.fixture(scope="module")
def sounds() -> list[SoundTrack]:
    found = []
    for i in range(60):
        side = ("train", "validation", "test", "train", "train", "train")[i % 6]
        t = np.arange(8000) / 16000
        midi = 50 + i % 12
        hz = 440 * 2 ** ((midi - 69) / 12)
        audio = (0.2 * np.sin(2 * np.pi * hz * t) * np.exp(-3 * t)).astype(np.float32)
        labels = {"family": ("guitar", "flute")[i % 2], "pitchmidi": f"{midi}.0"}
        found.append(SoundTrack(f"notes/{i}", side, audio, labels))
    return found


@pytest.fixture
def settings(files) -> flow.FlowConfig:
    return flow.load_config(settings=[*TINY, *files])


@pytest.fixture
def tracks(settings, sounds, monkeypatch) -> dict[str, list[flow_data.LatentNote]]:
    monkeypatch.setattr(flow_data, "load_sounds", lambda *_, **__: sounds)
    return flow.load_tracks(settings, progress=False)


def ready(settings, tracks) -> flow.FlowSystem:
    """An untrained system that has seen the statistics of the training side, and says something."""
    built = flow.build(settings)
    mean, deviation = flow_data.statistics(tracks["train"])
    built.mean.copy_(mean)
    built.deviation.copy_(deviation)
    built.pitch_ranges.copy_(flow_data.pitch_ranges(tracks["train"]))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return built.eval()


# ---- data --------------------------------------------------------------------------------------


def test_sides_share_no_note_and_only_training_notes_vary(tracks):
    assert {side: len(notes) for side, notes in tracks.items()} == {
        "train": 40, "validation": 5, "test": 5,
    }  # fmt: skip
    keys = [note.key for notes in tracks.values() for note in notes]
    assert len(set(keys)) == 50
    assert all(int(key.split("/")[1]) % 6 != 2 for key in keys)  # the corpus' own test side
    first = tracks["train"][0]
    assert first.latents.shape == (4, 6, 14) and tracks["test"][0].latents.shape == (1, 6, 14)
    assert not np.allclose(first.latents[0], first.latents[1])
    assert (first.pitch_midi, flow_data.FAMILIES[first.family]) == (50, "guitar")


def test_variants_are_the_sound_a_little_later_or_turned_over(settings):
    coder = flow.load_codec(settings)
    sound = np.arange(1, 101, dtype=np.float32)
    made = flow_data.varied(sound, 2240, 6, coder, np.random.default_rng(0))
    assert np.array_equal(made[0, :100], sound)
    for row in made[1:]:
        later = int(np.flatnonzero(row)[0])
        assert 0 <= later < 160
        assert np.array_equal(np.abs(row[later : later + 100]), sound)
    assert {np.sign(row.sum()) for row in made} == {-1.0, 1.0}


def test_statistics_are_those_of_the_training_side_and_travel_with_the_weights(
    settings, tracks, tmp_path
):
    found = protocol.run(flow, settings, tmp_path / "run", tracks=tracks, progress=False)
    values = np.stack([note.latents[0] for note in tracks["train"]])
    np.testing.assert_allclose(found.system.mean, values.mean(axis=(0, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.system.deviation, values.std(axis=(0, 2)), rtol=1e-3)
    assert found.system.pitch_ranges[flow_data.FAMILIES.index("guitar")].tolist() == [50, 60]
    standard = found.system.standardise(torch.from_numpy(values))
    assert standard.mean(dim=(0, 2)).abs().max() < 1e-4
    assert (standard.std(dim=(0, 2)) - 1).abs().max() < 0.01

    scores = found.evaluation
    assert {"pitch", "family", "frechet", "pitch_low", "loss"} <= set(scores.mean)
    assert len(scores.scores) == 5
    baselines = flow.baselines(settings, tracks)
    assert set(baselines) == {"vae-prior", "gaussian", "codec", "real"}
    assert baselines["real"].mean["pitch"] == 1.0
    records = protocol.records("flow", settings, found, baselines, seed=0, command="dl101 train")
    path = tmp_path / "flow.safetensors"
    shipped.save(path, found.system, settings, records[0])
    again = shipped.load(path).system
    torch.testing.assert_close(again.mean, found.system.mean, rtol=1e-3, atol=1e-4)
    assert "codec" not in dict(again.named_children())  # it has a file of its own
    asked = {"pitches_midi": [55], "families": ["guitar"], "seconds": 0.1}
    before, after = flow.generate(found.system, **asked), flow.generate(again, **asked)
    assert np.abs(before - after).max() < 0.1 * np.abs(before).max()


def test_the_gaussian_has_mean_and_covariance_of_each_frame(tracks):
    notes = tracks["train"]
    drawn = flow_data.gaussian_latents(
        notes, 20_000, generator=torch.Generator().manual_seed(0)
    ).numpy()
    values = np.stack([note.latents[0] for note in notes])
    for frame in (0, 7):
        ours, theirs = drawn[:, :, frame], values[:, :, frame]
        np.testing.assert_allclose(np.cov(ours.T), np.cov(theirs.T), atol=0.05 * theirs.var())
        np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.05 * theirs.std())


# ---- loss --------------------------------------------------------------------------------------


def batch_of(notes):
    items = flow_data.Latents(notes)
    return torch.utils.data.default_collate([items[i] for i in range(len(items))])


def test_validation_is_repeatable_and_training_hides_some_conditions(settings, tracks):
    built, batch = ready(settings, tracks), batch_of(tracks["train"])
    assert torch.equal(built.loss(batch), built.loss(batch))
    built.train()
    assert not torch.equal(built.loss(batch), built.loss(batch))
    seen = []
    built.asked.register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
    for _ in range(20):
        built.loss(batch)
    pitches, families = (torch.cat(each) for each in zip(*seen, strict=True))
    assert torch.equal(pitches == 128, families == 11)  # both or none
    assert 0.05 < (pitches == 128).float().mean() < 0.16


@pytest.mark.parametrize("objective", ["flow", "ddpm"])
def test_a_small_network_learns_and_has_gradients_everywhere(settings, tracks, files, objective):
    method = {"flow": "euler", "ddpm": "ddim"}[objective]
    changes = [f"objective={objective}", f"sampler.method={method}", "drop=0.3"]
    built = flow.build(flow.load_config(settings=[*TINY, *files, *changes]))
    built.mean, built.deviation = flow_data.statistics(tracks["train"])
    batch, optimiser = batch_of(tracks["train"]), torch.optim.AdamW(built.parameters(), lr=1e-2)
    before = built.eval().loss(batch).item()
    built.train()
    for _ in range(60):
        optimiser.zero_grad()
        built.loss(batch).backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in built.parameters())
    assert built.eval().loss(batch).item() < 0.9 * before


# ---- sounds ------------------------------------------------------------------------------------


def test_notes_have_their_length_and_depend_on_seed_pitch_and_place_alone(settings, tracks):
    built = ready(settings, tracks)
    two = {"pitches_midi": [52, 55], "families": ["guitar", "flute"], "seconds": 0.1}
    found = flow.generate(built, **two)
    assert found.shape == (2, 1600) and found.dtype == np.float32
    assert np.array_equal(found, flow.generate(built, **two))
    (first,) = flow.generate(built, pitches_midi=[52], families=["guitar"], seconds=0.1)
    np.testing.assert_allclose(first, found[0], rtol=1e-4, atol=1e-6)  # items don't touch
    for change in ({"seed": 1}, {"pitches_midi": [53, 55]}, {"guidance": 3.0}, {"n_steps": 3}):
        assert not np.allclose(flow.generate(built, **{**two, **change})[0], found[0])


@pytest.mark.parametrize("seconds", [0.01, 0.14, 0.15, 0.5, 1.234])
def test_any_length(settings, tracks, seconds):
    built = ready(settings, tracks)
    found = flow.generate(built, pitches_midi=[52], families=["guitar"], seconds=seconds)
    assert found.shape == (1, round(seconds * 16000)) and np.isfinite(found).all()


def test_the_clock_of_a_long_note_keeps_attack_and_release():
    usual = flow_data.places(63, 63, 50.0)
    torch.testing.assert_close(usual, torch.arange(63) / 63)
    assert torch.equal(flow_data.places(20, 63, 50.0), usual)  # a short one is cut out of it
    for n in (64, 100, 200):
        place = flow_data.places(n, 63, 50.0)
        assert place.shape == (n,) and (place.diff() > 0).all() and place[-1] < 1
        torch.testing.assert_close(place[:15], usual[:15])
        torch.testing.assert_close(place[-25:], usual[-25:])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"families": ["gitar"]}, ConfigError, "did you mean 'guitar'"),
        ({"pitches_midi": [80]}, ConfigError, r"from 50 \(D3\) to 60 \(C4\).*use C4"),
        ({"families": ["organ"]}, ConfigError, "heard no note"),
        ({"pitches_midi": [52, 53]}, DataError, "one family for each pitch"),
        ({"pitches_midi": [], "families": []}, DataError, "at least one"),
        ({"seconds": 0.0}, ConfigError, "seconds"),
        ({"seconds": 100.0}, ConfigError, "seconds"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"n_stepps": 4}, ConfigError, "did you mean 'n_steps'"),
        ({"method": "ddim"}, ConfigError, "euler or heun"),
        ({"pitches_midi": [float("nan")]}, ConfigError, "pitch of a guitar"),
    ],
)
def test_what_cannot_be_played_is_named(settings, tracks, change, error, words):
    asked = {"pitches_midi": [52], "families": ["guitar"], "seconds": 0.1}
    with pytest.raises(error, match=words):
        flow.generate(ready(settings, tracks), **{**asked, **change})


def test_a_variation_of_nothing_is_the_codec_and_of_all_is_a_new_note(settings, tracks):
    built, sound = ready(settings, tracks), tracks["test"][0].audio[:2240]
    known = {"pitch_midi": 52, "family": "guitar", "n_steps": 8}
    same = flow.variation(built, sound, amount=0.0, **known)
    heard = built.codec.decode(built.codec.encode(torch.from_numpy(flow.at_level(sound))[None]))
    np.testing.assert_allclose(same, heard[0, : len(sound)].numpy(), atol=1e-5)
    new = flow.variation(built, sound, amount=1.0, **known)
    (made,) = flow.generate(built, pitches_midi=[52], families=["guitar"], seconds=0.14, n_steps=8)
    np.testing.assert_allclose(new, made, atol=1e-4)
    with pytest.raises(ConfigError, match="amount"):
        flow.variation(built, sound, amount=1.5, **known)


def test_interpolation_meets_both_sounds(settings, tracks):
    built = ready(settings, tracks)
    two = [note.audio[:2240] for note in tracks["test"][:2]]
    known = {"pitches_midi": [52, 55], "families": ["guitar", "flute"]}
    found = flow.interpolation(built, two, shares=[0.0, 0.5, 1.0], n_steps=200, **known)
    assert found.shape == (3, 2240)
    for end, sound in ((0, two[0]), (2, two[1])):
        same = flow.variation(built, sound, pitch_midi=52, family="guitar", amount=0.0)
        assert np.abs(found[end] - same).max() < 0.02 * np.abs(same).max()


# ---- settings ----------------------------------------------------------------------------------


def test_full_is_the_network_of_2024():
    settings = flow.load_config(scale="full")
    with torch.device("meta"):
        built = flow.FlowSystem(settings)
        out = built(torch.empty(2, 64, 32), torch.empty(2), flow.Asked(None, None))
    assert sum(p.numel() for p in built.parameters()) == 35_207_296 and out.shape == (2, 64, 32)
    lab = flow.FlowSystem(flow.load_config())
    assert 2 * sum(p.numel() for p in lab.parameters()) < 950_000  # bytes in half precision


def test_a_codec_of_codes_or_of_another_size_is_refused(files, tmp_path):
    settings = codec.load_config(settings=[*CODEC, "bottleneck=rvq"])
    path = tmp_path / "rvq.safetensors"
    shipped.save(path, codec.build(settings), settings, record_of("codec"))
    with pytest.raises(ConfigError, match="real-valued latents"):
        flow.load_codec(flow.load_config(settings=[*TINY, f"codec={path}"]))
    with pytest.raises(ConfigError, match="6 channels"):
        flow.load_codec(flow.load_config(settings=[files[0], "latents=32"]))
    with pytest.raises(ConfigError, match="music2latent"):
        flow.load_codec(flow.load_config(scale="full"))
    with pytest.raises(ConfigError, match="use euler"):
        flow.load_config(settings=["sampler.method=ddim"])


def test_a_published_dataset_goes_the_same_way(files, tmp_path, monkeypatch):
    """Files of the form of NSynth's guitars, whose entries name no family."""
    audio, annotations = tmp_path / "audio.hdf5", tmp_path / "annotations.pyjama"
    entries = []
    rng = np.random.default_rng(0)
    with pair.replacing_pair(audio, annotations) as (store, temporary):
        for i in range(48):
            key = f"guitar_acoustic_{i:03d}-{40 + i:03d}-100.mp3"
            store.append(key, rng.normal(0, 0.1, 4000).astype(np.float32), 16000)
            side = "validation" if i % 4 == 0 else "train"
            fields = {"pitchmidi": (pyjama.Atom(40.0 + i),), "split": (pyjama.Atom(side),)}
            entries.append(pyjama.Entry(key, i, fields))
        collection = pyjama.Collection(tuple(entries), audio_identity=store.identity)
        pyjama.write(temporary, collection, in_place=True)
    monkeypatch.setattr(source, "locate", lambda *_, **__: CorpusFiles(audio, annotations))
    unit = "network={channels: [6, 8], units: 0, time_features: 0, stem: 0}"
    changes = [*files, "latents=6", unit, "training.max_epochs=1", "training.batch_size=4"]
    settings = flow.load_config(scale="full", settings=changes)
    found = protocol.run(flow, settings, tmp_path / "run", progress=False)
    assert np.isfinite(found.evaluation.mean["frechet"])
    assert found.system.pitch_ranges.tolist() == [[1.0, 0.0]] * 11


def test_the_flow_is_followed_as_the_library_does(settings, tracks):
    """One note by hand: noise, two Heun steps along the velocity, statistics undone, decoded."""
    built = ready(settings, tracks)
    (found,) = flow.generate(built, pitches_midi=[52], families=["guitar"], seconds=0.14)
    guitar = torch.tensor([flow_data.FAMILIES.index("guitar")])
    asked = built.asked(torch.tensor([52.0]), guitar, torch.arange(14) / 14)
    x = flow.noise_of(built, 1, 14, 0)
    with torch.no_grad():
        for t, s in ((1.0, 0.5), (0.5, 0.0)):
            x = nn_flow.heun(lambda x, t: built(x, t, asked), x, *torch.tensor([[t], [s]]))
        audio = built.codec.decode(x * built.deviation[:, None] + built.mean[:, None])
    np.testing.assert_allclose(found, audio[0].numpy(), atol=1e-5)
