"""The whole way on a very small scale: corpus, training, decoding, scores, record, command."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import soundfile
import torch

from dl101 import cli
from dl101.data import chord_segments, harte, pyjama, source
from dl101.data.audiostore import AudioStoreWriter
from dl101.data.chord_segments import from_atoms
from dl101.data.embedded import export
from dl101.errors import ConfigError, DataError
from dl101.evaluation import results
from dl101.signal.cqt import HcqtConfig
from dl101.systems import chords as system
from dl101.systems import chords_data
from dl101.systems.chords_data import BASS, CLASS, PITCHES, ROOT
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow

TINY = [
    "data.n_tracks=6",
    "data.patch_frames=60",
    "feature.bins_per_semitone=1",
    "feature.n_octaves=4",
    "feature.f_min_hz=65.406",
    "feature.hop_samples=4096",
    "model.widths=[4, 8]",
    "model.hidden=8",
    "training.max_epochs=2",
]
CELLS = list(
    itertools.product(
        ["lab", "full"], ["majmin", "large"], [False, True], [False, True], [False, True]
    )
)


@pytest.fixture(scope="module")
def settings():
    return system.load_config(settings=TINY)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


# ---- configurations ----


def test_full_scale_is_the_published_size_if_its_normalisation_is():
    settings = system.load_config(scale="full", settings=["model.published=true"])
    with torch.device("meta"):
        built = system.ChordSystem(settings)
    assert sum(p.numel() for p in built.parameters()) == 6_959_721
    assert settings.data.dataset == "rwc-pop_chord" and settings.data.patch_frames == 1024


@pytest.mark.parametrize(("scale", "vocabulary", "transpose", "structured", "published"), CELLS)
def test_every_cell_runs_forward_and_backward(scale, vocabulary, transpose, structured, published):
    changes = {
        "vocabulary": vocabulary,
        "transpose": transpose,
        "model.structured": structured,
        "model.published": published,
        "data.patch_frames": 20,
    }
    changes = [f"{key}={str(value).lower()}" for key, value in changes.items()]
    settings = system.load_config(scale=scale, settings=changes)
    built = system.build(settings)
    built.log = lambda *args, **kwargs: None
    segments = from_atoms([0.0, 0.5, 1.5], [0.5, 0.6, 0.3], ["C:min7/b3", "A:sus4", "N"])
    times = np.arange(20) * settings.hop_s
    target = chords_data.target_rows(segments, times, settings.labels)
    batch = {
        "input": torch.rand(2, 1, settings.feature.n_bins, 20),
        "target": torch.from_numpy(np.stack([target[None]] * 2)).float(),
        "mask": torch.ones(2, 20),
    }
    loss = built.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


def test_variants_have_names_of_their_own():
    names = {
        system.load_config(
            settings=[f"vocabulary={v}", f"transpose={str(t).lower()}",
                      f"model.structured={str(s).lower()}", f"model.published={str(p).lower()}"]
        ).variant
        for _, v, t, s, p in CELLS[:16]
    }  # fmt: skip
    assert len(names) == 16


@pytest.mark.parametrize("change", ["feature.f_min_hz=55.0", "feature.harmonics=[1, 2]"])
def test_an_input_that_does_not_begin_with_a_c_is_refused(change):
    with pytest.raises(ConfigError, match="begins with a C"):
        system.load_config(settings=[change])


def test_a_corpus_without_chords_is_found_before_it_is_rendered(monkeypatch):
    monkeypatch.setattr(export, "export_corpus", lambda *_, **__: pytest.fail("rendered first"))
    settings = system.load_config(settings=["data.dataset=tags"])
    with pytest.raises(ConfigError, match="no chord; expected one of"):
        system.load_tracks(settings, progress=False)


# ---- data ----


def test_sides_never_share_a_work(settings, tracks):
    files = source.locate(settings.data, progress=False)
    work = {e.filepath: e.first("work") for e in pyjama.read(files.annotations).entries}
    sides = [{work[track.key] for track in members} for members in tracks.values()]
    assert all(sides) and not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_targets_say_what_the_labels_say():
    segments = from_atoms(
        [1, 2, 3, 4, 5, 6], [1] * 6, ["A:min7/b3", "G:sus4", "N:-", "X", "F#", "E:5"]
    )
    rows = chords_data.target_rows(segments, np.arange(8) + 0.5, harte.MAJMIN)
    assert rows[CLASS].tolist() == [-1, 21, -1, 24, -1, 6, -1, -1]
    assert rows[ROOT].tolist() == [-1, 9, 7, 12, -1, 6, 4, -1]
    assert rows[BASS].tolist() == [-1, 0, 7, 12, -1, 6, 4, -1]
    sounding = [set(np.flatnonzero(column == 1)) for column in rows[PITCHES:].T]
    assert sounding[1:7] == [{9, 0, 4, 7}, {7, 0, 2}, set(), set(), {6, 10, 1}, {4, 11}]
    unknown = (rows[PITCHES:] == -1).all(axis=0)
    assert unknown.tolist() == [True, False, False, False, True, False, False, True]


@pytest.mark.parametrize("vocabulary", [harte.MAJMIN, harte.LARGE])
@pytest.mark.parametrize("bins_per_semitone", [1, 2])
def test_transposition_moves_input_and_target_alike(vocabulary, bins_per_semitone):
    labels = ["A:min7/b3", "G:sus4", "N", "X", "F#:maj/5", "E:5"]
    times = np.arange(7) + 0.5
    axis = HcqtConfig(harmonics=(1,), bins_per_semitone=bins_per_semitone, n_octaves=3)

    def batch(steps: int):
        moved = [
            x
            if ":" not in x
            else f"{harte.ROOTS[(harte.parse(x).root + steps) % 12]}:{x.split(':')[1]}"
            for x in labels
        ]
        rows = chords_data.target_rows(from_atoms(range(6), [1] * 6, moved), times, vocabulary)
        spectrum = np.zeros((1, axis.n_bins, 7), dtype=np.float32)
        spectrum[0, (12 + steps) * bins_per_semitone] = 1.0
        return torch.from_numpy(spectrum), torch.from_numpy(rows[None]).float()

    base, steps = batch(0), [-5, 0, 3, 6]
    inputs, targets = (torch.stack([part] * 4) for part in base)
    before = inputs.clone(), targets.clone()
    moved = chords_data.transposed(
        inputs, targets, steps, bins_per_semitone=bins_per_semitone, vocabulary=vocabulary
    )
    assert torch.equal(inputs, before[0]) and torch.equal(targets, before[1])
    for item, step in enumerate(steps):
        wanted = batch(step)
        assert torch.equal(moved[0][item], wanted[0]) and torch.equal(moved[1][item], wanted[1])
    edge = torch.ones(2, 1, axis.n_bins, 1)
    shifted, _ = chords_data.transposed(
        edge, targets[:2], [2, -2], bins_per_semitone=bins_per_semitone, vocabulary=vocabulary
    )
    n = 2 * bins_per_semitone
    assert shifted[0, 0, :n].eq(0).all() and shifted[0, 0, n:].eq(1).all()
    assert shifted[1, 0, -n:].eq(0).all() and shifted[1, 0, :-n].eq(1).all()


def test_level_and_tuning_leave_the_input_alone():
    rng = np.random.default_rng(0)
    rate, config = 22050, system.load_config().feature
    times = np.arange(4 * rate) / rate

    def triad(cents: float) -> np.ndarray:
        pitches = 440 * 2 ** ((np.array([-9, -5, -2, 3]) + cents / 100) / 12)
        sound = sum(np.sin(2 * np.pi * h * f * times) / h for f in pitches for h in (1, 2, 3))
        return (0.05 * sound + 1e-4 * rng.standard_normal(times.size)).astype(np.float32)

    def seen(sound: np.ndarray) -> np.ndarray:
        return chords_data.network_input(sound, config, sample_rate=rate).values

    plain = seen(triad(0))
    assert np.allclose(plain, seen(0.1 * triad(0)), atol=0.05)
    assert np.mean(np.abs(plain - seen(triad(35)))) < 0.03
    assert 0.9 < plain.max() < 1.2
    best = harte.CLASSES[np.bincount(
        system.chords.match_chords(chords_data.chroma_of(plain, 2))).argmax()]  # fmt: skip
    assert best == "C:maj"


# ---- the loss ----


def test_padding_and_unknown_frames_teach_nothing(settings):
    built = system.build(system.load_config(settings=[*TINY, "model.structured=true"])).eval()
    target = torch.full((1, 1, 15, 30), -1.0)
    batch = {"input": torch.rand(1, 1, 48, 30), "target": target, "mask": torch.ones(1, 30)}
    assert built.loss(batch) == 0
    target[..., :10] = 0.0
    known = built.loss(batch)
    assert known > 0
    target[:, :, CLASS, 10:] = 5.0  # said to be known, but behind the end of the track
    mask = torch.ones(1, 30)
    mask[:, 10:] = 0
    assert torch.allclose(built.loss({**batch, "mask": mask}), known)
    assert not torch.allclose(built.loss(batch), known)


def test_the_loss_is_the_mean_over_known_frames(settings):
    built = system.build(settings).eval()
    spectra = torch.rand(2, 1, 48, 30)
    classes = torch.randint(-1, 25, (2, 30))
    target = torch.full((2, 1, 15, 30), -1.0)
    target[:, 0, CLASS] = classes.float()
    with torch.no_grad():
        log_probabilities = built(spectra).log_softmax(-1)
        each = [
            -log_probabilities[b, t, classes[b, t]] for b, t in np.argwhere(classes.numpy() >= 0)
        ]
        batch = {"input": spectra, "target": target, "mask": torch.ones(2, 30)}
        assert torch.allclose(built.loss(batch), torch.stack(each).mean(), atol=1e-5)


# ---- estimates ----


def test_a_track_shorter_than_a_patch_is_kept(settings, tracks):
    track = tracks["train"][0]
    short = system.chords_data.ChordTrack(
        track.key, "train", track.input[..., :25], track.target[:, :25], track.times_s[:25], 4.5,
        track.reference,
    )  # fmt: skip
    data = system.batches(settings, {"train": [short, track], "validation": [short]})
    assert len(data.train) == 1 + -(-track.input.shape[-1] // 60)
    item = data.train[0]
    assert item["input"].shape[-1] == 60 and item["mask"].sum() == 25
    for published in (False, True):
        changed = [*TINY, f"model.published={str(published).lower()}"]
        built = system.build(system.load_config(settings=changed))
        said = system.predict(built, short.input)
        assert said.shape == (25, 25)
        assert np.allclose(np.exp(said).sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 59, 60, 61, 90, 119, 120, 121, 400])
def test_windows_cover_every_frame_once(settings, n_frames, monkeypatch):
    """A network that repeats its input shows where each frame of the answer comes from."""
    built = system.build(settings)
    lengths = []

    def echo(spectra):
        lengths.append(spectra.shape[-1])
        row = spectra[:, 0, :1].transpose(1, 2)
        return torch.nn.functional.pad(row, (0, 24))

    monkeypatch.setattr(built, "forward", echo)
    spectrum = np.zeros((1, 48, n_frames), dtype=np.float32)
    spectrum[0, 0] = np.linspace(-3, 3, n_frames)
    found = system.predict(built, spectrum)
    assert np.allclose(found[0] - found[1], spectrum[0, 0], atol=1e-5)
    assert set(lengths) == {min(n_frames, 60)}


def test_the_middle_of_each_window_counts(settings, monkeypatch):
    """But for the ends of the track, every frame is seen with a quarter of a patch around it."""
    built = system.build(settings)

    def place(spectra):
        n = spectra.shape[-1]
        edge = torch.minimum(torch.arange(n), torch.arange(n).flip(0)).float()
        return torch.nn.functional.pad(edge[None, :, None], (0, 24))

    monkeypatch.setattr(built, "forward", place)
    found = system.predict(built, np.zeros((1, 48, 400), dtype=np.float32))
    to_edge = np.round(found[0] - found[1], 3)
    assert (to_edge[15:-15] >= 14).all()
    assert to_edge[:15].tolist() == list(range(15)) == to_edge[:-16:-1].tolist()


def test_decoding_smooths_and_zero_does_not():
    said = np.full((25, 30), -4.0)
    said[3] = -0.5
    said[3, 11], said[8, 11] = -1.5, -0.5
    assert system.decode(said, 0.0)[11] == 8
    assert (system.decode(said, 0.9) == 3).all()
    track = type("Track", (), {"target": np.full((15, 30), 3)})
    assert system.tune_stay([said], [track]) > 0


def test_templates_are_baselines_and_choose_on_validation(settings, tracks):
    found = system.baselines(settings, tracks)
    assert set(found) == set(system.BASELINES)
    assert set(found["templates"].scores) == {track.key for track in tracks["test"]}
    assert found["hmm-stay"].chosen["stay"] in (0.9, 0.95)
    without_test = {**tracks, "test": tracks["validation"]}
    other = system.baselines(settings, without_test)
    assert other["hmm-stay"].chosen == found["hmm-stay"].chosen


@pytest.mark.parametrize("more", [[], ["model.structured=true", "vocabulary=large"]])
def test_run_learns_and_is_reproducible(tmp_path, more):
    settings = system.load_config(settings=[*TINY, *more])
    tracks = system.load_tracks(settings, progress=False)
    outcomes = [
        protocol.run(system, settings, tmp_path / name, seed=1, tracks=tracks, progress=False)
        for name in "ab"
    ]
    losses = [row["train_loss"] for row in outcomes[0].fit.history]
    assert losses[-1] < losses[0]
    one, other = (outcome.evaluation for outcome in outcomes)
    assert one.mean == other.mean and one.chosen == other.chosen
    assert set(one.scores) == {track.key for track in tracks["test"]}


# ---- a dataset as published ----


@pytest.fixture
def published_pair(tmp_path):
    """Write six songs as RWC's are: no split, no work, other rate, ``N:-``, a gap, an ``X``."""
    rng = np.random.default_rng(0)
    names = [f"{number:03d}" for number in range(1, 7)]
    with AudioStoreWriter(tmp_path / "a.hdf5") as store:
        for name in names:
            store.append(name, 0.1 * rng.standard_normal(5 * 44100).astype(np.float32), 44100)
    labels = ["N:-", "G#:min", "F#:maj", "E:maj(9)/b7", "X", "B:hdim7"]
    times = [(0.0, 0.104), (0.104, 1.754), (1.858, 0.7), (2.8, 0.5), (3.3, 0.5), (3.8, 1.2)]
    chord = [
        {"value": label, "time": time, "duration": duration}
        for label, (time, duration) in zip(labels, times, strict=True)
    ]
    content = {
        "schemaversion": 1.31,
        "collection": {
            "descriptiondefinition": {},
            "entry": [{"filepath": [{"value": name}], "chord": chord} for name in names],
        },
    }
    (tmp_path / "a.pyjama").write_text(json.dumps(content))
    return export.CorpusFiles(tmp_path / "a.hdf5", tmp_path / "a.pyjama")


