"""Rendering: the embedded corpus against playing every note by resampling it as a whole.

The baseline is the obvious way to play a sampler with SciPy: each note's recording is resampled to
its pitch with ``scipy.signal.resample`` (no vibrato, so less is asked of it), added to its voice,
and each voice is convolved with the room by ``scipy.signal.fftconvolve``. Both play the same notes
in the same room, on one thread; what is counted is processor time.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

from benchmarks.timing import best_of
from dl101.data.embedded import renderer, soundbank
from dl101.data.embedded.corpora import chorales

N_TRACKS = 6


def naive_track(track: chorales.Track, response: np.ndarray) -> np.ndarray:
    """Return the mixture of a track's notes, each resampled as a whole."""
    mixture = np.zeros(track.mixture.size)
    for voice, notes in track.notes.items():
        dry = np.zeros(track.mixture.size)
        instrument = soundbank.load_instrument(track.instruments[voice].split("+")[0])
        for i, onset_s in enumerate(notes.onsets_s):
            pitch = notes.pitches_midi[i] + notes.cents[i] / 100.0
            recorded = instrument.nearest(pitch, notes.velocities[i])
            held = recorded.samples[: recorded.loop_stop]
            ratio = 2.0 ** ((pitch - recorded.midi) / 12.0) * soundbank.OVERSAMPLING
            sound = scipy.signal.resample(held, int(held.size / ratio))
            start = int(onset_s * renderer.SAMPLE_RATE)
            stop = start + int(notes.durations_s[i] * renderer.SAMPLE_RATE)
            stop = min(stop, start + sound.size, dry.size)
            dry[start:stop] += sound[: stop - start]
        mixture += scipy.signal.fftconvolve(dry, response)[: mixture.size]
    return mixture


def main() -> None:
    """Print the real-time factors on one core and their ratio."""
    tracks = [chorales.render_track(index) for index in range(N_TRACKS)]  # loads the instruments
    rng = np.random.default_rng(0)
    responses = [renderer.impulse_response(track.room, rng) for track in tracks]

    def play_naively() -> None:
        for track, response in zip(tracks, responses, strict=True):
            naive_track(track, response)

    def play() -> None:
        for index in range(N_TRACKS):
            chorales.render_track(index)

    music_s = N_TRACKS * chorales.DURATION_S
    naive, ours = (music_s / seconds for seconds in best_of(play_naively, play, runs=4))
    print(f"  resampling whole notes (no stems, vibrato or noise): {naive:7.0f} x real time")
    print(f"  dl101 renderer (mixture, stems, room, noise, f0):    {ours:7.0f} x real time")
    print(f"  ratio: {ours / naive:.1f}")
