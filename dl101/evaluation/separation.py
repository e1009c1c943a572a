"""Scores of separated sources, what an estimate is made of, and the bounds of masks.

Conventions: a signal is (samples,) or (channels, samples), stems are (stems, samples) or (stems,
channels, samples). Ratios are in dB and larger is better; where there is nothing to be scored,
because the reference is silent, they are NaN, and means and medians leave them out and say how many
there were. An estimate and its reference have one length, or are refused.

Four ratios are in use [1]_. An estimate is the *target*, which a filter may have changed, plus
*interference* from the other sources, plus *noise* that was recorded along, plus *artefacts*, which
are nothing that was in the mixture; :func:`decompose` gives these as arrays. SDR compares the
target with all the rest, SIR with interference, SAR with artefacts. Version 4 of BSSEval [2]_
(:func:`bss_eval`) counts the filter as an error, and calls its part ISR. :func:`si_sdr` [3]_ allows
the target one number, its level.

References
----------
.. [1] E. Vincent, R. Gribonval, C. Févotte, "Performance measurement in blind audio source
   separation", IEEE TASLP 14(4), 2006.
.. [2] F.-R. Stöter, A. Liutkus, N. Ito, "The 2018 signal separation evaluation campaign",
   LVA/ICA 2018.
.. [3] J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR: half-baked or well done?",
   ICASSP 2019.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from dl101.errors import ConfigError, DataError
from dl101.units import db_to_amplitude

LIMIT_DB = 120.0  # an SI-SDR is kept within
SILENT_DB = -80.0  # RMS of a frame re full scale below which its reference counts as silent
RATIOS = ("sdr", "isr", "sir", "sar")

# ---- ratios of two signals ---------------------------------------------------------------------


def si_sdr(estimate: NDArray, reference: NDArray) -> float:
    r"""Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019, Eq. 5).

    With :math:`\alpha = \langle \hat s, s \rangle / \lVert s \rVert^2`,

    .. math:: 10 \log_{10} \frac{\lVert \alpha s \rVert^2}{\lVert \alpha s - \hat s \rVert^2}

    It is kept within 120 dB up and down: equal signals have 120 dB, and an estimate that is silent
    or has nothing of the reference, -120 dB. To a silent reference nothing is near or far: NaN.

    Parameters
    ----------
    estimate, reference
        Of one shape. Several channels share one :math:`\alpha`.

    Raises
    ------
    DataError
        If the shapes differ.
    """
    estimate, reference = _pair(estimate, reference)
    energy = float(np.vdot(reference, reference))
    if energy == 0.0:
        return float("nan")
    target = np.vdot(estimate, reference) / energy * reference
    return _ratio_db(target, estimate - target)


def sdr(estimate: NDArray, reference: NDArray) -> float:
    r"""Return :math:`10 \log_{10} \lVert s \rVert^2 / \lVert s - \hat s \rVert^2` in dB.

    The SDR of BSSEval version 4 with one frame, and of later campaigns: level, delay and filter
    are errors. It has the limits of :func:`si_sdr`, NaN for a silent reference, and 0 dB for a
    silent estimate.
    """
    estimate, reference = _pair(estimate, reference)
    return _ratio_db(reference, estimate - reference) if np.any(reference) else float("nan")


def frame_sdr(estimate: NDArray, reference: NDArray, frame_samples: int) -> NDArray[np.float64]:
    """Return the :func:`sdr` of each frame, (frames,), NaN where the reference is silent.

    Frames don't overlap; a rest shorter than a frame is left out, unless it is all there is. They
    are those of :func:`bss_eval`, whose SDR this is.

    Parameters
    ----------
    estimate, reference
        Of one shape.
    frame_samples
        Length of a frame; BSSEval uses one second.
    """
    estimate, reference = _pair(estimate, reference)
    frames = _frames(reference.shape[-1], frame_samples, frame_samples)
    return np.array(
        [
            float("nan") if _silent(reference[..., f]) else sdr(estimate[..., f], reference[..., f])
            for f in frames
        ]
    )


def median_over_frames(ratios: NDArray) -> NDArray[np.float64]:
    """Return the median over the last axis without NaN; NaN where nothing else is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanmedian(ratios, axis=-1)


def _pair(estimate: NDArray, reference: NDArray) -> tuple[NDArray, NDArray]:
    estimate = np.asarray(estimate, dtype=np.float64)
    reference = np.asarray(reference, dtype=np.float64)
    if estimate.shape != reference.shape or not estimate.size:
        raise DataError(
            "estimate and reference",
            got=f"shapes {estimate.shape} and {reference.shape}",
            expected="one shape, (samples,) or (channels, samples), with at least one sample",
            hint="cut or pad the estimate where it was made: a ratio can't know which samples are "
            "missing",
        )
    return estimate, reference


