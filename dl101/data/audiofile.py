"""The door for audio: one set of rules for a user's file, a dataset's arrays and other libraries.

What passes is finite, at a believable rate, in the range of audio, as long as its file declares,
and (channels, samples) with the shorter axis for the channels. The mean over channels is taken
where one is wanted, unless they cancel each other. :func:`read_audio` reads any format of
libsndfile by these rules, block by block: memory follows what is there, not what a header claims.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dl101.data import containers
from dl101.data.cache import existing
from dl101.errors import DataError, Dl101Error

if TYPE_CHECKING:
    from soundfile import SoundFile

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
RATES = f"whole hertz from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
# Full scale is 1. Mixes and decoders exceed it a little, integers kept as floats a thousand times.
LARGEST_SAMPLE = 16.0
CANCELLED = 0.01  # ratio of amplitudes (-40 dB) below which the mean of channels says nothing
SILENCE = 1e-4  # -80 dB: below what 16-bit recordings of music hold, dither apart
_BLOCK_VALUES = 2**18
_UNKNOWN_LENGTH = 2**62  # libsndfile then says 2**63 - 1
_MPEG_FRAME = 1152  # samples; some encoders count the header as a frame
_MPEG_MARGIN = 4 * _MPEG_FRAME  # what encoders add at both ends, and decoders leave out
_OF_DECODERS = (TypeError, ValueError, RuntimeError, EOFError, OSError)
_FORMATS = "a readable WAV, FLAC, OGG or MP3 file"


# ---- Files -------------------------------------------------------------------------------------


def read_audio(
    path: Path | str, sample_rate: int, *, max_duration_s: float = 600.0
) -> NDArray[np.float32]:
    """Return the samples of a file as mono float32 at ``sample_rate``.

    WAV, FLAC, OGG and MP3 are read. Channels are averaged; another rate is converted by
    polyphase filtering. ``~`` stands for the user's home, and a name with accents is found in
    either spelling of Unicode.

    Raises
    ------
    DataError
        If there is no such file, or :func:`decode` refuses it.
    """
    path = existing(path)
    what = f"audio file {path.name}"
    with _file_of(path, what) as file:
        mono, file_rate = decode(file, what, max_duration_s=max_duration_s)
    return resample(mono, file_rate, sample_rate)


@contextmanager
def _file_of(path: Path, what: str) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, or say why not."""
    if not path.is_file():
        raise DataError(
            what,
            got="something that is no file" if path.exists() else f"no such file ({path})",
            expected=_FORMATS,
            hint="check the path",
        )
    try:
        file = path.open("rb")
    except OSError as error:
        hint = "check the file's permissions"
        raise DataError(what, got=str(error), expected=_FORMATS, hint=hint) from error
    with file:
        yield file


def read_recording(
    path: Path | str, sample_rate: int, *, shortest_s: float = 1.0, max_duration_s: float = 1200.0
) -> NDArray[np.float32]:
    """Return the samples of a file that something can be said about; see :func:`read_audio`.

    Raises
    ------
    DataError
        If :func:`read_audio` refuses it, it is shorter than ``shortest_s``, or it is silent.
    """
    samples = read_audio(path, sample_rate, max_duration_s=max_duration_s)
    what, hint = f"audio file {Path(path).name}", "choose another file, or a longer part of this"
    if len(samples) < shortest_s * sample_rate:
        got = f"{len(samples) / sample_rate:.2f} s of sound"
        raise DataError(what, got=got, expected=f"at least {shortest_s:g} s", hint=hint)
    if np.abs(samples).max() < SILENCE:
        got = f"silence (no sample beyond {SILENCE:g} of full scale)"
        raise DataError(what, got=got, expected="something to hear", hint=hint)
    return samples


def decode(file: BinaryIO, what: str, *, max_duration_s: float) -> tuple[NDArray[np.float32], int]:
    """Return the samples of an open audio file, mono, and its rate in Hz.

    Parameters
    ----------
    file
        The file, open for reading bytes, or bytes in memory.
    what
        What to call it in an error.
    max_duration_s
        The longest that is read, in seconds.

    Raises
    ------
    DataError
        If the file cannot be decoded, is at a rate that cannot be right, is longer than
        ``max_duration_s``, ends before the length that it declares, goes on where the decoder
        ends (Ogg streams in a chain), is empty, or holds samples that are not finite or far
        beyond full scale.

    Warns
    -----
    UserWarning
        If the channels cancel each other; the loudest of them is returned then.
    """
    with _refusing(what):
        mono, energies, rate = _decode(file, what, max_duration_s, None)
        if _cancel(mono, energies):
            _notice(what)
            mono, _, rate = _decode(file, what, max_duration_s, int(np.argmax(energies)))
    return mono, rate


