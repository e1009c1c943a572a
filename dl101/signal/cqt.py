"""Constant-Q transforms: the CQT and the harmonic CQT of a waveform.

Conventions: those of :mod:`dl101.signal.feature`; values are ``(harmonic, bin, time)``.

The constant-Q transform [1]_ (CQT) is a bank of band-pass filters whose centre frequencies are
spaced like pitches and whose bandwidths grow with frequency. The harmonic CQT [2]_ (HCQT) stacks
CQTs whose lowest frequency is ``h * f_min_hz``, so that a note and its harmonics stand in one
column. Both are computed here in the frequency domain: one FFT of the whole signal; for each bin a
short product with the transform of its window; the product folded (aliased, which is what
sampling every ``hop_samples`` does) to the frame rate; one small inverse FFT. What does not depend
on the signal is an :class:`HcqtPlan`, which :class:`dl101.nn.spectra.HCQT` shares.

References
----------
.. [1] J. C. Brown, "Calculation of a constant Q spectral transform", JASA 89(1), 1991.
.. [2] R. Bittner, B. McFee, J. Salamon, P. Li, J. P. Bello, "Deep salience representations for
   F0 estimation in polyphonic music", ISMIR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.config import (
    HopSamples,
    NotEmpty,
    Range,
    SampleRate,
    Settings,
)
from dl101.errors import ConfigError, DataError
from dl101.signal.feature import Feature, check_audio, frame_times

# The transform of the Hann window is kept to this many lobe widths on each side of a bin's centre:
# two is the main lobe, which holds all but 0.05 % of the energy.
_LOBES = 2.0
# Low bins are so narrow that many side lobes are free; the more are kept, the more exactly a bin's
# response in time ends where its window does, so that blocks do not see each other.
_MIN_HALF_WIDTH_HZ = 20.0
# The kept part falls smoothly to zero over its outer quarter.
_EDGE = 0.75
# Signals longer than this are analysed in overlapping blocks: memory stays bounded, and the plan
# stays the same.
_MAX_BLOCK_SAMPLES = 2**20
# Block lengths are rounded up to this many frames: fast FFTs, and few distinct plans.
_BLOCK_FRAMES_STEP = 128
# Longer than any note, and short enough for its window to fit in memory.
_MAX_WINDOW_S = 200
# Bins computed at once: few calls, and little memory beside the result.
_ROWS_PER_GROUP = 64


_Harmonic = Annotated[float, Range(at_least=0.1, at_most=100)]


@dataclass(frozen=True)
class HcqtConfig(Settings):
    """What an HCQT is computed with.

    Parameters
    ----------
    harmonics
        Multiples of ``f_min_hz`` at which each CQT starts; ``(1,)`` gives a plain CQT.
    bins_per_semitone
        Frequency resolution.
    n_octaves
        Range of each CQT.
    f_min_hz
        Centre frequency of the lowest bin of harmonic 1 (default: C1).
    hop_samples
        Distance between frames in samples.
    sample_rate
        Rate of the audio in Hz.
    """

    harmonics: Annotated[tuple[_Harmonic, ...], NotEmpty()] = (0.5, 1, 2, 3, 4, 5)
    bins_per_semitone: Annotated[int, Range(at_least=1, at_most=100)] = 5
    n_octaves: Annotated[int, Range(at_least=1, at_most=12)] = 6
    f_min_hz: Annotated[float, Range(at_least=1, at_most=100_000)] = 32.7
    hop_samples: HopSamples = 512
    sample_rate: SampleRate = 22050

    def __post_init__(self) -> None:
        """Check each field, and that the lowest bin can be computed."""
        super().__post_init__()
        lowest_hz = self.f_min_hz * min(self.harmonics)
        if lowest_hz >= self.sample_rate / 2:
            raise ConfigError(
                "HcqtConfig.f_min_hz",
                got=f"{self.f_min_hz:g}, a lowest bin at {lowest_hz:g} Hz",
                expected=f"below half the sample rate, {self.sample_rate / 2:g} Hz",
                hint="lower it: no bin would see a sound",
            )
        window_s = self.quality / lowest_hz
        if window_s > _MAX_WINDOW_S:
            raise ConfigError(
                "HcqtConfig.f_min_hz",
                got=f"{self.f_min_hz:g}, a lowest bin whose window lasts {window_s:.0f} s",
                expected=f"up to {_MAX_WINDOW_S} s",
                hint="raise it, or lower bins_per_semitone",
            )

    @property
    def bins_per_octave(self) -> int:
        """Number of bins per octave."""
        return 12 * self.bins_per_semitone

    @property
    def n_bins(self) -> int:
        """Number of bins of each harmonic."""
        return self.bins_per_octave * self.n_octaves

    @property
    def frequencies_hz(self) -> NDArray[np.float64]:
        """Centre frequencies of the bins of harmonic 1 in Hz, shape ``(n_bins,)``."""
        return self.f_min_hz * 2.0 ** (np.arange(self.n_bins) / self.bins_per_octave)

    @property
    def quality(self) -> float:
        """Ratio Q of centre frequency to bandwidth; a bin's window lasts ``Q / f`` seconds.

        The bandwidth is the distance from the bin below to the bin above over the sum of the
        two (librosa's relative bandwidth).
        """
        ratio = 2.0 ** (2.0 / self.bins_per_octave)
        return (ratio + 1.0) / (ratio - 1.0)


# --- checks -----------------------------------------------------------------------------------


def _check_rate(sample_rate: float | None, config: HcqtConfig) -> None:
    if sample_rate is not None and sample_rate != config.sample_rate:
        raise DataError(
            "sample rate",
            got=f"{sample_rate} Hz",
            expected=f"the configuration's {config.sample_rate} Hz",
            hint="resample the audio, or set sample_rate in the HcqtConfig",
        )


# --- CQT and HCQT: the plan ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BinGroup:
    """Bins of an :class:`HcqtPlan` that are computed together.

    Parameters
    ----------
    bins
        Index of each bin in the plan's ``frequencies_hz``, shape ``(n,)``.
    starts
        First coefficient of the block's real FFT that each bin reads, shape ``(n,)``.
    weights
        What the coefficients from there on are multiplied with, shape ``(n, width)``. A width
        beyond the plan's ``block_frames`` is a multiple of it, and is folded to it.
    """

    bins: NDArray[np.int64]
    starts: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HcqtPlan:
    """All that an HCQT needs to know beside the signal.

    Parameters
    ----------
    config
        The configuration that the plan belongs to.
    block_frames
        Length ``M`` of one block in frames; its FFT has ``M * hop_samples`` samples.
    margin_frames
        Frames at either end of a block whose windows see beyond it.
    frequencies_hz
        Distinct frequencies of all harmonics' bins, shape ``(n_distinct,)``. Harmonics whose
        ratio is a whole number of bins (0.5, 1, 2, 4) share theirs.
    offsets
        Row ``f`` of harmonic ``i`` is the distinct frequency ``offsets[i] + f``, shape ``(H,)``.
    groups
        The distinct frequencies that are computed; those beyond half the sample rate are in none.
    """

    config: HcqtConfig
    block_frames: int
    margin_frames: int
    frequencies_hz: NDArray[np.float64]
    offsets: tuple[int, ...]
    groups: tuple[BinGroup, ...]

    @property
    def block_samples(self) -> int:
        """Length of one block in samples."""
        return self.block_frames * self.config.hop_samples

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames of a signal of ``n_samples``."""
        return 1 + n_samples // self.config.hop_samples

    def blocks(self, n_samples: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the blocks that cover a signal, in order.

        Each is ``(first_sample, skip_frames, start, stop)``: the block begins at that sample
        (before the signal if negative), and its frames from ``skip_frames`` on are the frames
        ``[start, stop)`` of the result.
        """
        n_frames = self.n_frames(n_samples)
        if n_frames + self.margin_frames <= self.block_frames:
            yield 0, 0, 0, n_frames
            return
        valid = self.block_frames - 2 * self.margin_frames
        for start in range(0, n_frames, valid):
            first_sample = (start - self.margin_frames) * self.config.hop_samples
            yield first_sample, self.margin_frames, start, min(start + valid, n_frames)


def hcqt_plan(config: HcqtConfig, n_samples: int | None = None) -> HcqtPlan:
    """Return the plan for signals of ``n_samples`` (default: of any length).

    A plan works for signals of any length; one made for the length at hand wastes less. Plans
    are kept, so asking twice costs nothing.
    """
    frequencies_hz, _ = _distinct_frequencies(config)
    half_width_hz = _half_width_hz(frequencies_hz, config)
    reach_s = config.quality / frequencies_hz / 2
    # Where few lobes are kept, the response goes on beyond the window for as long as the edge of
    # what is kept rings.
    few = half_width_hz * 2 * reach_s < 10
    reach_s = reach_s + np.where(few, 2 / ((1 - _EDGE) * half_width_hz), 0.0)
    margin = math.ceil(reach_s.max() * config.sample_rate / config.hop_samples)
    most = max(_MAX_BLOCK_SAMPLES // config.hop_samples, 4 * margin)
    frames = most if n_samples is None else 1 + n_samples // config.hop_samples + margin
    frames = max(frames, 2 * margin + 1)  # a longer signal than announced goes block by block
    blocks = math.ceil(min(frames, most) / _BLOCK_FRAMES_STEP)
    return _build_plan(config, blocks * _BLOCK_FRAMES_STEP, margin)


@lru_cache(maxsize=8)
def _build_plan(config: HcqtConfig, block_frames: int, margin_frames: int) -> HcqtPlan:
    frequencies_hz, offsets = _distinct_frequencies(config)
    hop, rate, quality = config.hop_samples, config.sample_rate, config.quality
    resolution_hz = rate / (block_frames * hop)
    n_coefficients = block_frames * hop // 2 + 1

    half_width_hz = _half_width_hz(frequencies_hz, config)
    first = np.ceil((frequencies_hz - half_width_hz) / resolution_hz).astype(np.int64)
    last = np.floor((frequencies_hz + half_width_hz) / resolution_hz).astype(np.int64)
    first, last = np.maximum(first, 0), np.minimum(last, n_coefficients - 1)
    widths = last - first + 1
    # Up to one block the width is rounded to a quarter of it, beyond to whole folds.
    step = np.where(widths <= block_frames, block_frames // 4, block_frames)
    widths = -(-widths // step) * step
    first = np.minimum(first, np.maximum(n_coefficients - widths, 0))

    # The main lobe (3 dB) must lie below half the rate, as librosa demands it of the whole CQT.
    audible = frequencies_hz * (1 + 0.75 / quality) < rate / 2
    groups = []
    for width in np.unique(widths[audible]):
        members = np.flatnonzero(audible & (widths == width))
        for bins in np.split(members, range(_ROWS_PER_GROUP, members.size, _ROWS_PER_GROUP)):
            centre_hz = frequencies_hz[bins, np.newaxis]
            coefficients = first[bins, np.newaxis] + np.arange(width)
            distance_hz = coefficients * resolution_hz - centre_hz
            duration_s = quality / centre_hz
            weights = _hann_transform(distance_hz * duration_s)
            # The spectrum ends at 0 Hz and at half the rate, and so does what is kept.
            room_hz = np.where(distance_hz < 0, centre_hz, rate / 2 - centre_hz)
            kept_hz = np.minimum(room_hz, half_width_hz[bins, np.newaxis])
            weights *= _edge(np.abs(distance_hz) / kept_hz)
            # librosa's scale: the window sums to one, times the root of its length in samples.
            # The FFT's own scales (1 / samples, over 1 / frames of the inverse) leave 1 / hop.
            weights *= np.sqrt(duration_s * rate) / hop
            groups.append(BinGroup(bins, first[bins], weights.astype(np.float32)))
    return HcqtPlan(
        config, block_frames, margin_frames, frequencies_hz, tuple(offsets), tuple(groups)
    )


def _half_width_hz(frequencies_hz: NDArray[np.float64], config: HcqtConfig) -> NDArray[np.float64]:
    """Return how far from its centre each bin's window is kept, in Hz."""
    return np.maximum(_LOBES * frequencies_hz / config.quality, _MIN_HALF_WIDTH_HZ)


def _distinct_frequencies(config: HcqtConfig) -> tuple[NDArray[np.float64], list[int]]:
    """Return the distinct frequencies and the row at which each harmonic starts.

    Harmonics a whole number of bins apart are slices of one chain of bins; others, such as
    3 and 5, have chains of their own at their exact frequencies.
    """
    positions = [config.bins_per_octave * math.log2(h) for h in config.harmonics]
    chains: dict[float, list[float]] = {}
    for position in sorted(positions):
        fraction = round(position % 1.0, 6) % 1.0
        chains.setdefault(fraction, []).append(position)
    rows, begins = [], {}
    n_rows = 0
    for fraction, members in chains.items():
        begins[fraction] = (n_rows, members[0])
        length = round(members[-1] - members[0]) + config.n_bins
        rows.append(members[0] + np.arange(length))
        n_rows += length
    offsets = []
    for position in positions:
        begin, lowest = begins[round(position % 1.0, 6) % 1.0]
        offsets.append(begin + round(position - lowest))
    frequencies_hz = config.f_min_hz * 2.0 ** (np.concatenate(rows) / config.bins_per_octave)
    return frequencies_hz, offsets


def _hann_transform(lobes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Fourier transform of a Hann window of unit area, at frequencies in lobes.

    The window is centred on time zero and lasts ``d`` seconds; one lobe is ``1 / d`` Hz. The
    transform is ``sinc(u) / (1 - u^2)``; it is 1 at 0, 1/2 at ±1 and 0 at ±2, ±3, ….
    """
    denominator = 1.0 - lobes**2
    near_one = np.abs(denominator) < 1e-9
    values = np.sinc(lobes) / np.where(near_one, 1.0, denominator)
    return np.where(near_one, 0.5, values)


def _edge(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 up to ``_EDGE`` of the kept half width, then a smooth fall to 0 at its end.

    A sharp cut would ring in time, far beyond the window and thus across the ends of blocks.
    """
    fall = np.clip((position - _EDGE) / (1.0 - _EDGE), 0.0, 1.0)
    return np.cos(np.pi / 2 * fall) ** 2


# --- CQT and HCQT: the transform ----------------------------------------------------------------


def hcqt(
    audio: ArrayLike, config: HcqtConfig | None = None, *, sample_rate: float | None = None
) -> Feature:
    """Return the magnitudes of the harmonic CQT, ``(H, F, T)``.

    Equal to stacking ``abs(librosa.cqt(fmin=h * f_min_hz, …))`` over the harmonics, within 5 % of
    each harmonic's norm on music (librosa's own resampling and truncation of filters included),
    at about a thirtieth of the time. Bins whose band reaches above half the sample rate, where
    librosa would refuse the whole CQT, are zero.

    Parameters
    ----------
    audio
        Samples at ``config.sample_rate``, shape ``(n_samples,)``.
    config
        Default: ``HcqtConfig()``.
    sample_rate
        Rate of the audio in Hz; if given, it is checked against the configuration's.

    Raises
    ------
    DataError
        If the audio is empty, not one-dimensional, not finite or at another rate.
    """
    config = HcqtConfig() if config is None else config
    _check_rate(sample_rate, config)
    array = check_audio(audio, config.sample_rate)
    plan = hcqt_plan(config, array.size)
    n_frames = plan.n_frames(array.size)
    values = np.empty((len(config.harmonics), config.n_bins, n_frames), dtype=np.float32)
    for first_sample, skip, start, stop in plan.blocks(array.size):
        block = array[max(0, first_sample) : first_sample + plan.block_samples]
        if first_sample < 0:
            block = np.pad(block, (-first_sample, 0))
        magnitudes = _block_magnitudes(block, plan, slice(skip, skip + stop - start))
        for harmonic, offset in enumerate(plan.offsets):
            values[harmonic, :, start:stop] = magnitudes[offset : offset + config.n_bins]
    times = frame_times(n_frames, config.hop_samples, config.sample_rate)
    return Feature(values, times, config.frequencies_hz, config.sample_rate, config.hop_samples)


def _block_magnitudes(
    block: NDArray[np.float32], plan: HcqtPlan, frames: slice
) -> NDArray[np.float32]:
    """Return magnitudes ``(n_distinct, frames)`` of one block, zero-padded to the plan's length."""
    from scipy import fft

    spectrum = fft.rfft(block, n=plan.block_samples)
    n_kept = frames.stop - frames.start
    magnitudes = np.zeros((plan.frequencies_hz.size, n_kept), dtype=np.float32)
    for group in plan.groups:
        n, width = group.weights.shape
        windows = np.lib.stride_tricks.sliding_window_view(spectrum, width)
        segments = windows[group.starts]
        segments *= group.weights
        if width > plan.block_frames:
            segments = segments.reshape(n, -1, plan.block_frames).sum(axis=1)
        # Where a segment starts only turns the phase, which magnitudes do not see.
        rows = fft.ifft(segments, n=plan.block_frames, axis=1, overwrite_x=True)
        magnitudes[group.bins] = np.abs(rows[:, frames])
    return magnitudes


def cqt(
    audio: ArrayLike, config: HcqtConfig | None = None, *, sample_rate: float | None = None
) -> Feature:
    """Return the magnitudes of the CQT, ``(1, F, T)``: the HCQT with harmonic 1 alone."""
    config = HcqtConfig() if config is None else config
    return hcqt(audio, replace(config, harmonics=(1.0,)), sample_rate=sample_rate)