def _ratio_db(wanted: NDArray, unwanted: NDArray) -> float:
    over, under = float(np.sum(wanted**2)), float(np.sum(unwanted**2))
    if over == 0.0:
        return -LIMIT_DB
    least = over * 10 ** (-LIMIT_DB / 10)
    return max(-LIMIT_DB, float(10.0 * np.log10(over / max(under, least))))


def _silent(signal: NDArray) -> bool:
    return float(np.mean(signal**2)) < db_to_amplitude(SILENT_DB) ** 2


def _frames(n_samples: int, length: int, hop: int) -> list[slice]:
    """Return the frames of BSSEval version 4."""
    if length < 1 or hop < 1:
        raise ConfigError(
            "frames",
            got=f"{length} samples long, {hop} apart",
            expected="at least 1 sample",
            hint="use one second: frame_samples = sample_rate",
        )
    if length >= n_samples:
        return [slice(0, n_samples)]
    return [slice(s, s + length) for s in range(0, n_samples - length + 1, hop)]


# ---- what an estimate is made of ---------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of an estimate, which add up to it; each is as long as the others.

    They are (samples + filter_samples - 1,), or with channels before: a filter rings on.
    """

    target: NDArray[np.float64]
    interference: NDArray[np.float64]
    noise: NDArray[np.float64]
    artefacts: NDArray[np.float64]

    @property
    def ratios_db(self) -> dict[str, float]:
        """Return ``sdr``, ``sir``, ``snr`` and ``sar`` (Vincent and others, 2006, Eqs. 20-23)."""
        heard = self.target + self.interference
        return {
            "sdr": _ratio_db(self.target, self.interference + self.noise + self.artefacts),
            "sir": _ratio_db(self.target, self.interference),
            "snr": _ratio_db(heard, self.noise),
            "sar": _ratio_db(heard + self.noise, self.artefacts),
        }


def decompose(
    estimate: NDArray,
    references: NDArray,
    target: int,
    *,
    noise: NDArray | None = None,
    filter_samples: int = 1,
) -> Parts:
    """Take an estimate apart by three projections (Vincent and others, 2006, section III).

    The target is what copies of its source explain best, delayed by 0 to ``filter_samples - 1``
    samples; interference is what copies of all sources explain beyond that, noise what those of the
    noise add, artefacts what nobody explains. With one tap and sources at right angles to each
    other, each part is the source times its inner product with the estimate, over its energy.

    Parameters
    ----------
    estimate
        (samples,) or (channels, samples).
    references
        (sources, samples) or (sources, channels, samples). Each channel of the estimate may use all
        channels of a source.
    target
        Which source is to be heard.
    noise
        Shaped like ``references``, or None.
    filter_samples
        Taps of the filters; BSSEval allows 512. The cost grows with the cube of sources times
        channels times taps.

    Raises
    ------
    DataError
        If lengths or channels differ, or there is no such source.
    """
    heard = np.asarray(references, dtype=np.float64)
    if noise is not None:
        heard = np.concatenate([heard, np.asarray(noise, dtype=np.float64)])
    estimate = np.asarray(estimate, dtype=np.float64)
    if heard.ndim < 2 or heard.shape[1:] != estimate.shape or not 0 <= target < len(references):
        raise DataError(
            "decompose",
            got=f"an estimate {estimate.shape} of source {target} of references "
            f"{np.shape(references)}" + ("" if noise is None else f", noise {np.shape(noise)}"),
            expected="references (sources, ...) of which each has the estimate's shape, and one of "
            "their numbers",
            hint="cut what is longer, and count sources from 0",
        )
    channels = 1 if estimate.ndim == 1 else len(estimate)
    rows = heard.reshape(len(heard) * channels, -1)  # one for each channel of each source
    wanted = estimate.reshape(channels, -1)
    n = rows.shape[1] + filter_samples - 1
    spectra = np.fft.rfft(rows, 2 * n)
    gram = _gram(spectra, 2 * n, filter_samples)
    # <row delayed by a, estimate>, ordered like the rows of the gram matrix
    against = np.fft.irfft(np.conj(spectra)[:, None] * np.fft.rfft(wanted, 2 * n), 2 * n)
    against = against[..., :filter_samples].transpose(0, 2, 1).reshape(-1, channels)

    def projected(first: int, last: int) -> NDArray[np.float64]:
        """Return the projection on the sources from ``first`` to before ``last``."""
        part = slice(first * channels * filter_samples, last * channels * filter_samples)
        taps = _solve(gram[part, part], against[part])
        taps = taps.reshape(-1, filter_samples, channels)
        spectrum = np.einsum(
            "rf,rfc->cf",
            spectra[first * channels : last * channels],
            np.fft.rfft(taps, 2 * n, axis=1),
        )
        return np.fft.irfft(spectrum, 2 * n)[:, :n]

    whole = np.pad(wanted, ((0, 0), (0, filter_samples - 1)))
    steps = [projected(target, target + 1), projected(0, len(references))]
    steps.append(projected(0, len(heard)) if noise is not None else steps[-1])
    parts = [b - a for a, b in zip([np.zeros_like(whole), *steps], [*steps, whole], strict=True)]
    return Parts(*(part.reshape(*estimate.shape[:-1], n) for part in parts))


def _gram(spectra: NDArray, n_fft: int, taps: int) -> NDArray[np.float64]:
    """Return the inner products of all delayed rows, (rows * taps, rows * taps)."""
    from scipy.linalg import toeplitz

    n_rows = len(spectra)
    gram = np.empty((n_rows, taps, n_rows, taps))
    for i in range(n_rows):
        for j in range(i, n_rows):
            lags = np.fft.irfft(np.conj(spectra[i]) * spectra[j], n_fft)
            # entry (a, b): row i delayed by a, row j by b, so the lag a - b
            block = toeplitz(lags[:taps], np.concatenate([lags[:1], lags[:-taps:-1]]))
            gram[i, :, j], gram[j, :, i] = block, block.T
    return gram.reshape(n_rows * taps, n_rows * taps)


def _solve(gram: NDArray, against: NDArray) -> NDArray[np.float64]:
    """Return the best filters; where sources are silent or alike, the smallest of them."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    try:
        if np.diag(factor := cho_factor(gram)[0]).min() < 1e-6 * np.diag(factor).max():
            raise LinAlgError
        return cho_solve((factor, False), against)
    except LinAlgError:
        return np.linalg.lstsq(gram, against, rcond=1e-12)[0]