@dataclass(frozen=True)
class Recording:
    """An audio file that is read block by block.

    Attributes
    ----------
    sample_rate
        In Hz.
    n_channels
        How many there are.
    n_samples
        Length that the file declares, in samples; None where it does not say.
    blocks
        Yields (channels, samples) float32 in order; each block is checked as it is read.
    """

    sample_rate: int
    n_channels: int
    n_samples: int | None
    blocks: Iterator[NDArray[np.float32]]

    @property
    def n_blocks(self) -> int | None:
        """How many blocks there will be, as far as is known."""
        return self.n_samples and -(-self.n_samples * self.n_channels // _BLOCK_VALUES)


@contextmanager
def opened(path: Path | str, *, max_duration_s: float = math.inf) -> Iterator[Recording]:
    """Open an audio file of any length, to be read block by block by the rules of :func:`decode`.

    Raises
    ------
    DataError
        If there is no such file or :func:`decode` would refuse it: what can be known from its
        header at once, what only its samples tell when they are reached.
    """
    path = existing(path)
    what = f"audio file {path.name}"
    with _file_of(path, what) as file, ExitStack() as stack:
        with _refusing(what):
            sound = stack.enter_context(_sound(file, what, max_duration_s))
        yield replace(sound, blocks=_refused(sound.blocks, what))


def _refused(blocks: Iterator[NDArray], what: str) -> Iterator[NDArray]:
    with _refusing(what):
        yield from blocks


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn what decoders raise into our error."""
    import soundfile

    try:
        yield
    except (
        soundfile.SoundFileError,
        TypeError,
        ValueError,
        RuntimeError,
        EOFError,
        OSError,
    ) as error:
        if isinstance(error, Dl101Error):
            raise
        got = getattr(error, "error_string", str(error))  # without the name of our handle
        hint = "check that it is audio and complete, or convert it to WAV"
        raise DataError(what, got=got, expected=_FORMATS, hint=hint) from error


def _decode(
    file: BinaryIO, what: str, max_duration_s: float, channel: int | None
) -> tuple[NDArray[np.float32], NDArray[np.float64], int]:
    """Return one channel (None: the mean), the energy of each channel, and the rate."""
    with _sound(file, what, max_duration_s) as sound:
        blocks, energies = [], np.zeros(sound.n_channels)
        for block in sound.blocks:
            energies += np.einsum("ct,ct->c", block, block, dtype=np.float64)
            blocks.append(block.mean(axis=0) if channel is None else block[channel].copy())
        return np.concatenate(blocks), energies, sound.sample_rate


@contextmanager
def _sound(file: BinaryIO, what: str, max_duration_s: float) -> Iterator[Recording]:
    import soundfile

    file.seek(0)
    with soundfile.SoundFile(file) as sound:
        # soundfile seeks after each block, which fails at the end of a FLAC file without length.
        sound.seekable = lambda: False
        rate = believable_rate(sound.samplerate)
        if rate is None:
            raise DataError(
                what,
                got=f"a rate of {sound.samplerate} Hz",
                expected=RATES,
                hint="export the file again: its header is damaged",
            )
        n_most = max_duration_s * rate
        declared = None if sound.frames >= _UNKNOWN_LENGTH else sound.frames
        n_coded = None
        place = file.tell()
        if sound.format == "MP3":
            n_coded, declared = _mpeg_length(file, what, rate, sound.frames)
        elif sound.format == "OGG":
            fault = containers.ogg_fault(file)
            if fault:
                hint = "convert it to WAV or FLAC with the program that plays it whole"
                raise DataError(what, got=fault, expected="one whole Ogg stream", hint=hint)
        else:
            missing = containers.missing_bytes(file)
            if sound.format in ("AU", "RF64", "W64"):
                missing = containers.missing_by_log(sound.extra_info)
            if missing:
                _ends_early(what, f"a file that lacks {missing} bytes of its samples")
        file.seek(place)
        _check_length(max(declared or 0, n_coded or 0), n_most, rate, what)
        blocks = _blocks(sound, what, rate, n_most, n_coded, declared)
        yield Recording(rate, sound.channels, declared, blocks)


def _blocks(
    sound: SoundFile, what: str, rate: int, n_most: float, n_coded: int | None, declared: int | None
) -> Iterator[NDArray[np.float32]]:
    n_samples, n_block = 0, max(1, _BLOCK_VALUES // sound.channels)
    while len(block := sound.read(n_block, dtype="float32", always_2d=True)):
        check_samples(block.T, rate, what, start=n_samples)
        n_samples += len(block)
        _check_length(n_samples, n_most, rate, what)
        yield block.T
    if not n_samples:
        raise DataError(
            what, got="no samples", expected="finite samples", hint="export the file again"
        )
    if n_coded is None:
        if declared is not None and n_samples < declared:
            _ends_early(what, f"{n_samples / rate:.3f} s of {declared / rate:.3f} s declared")
    elif n_samples < n_coded - _MPEG_MARGIN:
        raise DataError(
            what,
            got=f"{n_samples / rate:.2f} s of {n_coded / rate:.2f} s, where the decoder ends",
            expected="an MP3 file that is decoded whole",
            hint="convert the file to WAV: its header does not tell its length, or a wrong one",
        )


def _mpeg_length(
    file: BinaryIO, what: str, rate: int, decoder_says: int
) -> tuple[int | None, int | None]:
    """Return the samples in the frames of an MP3 file, and those declared, as far as is known."""
    n_coded, declared = containers.mpeg_samples(file)
    if not n_coded:
        return None, decoder_says
    if declared is not None and n_coded < declared - _MPEG_FRAME:
        _ends_early(what, f"{n_coded / rate:.2f} s of {declared / rate:.2f} s declared")
    return n_coded, declared


def _ends_early(what: str, got: str) -> None:
    raise DataError(
        what,
        got=got,
        expected="a file that is as long as it declares",
        hint="copy or download it again, or save what there is under another name",
    )


def _check_length(n_samples: int, n_most: float, rate: int, what: str) -> None:
    if n_samples > n_most:
        raise DataError(
            what,
            got=f"{n_samples / rate:.1f} s or more",
            expected=f"at most {n_most / rate:g} s",
            hint="cut the file, or raise max_duration_s if memory allows",
        )


# ---- Arrays ------------------------------------------------------------------------------------


def as_number(stored: object) -> float:
    """Return what is stored as a number, NaN where it is none."""
    try:
        return float(np.asarray(stored).item())
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def as_float32(values: NDArray) -> NDArray[np.float32]:
    """Return values as float32, infinite where that cannot hold them."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def believable_rate(rate: object) -> int | None:
    """Return a sampling rate in Hz, or None if it is not a whole number that can be right."""
    number = as_number(rate)
    return int(number) if LOWEST_RATE_HZ <= number <= HIGHEST_RATE_HZ and number % 1 == 0 else None


def time_axis_of(shape: tuple[int, ...]) -> int:
    """Return which axis of an array (samples,), (channels, samples) or (samples, channels) is time.

    The shorter axis is that of the channels.
    """
    return 1 if len(shape) == 2 and shape[0] <= shape[1] else 0


def as_channels(samples: NDArray, time_axis: int) -> NDArray[np.float32]:
    """Return samples as float32 (channels, samples), integers scaled to [-1, 1)."""
    kind = samples.dtype.kind
    if kind != "f":
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples / half - (kind == "u")).astype(np.float32)
    samples = samples[None] if samples.ndim == 1 else np.moveaxis(samples, time_axis, 1)
    return as_float32(samples)  # what that cannot hold is found as not finite


