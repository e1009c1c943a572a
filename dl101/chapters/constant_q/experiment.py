"""Does a pitch finder that learned one octave work in the octaves beside it? Ask its input.

Conventions: an example is one frame of one note of the corpus ``notes``, 0.16 s after the start of
the track: an array (channels, bins), whose bins are frequencies. Every input meets the same small
network, which is convolutional along frequency: it gives each bin one logit, by the same weights
everywhere, and the bin with the highest one is the answer. It is right within half a semitone.
The five taps of each convolution are neighbours (``near taps``) or stand apart (``far taps``), as
far as it takes to see several harmonics at once, with the same number of weights.

Training and validation see the notes from G3 to F#4 only. The test side, played by other
instruments, is asked for these (``heard``), for the octave below (``lower``) and for the octave
above (``higher``). ``octave_errors`` is the share of the transposed notes that are found in a wrong
octave.
Three answers without learning stand beside the networks: the strongest bin, the bin with the
largest sum over the harmonic channels 1 to 5, and the same with the channel 0.5 taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dl101.data import pyjama
from dl101.signal import cqt, feature, mel
from dl101.signal.cqt import HcqtConfig
from dl101.training.comparison import Comparison, Read, load_sides
from dl101.training.examples import Examples, predict, train_network
from dl101.training.fit import TrainingConfig
from dl101.units import hz_to_midi

CORPUS, N_TRACKS = "notes", 960
HARMONICS = (0.5, 1, 2, 3, 4, 5)
CONFIG = HcqtConfig(HARMONICS, bins_per_semitone=3, n_octaves=7)
WINDOW_SAMPLES = 8192  # of the STFT and of log-mel: 0.37 s, 2.7 Hz from bin to bin
N_BANDS = 640  # of log-mel: 5 Hz from band to band, fine enough for the lowest notes asked
HIGHEST_HZ = 4200.0  # all inputs but the higher harmonics end here
FRAME = 7
LEARNED_MIDI = (54.5, 66.5)  # G3 to F#4
SPAN = 12.0  # semitones that are asked for below and above
TOLERANCE = 0.5
N_CHANNELS, N_TAPS = 16, 5
TRAINING = TrainingConfig(
    max_epochs=50, patience=8, batch_size=32, learning_rate=5e-3, weight_decay=1e-3
)


@dataclass(frozen=True)
class Variant:
    """An input, and how far apart the taps of the three convolutions stand."""

    feature: str
    dilations: tuple[int, int, int]


NEAR = (1, 1, 1)  # the last layer sees 13 bins
VARIANTS: Mapping[str, Variant] = {
    "stft, near taps": Variant("stft", NEAR),
    "stft, far taps": Variant("stft", (1, 12, 72)),  # 341 bins: 920 Hz
    "log-mel, near taps": Variant("log-mel", NEAR),
    "log-mel, far taps": Variant("log-mel", (1, 8, 40)),  # 197 bands: below 1 kHz, 1000 Hz
    "cqt, near taps": Variant("cqt", NEAR),
    "cqt, far taps": Variant("cqt", (1, 6, 36)),  # 173 bins: 4.8 octaves
    "hcqt without 0.5": Variant("hcqt without 0.5", NEAR),
    "hcqt": Variant("hcqt", NEAR),
}
BASELINES = ("strongest bin", "sum of harmonics", "sum of harmonics less 0.5")


@dataclass(frozen=True, eq=False)
class PitchEstimates:
    """A trained network, and what it says of the test side (notes,) in MIDI."""

    network: nn.Module
    found_midi: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Notes:
    """The notes of one side: pitches (notes,) in MIDI, inputs (notes, channels, bins), sounds."""

    pitches_midi: NDArray[np.float64]
    inputs: Mapping[str, NDArray[np.float32]]
    sounds: Sequence[NDArray[np.float32]] = ()

    def between(self, low_midi: float, high_midi: float) -> NDArray[np.bool_]:
        """Return which notes lie in a range."""
        return (self.pitches_midi >= low_midi) & (self.pitches_midi < high_midi)


def compress(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return magnitudes as ``log(1 + 10000 x)``, scaled so that 1 stays 1."""
    return (mel.compress(values, 1e4) / np.log1p(1e4)).astype(np.float32)


def axes_midi() -> dict[str, NDArray[np.float64]]:
    """Return the pitch of each input's bins in MIDI; the STFT's bin at 0 Hz counts as 1 Hz."""
    silence = np.zeros(WINDOW_SAMPLES, np.float32)
    stft_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / CONFIG.sample_rate)
    mel_hz = _log_mel(silence).frequencies
    cqt = hz_to_midi(CONFIG.frequencies_hz)
    return {
        "stft": hz_to_midi(np.maximum(stft_hz[: _n_below(stft_hz)], 1.0)),
        "log-mel": hz_to_midi(mel_hz[: _n_below(mel_hz)]),
        "cqt": cqt,
        "hcqt without 0.5": cqt,
        "hcqt": cqt,
    }


