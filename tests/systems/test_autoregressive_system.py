"""The language model on a very small scale: codes, training, scores, generation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.data import pair, pyjama, source
from dl101.data.embedded.export import CorpusFiles
from dl101.errors import ConfigError, DataError, Dl101Error
from dl101.evaluation import generation
from dl101.evaluation.language import NGram
from dl101.nn.codec import as_batch
from dl101.systems import autoregressive as system_module
from dl101.systems import autoregressive_data as data_module
from dl101.systems.autoregressive_data import CodeTrack, conditions_of
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow

TINY = [
    "data.patch_frames=10",
    "n_stages=2",
    "n_codes=16",
    "model={width: 16, depth: 1, heads: 2, head_width: 8, hidden: 16}",
    "training.max_epochs=2",
    "training.batch_size=8",
]


class Tones:
    """A codec of 50 frames a second whose first stage is the pitch class; counts what it does."""

    sample_rate, frame_rate = 16_000, 50.0

    def __init__(self, n_stages: int = 3, n_codes: int = 16) -> None:
        self.codebooks, self.n_encoded = (n_codes,) * n_stages, 0

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        self.n_encoded += len(audio)
        frames = as_batch(audio).unflatten(1, (-1, 320)).abs().mean(-1)
        level = (100 * frames).long().clamp_max(15)
        return torch.stack([level, 15 - level, torch.zeros_like(level)], dim=1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        time = torch.arange(320 * codes.shape[2]) / 16_000
        hz = 220.0 * 2 ** (codes[:, 0].repeat_interleave(320, dim=1) / 12)
        return 0.3 * torch.sin(2 * torch.pi * hz * time)


@pytest.fixture
def codec(monkeypatch) -> Tones:
    made = Tones()
    monkeypatch.setattr(system_module, "_codec", lambda name, n_stages: made)
    return made


@pytest.fixture(scope="module")
def tracks() -> dict[str, list[CodeTrack]]:
    """Notes whose first stage repeats a number of their pitch, whose second counts up."""

    def note(side: str, i: int) -> CodeTrack:
        pitch = 57 + i % 12
        codes = np.stack([np.full(10, i % 12), (np.arange(10) + i) % 16]).astype(np.int16)
        return CodeTrack(f"notes/{side}-{i}", side, codes, pitch, data_module.FAMILIES[i % 11])

    counts = {"train": 60, "validation": 12, "test": 70}
    return {side: [note(side, i) for i in range(n)] for side, n in counts.items()}


def settings_with(*changes: str) -> system_module.AutoregressiveConfig:
    return system_module.load_config(settings=[*TINY, *changes])


# ---- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["lab", "full"])
@pytest.mark.parametrize("pattern", ["flattened", "delayed", "parallel"])
@pytest.mark.parametrize("conditioned", ["true", "false"])
def test_every_variant_is_one_setting_away(scale, pattern, conditioned):
    changes = [f"pattern={pattern}", f"conditioned={conditioned}"]
    settings = system_module.load_config(scale=scale, settings=changes)
    with torch.device("meta"):  # sizes only
        built = system_module.AutoregressiveSystem(settings)
    told = len(built.network.conditions) > 0
    assert told == (conditioned == "true")
    assert settings.variant == pattern + ("" if told else "-unconditioned")


def test_sizes_are_stated():
    def count(scale: str) -> int:
        with torch.device("meta"):
            built = system_module.AutoregressiveSystem(system_module.load_config(scale=scale))
        return sum(p.numel() for p in built.parameters())

    assert count("lab") == 454_720
    # 1024 tokens for both stages in 2024, with logits of their own: here a table for each stage,
    # which the logits share, a row that is no code, and the conditions
    conditions = (88 + 1 + 11 + 1) * 256
    assert count("full") == 5_253_888 - 2 * 1024 * 256 + 2 * 1025 * 256 + conditions


def test_half_precision_fits_into_the_space_for_it():
    assert 2 * 454_720 < 0.95e6


@pytest.mark.parametrize("scale", ["lab", "full"])
def test_every_scale_goes_forward_and_backward(scale):
    settings = system_module.load_config(scale=scale)
    built = system_module.build(settings)
    codes = torch.randint(0, settings.n_codes, (2, settings.n_stages, 6))
    built.train()
    built.loss({"codes": codes, "conditions": torch.tensor([[3, 4], [0, 0]])}).backward()
    assert all(p.grad is not None for p in built.parameters())


def test_wrong_settings_are_named(codec):
    with pytest.raises(ConfigError, match="did you mean 'pattern'"):
        settings_with("patern=delayed")
    with pytest.raises(ConfigError, match="did you mean 'delayed'"):
        settings_with("pattern=delay")
    with pytest.raises(ConfigError, match="4 stages of 16 codes"):
        system_module.codec_of(settings_with("n_stages=4"))
    with pytest.raises(ConfigError, match="2 stages of 32 codes"):
        system_module.codec_of(settings_with("n_codes=32"))


# ---- the data ----------------------------------------------------------------------------------


def write_dataset(folder, n: int = 40) -> CorpusFiles:
    """Write files of the form of NSynth's guitars: two sides, no test."""
    files = CorpusFiles(folder / "audio.hdf5", folder / "annotations.pyjama")
    entries = []
    with pair.replacing_pair(files.audio, files.annotations) as (store, temporary):
        for i in range(n):
            side = "validation" if i % 4 == 0 else "train"
            key = f"guitar_acoustic_{100 * (i % 4 == 0) + i // 2:03d}-{40 + i:03d}-100.mp3"
            seconds = 0.1 if i == 3 else 1.0
            store.append(key, 0.1 * np.ones(int(16000 * seconds), np.float32), 16000)
            fields = {
                "pitchmidi": (pyjama.Atom(40.0 + i),),
                "family": (pyjama.Atom("guitar"),),
                "split": (pyjama.Atom(side),),
            }
            entries.append(pyjama.Entry(key, i, fields))
        collection = pyjama.Collection(tuple(entries), audio_identity=store.identity)
        pyjama.write(temporary, collection, in_place=True)
    return files


