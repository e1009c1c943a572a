"""Which chroma lets a simple model hear chords? Hand-made ones against a small learned one.

Conventions: spectra are constant-Q, 3 bins to a semitone, 6 octaves from C2, one frame every 93 ms
(:data:`INPUT`). Chroma is ``(12, frames)``, row 0 is C, each frame divided by its largest value.
Chords are the 25 classes of :mod:`dl101.data.harte`; frames whose chord has no class are left out.

The learned chroma follows Korzeniowski and Widmer (Feature learning for chord recognition: the deep
chroma extractor, ISMIR 2016): a network sees 15 frames of a log-compressed spectrum and says, for
the middle one, which of the 12 pitch classes sound. Theirs learned from chord labels; here it
learns from the notes (``pitchmidi``) of the corpora ``chorales`` and ``piano``, or from the chords
of the training side. Tunes of the test side are in no training side.

Every chroma is smoothed along time, by the width that suits template matching best on the
validation side, and then judged on the test side in two ways: by templates, and by a linear model
of one frame that was trained on the training side in all twelve transpositions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101.data import harte, pyjama
from dl101.evaluation import chords
from dl101.signal import cqt, hpss, mel, tuning
from dl101.signal.cqt import HcqtConfig
from dl101.signal.feature import Feature
from dl101.targets import PitchAxis, from_notes
from dl101.training.comparison import Comparison, Read, load_sides
from dl101.training.examples import Examples, logits_of, majority, train_network
from dl101.training.fit import TrainingConfig, check_loss

INPUT = HcqtConfig(
    harmonics=(1,), bins_per_semitone=3, n_octaves=6, f_min_hz=65.406, hop_samples=2048
)
COMPRESSION = 100.0  # C of log(1 + C x) of the hand-made chroma; chosen on validation, seed 0
DEEP_COMPRESSION = 1000.0
WIDTHS_FRAMES = (1, 5, 9, 13)  # of the smoothing: none to 1.2 s
# half as many frames as usual, twice as far apart: the same 0.7 s, in half the time
HPSS = {"hop_samples": 1024, "length_frames": 15}

CONTEXT_FRAMES = 7  # on either side
HIDDEN = 256
TRAINING = TrainingConfig(
    max_epochs=5, patience=5, batch_size=64, learning_rate=1e-3, weight_decay=1e-4
)
CORPUS, N_TRACKS = "chords", 72
_SEMITONES = PitchAxis(f_min_hz=8.175799, bins_per_semitone=1, n_bins=128)  # MIDI 0 to 127

Chroma = Callable[[Mapping[str, Feature]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class ChordTrack:
    """One track with its spectra by name, and its truth: chords, or notes.

    ``spectra`` has "plain" and "tuned" and, where asked for, "harmonic" and "harmonic-tuned" (after
    harmonic-percussive separation). ``classes`` (frames,) are chords, ``target`` (12, frames) the
    pitch classes of the notes, or of the chord where notes are not annotated. ``tuning_cents`` is
    annotated, ``estimated_cents`` estimated from the plain spectrum; ``has_drums`` says whether a
    drum kit plays.
    """

    key: str
    spectra: Mapping[str, Feature]
    classes: NDArray[np.int64] | None
    target: NDArray[np.uint8]
    tuning_cents: float
    estimated_cents: float
    has_drums: bool


Sides = Mapping[str, Sequence[ChordTrack]]


def load_tracks(
    corpus: str,
    n_tracks: int,
    *,
    seed: int = 0,
    with_hpss: bool = False,
    progress: bool = True,
) -> dict[str, list[ChordTrack]]:
    """Return by side the tracks of a corpus that has chords or notes, with their spectra.

    Parameters
    ----------
    corpus
        ``chords``, ``chorales`` or ``piano``.
    n_tracks, seed
        Its size and performances.
    with_hpss
        Whether to compute the spectra after harmonic-percussive separation, too.
    progress
        Whether to show progress bars.
    """

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[ChordTrack]:
        if entry.first("role") == "stem":
            return []
        spectra, cents = spectra_of(*read(), with_hpss=with_hpss)
        classes, target = _truth(entry, spectra["plain"].times)
        return [
            ChordTrack(
                key=entry.filepath,
                spectra=spectra,
                classes=classes,
                target=target,
                tuning_cents=float(entry.first("tuning-cents") or 0.0),
                estimated_cents=cents,
                has_drums=any(name.startswith("kit-") for name in entry.values("instrument")),
            )
        ]

    return load_sides(corpus, to_items, n_tracks=n_tracks, seed=seed, progress=progress)


def load_notes(
    n_tracks: int, *, seed: int = 0, progress: bool = True
) -> dict[str, list[ChordTrack]]:
    """Return the tracks that have notes: ``n_tracks`` chorales and half as many piano pieces."""
    chorales = load_tracks("chorales", n_tracks, seed=seed, progress=progress)
    piano = load_tracks("piano", max(6, n_tracks // 2), seed=seed, progress=progress)
    return {side: chorales[side] + piano[side] for side in chorales}


def spectra_of(
    audio: NDArray[np.float32], rate: int, *, with_hpss: bool = False
) -> tuple[dict[str, Feature], float]:
    """Return the spectra of a recording by name, and its estimated tuning in cents."""
    plain = cqt.cqt(audio, INPUT, sample_rate=rate)
    cents = tuning.estimate_tuning(plain)
    moved = tuning.retuned(INPUT, cents)
    spectra = {"plain": plain, "tuned": cqt.cqt(audio, moved, sample_rate=rate)}
    if with_hpss:
        harmonic, _ = hpss.separate(audio, rate, **HPSS)
        spectra["harmonic"] = cqt.cqt(harmonic, INPUT, sample_rate=rate)
        spectra["harmonic-tuned"] = cqt.cqt(harmonic, moved, sample_rate=rate)
    return spectra, cents


def _truth(
    entry: pyjama.Entry, times_s: NDArray[np.float64]
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint8]]:
    if "pitchmidi" in entry.fields:
        notes = from_notes(*entry.segments("pitchmidi"), _SEMITONES, times_s)
        return None, np.stack([notes[row::12].max(axis=0) for row in range(12)])
    classes = harte.class_frames(*entry.segments("chord"), times_s)
    return classes, pitch_classes(classes)


def pitch_classes(classes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the three pitch classes of each frame's triad, (12, frames); none for no chord."""
    rows = np.zeros((26, 12), dtype=np.uint8)  # the last two: no chord, and no class (-1)
    for root in range(12):
        rows[root, [root, (root + 4) % 12, (root + 7) % 12]] = 1
        rows[12 + root, [root, (root + 3) % 12, (root + 7) % 12]] = 1
    return rows[classes].T


