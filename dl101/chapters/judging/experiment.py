"""What each metric of generated sounds sees, and what it misses.

Conventions: sounds are notes of the corpus ``notes``, 1.25 s at 22,050 Hz. No generator is trained:
each is made from recordings, so that it is known what is wrong with it. Its flaw is its name in
:data:`GENERATORS`; ``fresh`` has none. Generators, their training set and the reference have the
same instruments and share no note; ``other instruments`` is the test side of the corpus.

The judge is a small network (:class:`Tagger`) that names the family of instruments and the pitch
class of a note. It learned from notes that are in none of the other sets. Its embedding is the
layer before the last, 32 numbers, each shifted and scaled so that it has mean 0 and deviation 1 on
the notes that it learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.signal
import torch
from numpy.typing import ArrayLike, NDArray

from dl101.data import pyjama
from dl101.data.embedded.corpora import notes as corpus
from dl101.data.embedded.recipe import track_split
from dl101.evaluation import embeddings
from dl101.evaluation import generation as judge
from dl101.signal import augment
from dl101.systems.notes_tagger import (
    DIMENSIONS,
    FAMILIES,
    RATE,
    NoteNetwork,
    family_and_pitch_loss,
    spectra_of,
    transposed,
)
from dl101.training.comparison import Comparison, Read, load_sides
from dl101.training.examples import Examples, train_network
from dl101.training.fit import FitResult, TrainingConfig

CORPUS, N_TRACKS = "notes", 2160
TWO_FAMILIES = ("guitar", "flute")
SNR_DB, CUTOFF_HZ = 20.0, 2000.0
QUARTER_TONE = (34, 35)  # a ratio of 50 cents
N_PITCHES = 100  # notes whose pitch is measured

TRAINING = TrainingConfig(
    max_epochs=30, patience=30, batch_size=32, learning_rate=3e-3, weight_decay=1e-2
)


@dataclass(frozen=True, eq=False)
class Notes:
    """A set of notes: ``audio`` (items, samples), and what was asked for: family and pitch."""

    audio: NDArray[np.float32]
    families: NDArray[np.str_]
    asked_midi: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, index: ArrayLike | slice) -> Notes:
        return Notes(self.audio[index], self.families[index], self.asked_midi[index])

    def changed(self, change: Callable[[NDArray[np.float32]], NDArray]) -> Notes:
        """Return the notes with every sound changed."""
        return replace(self, audio=np.stack([change(sound) for sound in self.audio]))


def _gathered(rows: Sequence[tuple[NDArray[np.float32], str, float]]) -> Notes:
    audio, families, pitches = zip(*rows, strict=True)
    return Notes(np.stack(audio), np.array(families), np.array(pitches, dtype=np.float64))


def _row(
    audio: NDArray[np.float32], entry: Mapping[str, Sequence[pyjama.Atom]]
) -> tuple[NDArray[np.float32], str, float]:
    return audio, entry["family"][0].value, float(np.ravel(entry["pitchmidi"][0].value)[0])


# --- the judge ---


def examples(notes: Notes) -> Examples:
    """Return spectra and labels (items, 2): family and pitch class."""
    families = [FAMILIES.index(family) for family in notes.families]
    classes = notes.asked_midi.astype(np.int64) % 12
    return Examples(spectra_of(notes.audio), np.stack([np.array(families), classes], axis=1))


@dataclass(frozen=True, eq=False)
class Tagger:
    """The judge: an embedding like those of :mod:`dl101.evaluation.embeddings`, and a classifier.

    ``history`` is its training curve.
    """

    network: NoteNetwork
    history: list[dict[str, float]]

    def __call__(self, sounds: Sequence[ArrayLike], sample_rate: int = RATE) -> NDArray:
        """Return the embedding of sounds, (items, 32)."""
        return self.embed(spectra_of(sounds, sample_rate))

    def embed(self, spectra: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the embedding of spectra, (items, 32)."""
        with torch.inference_mode():
            return self.network.embed(torch.from_numpy(spectra)).double().numpy()

    def probabilities(self, spectra: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what it says of spectra: probabilities of the families, (items, 11)."""
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(spectra)).double()
        return torch.softmax(logits[:, : len(FAMILIES)], dim=1).numpy()

    def accuracy(self, notes: Notes) -> tuple[float, float]:
        """Return the share of notes whose family, and whose pitch class, are named rightly."""
        known = examples(notes)
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(known.inputs)).numpy()
        n = len(FAMILIES)
        found = np.stack([logits[:, :n].argmax(axis=1), logits[:, n:].argmax(axis=1)], axis=1)
        family, pitch_class = (found == known.labels).mean(axis=0)
        return float(family), float(pitch_class)


def train_tagger(
    train: Notes,
    validation: Notes,
    *,
    seed: int = 0,
    training: TrainingConfig = TRAINING,
    progress: bool = True,
) -> Tagger:
    """Train the judge; every batch is transposed by -5 to 6 semitones."""
    made = {"train": examples(train), "validation": examples(validation)}
    rng, inputs = np.random.default_rng([seed, 1]), made["train"].inputs
    network, result = train_network(
        lambda: NoteNetwork(float(inputs.mean()), float(inputs.std())),
        made,
        seed=seed,
        training=training,
        loss=family_and_pitch_loss,
        change=lambda x, y: transposed(x, y, int(rng.integers(-5, 7))),
        progress=progress,
    )
    return standardised(network, inputs, result)


def standardised(network: NoteNetwork, inputs: NDArray[np.float32], result: FitResult) -> Tagger:
    """Return the judge whose embedding has mean 0 and deviation 1 on some spectra."""
    network.eval()
    network.standardise(torch.from_numpy(inputs))
    return Tagger(network, result.history)


# --- the sets ---


@dataclass(frozen=True, eq=False)
class Pools:
    """Sets of notes that share no note.

    ``for_tagger`` and ``validation`` train the judge; ``training`` is what generators learned from;
    ``reference`` are real notes to compare with, ``fresh`` others of the same instruments;
    ``others`` have instruments that are heard nowhere else. ``seed`` draws all that is random.
    """

    for_tagger: Notes
    validation: Notes
    training: Notes
    reference: Notes
    fresh: Notes
    others: Notes
    seed: int
    n_tracks: int


def load_pools(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Pools:
    """Return the sets: of the training side three eighths for the judge, the rest in three parts.

    Parameters
    ----------
    seed
        Of the corpus.
    n_tracks
        Its size.
    progress
        Whether to show progress bars.
    """

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[tuple]:
        return [_row(read()[0], entry.fields)]

    found = load_sides(CORPUS, to_items, n_tracks=n_tracks, seed=seed, progress=progress)
    sides = {side: _gathered(rows) for side, rows in found.items()}
    train = sides["train"]
    n = 5 * len(train) // 24
    parts = [train[len(train) - k * n : len(train) - (k - 1) * n] for k in (3, 2, 1)]
    return Pools(
        train[: len(train) - 3 * n], sides["validation"], *parts, sides["test"][:n], seed, n_tracks
    )


def render_families(families: Sequence[str], n: int, *, seed: int, first: int) -> Notes:
    """Return new notes of the training side's instruments, of some families in turn.

    Tracks of the corpus are numbered; those from ``first`` on are looked through.
    """
    rows, index = [], first
    while len(rows) < n:
        wanted = families[len(rows) % len(families)]
        if track_split(index)[0] == "train" and corpus.plan(index, seed).family == wanted:
            (item,) = corpus.render(index, seed=seed)
            rows.append(_row(item.values, item.fields))
        index += 1
    return _gathered(rows)


Generator = Callable[[Pools], Notes]


def _drops_modes(pools: Pools) -> Notes:
    n = len(pools.fresh)
    return render_families(TWO_FAMILIES, n, seed=pools.seed, first=pools.n_tracks)


def _noisy(pools: Pools) -> Notes:
    rng = np.random.default_rng([pools.seed, 2])
    return pools.fresh.changed(lambda sound: augment.add_noise(sound, SNR_DB, rng))


def _low_passed(pools: Pools) -> Notes:
    return pools.fresh.changed(lambda sound: augment.low_pass(sound, RATE, CUTOFF_HZ, order=8))


def _quarter_tone_up(pools: Pools) -> Notes:
    def higher(sound: NDArray[np.float32]) -> NDArray[np.float32]:
        shorter = scipy.signal.resample_poly(sound, *QUARTER_TONE)
        return np.pad(shorter, (0, sound.size - shorter.size)).astype(np.float32)

    return pools.fresh.changed(higher)


def _blends(pools: Pools) -> Notes:
    """Return two fresh notes at once: what comes of averaging what may be."""
    fresh = pools.fresh
    other = np.roll(np.random.default_rng([pools.seed, 3]).permutation(len(fresh)), 1)
    return replace(fresh, audio=0.5 * (fresh.audio + fresh.audio[other]))


def _wrong_notes(pools: Pools) -> Notes:
    """Return the fresh notes, each of which plays when another is asked for."""
    order = np.random.default_rng([pools.seed, 4]).permutation(len(pools.fresh))
    return replace(pools.fresh, audio=pools.fresh.audio[order])


GENERATORS: Mapping[str, Generator] = {
    "fresh": lambda pools: pools.fresh,
    "memoriser": lambda pools: pools.training,
    "mode dropper": _drops_modes,
    "wrong notes": _wrong_notes,
    "noisy": _noisy,
    "low-passed": _low_passed,
    "quarter tone up": _quarter_tone_up,
    "blends": _blends,
    "other instruments": lambda pools: pools.others,
}


# --- scores ---


def pitches_obeyed(notes: Notes) -> NDArray[np.bool_]:
    """Return for the first notes whether each is within a third of a semitone of what was asked."""
    return judge.plays_as_asked(notes.audio[:N_PITCHES], RATE, notes.asked_midi[:N_PITCHES])


@dataclass(frozen=True, eq=False)
class Data:
    """The sets, the judge, and what it makes of the sets that all generators are compared with."""

    pools: Pools
    tagger: Tagger
    reference: NDArray[np.float64]
    training: NDArray[np.float64]
    reference_spectrum: NDArray[np.float64]


def prepared(pools: Pools, tagger: Tagger) -> Data:
    """Return sets and judge with the embeddings that every comparison needs."""
    real = pools.reference.audio
    embedded = (tagger(real), tagger(pools.training.audio), embeddings.spectrum(real, RATE))
    return Data(pools, tagger, *embedded)


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Data:
    """Return the sets of a seed and the judge that was trained on some of them."""
    pools = load_pools(seed=seed, n_tracks=n_tracks, progress=progress)
    tagger = train_tagger(pools.for_tagger, pools.validation, seed=seed, progress=progress)
    return prepared(pools, tagger)


def metrics_of(notes: Notes, data: Data, *, pitches: bool = True) -> dict[str, float]:
    """Return all that is measured of a generated set; ``pitches`` takes longest."""
    spectra = spectra_of(notes.audio)
    found = data.tagger.embed(spectra)
    real = data.reference
    line = judge.frechet_infinity(real, found, n_draws=10, both=True, seed=data.pools.seed)
    small = judge.frechet_infinity(
        real, found, sizes=[40, 80], n_draws=10, both=True, seed=data.pools.seed
    )
    kernel = judge.kernel_distance(real, found)
    precision, recall = judge.precision_recall(real, found)
    density, coverage = judge.density_coverage(real, found)
    metrics = {
        "frechet": judge.frechet_distance(real, found),
        "frechet_infinity": line.at_infinity,
        "frechet_40": float(small.distances[small.sizes == 40].mean()),
        "kid": kernel.value,
        "kid_error": kernel.standard_error,
        "inception": judge.inception_score(data.tagger.probabilities(spectra)),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
        "memorisation": judge.memorisation(found, data.training, real),
        "frechet_spectrum": judge.frechet_distance(
            data.reference_spectrum, embeddings.spectrum(notes.audio, RATE)
        ),
    }
    return metrics | ({"pitch": float(pitches_obeyed(notes).mean())} if pitches else {})


def tagger_scores(data: Data) -> dict[str, float]:
    """Return how often the judge is right, on its own kind of instruments and on others."""
    family, pitch_class = data.tagger.accuracy(data.pools.reference)
    family_others, pitch_class_others = data.tagger.accuracy(data.pools.others)
    return {
        "family": family,
        "pitch_class": pitch_class,
        "family_others": family_others,
        "pitch_class_others": pitch_class_others,
        "inception_of_reference": judge.inception_score(
            data.tagger.probabilities(spectra_of(data.pools.reference.audio))
        ),
    }


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data.reference),
    baselines={"judge": tagger_scores},
    variants=GENERATORS,
    train=lambda generator, data, *, seed: generator(data.pools),
    score=lambda notes, generator, data: metrics_of(notes, data),
    describe=lambda generator: {"epochs": TRAINING.max_epochs, "dimensions": DIMENSIONS},
)
run = COMPARISON.run
