"""How hard each embedded corpus is, measured: ``dl101 probe`` and ``results/corpora.json``.

A corpus is good for teaching when a system without deep learning does better than chance and far
from perfectly, and when what it takes is what the corpus claims to be about: rhythm for dances,
timbre for instruments. :data:`TASKS` says, corpus by corpus, what is to be told from what; the
models are those of :mod:`dl101.evaluation.probe_models`. They learn from the training side, choose
their one parameter on the validation side, and are scored on the test side.

One probe is meant to fail: ``leakage`` knows only what has nothing to do with the task (how far the
track is from A440, its level, its length, its place in the file). Its score should lie within
what shuffled tracks give by chance (``chance_99``: exceeded by one shuffle in a hundred).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dl101.data import pair, pyjama
from dl101.data.audiostore import AudioStore
from dl101.data.embedded import export
from dl101.data.harte import to_class
from dl101.data.splits import SIDES
from dl101.errors import ConfigError, did_you_mean
from dl101.evaluation import (
    chords,
    multi_pitch,
    pitch,
    probe_features,
    results,
    retrieval,
    separation,
    tagging,
)
from dl101.evaluation import probe_models as models
from dl101.progress import progress as progress_bar
from dl101.signal import chroma, cqt, mel
from dl101.signal.cqt import HcqtConfig
from dl101.targets import PitchAxis
from dl101.units import hz_to_midi

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
PROFILE_RATE_HZ = 2.0  # of the profiles that cover versions are aligned by


@dataclass(frozen=True)
class Task:
    """What is asked of a corpus.

    Attributes
    ----------
    kind
        One of ``KINDS``: which probes are run.
    field
        The field that holds the truth.
    not_nuisance
        What is part of the task after all, and therefore left out of the leakage probe.
    """

    kind: str
    field: str
    not_nuisance: tuple[str, ...] = ()


TASKS: Mapping[str, tuple[Task, ...]] = {
    "chorales": (Task("multi-pitch", "f0multi"),),
    "piano": (Task("multi-pitch", "pitchmidi"),),
    "covers": (Task("versions", "work-id"),),
    "dances": (Task("classes", "rhythm"),),
    "instruments": (Task("classes", "instrument"),),
    "tags": (Task("tags", "tag", not_nuisance=("level",)),),
    "genres": (Task("classes", "genre"),),
    "chords": (Task("chords", "chord"),),
    "stems": (Task("stems", "role"),),
    "notes": (Task("classes", "family"), Task("pitch", "pitchmidi")),
    "voice": (Task("pitch", "f0"),),
    "tones": (Task("pitch", "f0"),),
}


@dataclass(frozen=True)
class ProbeScores:
    """What a probe measured on the test side of a corpus."""

    probe: str
    metrics: Mapping[str, float]
    n_items: int
    inputs: str = ""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A corpus on disk: its main entries by side, and where to read them."""

    name: str
    seed: int
    n_tracks: int
    files: export.CorpusFiles
    entries: Mapping[str, list[pyjama.Entry]] = field(repr=False)
    extras: list[pyjama.Entry] = field(repr=False)


def load(name: str, *, seed: int = 0, n_tracks: int | None = None) -> Corpus:
    """Return a corpus from the cache, rendered if need be; with stems where the task needs them.

    Raises
    ------
    ConfigError
        For a corpus without a task.
    """
    if name not in TASKS:
        raise ConfigError(
            "corpus to probe",
            got=repr(name),
            expected=f"one of {', '.join(TASKS)}",
            hint=did_you_mean(name, TASKS),
        )
    n_tracks = export.recipe(name).default_tracks if n_tracks is None else n_tracks
    stems = any(task.kind == "stems" for task in TASKS[name])
    files = export.cached_corpus(name, n_tracks=n_tracks, seed=seed, stems=stems)
    with pair.opened(files.audio, files.annotations) as (collection, _):
        main = [entry for entry in collection if entry.first("role") != "stem"]
        rest = [entry for entry in collection if entry.first("role") == "stem"]
    sides = {side: [e for e in main if e.first("split") == side] for side in SIDES}
    return Corpus(name, seed, n_tracks, files, sides, rest)


