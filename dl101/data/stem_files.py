"""From a recording to one file for each of its stems, in memory that does not grow with its length.

Conventions: the files are WAV with 32-bit floats, so that nothing is rounded or clipped, at the
rate and with the channels of the recording, and as long. A separator that works at a lower rate
knows nothing above half of that: what is there goes to the residual.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dl101.data import audiofile
from dl101.data.cache import check_writable, replacing
from dl101.errors import DataError
from dl101.progress import progress as show_progress
from dl101.signal import streams

RESIDUAL = "residual"
_RIFF_BYTES = 2**32 - 2**16  # of samples, beyond which a WAV file cannot state its length


def separate_file(
    separator: streams.Separator,
    path: Path | str,
    folder: Path | str,
    *,
    residual: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Separate a recording and write its stems to ``folder/NAME-STEM.wav``.

    Parameters
    ----------
    separator
        What separates.
    path
        WAV, FLAC, OGG or MP3, of any rate and length, mono or stereo.
    folder
        Made if it is missing.
    residual
        Also write what is left of the recording when all stems are taken from it, so that the files
        sum to the recording.
    progress
        Whether to show a progress bar.

    Returns
    -------
    list of Path
        The files, in the order of the stems. Either all of them appear or none.

    Raises
    ------
    DataError
        If the recording cannot be read (see :func:`dl101.data.audiofile.opened`) or has more than
        two channels.
    """
    import soundfile

    path, folder = Path(path), Path(folder)
    names = [*separator.stems, *([RESIDUAL] if residual else [])]
    written = [folder / f"{path.stem}-{name}.wav" for name in names]
    with audiofile.opened(path) as recording, ExitStack() as stack:
        if recording.n_channels > 2:
            raise DataError(
                f"audio file {path.name}",
                got=f"{recording.n_channels} channels",
                expected="mono or stereo",
                hint="save two of its channels, or a mix of them, as another file",
            )
        for file in written:
            check_writable(file)
        n_bytes = 4 * recording.n_channels * (recording.n_samples or _RIFF_BYTES)
        kind = "WAV" if n_bytes < _RIFF_BYTES else "RF64"
        files = []
        for file in written:
            temporary = stack.enter_context(replacing(file))
            options = {"subtype": "FLOAT", "format": kind}
            rate, n_channels = recording.sample_rate, recording.n_channels
            files.append(
                stack.enter_context(
                    soundfile.SoundFile(temporary, "w", rate, n_channels, **options)
                )
            )
        blocks = show_progress(
            recording.blocks, "separating", total=recording.n_blocks, enabled=progress
        )
        recording = replace(recording, blocks=blocks)
        for part in _parts(separator, recording, residual=residual):
            for file, sound in zip(files, part, strict=True):
                file.write(sound.T)
    return written


def _parts(
    separator: streams.Separator, recording: audiofile.Recording, *, residual: bool
) -> Iterator[NDArray[np.float32]]:
    """Yield (stems, channels, n) at the rate of the recording, together as long as it is."""
    rate, held = recording.sample_rate, [np.zeros((recording.n_channels, 0), np.float32)]

    def noted() -> Iterator[NDArray[np.float32]]:
        for block in recording.blocks:
            held.append(block)
            yield block

    low = streams.resample(noted(), rate, separator.sample_rate)
    stems = (part.reshape(-1, part.shape[-1]) for part in streams.separate(separator, low))
    for part in streams.resample(stems, separator.sample_rate, rate):
        mixture = np.concatenate(held, axis=-1)
        part = part[..., : mixture.shape[-1]]  # rates that do not divide give a sample too many
        held[:] = [mixture[..., part.shape[-1] :]]
        made = part.reshape(len(separator.stems), recording.n_channels, -1)
        rest = mixture[..., : part.shape[-1]] - made.sum(axis=0)
        yield np.concatenate([made, rest[None]]) if residual else made
