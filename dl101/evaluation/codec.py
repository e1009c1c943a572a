"""What a codec costs and what it loses: bits a second, and distances to the original.

Conventions: signals are (samples,); bitrates in bits a second; distances in dB. A ratio of signal
to distortion (:func:`dl101.evaluation.separation.si_sdr`) asks for the same waveform, phases
included; :func:`spectral_distance` asks only how loud each time and frequency is, which is nearer
to the ear.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.data.audiofile import resample
from dl101.evaluation.separation import si_sdr
from dl101.signal import waveforms
from dl101.signal.stft import spectral_convergence, stft

WINDOWS = (2048, 1024, 512, 256, 128)
FLOOR = 1e-3  # 60 dB below a sine of full scale
LOWEST_DB = -30.0


def bits_per_second(frame_rate: float, codebooks: Sequence[int]) -> float:
    """Return ``frame_rate`` times the sum of log2 of the sizes of the codebooks in use."""
    return frame_rate * sum(math.log2(size) for size in codebooks)


def _magnitudes(
    sounds: Sequence[NDArray], windows: Sequence[int]
) -> Iterator[tuple[NDArray[np.float64], ...]]:
    """Yield the magnitudes (bin, frame) of each sound for each window; a sine has its amplitude."""
    for window_samples in windows:
        scale = 4.0 / window_samples  # the sum of a Hann window is half its length
        yield tuple(
            scale * np.abs(stft(np.asarray(x, np.float64), window_samples=window_samples))
            for x in sounds
        )


def _difference_db(estimate: NDArray, reference: NDArray, floor: float) -> float:
    return float(np.mean(np.abs(20.0 * np.log10((estimate + floor) / (reference + floor)))))


def spectral_distance(
    estimate: NDArray, reference: NDArray, *, windows: Sequence[int] = WINDOWS, floor: float = FLOOR
) -> float:
    """Return by how many dB the magnitudes of two sounds differ, on average over several windows.

    The mean over bins and frames of ``abs(20 log10((E + floor) / (R + floor)))``, then over the
    windows; magnitudes are those of a sine (1 at full scale). The floor keeps what nobody hears
    from deciding. Soft and loud count alike. 0 is best.

    Parameters
    ----------
    estimate, reference
        (samples,) of one length.
    windows
        Lengths of the Hann windows in samples, a quarter of which lies between frames.
    floor
        A magnitude.
    """
    pairs = _magnitudes((estimate, reference), windows)
    return float(np.mean([_difference_db(found, wanted, floor) for found, wanted in pairs]))


def score(estimate: NDArray, reference: NDArray) -> dict[str, float]:
    """Return the distances of a decoded sound, cut or padded to the length of its source.

    ``si_sdr_db`` is cut off at :data:`LOWEST_DB`, which a decoder that gives silence gets.
    ``spectral_db`` is :func:`spectral_distance`; ``convergence`` the mean over the same windows of
    :func:`dl101.signal.stft.spectral_convergence`: the part of the magnitudes that is wrong, for
    which what is loud decides. Silence has 1.
    """
    estimate = np.pad(estimate, (0, max(0, len(reference) - len(estimate))))[: len(reference)]
    ratio_db = si_sdr(estimate, reference) if np.any(estimate) else LOWEST_DB
    pairs = list(_magnitudes((estimate, reference), WINDOWS))
    return {
        "si_sdr_db": max(ratio_db, LOWEST_DB),
        "spectral_db": float(np.mean([_difference_db(*pair, FLOOR) for pair in pairs])),
        "convergence": float(np.mean([spectral_convergence(*pair) for pair in pairs])),
    }


def resampled(
    audio: NDArray[np.float32], sample_rate: int, *, low_rate: int, n_bits: int
) -> NDArray[np.float32]:
    """Return what is left of a sound at a low rate and few bits a sample, (samples,).

    The simplest codec: ``low_rate * n_bits`` bits a second. The samples are companded by the mu-law
    relative to the peak, which is a number for the whole sound and not counted.
    """
    low = resample(audio, sample_rate, low_rate)
    peak = max(float(np.max(np.abs(low))), 1e-9)
    n_codes = 2**n_bits
    codes = waveforms.mu_law_encode(low / peak, n_codes)
    decoded = peak * waveforms.mu_law_decode(codes, n_codes)
    back = resample(decoded.astype(np.float32), low_rate, sample_rate)
    return np.pad(back, (0, max(0, len(audio) - len(back))))[: len(audio)]


def ogg(
    sounds: Sequence[NDArray[np.float32]],
    sample_rate: int,
    *,
    low_rate: int | None = None,
    subtype: str = "VORBIS",
    compression_level: float = 1.0,
) -> tuple[list[NDArray[np.float32]], float]:
    """Return sounds after OGG, and the bits a second of the audio in it.

    All sounds go into one file, so that its header, several times as large as a short note, weighs
    nothing: its size is that of a file with almost no sound, and is taken off.

    Parameters
    ----------
    sounds
        Each (samples,).
    sample_rate
        In Hz.
    low_rate
        Convert to this rate first and back afterwards: fewer bits, less treble.
    subtype
        ``"VORBIS"`` or ``"OPUS"``, as soundfile calls them.
    compression_level
        From 0 to 1; 1 is the smallest that soundfile offers.
    """
    import soundfile

    rate = low_rate or sample_rate

    def encoded(audio: NDArray[np.float32]) -> bytes:
        file = io.BytesIO()
        given = {"format": "OGG", "subtype": subtype, "compression_level": compression_level}
        with soundfile.SoundFile(file, "w", rate, 1, **given) as out:
            for start in range(0, len(audio), rate):  # Vorbis puts what it is given on the stack
                out.write(audio[start : start + rate])
        return file.getvalue()

    low = [resample(sound, sample_rate, rate) for sound in sounds]
    joined = np.concatenate(low)
    data = encoded(joined)
    n_header = len(encoded(np.zeros(rate // 100, np.float32)))
    decoded, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    decoded = np.pad(decoded, (0, max(0, len(joined) - len(decoded))))
    ends = np.cumsum([len(sound) for sound in low])
    parts = np.split(decoded[: ends[-1]], ends[:-1])
    back = [resample(part, rate, sample_rate) for part in parts]
    rate_bps = 8.0 * (len(data) - n_header) / (len(joined) / rate)
    return [b[: len(a)] for a, b in zip(sounds, back, strict=True)], rate_bps
