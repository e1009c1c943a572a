"""What competes without the extra: our networks, and answers that need no learning.

Conventions: each function returns a hearer (see :mod:`benchmarks.peers.judging`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.judging import Competitor, Curve, NoteList, Pitches
from dl101.data.audiofile import resample
from dl101.data.chord_segments import ChordSegments, from_frames
from dl101.data.harte import MAJMIN
from dl101.evaluation import chords as judge_chords
from dl101.evaluation import multi_pitch as judge_pitches
from dl101.evaluation import transcription as notes_of
from dl101.signal import pitch as trackers
from dl101.systems import chords, chords_data, inverse_synthesis, multi_pitch, transcription
from dl101.systems.inverse_synthesis_data import SAMPLE_RATE
from dl101.targets import PitchAxis
from dl101.training import pitch_tracks, protocol, shipped

Samples = NDArray[np.float32]
VOICE_HOP = 256  # 16 ms, for what learns nothing


def _counted(hear: Callable, system: object) -> Callable:
    hear.n_parameters = sum(p.numel() for p in system.parameters())
    return hear


def _notes(values: NDArray, onsets: NDArray | None, axis: PitchAxis, frame_s: float) -> Callable:
    """Return what finds the notes; without onsets they begin where a pitch does."""
    begins = np.zeros_like(values) if onsets is None else onsets

    def at(threshold: float, onset_threshold: float = 0.5) -> NoteList:
        found = notes_of.decode(
            values,
            begins,
            axis,
            frame_s=frame_s,
            threshold=threshold,
            onset_threshold=onset_threshold,
        )
        return found.onsets_s, found.durations_s, found.pitches_midi

    return at


# ---- many pitches --------------------------------------------------------------------------------


def salience() -> Callable[[Samples, int], Pitches]:
    """Return the harmonic sum, what one gets without learning."""
    feature = multi_pitch.load_config().feature
    axis = PitchAxis.of(feature)

    def hear(samples: Samples, rate: int) -> Pitches:
        made = pitch_tracks.network_input(
            resample(samples, rate, feature.sample_rate), feature, sample_rate=feature.sample_rate
        )
        values = judge_pitches.harmonic_sum(made.values, feature.harmonics)
        frame_s = feature.hop_samples / feature.sample_rate
        return Pitches(values, axis, made.times, _notes(values, None, axis, frame_s))

    return hear


@cache
def trained_multi_pitch(n_tracks: int | None = None, max_epochs: int | None = None) -> object:
    """Return the network of the chapter, trained as there, on one core in about a minute."""
    sized = [f"data.n_tracks={n_tracks}"] if n_tracks else []
    sized += [f"training.max_epochs={max_epochs}"] if max_epochs else []
    settings = multi_pitch.load_config(settings=sized)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        tracks = multi_pitch.load_tracks(settings)
        system = multi_pitch.build(settings, seed=0)
        protocol.train(multi_pitch, system, settings, tracks, folder, seed=0, progress=False)
    return system.eval()


def chapter_network(**size: int) -> Callable[[Samples, int], Pitches]:
    """Return the network of the chapter on multi-pitch estimation."""
    system = trained_multi_pitch(**size)
    feature = system.settings.feature

    def hear(samples: Samples, rate: int) -> Pitches:
        made = pitch_tracks.network_input(
            resample(samples, rate, feature.sample_rate), feature, sample_rate=feature.sample_rate
        )
        values = multi_pitch.predict(system, made.values)
        frame_s = feature.hop_samples / feature.sample_rate
        return Pitches(values, system.axis, made.times, _notes(values, None, system.axis, frame_s))

    return _counted(hear, system)


def transcriber() -> Callable[[Samples, int], Pitches]:
    """Return the network behind ``dl101 transcribe``; its notes are those of that command."""
    network = shipped.load("transcription")
    system, feature = network.system, network.settings.feature
    chosen = {name: network.metrics[name] for name in ("threshold", "onset_threshold")}

    def hear(samples: Samples, rate: int) -> Pitches:
        made = pitch_tracks.network_input(
            resample(samples, rate, feature.sample_rate), feature, sample_rate=feature.sample_rate
        )
        said = transcription.predict(system, made.values)
        found = transcription.decode(system, said, **chosen)
        notes = (found.onsets_s, found.durations_s, found.pitches_midi)
        return Pitches(said[0], system.axis, made.times, lambda threshold: notes)

    return _counted(hear, system)


# ---- a voice -------------------------------------------------------------------------------------


def yin() -> Callable[[Samples, int], Curve]:
    """Return YIN, of librosa."""

    def hear(samples: Samples, rate: int) -> Curve:
        audio = resample(samples, rate, SAMPLE_RATE)
        f0_hz = trackers.yin(audio, SAMPLE_RATE, hop_samples=VOICE_HOP)
        return Curve(np.arange(len(f0_hz)) * VOICE_HOP / SAMPLE_RATE, f0_hz)

    return hear


def pyin() -> Callable[[Samples, int], Curve]:
    """Return pYIN, of librosa."""

    def hear(samples: Samples, rate: int) -> Curve:
        audio = resample(samples, rate, SAMPLE_RATE)
        f0_hz, voiced = trackers.pyin(audio, SAMPLE_RATE, hop_samples=VOICE_HOP)
        return Curve(np.arange(len(f0_hz)) * VOICE_HOP / SAMPLE_RATE, f0_hz, voiced)

    return hear


def inverse() -> Callable[[Samples, int], Curve]:
    """Return the network behind ``dl101 pitch``."""
    system = shipped.load("inverse_synthesis").system

    def hear(samples: Samples, rate: int) -> Curve:
        found = inverse_synthesis.predict(system, resample(samples, rate, SAMPLE_RATE))
        return Curve(found.times_s, found.f0_hz, found.confidence)

    return _counted(hear, system)


# ---- chords --------------------------------------------------------------------------------------


def templates() -> Callable[[Samples, int], ChordSegments]:
    """Return the best of 24 templates in each frame of a chroma."""
    settings = chords.load_config()
    feature = settings.feature

    def hear(samples: Samples, rate: int) -> ChordSegments:
        audio = resample(samples, rate, feature.sample_rate)
        made = chords_data.network_input(audio, feature, sample_rate=feature.sample_rate)
        classes = judge_chords.match_chords(
            chords_data.chroma_of(made.values, feature.bins_per_semitone)
        )
        duration_s = len(samples) / rate
        return from_frames(classes, MAJMIN.classes, hop_s=settings.hop_s, duration_s=duration_s)

    return hear


def chord_network() -> Callable[[Samples, int], ChordSegments]:
    """Return the network behind ``dl101 chords``."""
    network = shipped.load("chords")
    rate_hz = network.settings.feature.sample_rate

    def hear(samples: Samples, rate: int) -> ChordSegments:
        audio = resample(samples, rate, rate_hz)
        return chords.recognise(network.system, audio, stay=network.metrics["stay"])

    return _counted(hear, network.system)


def competitors() -> dict[str, list[Competitor]]:
    """Return who competes in each task; first the network of ours that others are compared with."""
    shipped_notes = [
        Competitor("transcription", "ours", transcriber, note={"command": "dl101 transcribe"})
    ]
    return {
        "pitches": [
            *(shipped_notes if "transcription" in shipped.names() else []),
            Competitor(
                "multi_pitch", "ours", chapter_network, note={"trained": "here, as in its chapter"}
            ),
            Competitor("salience", "no learning", salience),
        ],
        "voice": [
            Competitor("inverse_synthesis", "ours", inverse, note={"command": "dl101 pitch"}),
            Competitor("YIN", "no learning", yin, ("librosa",)),
            Competitor("pYIN", "no learning", pyin, ("librosa",)),
        ],
        "chords": [
            Competitor("chords", "ours", chord_network, note={"command": "dl101 chords"}),
            Competitor("templates", "no learning", templates),
        ],
    }