def test_a_published_dataset_goes_the_same_way_and_is_encoded_once(tmp_path, monkeypatch, codec):
    files = write_dataset(tmp_path)
    monkeypatch.setattr(source, "locate", lambda *_, **__: files)
    monkeypatch.setenv("DL101_CACHE", str(tmp_path / "cache"))
    settings = settings_with("data.dataset=nsynth-guitar")
    first = system_module.load_tracks(settings, progress=False)
    assert codec.n_encoded == 40 and all(first.values())
    again = system_module.load_tracks(settings, progress=False)
    assert codec.n_encoded == 40
    for side, members in first.items():
        for one, other in zip(members, again[side], strict=True):
            assert (one.key, one.side, one.pitch_midi, one.family) == (
                other.key, other.side, other.pitch_midi, other.family
            )  # fmt: skip
            assert one.codes.shape == (2, 10) and np.array_equal(one.codes, other.codes)
    (short,) = [t for members in first.values() for t in members if "043-100" in t.key]
    assert short.pitch_midi == 43 and (short.codes[0, 5:] == 0).all()  # went on in silence
    (cached,) = (tmp_path / "cache" / "codes").glob("*.npz")
    cached.write_bytes(b"no such thing")
    system_module.load_tracks(settings, progress=False)
    assert codec.n_encoded == 80
    monkeypatch.setattr(system_module, "_codec", lambda name, n_stages: Other())
    with monkeypatch.context() as patched:
        patched.setattr(Other, "n_encoded_ever", 0)
        system_module.load_tracks(settings, progress=False)
        assert Other.n_encoded_ever == 40  # codes of one codec are none of another


class Other(Tones):
    """Another codec of the same form."""

    n_encoded_ever = 0

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        Other.n_encoded_ever += len(audio)
        return super().encode(audio)


def test_tracks_that_are_no_notes_are_refused(tmp_path, monkeypatch, codec):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="one without family"):
        system_module.load_tracks(
            settings_with("data={dataset: dances, n_tracks: 4, patch_frames: 10}"), progress=False
        )


def test_conditions():
    assert conditions_of(None, None) == (0, 0)
    assert conditions_of(21, "bass") == (1, 1)
    assert conditions_of(107.6, "vocal") == (88, 11)
    with pytest.raises(DataError, match="MIDI 109"):
        conditions_of(109, "bass")
    with pytest.raises(DataError, match="did you mean 'guitar'"):
        conditions_of(60, "guitarr")


# ---- training ----------------------------------------------------------------------------------


def test_training_scores_and_loading_go_end_to_end(tracks, tmp_path, codec, monkeypatch):
    settings = settings_with()
    found = protocol.run(system_module, settings, tmp_path / "run", tracks=tracks, progress=False)
    assert len(found.fit.history) == 2
    scores = found.evaluation.mean
    assert {"bits", "bits_untold", "bits_stage_2", "pitch", "pitch_real", "frechet"} <= set(scores)
    assert scores["pitch_real"] == 1.0  # the codec plays what the first stage says
    assert scores["pitch_low"] <= scores["pitch"] <= scores["pitch_high"]
    assert scores["frechet_real"] < scores["frechet"] and scores["repetition_real"] > 0.5
    baselines = system_module.baselines(settings, tracks)
    records = protocol.records(
        "autoregressive", settings, found, baselines, seed=0, command="dl101 train"
    )
    assert {"delayed", "unigram", "trigram"} <= {record.variant for record in records}
    path = tmp_path / "autoregressive.safetensors"
    shipped.save(path, found.system, settings, records[0])
    again = shipped.load(path).system
    test = tracks["test"][:3]
    assert system_module.predict(again, test[0]).shape == (2, 10)
    np.testing.assert_allclose(
        system_module.bits_of(again, test), system_module.bits_of(found.system, test), atol=0.05
    )
    monkeypatch.setattr(system_module, "_codec", lambda name, n: Other())
    with pytest.raises(DataError, match="train it again"):
        again.codec  # noqa: B018