# --- hand-made chroma ---


def hand_made(name: str, *, compression: float = 0.0) -> Chroma:
    """Return the function that folds the spectrum of this name."""

    def chroma(spectra: Mapping[str, Feature]) -> NDArray[np.float32]:
        # a spectrum that was moved to the tuning begins a little off C2
        spectrum = spectra[name]
        cents = 100.0 * float(tuning.pitches(spectrum)[0] - tuning.pitches(spectra["plain"])[0])
        return tuning.fold(spectrum, tuning_cents=cents, compression=compression).values[0]

    return chroma


# --- learned chroma ---


class DeepChroma(nn.Module):
    """Three dense layers: (batch, frames, bins) log spectra to (batch, 12) logits."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))
        n_inputs = (2 * CONTEXT_FRAMES + 1) * INPUT.n_bins
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(n_inputs, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, 12),
        )

    def forward(self, spectra: Tensor) -> Tensor:
        """Return one logit for each pitch class."""
        return self.layers((spectra - self.mean) / self.deviation)


def excerpts(spectrum: Feature) -> NDArray[np.float32]:
    """Return each frame with its neighbours, log-compressed, (frames, 15, bins)."""
    values = mel.compress(spectrum.values[0], DEEP_COMPRESSION).astype(np.float32)
    padded = np.pad(values, ((0, 0), (CONTEXT_FRAMES, CONTEXT_FRAMES)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT_FRAMES + 1, axis=1)
    return windows.transpose(1, 2, 0)


def transposed(spectra: NDArray, targets: NDArray, semitones: int) -> tuple[NDArray, NDArray]:
    """Return excerpts (..., bins) moved up along the axis, and their targets (..., 12) rotated.

    Bins that come in from beyond the axis are silent.
    """
    shift = semitones * INPUT.bins_per_semitone
    moved = np.roll(spectra, shift, axis=-1)
    if shift > 0:
        moved[..., :shift] = 0.0
    elif shift < 0:
        moved[..., shift:] = 0.0
    return moved, np.roll(targets, semitones, axis=-1)


def examples(tracks: Sequence[ChordTrack], spectrum: str) -> Examples:
    """Return the excerpts of tracks and their pitch classes; chords without class are left out."""
    known = [
        np.ones(t.target.shape[1], bool) if t.classes is None else t.classes != harte.IGNORED
        for t in tracks
    ]
    return Examples(
        np.concatenate(
            [excerpts(t.spectra[spectrum])[k] for t, k in zip(tracks, known, strict=True)]
        ),
        np.concatenate([t.target.T[k] for t, k in zip(tracks, known, strict=True)]).astype(
            np.float32
        ),
    )


@dataclass(frozen=True, eq=False)
class LearnedChroma:
    """A trained network, the spectrum that it reads, and its training curve."""

    network: DeepChroma
    spectrum: str
    history: list[dict[str, float]]

    def __call__(self, spectra: Mapping[str, Feature]) -> NDArray[np.float32]:
        """Return the probability of each pitch class in each frame, (12, frames)."""
        inputs = excerpts(spectra[self.spectrum]).copy()
        logits = logits_of(self.network, inputs, batch_size=len(inputs))
        return torch.sigmoid(torch.from_numpy(logits)).numpy().T


def learn_chroma(
    sides: Sides,
    spectrum: str = "tuned",
    *,
    seed: int = 0,
    training: TrainingConfig = TRAINING,
    progress: bool = True,
) -> LearnedChroma:
    """Train the network on the training side of some tracks; validation chooses the epoch.

    Each batch is transposed by -5 to 6 semitones, pitch classes and all.
    """
    made = {side: examples(sides[side], spectrum) for side in ("train", "validation")}
    sample, rng = made["train"].inputs[::10], np.random.default_rng([seed])
    network, result = train_network(
        lambda: DeepChroma(float(sample.mean()), float(sample.std())),
        made,
        seed=seed,
        training=training,
        loss=functional.binary_cross_entropy_with_logits,
        change=lambda x, y: transposed(x, y, int(rng.integers(-5, 7))),
        progress=progress,
    )
    return LearnedChroma(network, spectrum, result.history)


# --- scores ---


def smoothed(chroma: NDArray, width_frames: int) -> NDArray:
    """Return the running mean along time."""
    return scipy.ndimage.uniform_filter1d(chroma, width_frames, axis=1)


def frame_accuracy(predicted: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """Return the share of right frames among those whose chord has a class."""
    known = classes != harte.IGNORED
    return float(np.mean(predicted[known] == classes[known]))


class LinearChords:
    """A linear model from one frame of chroma to 25 classes, trained in all transpositions."""

    def __init__(self, chroma: Sequence[NDArray], classes: Sequence[NDArray[np.int64]]) -> None:
        # every other frame: neighbours say nearly the same
        x = np.concatenate([c[:, ::2].T for c in chroma])
        y = np.concatenate([c[::2] for c in classes])
        x, y = x[y != harte.IGNORED], y[y != harte.IGNORED]
        x = np.concatenate([np.roll(x, steps, axis=1) for steps in range(12)])
        y = np.concatenate([transposed_classes(y, steps) for steps in range(12)])
        self.mean, self.deviation = float(x.mean()), float(x.std() + 1e-9)
        self.layer = nn.Linear(12, len(harte.CLASSES))
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        inputs, labels = self._standardised(x), torch.from_numpy(y)
        optimiser = torch.optim.LBFGS(
            self.layer.parameters(), max_iter=50, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = functional.cross_entropy(self.layer(inputs), labels)
            loss = loss + 1e-4 * self.layer.weight.square().sum()
            check_loss(loss, "fitting of linear chords", optimiser)
            loss.backward()
            return loss

        optimiser.step(closure)

    def _standardised(self, frames: NDArray) -> Tensor:
        return torch.from_numpy(((frames - self.mean) / self.deviation).astype(np.float32))

    def __call__(self, chroma: NDArray) -> NDArray[np.int64]:
        """Return the most likely class of each frame of a chroma (12, frames)."""
        with torch.inference_mode():
            return self.layer(self._standardised(chroma.T)).argmax(dim=1).numpy()


def transposed_classes(classes: NDArray[np.int64], semitones: int) -> NDArray[np.int64]:
    """Return the classes of chords moved up; no chord, and no class, stay what they are."""
    root, is_minor = classes % 12, classes // 12
    moved = (root + semitones) % 12 + 12 * is_minor
    return np.where((classes >= 0) & (classes < harte.NO_CHORD_CLASS), moved, classes)


@dataclass(frozen=True)
class Judged:
    """Scores of one chroma, by track of the test side, and the smoothing that was chosen."""

    templates: tuple[float, ...]
    linear: tuple[float, ...]
    width_frames: int


def judge(sides: Sides, chroma: Chroma) -> Judged:
    """Return how well chords are recognised from a chroma; see the module."""
    raw = {side: [chroma(t.spectra) for t in tracks] for side, tracks in sides.items()}

    def by_templates(side: str, width: int) -> list[float]:
        return [
            frame_accuracy(chords.match_chords(smoothed(c, width)), t.classes)
            for c, t in zip(raw[side], sides[side], strict=True)
        ]

    width = max(WIDTHS_FRAMES, key=lambda width: np.mean(by_templates("validation", width)))
    inputs = {side: [smoothed(c, width) for c in raw[side]] for side in ("train", "test")}
    model = LinearChords(inputs["train"], [t.classes for t in sides["train"]])
    linear = [
        frame_accuracy(model(c), t.classes)
        for c, t in zip(inputs["test"], sides["test"], strict=True)
    ]
    return Judged(tuple(by_templates("test", width)), tuple(linear), width)


def most_frequent(sides: Sides) -> list[float]:
    """Return by track the accuracy of always saying the most frequent chord of training."""
    classes = np.concatenate([t.classes for t in sides["train"]])
    common = majority(classes[classes != harte.IGNORED])
    return [frame_accuracy(np.full_like(t.classes, common), t.classes) for t in sides["test"]]


# --- what is compared ---


@dataclass(frozen=True)
class Variant:
    """A chroma: hand-made with a compression constant, or learned from notes or chords."""

    spectrum: str
    compression: float = 0.0
    learned_from: str | None = None

    def describe(self) -> dict[str, object]:
        """Return what makes this chroma."""
        if self.learned_from is None:
            return {"spectrum": self.spectrum, "compression": self.compression}
        return {
            "spectrum": self.spectrum,
            "learned_from": self.learned_from,
            "epochs": TRAINING.max_epochs,
        }


NOTES = "chorales, piano"
VARIANTS: Mapping[str, Variant] = {
    "plain": Variant("plain"),
    "log": Variant("plain", COMPRESSION),
    "tuned": Variant("tuned"),
    "tuned-log": Variant("tuned", COMPRESSION),
    "hpss": Variant("harmonic"),
    "hpss-tuned-log": Variant("harmonic-tuned", COMPRESSION),
    "deep-notes": Variant("plain", learned_from=NOTES),
    "deep-notes-tuned": Variant("tuned", learned_from=NOTES),
    "deep-chords-tuned": Variant("tuned", learned_from=CORPUS),
}


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> dict[str, Sides]:
    """Return the tracks that have chords, and those that have notes."""
    return {
        CORPUS: load_tracks(CORPUS, n_tracks, seed=seed, with_hpss=True, progress=progress),
        NOTES: load_notes(n_tracks, seed=seed, progress=progress),
    }


def train(variant: Variant, data: Mapping[str, Sides], *, seed: int = 0) -> Chroma:
    """Return the chroma of a variant."""
    if variant.learned_from is None:
        return hand_made(variant.spectrum, compression=variant.compression)
    return learn_chroma(data[variant.learned_from], variant.spectrum, seed=seed)


def score(chroma: Chroma, variant: Variant, data: Mapping[str, Sides]) -> dict[str, float]:
    """Return how well chords are recognised from a chroma, and in tracks with drums."""
    found = judge(data[CORPUS], chroma)
    return _means(data, found.linear, found.templates, found.width_frames)


def _means(
    data: Mapping[str, Sides],
    linear: Sequence[float],
    templates: Sequence[float],
    width_frames: int = 0,
) -> dict[str, float]:
    with_drums = np.array([t.has_drums for t in data[CORPUS]["test"]])
    return {
        "linear": float(np.mean(linear)),
        "linear_drums": float(np.mean(np.array(linear)[with_drums])),
        "templates": float(np.mean(templates)),
        "width_frames": float(width_frames),
    }


def baseline(data: Mapping[str, Sides]) -> dict[str, float]:
    """Return the scores of the most frequent chord."""
    guesses = most_frequent(data[CORPUS])
    return _means(data, guesses, guesses)


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data[CORPUS]["test"]),
    baselines={"majority": baseline},
    variants=VARIANTS,
    train=train,
    score=score,
    describe=Variant.describe,
)
run = COMPARISON.run
