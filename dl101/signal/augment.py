"""Changes of a recording that leave what it is labelled with alone, or move it in a known way.

Three kinds of functions. *Changes* (``add_noise``, ``pitch_shift``, ...) do one thing to mono
audio ``(time,)`` and return audio as float32; none changes its argument. *Random augmentations*
are frozen dataclasses (:class:`Noise`, :class:`PitchShift`, ...), called as ``augmentation(audio,
sample_rate, rng)``: they draw what they need from the generator, and return an :class:`Augmented`,
which holds the sound and what became of pitch and time. :class:`Chain` is one, too: it applies
others in turn. *Labels* follow by :func:`move_labels`, or by :meth:`Augmented.labels`.

Conventions: ``stretch`` is the new duration over the old, so that a time ``t`` becomes
``stretch * t + shift_s``; 2 is twice as long and half as fast. Semitones are positive upwards.
An SNR is the power of the signal over that of the noise, in dB; a signal of silence gets none.
Spectrograms are ``(..., band, frame)``.

References
----------
.. [1] D. S. Park, W. Chan, Y. Zhang, C.-C. Chiu, B. Zoph, E. D. Cubuk, Q. V. Le, "SpecAugment",
   Interspeech 2019.
.. [2] H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk
   minimization", ICLR 2018.
.. [3] J. Spijkervet, J. A. Burgoyne, "Contrastive learning of musical representations", ISMIR 2021.
.. [4] S. Uhlich and others, "Improving music source separation based on deep neural networks
   through data augmentation and network blending", ICASSP 2017.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import ArrayLike, NDArray

from dl101.config import Ascending, Count, PositiveInterval, Probability, Range, Settings
from dl101.data import harte
from dl101.data.pyjama import Atom
from dl101.errors import ConfigError, DataError
from dl101.signal.vocoder import Audio, checked_audio, pitch_shift, require_positive, time_stretch
from dl101.units import db_to_amplitude

_SILENT_POWER = 1e-12  # -120 dBFS

# ---- changes of the waveform -------------------------------------------------------------------


def flip(audio: ArrayLike) -> Audio:
    """Return audio with the other polarity: what was a push of the air becomes a pull."""
    return -checked_audio(audio)


def gain(audio: ArrayLike, gain_db: float) -> Audio:
    """Return audio louder by ``gain_db``; nothing is clipped."""
    return checked_audio(audio) * np.float32(db_to_amplitude(gain_db))


def noise(
    n_samples: int, rng: np.random.Generator, *, slope_db_per_octave: float = 0.0
) -> NDArray[np.float64]:
    """Return Gaussian noise of power 1 whose spectrum falls by a slope.

    0 is white noise, 3 pink noise, 6 brown noise. The component at 0 Hz is left out when it falls.
    """
    if slope_db_per_octave == 0:
        white = rng.standard_normal(n_samples)
        return white / np.sqrt(np.mean(white**2))
    size = scipy.fft.next_fast_len(n_samples, real=True)
    bins = np.arange(1 + size // 2)
    with np.errstate(divide="ignore"):
        amplitude = bins ** (-slope_db_per_octave / (20 * np.log10(2)))
    amplitude[0] = 0.0
    spectrum = amplitude * scipy.fft.rfft(rng.standard_normal(size))
    coloured = scipy.fft.irfft(spectrum, size)[:n_samples]
    return coloured / np.sqrt(np.mean(coloured**2))


def add_noise(
    audio: ArrayLike,
    snr_db: float,
    rng: np.random.Generator,
    *,
    slope_db_per_octave: float = 0.0,
) -> Audio:
    """Return audio with noise ``snr_db`` below it: ``x + g v`` with ``g² = P_x / (P_v R)``.

    ``v`` is :func:`noise`, ``R = 10 ** (snr_db / 10)`` the ratio of powers. Silence stays silent.
    """
    samples = checked_audio(audio)
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    if power < _SILENT_POWER:
        return samples.copy()
    amplitude = np.sqrt(power) / db_to_amplitude(snr_db)
    added = noise(samples.size, rng, slope_db_per_octave=slope_db_per_octave)
    return (samples + amplitude * added).astype(np.float32)


def low_pass(audio: ArrayLike, sample_rate: float, cutoff_hz: float, *, order: int = 4) -> Audio:
    """Return what lies below a frequency: a Butterworth filter, 3 dB down at ``cutoff_hz``.

    Above, it falls by ``6 * order`` dB an octave.
    """
    return _filtered(audio, sample_rate, cutoff_hz, order, "lowpass")


def high_pass(audio: ArrayLike, sample_rate: float, cutoff_hz: float, *, order: int = 4) -> Audio:
    """Return what lies above a frequency; see :func:`low_pass`."""
    return _filtered(audio, sample_rate, cutoff_hz, order, "highpass")


def delay(audio: ArrayLike, sample_rate: float, delay_s: float, *, gain_db: float = -6.0) -> Audio:
    """Return audio with one echo of itself, cut to the same length."""
    samples = checked_audio(audio)
    n_late = require_positive("delay_s", round(delay_s * sample_rate))
    echoed = samples.copy()
    late = samples[: max(0, samples.size - n_late)]
    echoed[n_late:] += np.float32(db_to_amplitude(gain_db)) * late
    return echoed


def impulse_response(
    sample_rate: float,
    rt60_s: float,
    rng: np.random.Generator,
    *,
    direct_to_reverb_db: float = 3.0,
    gap_s: float = 0.005,
) -> NDArray[np.float64]:
    """Return a synthetic room: direct sound, a gap, and noise that falls by 60 dB in ``rt60_s``.

    Parameters
    ----------
    sample_rate
        In Hz.
    rt60_s
        Reverberation time.
    rng
        Of the noise.
    direct_to_reverb_db
        Energy of the direct sound (1) over that of the rest.
    gap_s
        From the direct sound to the first reflection.
    """
    require_positive("rt60_s", rt60_s)
    n_gap = max(1, round(gap_s * sample_rate))
    n_tail = max(1, round(rt60_s * sample_rate))
    decay = 10.0 ** (-3.0 * np.arange(n_tail) / (rt60_s * sample_rate))  # an amplitude of 1/1000
    tail = decay * rng.standard_normal(n_tail)
    tail *= db_to_amplitude(-direct_to_reverb_db) / np.linalg.norm(tail)
    return np.concatenate([[1.0], np.zeros(n_gap - 1), tail])


def room(audio: ArrayLike, response: ArrayLike) -> Audio:
    """Return audio as heard through an impulse response, as long as before and as loud.

    The first sample of the response is the direct sound, so that nothing comes later than it did.
    """
    samples = checked_audio(audio)
    wet = scipy.signal.fftconvolve(samples, np.asarray(response, np.float64))[: samples.size]
    power, now = np.mean(np.square(samples, dtype=np.float64)), np.mean(wet**2)
    return (wet * np.sqrt(power / max(now, _SILENT_POWER))).astype(np.float32)


# ---- mixing ------------------------------------------------------------------------------------


def mixup(
    inputs: ArrayLike, targets: ArrayLike, rng: np.random.Generator, *, alpha: float = 0.2
) -> tuple[NDArray, NDArray]:
    """Return a batch in which every item is mixed with another one, and so are its targets [2]_.

    ``x = b x_i + (1 - b) x_j`` and ``y = b y_i + (1 - b) y_j``, with ``b`` from a beta
    distribution (alpha, alpha), one for the batch.

    Parameters
    ----------
    inputs
        ``(batch, ...)``.
    targets
        ``(batch, classes)``: shares of classes, not their numbers.
    rng
        Draws ``b`` and the partners.
    alpha
        Small: mostly one of the two; 1: any share is as likely.
    """
    x, y = np.asarray(inputs), np.asarray(targets)
    if y.ndim < 2 or len(x) != len(y):
        raise DataError(
            "mixup: targets",
            got=f"shape {y.shape} beside inputs {x.shape}",
            expected="(batch, classes), one row for each input",
            hint="turn numbers of classes into rows of zeros and a one: np.eye(n)[numbers]",
        )
    share = rng.beta(alpha, alpha)
    other = rng.permutation(len(x))
    share = np.float32(share)  # float32 inputs stay float32
    return share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]


def remix(
    stems: Mapping[str, Sequence[ArrayLike]],
    rng: np.random.Generator,
    *,
    gain_db: tuple[float, float] = (-6.0, 6.0),
) -> tuple[Audio, dict[str, Audio]]:
    """Return a new mixture and its stems, each taken from any song, with a gain of its own [4]_.

    Parameters
    ----------
    stems
        For each source its stems from several songs, all ``(time,)`` of one length.
    rng
        Draws song, gain and polarity of each source.
    gain_db
        Range of the gains.
    """
    chosen = {}
    for name, songs in stems.items():
        stem = gain(songs[int(rng.integers(len(songs)))], rng.uniform(*gain_db))
        chosen[name] = flip(stem) if rng.random() < 0.5 else stem
    return np.sum(list(chosen.values()), axis=0, dtype=np.float32), chosen


# ---- spectrograms ------------------------------------------------------------------------------


def spec_mask(
    n_bands: int,
    n_frames: int,
    rng: np.random.Generator,
    *,
    max_bands: int,
    max_frames: int,
    n_band_masks: int = 1,
    n_frame_masks: int = 1,
    max_share: float = 1.0,
) -> NDArray[np.bool_]:
    """Return where SpecAugment [1]_ masks, ``(n_bands, n_frames)``.

    A mask of bands has a width from 0 to ``max_bands``, all equally likely, and covers all frames;
    one of frames is likewise, but no wider than ``max_share`` of the frames. Masks may overlap.
    """
    masked = np.zeros((n_bands, n_frames), dtype=bool)
    widest = min(max_frames, int(max_share * n_frames))
    for n, limit, size, rows in (
        (n_band_masks, min(max_bands, n_bands), n_bands, masked),
        (n_frame_masks, widest, n_frames, masked.T),
    ):
        for _ in range(n):
            width = int(rng.integers(limit + 1))
            first = int(rng.integers(size - width + 1))
            rows[first : first + width] = True
    return masked


def spec_augment(
    spectrogram: ArrayLike,
    rng: np.random.Generator,
    *,
    max_bands: int,
    max_frames: int,
    n_band_masks: int = 1,
    n_frame_masks: int = 1,
    max_share: float = 1.0,
    fill: float = 0.0,
) -> NDArray:
    """Return one spectrogram ``(..., band, frame)`` with stripes set to ``fill``; see above.

    ``fill`` should be the mean of training, 0 after normalisation: then the mask does not move the
    mean that the network expects.
    """
    values = np.asarray(spectrogram)
    masked = spec_mask(
        *values.shape[-2:],
        rng,
        max_bands=max_bands,
        max_frames=max_frames,
        n_band_masks=n_band_masks,
        n_frame_masks=n_frame_masks,
        max_share=max_share,
    )
    return np.where(masked, values.dtype.type(fill), values)


# ---- labels ------------------------------------------------------------------------------------

PITCH_FIELDS = ("pitchmidi", "f0", "f0multi")  # in MIDI
ROOT_FIELDS = ("chord", "key")  # text that begins with the name of a pitch class
_ROOT = re.compile(r"(?P<root>[A-G](?:b+|#+)?)(?P<rest>(?![a-z#]).*)")


def shift_root(label: str, semitones: float) -> str:
    """Return a chord or key (``Bb:min7/b3``, ``D major``) moved by the nearest whole semitones.

    Degrees, the bass included, are counted from the root and stay; so do ``N`` and ``X``.
    """
    if label in ("N", "X"):
        return label
    match = _ROOT.fullmatch(label)
    if not match:
        raise DataError(
            "chord or key",
            got=repr(label),
            expected="N, X, or the name of a root and what follows, as in F#:min or D major",
            hint="see dl101.data.harte",
        )
    root = harte.parse(match["root"]).root
    return harte.ROOTS[(root + round(semitones)) % 12] + match["rest"]


def move_labels(
    fields: Mapping[str, Sequence[Atom]],
    *,
    semitones: float = 0.0,
    stretch: float = 1.0,
    shift_s: float = 0.0,
    duration_s: float = np.inf,
) -> dict[str, tuple[Atom, ...]]:
    """Return the annotations of a track as they hold after its sound was changed.

    Every time ``t`` becomes ``stretch * t + shift_s`` and every duration ``stretch`` times as long.
    Pitches rise by ``semitones``; roots of chords and keys by the nearest whole number of them, and
    ``tuning-cents`` by what is left. ``tempo`` is divided by ``stretch``. All else stays.

    Parameters
    ----------
    fields
        Atoms by field, as in an entry of a .pyjama file; fields as in the embedded corpora.
    semitones, stretch, shift_s
        What was done.
    duration_s
        Of the new sound: what lies outside 0 to ``duration_s`` is cut off.
    """
    moved = {}
    for name, atoms in fields.items():
        timed = (_in_time(atom, stretch, shift_s, duration_s) for atom in atoms)
        kept = tuple(_in_pitch(name, a, semitones, stretch) for a in timed if a is not None)
        if kept:
            moved[name] = kept
    return moved


def _in_time(atom: Atom, stretch: float, shift_s: float, duration_s: float) -> Atom | None:
    """Return an atom at its new time, or None where it fell off the end."""
    if atom.time is None:
        return atom
    time_s = stretch * atom.time + shift_s
    if np.ndim(time_s):  # frames of a curve
        inside = (time_s >= 0) & (time_s <= duration_s)
        value, confidence = np.asarray(atom.value)[..., inside], atom.confidence
        if np.ndim(confidence):
            confidence = np.asarray(confidence)[inside]
        return replace(atom, value=value, time=time_s[inside], confidence=confidence)
    if atom.duration is None:
        return replace(atom, time=time_s) if 0 <= time_s < duration_s else None
    begin, end = max(time_s, 0.0), min(time_s + stretch * atom.duration, duration_s)
    return replace(atom, time=begin, duration=end - begin) if end > begin else None


def _in_pitch(name: str, atom: Atom, semitones: float, stretch: float) -> Atom:
    if name in PITCH_FIELDS:
        pitch = np.asarray(atom.value, dtype=float)
        moved = np.where(pitch > 0, pitch + semitones, pitch)  # 0 and NaN, unvoiced, stay
        return replace(atom, value=moved if pitch.ndim else float(moved))
    if name in ROOT_FIELDS:
        return replace(atom, value=shift_root(atom.value, semitones))
    if name == "tuning-cents":
        return replace(atom, value=atom.value + 100.0 * (semitones - round(semitones)))
    return replace(atom, value=atom.value / stretch) if name == "tempo" else atom


# ---- random augmentations ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Augmented:
    """A changed sound, and what became of pitch and time.

    Attributes
    ----------
    audio
        ``(time,)``.
    sample_rate
        In Hz.
    semitones, stretch, shift_s
        Pitches rose by so much; a time ``t`` became ``stretch * t + shift_s``.
    """

    audio: Audio
    sample_rate: float
    semitones: float = 0.0
    stretch: float = 1.0
    shift_s: float = 0.0

    def labels(self, fields: Mapping[str, Sequence[Atom]]) -> dict[str, tuple[Atom, ...]]:
        """Return annotations of the original sound as they hold for this one."""
        return move_labels(
            fields,
            semitones=self.semitones,
            stretch=self.stretch,
            shift_s=self.shift_s,
            duration_s=self.audio.size / self.sample_rate,
        )


_Decibel = Annotated[float, Range(at_least=-200, at_most=200)]
_Decibels = Annotated[tuple[_Decibel, _Decibel], Ascending()]
_Semitone = Annotated[float, Range(at_least=-48, at_most=48)]
_Semitones = Annotated[tuple[_Semitone, _Semitone], Ascending()]
Augmentation = Callable[[ArrayLike, float, np.random.Generator], Augmented]


@dataclass(frozen=True)
class Flip:
    """Turns the polarity."""

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        return Augmented(flip(audio), sample_rate)


@dataclass(frozen=True)
class Gain(Settings):
    """Changes the level."""

    gain_db: _Decibels = (-20.0, -1.0)

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        return Augmented(gain(audio, rng.uniform(*self.gain_db)), sample_rate)


@dataclass(frozen=True)
class Noise(Settings):
    """Adds noise between white and as steep as ``slope_db_per_octave`` allows."""

    snr_db: _Decibels = (3.0, 30.0)
    slope_db_per_octave: _Decibels = (0.0, 6.0)

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        slope, snr_db = rng.uniform(*self.slope_db_per_octave), rng.uniform(*self.snr_db)
        noisy = add_noise(audio, snr_db, rng, slope_db_per_octave=slope)
        return Augmented(noisy, sample_rate)


@dataclass(frozen=True)
class Filter(Settings):
    """Takes away the top or the bottom, with equal chance; cutoffs are drawn evenly in octaves."""

    low_pass_hz: PositiveInterval = (2200.0, 4000.0)
    high_pass_hz: PositiveInterval = (200.0, 1200.0)

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        change, limits = (
            (low_pass, self.low_pass_hz) if rng.random() < 0.5 else (high_pass, self.high_pass_hz)
        )
        return Augmented(change(audio, sample_rate, _draw(rng, limits)), sample_rate)


@dataclass(frozen=True)
class Delay(Settings):
    """Adds an echo."""

    delay_s: PositiveInterval = (0.2, 0.45)
    gain_db: _Decibels = (-12.0, -3.0)

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        delay_s, gain_db = rng.uniform(*self.delay_s), rng.uniform(*self.gain_db)
        return Augmented(delay(audio, sample_rate, delay_s, gain_db=gain_db), sample_rate)


@dataclass(frozen=True)
class Room(Settings):
    """Plays the sound in a synthetic room."""

    rt60_s: PositiveInterval = (0.2, 1.5)
    direct_to_reverb_db: _Decibels = (-3.0, 6.0)

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        response = impulse_response(
            sample_rate,
            _draw(rng, self.rt60_s),
            rng,
            direct_to_reverb_db=rng.uniform(*self.direct_to_reverb_db),
        )
        return Augmented(room(audio, response), sample_rate)


@dataclass(frozen=True)
class PitchShift(Settings):
    """Moves the pitch; in steps of a semitone, if ``whole``."""

    semitones: _Semitones = (-7.0, 7.0)
    whole: bool = True

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        low, high = self.semitones
        steps = rng.integers(int(low), int(high) + 1) if self.whole else rng.uniform(low, high)
        steps = float(steps)
        return Augmented(pitch_shift(audio, steps), sample_rate, semitones=steps)


@dataclass(frozen=True)
class TimeStretch(Settings):
    """Changes the tempo; the range is of durations, drawn evenly in ratios."""

    stretch: PositiveInterval = (0.8, 1.25)

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        stretch = _draw(rng, self.stretch)
        return Augmented(time_stretch(audio, stretch), sample_rate, stretch=stretch)


@dataclass(frozen=True)
class Crop(Settings):
    """Cuts out a stretch of ``n_samples``; zeros follow a sound that is too short."""

    n_samples: Count

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        samples = checked_audio(audio)
        first = int(rng.integers(max(0, samples.size - self.n_samples) + 1))
        cut = samples[first : first + self.n_samples]
        cut = np.pad(cut, (0, self.n_samples - cut.size))
        return Augmented(cut, sample_rate, shift_s=-first / sample_rate)


@dataclass(frozen=True)
class Sometimes(Settings):
    """Applies an augmentation with a probability."""

    probability: Probability
    augmentation: Augmentation

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound, or the sound as it was."""
        if rng.random() < self.probability:
            return self.augmentation(audio, sample_rate, rng)
        return Augmented(checked_audio(audio).copy(), sample_rate)


