"""Reading one audio file of the user's own: any format of libsndfile, to mono, at a wanted rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dl101.errors import DataError


def read_audio(
    path: Path | str, sample_rate: int, *, max_duration_s: float = 600.0
) -> NDArray[np.float32]:
    """Return the samples of a file as mono float32 at ``sample_rate``.

    WAV, FLAC, OGG and MP3 are read. Channels are averaged; another rate is converted by
    polyphase filtering.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, is longer than ``max_duration_s`` (only its header
        is read to find out), or holds values that are not finite numbers.
    """
    import soundfile

    path = Path(path)
    try:
        info = soundfile.info(str(path))
        if info.duration > max_duration_s:
            raise DataError(
                f"audio file {path.name}",
                got=f"{info.duration:.0f} s",
                expected=f"at most {max_duration_s:.0f} s",
                hint="cut the file, or raise max_duration_s if memory allows",
            )
        samples, file_rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(
            f"audio file {path.name}",
            got=str(error),
            expected="a readable WAV, FLAC, OGG or MP3 file",
            hint="check the path, or convert the file to WAV",
        ) from error
    mono = samples.mean(axis=1)
    if mono.size == 0 or not np.isfinite(mono).all():
        raise DataError(
            f"audio file {path.name}",
            got="no samples" if mono.size == 0 else "samples that are not finite numbers",
            expected="finite samples",
            hint="export the file again",
        )
    return resample(mono, file_rate, sample_rate)


def resample(samples: NDArray[np.floating], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Return mono samples at another rate (polyphase filtering); at the same rate, as they are."""
    if from_rate != to_rate:
        from scipy.signal import resample_poly

        common = int(np.gcd(from_rate, to_rate))
        samples = resample_poly(samples, to_rate // common, from_rate // common)
    return np.ascontiguousarray(samples, dtype=np.float32)