def probe_corpus(
    name: str, *, seed: int = 0, n_tracks: int | None = None
) -> list[tuple[Task, ProbeScores]]:
    """Run all probes of a corpus; see :func:`load` for the arguments."""
    corpus = load(name, seed=seed, n_tracks=n_tracks)
    return [(task, outcome) for task in TASKS[name] for outcome in KINDS[task.kind](corpus, task)]


def record(
    name: str, *, seed: int = 0, n_tracks: int | None = None, command: str = ""
) -> list[results.Record]:
    """Run all probes of a corpus and return their records for ``results/corpora.json``.

    The seed is that of the corpus: the probes draw nothing else that matters.
    """
    start = time.perf_counter()
    outcomes = probe_corpus(name, seed=seed, n_tracks=n_tracks)
    wall_time_s = round((time.perf_counter() - start) / len(outcomes), 2)
    tracks = export.recipe(name).default_tracks if n_tracks is None else n_tracks
    return [
        results.Record(
            experiment="corpora",
            variant=outcome.probe,
            seed=seed,
            data={"dataset": name, "n_tracks": tracks, "version": export.corpus_version(name)},
            split="test",
            n_items=outcome.n_items,
            metrics={key: round(value, 4) for key, value in outcome.metrics.items()},
            config={"task": task.kind, "field": task.field, "inputs": outcome.inputs},
            command=command,
            wall_time_s=wall_time_s,
        )
        for task, outcome in outcomes
    ]


# --- tasks with one label, or several, for a whole track ---


def _classes(corpus: Corpus, task: Task) -> Iterable[ProbeScores]:
    x, y = _table(corpus, task)
    # The first decides: classes need not be equally frequent.
    metrics = {"balanced_accuracy": tagging.balanced_accuracy, "accuracy": tagging.accuracy}
    return _label_probes(x, y, task, metrics)


def _tags(corpus: Corpus, task: Task) -> Iterable[ProbeScores]:
    x, y = _table(corpus, task)
    return _label_probes(x, y, task, {"macro_auc": tagging.macro_auc})


def _table(corpus: Corpus, task: Task) -> tuple[dict[str, models.Sides], models.Sides]:
    """Return the inputs by name and side, and the truth (tracks, classes) by side."""
    found: dict[str, dict[str, list]] = {}
    place = 0.0
    with AudioStore(corpus.files.audio) as store:
        for side in SIDES:
            for entry in progress_bar(corpus.entries[side], f"hearing {corpus.name} ({side})"):
                known = probe_features.describe(*store.read(entry.filepath))
                known["tuning"] = np.array([float(entry.first("tuning-cents") or 0.0)])
                known["place"] = np.array([place])
                if entry.first("tempo") is not None:
                    known["tempo"] = np.array([float(entry.first("tempo"))])
                for name, vector in known.items():
                    found.setdefault(name, {}).setdefault(side, []).append(vector)
                place += 1.0 / len(corpus.entries[side])
            place = 0.0
    x = {name: {side: np.stack(v) for side, v in sides.items()} for name, sides in found.items()}
    labels = {s: [entry.values(task.field) for entry in corpus.entries[s]] for s in SIDES}
    classes = sorted({value for values in labels["train"] for value in values})
    y = {
        side: np.stack([models.one_hot(values, classes).sum(axis=0) for values in labels[side]])
        for side in SIDES
    }
    return x, y


def _label_probes(
    x: Mapping[str, models.Sides],
    y: models.Sides,
    task: Task,
    metrics: Mapping[str, Callable[[NDArray, NDArray], float]],
) -> Iterable[ProbeScores]:
    score = next(iter(metrics.values()))

    def outcome(probe: str, scores: NDArray, inputs: str = "") -> ProbeScores:
        values = {name: metric(y["test"], scores) for name, metric in metrics.items()}
        usual, limit = tagging.by_chance(y["test"], scores, score)
        return ProbeScores(
            probe, values | {"chance": usual, "chance_99": limit}, len(y["test"]), inputs
        )

    yield outcome("majority", models.majority(y))
    yield outcome("nearest-mfcc", models.nearest(x["mfcc"], y), "mfcc")
    yield outcome("linear-log-mel", models.linear(x["log-mel"], y, score)["test"], "log-mel")
    yield outcome("linear-timbre", models.linear(x["mfcc"], y, score)["test"], "mfcc")
    yield outcome("linear-rhythm", models.linear(x["rhythm"], y, score)["test"], "rhythm")
    if "tempo" in x:
        yield outcome("tempo-only", models.forest(x["tempo"], y)["test"], "tempo (annotated)")
    names = [name for name in ("tuning", "level", "place") if name not in task.not_nuisance]
    nuisance = {side: np.concatenate([x[name][side] for name in names], axis=1) for side in SIDES}
    yield outcome("leakage", models.leakage(nuisance, y, score), ", ".join(names))