@pytest.mark.parametrize("published", [False, True])
def test_the_full_configuration_runs_on_files_of_its_form(
    published_pair, tmp_path, monkeypatch, published
):
    monkeypatch.setattr(source, "locate", lambda *_, **__: published_pair)
    changes = ["training.max_epochs=1", "training.batch_size=2", "training.num_workers=0"]
    # the published normalisation has seven million numbers for patches of 1024 frames
    changes += [
        f"model.published={str(published).lower()}",
        f"data.patch_frames={256 if published else 1024}",
    ]
    settings = system.load_config(scale="full", settings=changes)
    tracks = system.load_tracks(settings, progress=False)
    assert {side: len(members) for side, members in tracks.items()}["train"] >= 3
    track = tracks["train"][0]
    assert track.reference.labels[0] == "N" and track.input.shape == (1, 72, 54)
    classes = track.target[CLASS]
    assert {-1, 24, harte.to_class("Ab:min")} <= set(classes.tolist())
    gap = (track.times_s > 2.6) & (track.times_s < 2.79)
    assert gap.any() and (classes[gap] == -1).all()
    run = protocol.run(system, settings, tmp_path / "run", tracks=tracks, progress=False)
    assert np.isfinite(run.evaluation.mean["majmin"])


def test_data_without_chords_are_named(published_pair):
    content = json.loads(published_pair.annotations.read_text().replace('"chord"', '"accord"'))
    published_pair.annotations.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no entry with chord"):
        chords_data.load_chord_tracks(
            published_pair.audio, published_pair.annotations, system.load_config().feature,
            harte.MAJMIN, dataset="rwc-pop_chord", progress=False,
        )  # fmt: skip