# ---- BSSEval, version 4 ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BssScores:
    """Ratios in dB, each (sources, frames), NaN where they don't exist."""

    sdr: NDArray[np.float64]
    isr: NDArray[np.float64]
    sir: NDArray[np.float64]
    sar: NDArray[np.float64]

    @property
    def medians(self) -> dict[str, NDArray[np.float64]]:
        """Return the median over the frames of each ratio, (sources,)."""
        return {name: median_over_frames(getattr(self, name)) for name in RATIOS}

    @property
    def n_left_out(self) -> NDArray[np.int64]:
        """Return how many frames of each source were not scored, (sources,)."""
        return np.isnan(self.sdr).sum(axis=1)


def bss_eval(
    estimates: NDArray,
    references: NDArray,
    sample_rate: int,
    *,
    frame_s: float = 1.0,
    hop_s: float | None = None,
    filter_samples: int = 512,
) -> BssScores:
    """Return SDR, ISR, SIR and SAR of each source and frame by ``museval``, as SiSEC 2018 did.

    One set of filters is found for the whole signal, and used in each frame. Not scored are: a
    source that is silent throughout (the others are scored without it), any frame in which one of
    the rest is exactly zero (museval leaves it out for all), and a frame in which the source
    itself is softer than :data:`SILENT_DB`.

    Parameters
    ----------
    estimates, references
        (sources, samples) or (sources, channels, samples), in one order.
    sample_rate
        In Hz.
    frame_s, hop_s
        Length and distance of frames in seconds; the distance is by default the length.
    filter_samples
        Taps of the filters. The matrix to be solved has sources times channels times taps rows:
        4 stems in stereo take about 10 s for each estimate.

    Raises
    ------
    DataError
        If shapes differ, a heard source has a silent estimate, or two sources are alike.
    ConfigError
        If ``museval`` is not installed.
    """
    estimates, references = _pair(estimates, references)
    if references.ndim not in (2, 3):
        raise DataError(
            "estimates and references",
            got=f"shape {references.shape}",
            expected="(sources, samples) or (sources, channels, samples)",
            hint="put one source in an axis of its own with references[None]",
        )
    heard = np.array([bool(np.any(reference)) for reference in references])
    missing = [i for i, estimate in enumerate(estimates) if heard[i] and not np.any(estimate)]
    if missing:
        raise DataError(
            "estimates",
            got=f"silence for source {missing[0]}, which is heard",
            expected="a sound: of silence, interference and artefacts have no ratio",
            hint="use sdr, which is 0 dB for silence, or si_sdr, which is -120 dB",
        )
    length = round(frame_s * sample_rate)
    hop = length if hop_s is None else round(hop_s * sample_rate)
    frames = _frames(references.shape[-1], length, hop)
    found = np.full((4, len(references), len(frames)), np.nan)
    if heard.any():
        try:
            *ratios, _ = _museval().bss_eval(
                _samples_first(references[heard]),
                _samples_first(estimates[heard]),
                window=length,
                hop=hop,
                filters_len=filter_samples,
            )
        except (np.linalg.LinAlgError, AttributeError) as error:
            # museval 0.4.1 looks for the first under a name that NumPy no longer has
            raise DataError(
                "references",
                got="sources that filters can make from each other",
                expected="independent sources",
                hint="give each source once, or take fewer filter_samples",
            ) from error
        found[:, heard] = np.stack(ratios)
    for source in np.flatnonzero(heard):
        for number, frame in enumerate(frames):
            if _silent(references[source][..., frame]):
                found[:, source, number] = np.nan
    return BssScores(*found)