def check_samples(audio: NDArray, rate: int, what: str, *, start: int = 0) -> None:
    """Refuse samples (..., time) that are not finite or far beyond full scale.

    ``start`` is the place of the first in the recording.

    Raises
    ------
    DataError
        Naming the time of the first such sample.
    """
    if not audio.size:
        return
    peak = max(float(audio.max()), -float(audio.min()))  # not finite if one sample is not
    if peak <= LARGEST_SAMPLE:
        return
    finite = np.isfinite(audio).reshape(-1, audio.shape[-1]).all(axis=0)
    if not finite.all():
        first = start + int(np.argmin(finite))
        raise DataError(
            what,
            got=f"a sample that is not finite at {first / rate:.3f} s (sample {first})",
            expected="finite samples",
            hint="leave it out or make it again",
        )
    raise DataError(
        what,
        got=f"a sample of {peak:g}",
        expected=f"samples from -1 to 1 (up to {LARGEST_SAMPLE:g} is let pass)",
        hint="divide by 32768 if these are 16-bit integers kept as floats, then save again",
    )


def to_mono(audio: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """Return the mean of the channels (channels, samples).

    Warns
    -----
    UserWarning
        If the channels cancel each other; the loudest of them is returned then.
    """
    if len(audio) == 1:
        return audio[0]
    mono = audio.mean(axis=0, dtype=np.float64).astype(np.float32)
    energies = np.einsum("ct,ct->c", audio, audio, dtype=np.float64)
    if not _cancel(mono, energies):
        return mono
    _notice(what)
    return audio[int(np.argmax(energies))]


def _cancel(mono: NDArray[np.float32], energies: NDArray[np.float64]) -> bool:
    """Return whether next to nothing is left of the channels in their mean."""
    return np.einsum("t,t->", mono, mono, dtype=np.float64) < CANCELLED**2 * energies.mean()


def _notice(what: str) -> None:
    warnings.warn(
        f"{what}: the channels are in antiphase and their mean is next to silent; the loudest "
        "channel is taken instead",
        stacklevel=3,
    )


def resample(samples: NDArray[np.floating], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Return mono samples at another rate (polyphase filtering); at the same rate, as they are."""
    if from_rate != to_rate:
        from scipy.signal import resample_poly

        common = int(np.gcd(from_rate, to_rate))
        samples = resample_poly(samples, to_rate // common, from_rate // common)
    return np.ascontiguousarray(samples, dtype=np.float32)