# ---- the command line ----


def test_command_line_trains_records_and_saves(tmp_path, capsys):
    path, weights = tmp_path / "results.json", tmp_path / "chords.safetensors"
    options = ["--results", path, "--weights", weights, "--run-dir", tmp_path / "run"]
    arguments = ["train", "chords", "--seed", "2", "--set", *TINY, *map(str, options)]
    assert cli.main(arguments) == 0
    assert "majmin" in capsys.readouterr().out
    records = {record.variant: record for record in results.load(path)}
    assert set(records) == {"crnn", *system.BASELINES}
    assert shipped.load(weights).settings == system.load_config(settings=TINY)


@pytest.fixture
def with_network(settings, tmp_path, monkeypatch):
    """Let the command use an untrained network: it is about files, not about chords."""
    network = shipped.Shipped(system.build(settings), settings, {"metrics": {"stay": 0.9}})
    monkeypatch.setattr(shipped, "load", lambda name: network)


@pytest.mark.parametrize(
    ("ending", "rate", "channels"),
    [("wav", 44100, 2), ("flac", 8000, 1), ("mp3", 48000, 1), ("ogg", 22050, 2)],
)
def test_the_command_takes_any_recording(with_network, tmp_path, capsys, ending, rate, channels):
    sound = 0.1 * np.random.default_rng(0).standard_normal((3 * rate, channels))
    soundfile.write(tmp_path / f"my song.{ending}", sound, rate)
    arguments = ["chords", str(tmp_path / f"my song.{ending}"), "--output", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    segments = chord_segments.read_lab(tmp_path / "out" / "my song.lab")
    assert len(printed) == len(segments) + 1
    assert segments.intervals_s[0, 0] == 0
    assert segments.intervals_s[-1, 1] == pytest.approx(3.0, abs=0.1)
    assert [line.split()[2] for line in printed[:-1]] == list(segments.labels)
    jams = json.loads((tmp_path / "out" / "my song.jams").read_text())
    assert [o["value"] for o in jams["annotations"][0]["data"]] == list(segments.labels)
    assert jams["file_metadata"]["title"] == "my song"


def test_the_command_says_what_is_wrong_with_a_file(with_network, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("not a sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "silent.wav", np.zeros(44100), 22050)
    soundfile.write(tmp_path / "short.wav", np.full(2205, 0.1), 22050)
    for name in ("text.wav", "empty.wav", "silent.wav", "short.wav", "missing.wav"):
        assert cli.main(["chords", str(tmp_path / name)]) == 1
        message = capsys.readouterr().err
        assert name in message and "expected" in message and "Traceback" not in message