def test_it_learns_what_n_grams_cannot_and_what_it_is_told(tracks, codec):
    """The pitch tells the first code, which no context before it does."""
    torch.manual_seed(0)
    built = system_module.build(settings_with("forget=0.3"), seed=0)
    codes, conditions = data_module.stacked(tracks["train"])
    optimiser = torch.optim.AdamW(built.parameters(), lr=1e-2)
    built.train()
    for _ in range(200):
        optimiser.zero_grad()
        built.loss({"codes": codes, "conditions": conditions}).backward()
        optimiser.step()
    test = tracks["test"][:12]
    told, untold = (system_module.bits_of(built, test, told=t) for t in (True, False))
    unigram = system_module.baselines(built.settings, {**tracks, "test": test})["unigram"]
    first = told[:, 0, 0].mean()
    assert first < 0.3 and untold[:, 0, 0].mean() > first + 1
    assert told.mean() < untold.mean() < unigram.mean["bits"]
    sounds = system_module.generate(
        built, pitches_midi=[57, 62, 68], families=[None] * 3, seconds=0.2, temperature=0.5
    )
    assert sounds.shape == (3, 3200) and sounds.dtype == np.float32
    assert generation.plays_as_asked(sounds, 16_000, [57, 62, 68]).all()
    assert not generation.plays_as_asked(sounds, 16_000, [57.5, 63, 80]).any()


def test_bits_are_those_of_the_loss(tracks, codec):
    built = system_module.build(settings_with()).eval()
    codes, conditions = data_module.stacked(tracks["validation"])
    nats = built.loss({"codes": codes, "conditions": conditions}).item()
    bits = system_module.bits_of(built, tracks["validation"])
    assert bits.mean() * np.log(2) == pytest.approx(nats, rel=1e-5)


def test_training_leaves_conditions_out_and_validation_does_not(tracks, codec):
    built = system_module.build(settings_with("forget=1.0"))
    codes, conditions = data_module.stacked(tracks["validation"])
    batch = {"codes": codes, "conditions": conditions}
    untold = {"codes": codes, "conditions": torch.zeros_like(conditions)}
    built.train()
    forgetting = built.loss(batch).item()
    built.eval()
    assert forgetting == pytest.approx(built.loss(untold).item(), rel=1e-6)
    assert built.loss(batch).item() != pytest.approx(forgetting, rel=1e-6)


def test_baselines_are_n_grams_of_the_codes_frame_by_frame(tracks, codec):
    settings = settings_with()
    found = system_module.baselines(settings, tracks)

    def rows(side: str) -> list[list[int]]:
        return [t.codes.T.ravel().tolist() for t in tracks[side]]

    model = NGram(16, (2, 1), n_phases=2).fit(rows("train"), rows("validation"))
    bits = model.bits(rows("test"))
    assert found["trigram"].mean["bits"] == pytest.approx(bits.mean(), abs=1e-9)
    assert found["trigram"].mean["bits_stage_2"] == pytest.approx(bits[:, 1::2].mean(), abs=1e-9)


# ---- generation --------------------------------------------------------------------------------


def test_notes_do_not_depend_on_their_company(codec):
    built = system_module.build(settings_with())
    asked = [(3, 4), (0, 0), (40, 11), (3, 4)]
    together = system_module.generate_codes(built, asked, 9, seed=5)
    assert together.shape == (4, 2, 9)
    assert not np.array_equal(together[0], together[3])  # asked twice, two notes
    for options in ({"batch_size": 1}, {"cached": False}, {"batch_size": 3}):
        found = system_module.generate_codes(built, asked, 9, seed=5, **options)
        assert np.array_equal(found, together)
    assert not np.array_equal(system_module.generate_codes(built, asked, 9, seed=6), together)


@pytest.mark.parametrize("seconds", [0.011, 0.2, 0.5])
def test_sounds_are_as_long_as_asked(codec, seconds):
    built = system_module.build(settings_with())
    sounds = system_module.generate(
        built, pitches_midi=[60], families=["bass"], seconds=seconds, temperature=0.5, top_p=0.9
    )
    assert sounds.shape == (1, round(16_000 * seconds)) and built.sample_rate == 16_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pitches_midi": [12]}, "MIDI 12"),
        ({"families": ["guitr"]}, "did you mean 'guitar'"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"pitches_midi": [60, 62]}, "2 pitches and 1 families"),
        ({"pitches_midi": [], "families": []}, "at least one note"),
        ({"top_p": 0.0}, "top_p"),
        ({"temperture": 1.0}, "did you mean 'temperature'"),
        ({"guidance": -1.0}, "guidance"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_generated_is_refused(codec, options, said):
    built = system_module.build(settings_with())
    asked = {"pitches_midi": [60], "families": ["guitar"], "seconds": 0.1, **options}
    with pytest.raises(Dl101Error, match=said):
        system_module.generate(built, **asked)
