"""What the methods are given: spectra, and vectors that other networks and MFCC make of a track.

Conventions: tracks are excerpts of ``instruments``, three seconds with one of twelve instruments in
front. *Familiar* tracks, the validation side of the corpus, have other pieces than the training
side, with the same recordings of the instruments; *new* ones, the test side, have other pieces,
recordings and rooms. Nothing is chosen on either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from dl101.chapters.few_shot.learning import draw_examples
from dl101.data import pyjama
from dl101.data.audiofile import resample
from dl101.data.sounds import at_level
from dl101.nn.inspection import outputs_of
from dl101.signal import mel
from dl101.systems import auto_tagging_data, chords_data, self_supervised
from dl101.systems.auto_tagging import AutoTaggingSystem
from dl101.systems.chords import ChordSystem
from dl101.systems.self_supervised import SelfSupervisedSystem
from dl101.training import shipped
from dl101.training.comparison import Read, corpus_tracks, load_sides

CORPUS, LABEL = "instruments", "instrument"
N_TRACKS = 1800  # of which 1,200 are the training side: 100 of each class
N_BANDS, N_FRAMES, HOP_SAMPLES = 48, 32, 1024  # networks read 1.5 of the 3 seconds
SIDES = {"train": "train", "familiar": "validation", "new": "test"}
SOURCES = ("tagger", "encoder", "chords")
# The last two take time: they hear of the training side what these draws need.
SLOW, SLOW_SHOTS, SLOW_DRAWS = SOURCES[1:], 20, 2
N_MFCC = 20


@dataclass(frozen=True, eq=False)
class Data:
    """Tracks by side: ``"train"``, ``"familiar"`` and ``"new"``.

    Attributes
    ----------
    inputs
        By name and side: ``spectra`` (tracks, 1, bands, frames), the others (tracks, numbers).
    labels
        (tracks,) by side: numbers of ``classes``.
    classes
        The instruments.
    seed
        Of the corpus and of all draws.
    """

    inputs: Mapping[str, Mapping[str, NDArray[np.float32]]]
    labels: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    seed: int


def spectrum(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return what the networks from scratch read, (1, bands, frames), at one level."""
    options = {"n_bands": N_BANDS, "hop_samples": HOP_SAMPLES}
    return mel.log_mel(at_level(audio), sample_rate, **options).values


def mfcc_statistics(log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return mean and deviation over time of MFCC and their first and second slopes, (120,).

    Parameters
    ----------
    log_mel
        (1, bands, frames).
    """
    coefficients = mel.mfcc(log_mel[0], N_MFCC)
    slopes = [librosa.feature.delta(coefficients, order=order) for order in (1, 2)]
    rows = np.concatenate([coefficients, *slopes])
    return np.concatenate([rows.mean(axis=1), rows.std(axis=1)]).astype(np.float32)


class Embedders:
    """The networks that ship, as functions of a recording: what they know before the last layer."""

    def __init__(self) -> None:
        self.systems = {
            "tagger": shipped.load("auto_tagging").system.eval(),
            "encoder": shipped.load("self_supervised").system.eval(),
            "chords": shipped.load("chords").system.eval(),
        }

    def __call__(
        self, audio: NDArray[np.float32], sample_rate: int, *, slow: bool = True
    ) -> dict[str, NDArray[np.float32]]:
        """Return ``mfcc`` and the embedding of each source, (numbers,), of a recording.

        With ``slow=False`` those that take time are left out: not a number.
        """
        feature = self.systems["tagger"].settings.feature
        log_mel = auto_tagging_data.log_mel(
            resample(audio, sample_rate, feature.sample_rate), feature
        ).values
        found = {
            "mfcc": mfcc_statistics(log_mel),
            "tagger": of_tagger(self.systems["tagger"], log_mel),
        }
        for name, (embed, length) in _SLOW.items():
            unknown = np.full(length, np.nan, dtype=np.float32)
            found[name] = embed(self.systems[name], audio, sample_rate) if slow else unknown
        return found


@torch.no_grad()
def of_tagger(system: AutoTaggingSystem, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the 192 numbers before the tagger's last layer, of the first patch."""
    patch = auto_tagging_data.cut(log_mel, 0, system.settings.data.patch_frames)
    found = outputs_of(system.network, torch.nn.Flatten, torch.from_numpy(patch)[None])
    return next(iter(found.values()))[0].numpy()


def of_encoder(
    system: SelfSupervisedSystem, audio: NDArray[np.float32], sample_rate: int
) -> NDArray[np.float32]:
    """Return the mean over crops of the representation, 256 numbers, learned without labels."""
    heard = resample(at_level(audio), sample_rate, system.settings.sample_rate)
    return self_supervised.embed(system, [heard])[0].mean(axis=0)


@torch.no_grad()
def of_chords(
    system: ChordSystem, audio: NDArray[np.float32], sample_rate: int
) -> NDArray[np.float32]:
    """Return the mean over frames of the 64 numbers before the last layer of the chord network."""
    feature = system.settings.feature
    spectra = chords_data.network_input(audio, feature, sample_rate=sample_rate).values
    network = system.network
    frames = network.along(network.down(torch.from_numpy(np.array(spectra))[None]).squeeze(2))
    return network.lstm(frames.transpose(1, 2))[0].mean(dim=1)[0].numpy()


_SLOW = {"encoder": (of_encoder, 256), "chords": (of_chords, 64)}


def load(
    seed: int = 0, n_tracks: int = N_TRACKS, *, slow: bool = True, progress: bool = True
) -> Data:
    """Return the corpus of a seed as all methods see it.

    With ``slow=False`` the sources that take time are not asked: their vectors are not numbers.
    """
    embed = Embedders()
    options = {"n_tracks": n_tracks, "seed": seed}
    known = [
        entry.first(LABEL)
        for entry, _ in corpus_tracks(CORPUS, progress=progress, **options)
        if entry.first("split") == "train"
    ]
    classes = tuple(sorted(set(known)))
    labels = np.array([classes.index(label) for label in known])
    wanted = np.zeros(len(labels), dtype=bool)
    for draw in range(SLOW_DRAWS):
        wanted[draw_examples(labels, SLOW_SHOTS, seed=seed, draw=draw)] = True
    needed = iter(wanted.tolist())

    def items(entry: pyjama.Entry, read: Read) -> list[tuple[dict[str, NDArray], int]]:
        audio, rate = read()
        wanted = entry.first("split") != "train" or next(needed)
        vectors = embed(audio, rate, slow=slow and wanted)
        return [({"spectra": spectrum(audio, rate)} | vectors, classes.index(entry.first(LABEL)))]

    found = load_sides(CORPUS, items, progress=progress, **options)
    return Data(
        {
            name: {side: np.stack([x[name] for x, _ in found[of]]) for side, of in SIDES.items()}
            for name in found["train"][0][0]
        },
        {side: np.array([label for _, label in found[of]]) for side, of in SIDES.items()},
        classes,
        seed,
    )
