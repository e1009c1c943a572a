"""How well songs were taken apart, by stem, and answers that need no learning.

Conventions: an estimate of a song is (stems, channels, samples), in the order of the names of the
stems that are scored; answers have all of :data:`dl101.data.songs.STEMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.data.songs import STEMS, SongTrack
from dl101.evaluation.separation import frame_sdr, median_over_frames, si_sdr
from dl101.signal import hpss, unmixing

FRAME_S = 1.0  # of the SDR whose median is stated
BASS_HZ = 200.0  # below it, what lasts is bass
N_PARTS = 16
LOWEST_DB = -30.0  # a song whose stem was not found at all must not decide a mean
RATIOS = ("si_sdr_db", "sdr_db", "gain_db")


@dataclass(frozen=True)
class SongScores:
    """Scores by song, of its stems together; and those of the songs together, also by stem."""

    by_song: Mapping[str, Mapping[str, float]]
    overall: Mapping[str, float]


def score(
    tracks: Sequence[SongTrack],
    estimate: Callable[[SongTrack], NDArray],
    sample_rate: int,
    stems: Sequence[str] = STEMS,
) -> SongScores:
    """Return the scores of estimates of the stems of songs.

    Of each song ``si_sdr_db``, ``sdr_db`` (of BSSEval 4: the median over frames of a second) and
    ``gain_db`` (SI-SDR above that of the mixture) are means over the stems that are heard in it.
    Overall they are by stem, too, such as ``si_sdr_db_vocals``: the mean over the songs in which it
    is heard, but of ``sdr_db`` the median. ``silent_frames`` is the share of frames left out. No
    SI-SDR is below -30 dB, which is what silence gets.

    Parameters
    ----------
    tracks
        The songs.
    estimate
        Returns (stems, channels, samples) of a song.
    sample_rate
        In Hz.
    stems
        What is estimated, in order.
    """
    values = np.full((len(tracks), len(stems), len(RATIOS)), np.nan)
    n_frames = n_silent = 0
    for number, track in enumerate(tracks):
        for place, (stem, said) in enumerate(zip(stems, estimate(track), strict=True)):
            truth = track.stems[STEMS.index(stem)]
            frames = frame_sdr(said, truth, round(FRAME_S * sample_rate))
            n_frames, n_silent = n_frames + len(frames), n_silent + int(np.isnan(frames).sum())
            ratio, before = (np.maximum(si_sdr(x, truth), LOWEST_DB) for x in (said, track.mixture))
            values[number, place] = ratio, median_over_frames(frames), ratio - before
    heard = np.isfinite(values).all(axis=2)
    overall = {"silent_frames": n_silent / max(n_frames, 1)}
    for place, stem in enumerate(stems):
        of_stem = values[heard[:, place], place]
        for column, name in enumerate(RATIOS if len(of_stem) else ()):
            average = np.median if name == "sdr_db" else np.mean
            overall[f"{name}_{stem}"] = float(average(of_stem[:, column]))
    by_song = {
        track.key: dict(zip(RATIOS, of_song[sounds].mean(axis=0).tolist(), strict=True))
        for track, of_song, sounds in zip(tracks, values, heard, strict=True)
        if sounds.any()
    }
    return SongScores(by_song, overall)


# ---- answers without learning ------------------------------------------------------------------


def unchanged(track: SongTrack, sample_rate: int) -> NDArray:
    """Return the mixture for each stem."""
    return np.broadcast_to(track.mixture, track.stems.shape)


def by_steadiness(track: SongTrack, sample_rate: int) -> NDArray:
    """Return what is broad as drums, and what lasts as bass below 200 Hz and as the others above.

    See :mod:`dl101.signal.hpss`.
    """
    from scipy.signal import butter, sosfiltfilt

    parts = np.array([hpss.separate(channel, sample_rate) for channel in track.mixture])
    lasting, broad = parts[:, 0], parts[:, 1]
    low = sosfiltfilt(butter(4, BASS_HZ, fs=sample_rate, output="sos"), lasting)
    found = {"vocals": lasting - low, "drums": broad, "bass": low, "other": lasting - low}
    return np.stack([found[stem] for stem in STEMS])


def by_repetition(track: SongTrack, sample_rate: int) -> NDArray:
    """Return what doesn't repeat as vocals, and what does as each of the others.

    See :func:`dl101.signal.unmixing.repet`.
    """
    parts = np.array([unmixing.repet(channel, sample_rate) for channel in track.mixture])
    return np.stack([parts[:, 1 if stem == "vocals" else 0] for stem in STEMS])


def by_parts(track: SongTrack, sample_rate: int) -> NDArray:
    """Return 16 components of an NMF, each dealt to the stem that it is most of.

    That is, to the stem with which its inner product is largest: no method, since it knows the
    truth, but what one could reach that sorts perfectly.
    """
    found = np.zeros(track.stems.shape)
    for channel, mixture in enumerate(track.mixture):
        truth = track.stems[:, channel]
        for part in unmixing.components(mixture, N_PARTS):
            found[np.argmax(truth @ part), channel] += part
    return found


ANSWERS: Mapping[str, Callable[..., NDArray]] = {
    "mixture": unchanged,
    "hpss": by_steadiness,
    "repet": by_repetition,
    "nmf-dealt": by_parts,
}