def _samples_first(sources: NDArray) -> NDArray:
    """Return (sources, samples, channels)."""
    return sources[..., None] if sources.ndim == 2 else sources.swapaxes(1, 2)


def median_over_tracks(scores: Sequence[BssScores]) -> dict[str, NDArray[np.float64]]:
    """Return the medians over tracks of the medians over frames, each (sources,).

    ``n_left_out`` and ``n_frames`` count the frames of each source that were not scored, and all.
    """
    stacked = {
        name: np.stack([track.medians[name] for track in scores], axis=-1) for name in RATIOS
    }
    found: dict[str, NDArray] = {name: median_over_frames(v) for name, v in stacked.items()}
    found["n_left_out"] = np.sum([track.n_left_out for track in scores], axis=0)
    found["n_frames"] = np.full(
        len(found["n_left_out"]), sum(track.sdr.shape[1] for track in scores)
    )
    return found


@cache
def _museval() -> ModuleType:
    """Return the metrics of museval alone: the package also reads MP4, and asks for ffmpeg."""
    package = importlib.util.find_spec("museval")
    if package is None or package.origin is None:
        raise ConfigError(
            "BSSEval",
            got="no package museval",
            expected="museval 0.4",
            hint="install it with: pip install 'dl101[separation]'",
        )
    file = Path(package.origin).with_name("metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- bounds: masks that know the truth ---------------------------------------------------------


def ratio_mask(stems: NDArray, *, frame_samples: int = 2048) -> NDArray[np.float64]:
    """Separate a mixture with masks made from the truth: an upper limit for many methods.

    Parameters
    ----------
    stems
        (stems, samples) or (stems, channels, samples); the mixture is their sum.

    Returns
    -------
    ndarray, shaped like ``stems``
        The mixture's short-time spectrum, each bin shared out by the stems' magnitudes.
    """

    def shared(spectra: NDArray) -> NDArray:
        magnitudes = np.abs(spectra)
        masks = magnitudes / np.maximum(magnitudes.sum(axis=0), 1e-9)
        return masks * spectra.sum(axis=0)

    return _through_spectra(stems, shared, frame_samples)


def binary_mask(stems: NDArray, *, frame_samples: int = 2048) -> NDArray[np.float64]:
    """Separate a mixture by giving each bin to the stem that is loudest in it.

    Arguments and result are those of :func:`ratio_mask`; these masks also add up to 1.
    """

    def given(spectra: NDArray) -> NDArray:
        owner = np.abs(spectra).argmax(axis=0)
        masks = owner == np.arange(len(spectra)).reshape(-1, *(1,) * owner.ndim)
        return masks * spectra.sum(axis=0)

    return _through_spectra(stems, given, frame_samples)


def mixture_phase(stems: NDArray, *, frame_samples: int = 2048) -> NDArray[np.float64]:
    """Return each stem with its true magnitudes and the phases of the mixture.

    What a method reaches that estimates magnitudes perfectly and takes the mixture's phase. Its
    masks may be above 1, where stems cancel each other. Arguments and result are those of
    :func:`ratio_mask`.
    """

    def turned(spectra: NDArray) -> NDArray:
        return np.abs(spectra) * np.exp(1j * np.angle(spectra.sum(axis=0)))

    return _through_spectra(stems, turned, frame_samples)


BOUNDS: Mapping[str, Callable[..., NDArray[np.float64]]] = {
    "binary-mask": binary_mask,
    "ratio-mask": ratio_mask,
    "mixture-phase": mixture_phase,
}


def _through_spectra(
    stems: NDArray, change: Callable[[NDArray], NDArray], frame_samples: int
) -> NDArray[np.float64]:
    import scipy.signal

    settings = {"nperseg": frame_samples, "noverlap": frame_samples * 3 // 4}
    spectra = scipy.signal.stft(stems, **settings)[2]
    return scipy.signal.istft(change(spectra), **settings)[1][..., : np.shape(stems)[-1]]