@dataclass(frozen=True)
class Chain(Settings):
    """Applies augmentations one after another, and adds up what they do to pitch and time."""

    steps: tuple[Augmentation, ...]

    def __call__(self, audio: ArrayLike, sample_rate: float, rng: np.random.Generator) -> Augmented:
        """Return the augmented sound."""
        now = Augmented(checked_audio(audio).copy(), sample_rate)
        for step in self.steps:
            then = step(now.audio, sample_rate, rng)
            now = Augmented(
                then.audio,
                sample_rate,
                now.semitones + then.semitones,
                now.stretch * then.stretch,
                then.stretch * now.shift_s + then.shift_s,
            )
        return now


def clmr_chain(n_samples: int = 59_049) -> Chain:
    """Return the augmentations of CLMR [3]_, in their order and with their probabilities.

    Gains, cutoffs, delays and shifts have the limits of the published code (Spijkervet's
    torchaudio-augmentations). What is ours:

    - the noise: an SNR drawn evenly from 3 to 30 dB. The published code draws the *amplitude* of
      the noise evenly, as a share of the recording's: in some versions of it from 0.0001 to 0.01,
      which is an SNR of 80 to 40 dB and hardly heard, in others from 0.001 to 1, 60 to 0 dB;
    - how values are drawn: cutoffs evenly in octaves (there in Hz), shifts in whole semitones
      (there in cents), delays continuously (there in steps of 50 ms);
    - the echo's level, -12 to -3 dB (there -6 dB), and the synthetic room (there SoX's reverb).
    """
    return Chain(
        (
            Crop(n_samples),
            Sometimes(0.8, Flip()),
            Sometimes(0.01, Noise(slope_db_per_octave=(0.0, 0.0))),
            Sometimes(0.3, Gain((-20.0, -1.0))),
            Sometimes(0.8, Filter((2200.0, 4000.0), (200.0, 1200.0))),
            Sometimes(0.3, Delay((0.2, 0.45))),
            Sometimes(0.6, PitchShift((-7.0, 7.0))),
            Sometimes(0.6, Room()),
        )
    )


# ---- helpers -----------------------------------------------------------------------------------


def _draw(rng: np.random.Generator, limits: PositiveInterval) -> float:
    """Return a positive number from a range, drawn evenly in ratios."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def _filtered(
    audio: ArrayLike, sample_rate: float, cutoff_hz: float, order: int, kind: str
) -> Audio:
    samples = checked_audio(audio)
    if not 0 < cutoff_hz < sample_rate / 2:
        raise ConfigError(
            "cutoff_hz",
            got=cutoff_hz,
            expected=f"between 0 and half the sample rate, {sample_rate / 2:g} Hz",
            hint="beyond half the sample rate there is nothing to filter",
        )
    sections = scipy.signal.butter(order, cutoff_hz, kind, fs=sample_rate, output="sos")
    return scipy.signal.sosfilt(sections, samples).astype(np.float32)