# --- versions of a work ---


def _versions(corpus: Corpus, task: Task) -> Iterable[ProbeScores]:
    entries = corpus.entries["test"]
    works = [entry.first(task.field) for entry in entries]
    with AudioStore(corpus.files.audio) as store:
        sequences = []
        for entry in entries:
            values, rate_hz = store.read_feature(entry.filepath)
            sequences.append(_averaged(values, rate_hz))
    means = np.stack([sequence.mean(axis=1) for sequence in sequences])
    chance = np.random.default_rng([corpus.seed]).random((len(works), len(works)))
    place = np.arange(len(works), dtype=float)
    for probe, similarity, inputs in (
        ("chance", chance, "none"),
        ("mean-profile", retrieval.transposed_similarity(means), "mean profile, 12 transpositions"),
        ("alignment", retrieval.alignment_similarity(sequences), "profiles at 2 Hz, aligned"),
        ("leakage", -np.abs(place[:, None] - place[None, :]), "place"),
        ("leakage-length", _alike([s.shape[1] for s in sequences]), "length"),
    ):
        yield ProbeScores(probe, retrieval.retrieval_scores(similarity, works), len(works), inputs)


def _averaged(values: NDArray, rate_hz: float) -> NDArray[np.float64]:
    """Return features averaged down to ``PROFILE_RATE_HZ``."""
    width = max(1, round(rate_hz / PROFILE_RATE_HZ))
    n = max(1, values.shape[1] // width)
    usable = values[:, : n * width].astype(float)
    return usable.reshape(values.shape[0], n, -1).mean(axis=2)


def _alike(lengths: Iterable[float]) -> NDArray[np.float64]:
    lengths = np.asarray(list(lengths), dtype=float)
    return -np.abs(lengths[:, None] - lengths[None, :])


# --- what changes within a track ---


def _chords(corpus: Corpus, task: Task) -> Iterable[ProbeScores]:
    counts = np.zeros(25)
    for entry in corpus.entries["train"]:
        _, durations_s, labels = entry.segments(task.field)
        for duration_s, label in zip(durations_s, labels, strict=True):
            if to_class(label) >= 0:
                counts[to_class(label)] += duration_s
    scores: dict[str, list[float]] = {"majority": [], "templates": []}
    with AudioStore(corpus.files.audio) as store:
        for entry in progress_bar(corpus.entries["test"], "matching chords"):
            chroma, times_s = _smooth_chroma(*store.read(entry.filepath))
            onsets_s, durations_s, labels = entry.segments(task.field)
            truth = np.full(times_s.size, -1)
            for onset_s, duration_s, label in zip(onsets_s, durations_s, labels, strict=True):
                inside = (times_s >= onset_s) & (times_s < onset_s + duration_s)
                truth[inside] = to_class(label)
            known = truth >= 0
            found = chords.match_chords(chroma)
            scores["majority"].append(float(np.mean(truth[known] == counts.argmax())))
            scores["templates"].append(float(np.mean(truth[known] == found[known])))
    for probe, values in scores.items():
        yield ProbeScores(probe, {"frame_accuracy": float(np.mean(values))}, len(values), "chroma")


def _smooth_chroma(audio: NDArray, sample_rate: int) -> tuple[NDArray, NDArray]:
    """Return a chroma, averaged over half a second, and its times."""
    import scipy.ndimage

    config = HcqtConfig(harmonics=(1,), bins_per_semitone=3, f_min_hz=65.4, n_octaves=5)
    feature = chroma.chroma(audio, config, sample_rate=sample_rate)
    width = round(0.5 * sample_rate / feature.hop_samples)
    return scipy.ndimage.uniform_filter1d(feature.values[0], width, axis=1), feature.times


def _stems(corpus: Corpus, task: Task) -> Iterable[ProbeScores]:
    mixture, oracle = [], []
    with AudioStore(corpus.files.audio) as store:
        for entry in progress_bar(corpus.entries["test"], "separating"):
            stem = entry.filepath.removesuffix(".wav") + "-"
            keys = [e.filepath for e in corpus.extras if e.filepath.startswith(stem)]
            stems = np.stack([store.read(key)[0] for key in keys])
            heard = [row for row, sound in enumerate(stems) if np.any(sound)]
            masked = separation.ratio_mask(stems)
            mixed = stems.sum(axis=0)
            mixture.append(np.mean([separation.si_sdr(mixed, stems[row]) for row in heard]))
            oracle.append(np.mean([separation.si_sdr(masked[row], stems[row]) for row in heard]))
    yield ProbeScores(
        "mixture", {"si_sdr_db": float(np.mean(mixture))}, len(mixture), "the mixture"
    )
    yield ProbeScores("ratio-mask", {"si_sdr_db": float(np.mean(oracle))}, len(oracle), "the truth")


def _pitch(corpus: Corpus, task: Task) -> Iterable[ProbeScores]:
    """Follow single voices with YIN; a track's one note or its f0 curve is the truth."""
    import librosa

    scores = []
    with AudioStore(corpus.files.audio) as store:
        for entry in progress_bar(corpus.entries["test"], f"following {corpus.name}"):
            audio, sample_rate = store.read(entry.filepath)
            hop = sample_rate // 100
            curve = librosa.yin(audio, fmin=40.0, fmax=2000.0, sr=sample_rate, hop_length=hop)
            times_s = np.arange(curve.size) * hop / sample_rate
            truth = _pitch_truth(entry, task.field, times_s)
            if np.isfinite(truth).any():
                scores.append(pitch.pitch_accuracy(truth, hz_to_midi(curve)))
    yield ProbeScores("yin", results.mean_over_tracks(scores), len(scores), "audio")


def _pitch_truth(entry: pyjama.Entry, name: str, times_s: NDArray) -> NDArray[np.float64]:
    """Return the pitch at given times, MIDI, NaN where silent."""
    atom = entry.fields[name][0]
    truth = np.full(times_s.size, np.nan)
    if atom.duration is None:  # a curve
        inside = times_s <= atom.time[-1]
        row = np.atleast_2d(atom.value)[0]
        nearest = np.searchsorted(atom.time, times_s[inside] + 1e-6, side="right") - 1
        truth[inside] = row[np.maximum(nearest, 0)]
        return truth
    for onset_s, duration_s, pitch_midi in zip(*entry.segments(name), strict=True):
        truth[(times_s >= onset_s) & (times_s < onset_s + duration_s)] = pitch_midi
    return truth


def _multi_pitch(corpus: Corpus, task: Task) -> Iterable[ProbeScores]:
    """Sum harmonics, with a threshold chosen on validation: what needs no training."""
    config = HcqtConfig(bins_per_semitone=3)
    axis = PitchAxis.of(config)
    tracks: dict[str, list] = {"validation": [], "test": []}
    times: dict[str, list] = {"validation": [], "test": []}
    with AudioStore(corpus.files.audio) as store:
        for side in tracks:
            for entry in progress_bar(corpus.entries[side], f"summing harmonics ({side})"):
                feature = cqt.hcqt(store.read(entry.filepath)[0], config)
                compressed = mel.compress(feature.values, 10_000)  # as the networks read it
                salience = multi_pitch.harmonic_sum(compressed, config.harmonics)
                tracks[side].append((_series(entry, task.field, feature.times), salience))
                times[side].append(feature.times)
    curve = multi_pitch.threshold_curve(tracks["validation"], axis, times["validation"], THRESHOLDS)
    threshold = multi_pitch.best_threshold(curve)
    scores = multi_pitch.threshold_curve(tracks["test"], axis, times["test"], [threshold])[0]
    yield ProbeScores("salience", scores, len(tracks["test"]), "HCQT")


def _series(entry: pyjama.Entry, name: str, times_s: NDArray) -> multi_pitch.PitchSeries:
    atom = entry.fields[name][0]
    if atom.duration is None:
        return multi_pitch.from_f0(atom.value, atom.time)
    return multi_pitch.from_notes(*entry.segments(name), times_s)


KINDS: Mapping[str, Callable[[Corpus, Task], Iterable[ProbeScores]]] = {
    "classes": _classes,
    "tags": _tags,
    "versions": _versions,
    "chords": _chords,
    "stems": _stems,
    "pitch": _pitch,
    "multi-pitch": _multi_pitch,
}
