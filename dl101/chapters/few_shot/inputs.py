"""What the methods are given: spectra, and vectors that other networks and MFCC make of a track.

Conventions: tracks are excerpts of ``instruments``, three seconds with one of twelve instruments in
front. *Familiar* tracks, the validation side of the corpus, have other pieces than the training
side, with the same recordings of the instruments; *new* ones, the test side, have other pieces,
recordings and rooms. Nothing is chosen on either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

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
from dl101.training.comparison import Read, load_sides

CORPUS, LABEL = "instruments", "instrument"
N_TRACKS = 1800  # of which 1,200 are the training side: 100 of each class
N_BANDS, N_FRAMES = 32, 32  # of a cut: 1.5 of the 3 seconds
CORPUS_SEED = 0  # all seeds draw from one corpus, as the thesis does
SIDES = {"train": "train", "familiar": "validation", "new": "test"}
SOURCES = ("tagger", "encoder", "chords")
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
    """

    inputs: Mapping[str, Mapping[str, NDArray[np.float32]]]
    labels: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]


def spectrum(log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the networks from scratch read, (1, 32, frames / 2).

    It is the log-mel spectrogram of the tagger, (1, 64, frames) with a hop of 512 samples, averaged
    over pairs of bands and of frames.
    """
    n_frames = log_mel.shape[-1] // 2
    pairs = log_mel[..., : 2 * n_frames].reshape(1, N_BANDS, 2, n_frames, 2)
    return pairs.mean(axis=(2, 4))


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
        self, audio: NDArray[np.float32], sample_rate: int, *, only: Collection[str] = SOURCES
    ) -> dict[str, NDArray[np.float32]]:
        """Return ``spectra``, ``mfcc`` and, (numbers,), the embeddings of these sources."""
        feature = self.systems["tagger"].settings.feature
        log_mel = auto_tagging_data.log_mel(
            resample(audio, sample_rate, feature.sample_rate), feature
        ).values
        found = {"spectra": spectrum(log_mel), "mfcc": mfcc_statistics(log_mel)}
        if "tagger" in only:
            found["tagger"] = of_tagger(self.systems["tagger"], log_mel)
        if "encoder" in only:
            found["encoder"] = of_encoder(self.systems["encoder"], audio, sample_rate)
        if "chords" in only:
            found["chords"] = of_chords(self.systems["chords"], audio, sample_rate)
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


@lru_cache(maxsize=1)
def load(
    n_tracks: int = N_TRACKS, *, only: tuple[str, ...] = SOURCES, progress: bool = True
) -> Data:
    """Return the corpus as all methods see it, with the embeddings of some sources."""
    embed = Embedders()

    def items(entry: pyjama.Entry, read: Read) -> list[tuple[dict[str, NDArray], str]]:
        return [(embed(*read(), only=only), entry.first(LABEL))]

    found = load_sides(CORPUS, items, n_tracks=n_tracks, seed=CORPUS_SEED, progress=progress)
    classes = tuple(sorted({label for _, label in found["train"]}))
    return Data(
        {
            name: {side: np.stack([x[name] for x, _ in found[of]]) for side, of in SIDES.items()}
            for name in found["train"][0][0]
        },
        {
            side: np.array([classes.index(label) for _, label in found[of]])
            for side, of in SIDES.items()
        },
        classes,
    )
