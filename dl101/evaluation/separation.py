"""Scores of separated sources, and the bound that masks cannot pass.

Conventions: signals are (samples,), stems (stems, samples); ratios are in dB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def si_sdr(estimate: NDArray, reference: NDArray) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    scale = np.vdot(estimate, reference) / max(float(np.vdot(reference, reference)), 1e-12)
    target = scale * reference
    error = float(np.sum((estimate - target) ** 2))
    return float(10.0 * np.log10(max(float(np.sum(target**2)), 1e-12) / max(error, 1e-12)))


def ratio_mask(stems: NDArray, *, frame_samples: int = 2048) -> NDArray[np.float64]:
    """Separate a mixture with masks made from the truth: an upper limit for many methods.

    Parameters
    ----------
    stems
        (stems, samples); the mixture is their sum.

    Returns
    -------
    ndarray, shape (stems, samples)
        The mixture's short-time spectrum, each bin shared out by the stems' magnitudes.
    """
    import scipy.signal

    settings = {"nperseg": frame_samples, "noverlap": frame_samples * 3 // 4}
    spectra = scipy.signal.stft(stems, **settings)[2]
    magnitudes = np.abs(spectra)
    masks = magnitudes / np.maximum(magnitudes.sum(axis=0), 1e-9)
    return scipy.signal.istft(masks * spectra.sum(axis=0), **settings)[1][:, : stems.shape[1]]