def frame_inputs(audio: NDArray[np.float32], frame: int = FRAME) -> dict[str, NDArray[np.float32]]:
    """Return all inputs of one frame, each (channels, bins), log-compressed."""
    hcqt = compress(cqt.hcqt(audio, CONFIG).values[..., frame])
    one = HARMONICS.index(1)
    centre = frame * CONFIG.hop_samples
    padded = np.pad(audio, WINDOW_SAMPLES // 2)[centre : centre + WINDOW_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    stft = np.abs(np.fft.rfft(padded * window)) / window.sum()
    mel = _log_mel(audio)
    n_mel = _n_below(mel.frequencies)
    n_stft = _n_below(np.fft.rfftfreq(WINDOW_SAMPLES, 1 / CONFIG.sample_rate))
    return {
        # the scale of the CQT's middle bins, so that the logarithm bends both alike
        "stft": compress(30.0 * stft[np.newaxis, :n_stft]),
        "log-mel": mel.values[:, :n_mel, frame] / np.float32(np.log1p(1e4)),
        "cqt": hcqt[one : one + 1],
        "hcqt without 0.5": hcqt[one:],
        "hcqt": hcqt,
    }


def _log_mel(audio: NDArray[np.float32]) -> feature.Feature:
    return mel.log_mel(
        audio,
        CONFIG.sample_rate,
        n_bands=N_BANDS,
        window_samples=WINDOW_SAMPLES,
        hop_samples=CONFIG.hop_samples,
    )


def _n_below(frequencies_hz: NDArray[np.float64]) -> int:
    return int(np.searchsorted(frequencies_hz, HIGHEST_HZ))


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> dict[str, Notes]:
    """Return the notes of the corpus within reach of the task, by side."""
    low, high = LEARNED_MIDI[0] - SPAN, LEARNED_MIDI[1] + SPAN

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[tuple[float, NDArray, dict]]:
        pitch = _pitch(entry)
        if not low <= pitch < high:
            return []
        audio, _ = read()
        return [(pitch, audio, frame_inputs(audio))]

    found = load_sides(CORPUS, to_items, n_tracks=n_tracks, seed=seed, progress=progress)
    sides = {}
    for side, items in found.items():
        pitches, sounds, inputs = zip(*items, strict=True)
        stacked = {name: np.stack([each[name] for each in inputs]) for name in inputs[0]}
        sides[side] = Notes(np.array(pitches), stacked, sounds)
    return sides


def _pitch(entry: pyjama.Entry) -> float:
    """Return the pitch at the frame in MIDI; where the note has ended, the last one."""
    atom = entry.fields["f0"][0]
    curve = np.asarray(atom.value, dtype=float)[0]
    heard = ~np.isnan(curve)
    time_s = FRAME * CONFIG.hop_samples / CONFIG.sample_rate
    return float(np.interp(time_s, np.asarray(atom.time)[heard], curve[heard]))


class PitchFinder(nn.Module):
    """Three convolutions along frequency and one logit per bin, (batch, C, F) to (batch, F)."""

    def __init__(self, n_in: int, dilations: tuple[int, int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for dilation in dilations:
            pad = dilation * (N_TAPS // 2)
            layers.append(nn.Conv1d(n_in, N_CHANNELS, N_TAPS, padding=pad, dilation=dilation))
            layers.append(nn.ReLU())
            n_in = N_CHANNELS
        self.layers = nn.Sequential(*layers, nn.Conv1d(n_in, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit per bin."""
        return self.layers(x)[:, 0]


def scores_of(found_midi: ArrayLike, notes: Notes) -> dict[str, float]:
    """Return the shares of right answers by octave, and of errors of an octave."""
    miss = np.asarray(found_midi) - notes.pitches_midi
    right = np.abs(miss) <= TOLERANCE
    octave = ~right & (np.abs((miss + 6.0) % 12.0 - 6.0) <= TOLERANCE)
    low, high = LEARNED_MIDI
    heard = notes.between(low, high)
    return {
        "heard": float(right[heard].mean()),
        "lower": float(right[notes.between(low - SPAN, low)].mean()),
        "higher": float(right[notes.between(high, high + SPAN)].mean()),
        "octave_errors": float(octave[~heard].mean()),
    }


def train(
    variant: Variant, notes: Mapping[str, Notes], *, seed: int = 0, progress: bool = True
) -> PitchEstimates:
    """Train on the learned octave, and estimate the pitches of the test side."""
    axis = axes_midi()[variant.feature]
    sides = {}
    for side, members in notes.items():
        known = members.between(*LEARNED_MIDI) if side != "test" else slice(None)
        labels = np.abs(axis - members.pitches_midi[known, np.newaxis]).argmin(axis=1)
        sides[side] = Examples(members.inputs[variant.feature][known], labels)
    # one shift and scale for all bins: one for each would undo what a shift along them means
    mean, deviation = sides["train"].inputs.mean(), sides["train"].inputs.std()
    sides = {s: Examples((e.inputs - mean) / deviation, e.labels) for s, e in sides.items()}
    n_in = sides["train"].inputs.shape[1]
    network, _ = train_network(
        lambda: PitchFinder(n_in, variant.dilations),
        sides,
        seed=seed,
        training=TRAINING,
        progress=progress,
    )
    return PitchEstimates(network, axis[predict(network, sides["test"].inputs)])


def score(
    trained: PitchEstimates, variant: Variant, notes: Mapping[str, Notes]
) -> dict[str, float]:
    """Return the scores of a trained variant on the test side."""
    return scores_of(trained.found_midi, notes["test"])


def score_baseline(name: str, notes: Mapping[str, Notes]) -> dict[str, float]:
    """Return the scores of an answer that needs no learning, one of ``BASELINES``."""
    x = notes["test"].inputs["hcqt"]
    salience = {
        "strongest bin": x[:, HARMONICS.index(1)],
        "sum of harmonics": x[:, 1:].sum(axis=1),
        "sum of harmonics less 0.5": x[:, 1:].sum(axis=1) - x[:, 0],
    }[name]
    return scores_of(axes_midi()["cqt"][salience.argmax(axis=1)], notes["test"])


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda notes: notes["test"].pitches_midi.size,
    baselines={name: partial(score_baseline, name) for name in BASELINES},
    variants=VARIANTS,
    train=train,
    score=score,
    describe=lambda variant: {"dilations": list(variant.dilations)},
)
run = COMPARISON.run
