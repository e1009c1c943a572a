"""The exercises of the chapter on shapes of filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: shapes behind vertical filters ---------------------------------------------------------


def _vertical(
    *,
    positions: Callable[[int, int], int] = lambda bands, height: bands - height + 1,
    frames: Callable[[int, int], int] = lambda frames, width: frames,
    kept: str = "frames",
    swapped: bool = False,
    order: Sequence[int] = (0, 1, 2),
) -> Callable[..., tuple]:
    """Return the right function (the defaults) or one that misreads the layer."""

    def shapes(n_bands: int, n_frames: int, n_filters: int, height: int, width: int) -> tuple:
        height, width = (width, height) if swapped else (height, width)
        if swapped and height > n_bands:
            return None
        before = (n_filters, positions(n_bands, height), frames(n_frames, width))
        rest = {"frames": before[2], "positions": before[1]}[kept]
        after = (n_filters, rest)
        return tuple(before[k] for k in order), tuple(after[k - (k > 0)] for k in order if k != 1)

    return shapes


VERTICAL = Function(
    title="shapes behind vertical filters",
    minutes=8,
    rubric={
        "places along frequency: bands - height + 1": 1,
        "the number of frames is kept": 1,
        "the maximum removes the places": 1,
    },
    right=_vertical(),
    cases=lambda: [
        (96, 187, 16, 86, 7),
        (64, 130, 5, 25, 3),
        (40, 33, 8, 12, 4),
        (72, 20, 3, 72, 1),
    ],
    returns="two tuples of whole numbers, (filter, place, frame) and (filter, frame)",
    mistakes={
        "The number of places is bands - height + 1: a filter as high as the spectrogram "
        "still has one place.": _vertical(positions=lambda bands, height: bands - height),
        "You padded along frequency too: every band became a place. Along frequency a "
        "filter stays inside the spectrogram.": _vertical(positions=lambda bands, height: bands),
        "The frames were shortened by the width. Along time the input is padded with zeros, so "
        "that as many frames come out as went in.": (
            _vertical(frames=lambda frames, width: frames - width + 1)
        ),
        "The order is another one: filter, place, frame, as in PyTorch, where channels come "
        "first.": (_vertical(order=(0, 2, 1)), _vertical(order=(1, 2, 0))),
        "Height and width are exchanged: the height counts bands, the width frames.": (
            _vertical(swapped=True)
        ),
        "The maximum was taken over the frames. It goes over the places along frequency: when "
        "something sounds stays known, how high it stands does not.": _vertical(kept="positions"),
        "The filter was moved by its own height each time, as a pooling is. A convolution moves "
        "by one band.": _vertical(positions=lambda bands, height: bands // height),
    },
    differs="For {0} bands, {1} frames and {2} filters of {3} bands x {4} frames, number {at} "
    "should be {right} and is {got}.",
    praise="Valid along frequency, padded along time, and the places gone with the maximum.",
)

# ---- 2: how far a transposition may go ---------------------------------------------------------


def _room(
    *,
    up: Callable[[int, int, int], int] = lambda bands, height, place: bands - height - place,
    down: Callable[[int, int, int], int] = lambda bands, height, place: place,
    per: Callable[[int, int], int] = lambda bins, per_semitone: bins // per_semitone,
    turned: bool = False,
) -> Callable[..., tuple]:
    """Return the right function (the defaults) or one that misreads where a filter may go."""

    def room(n_bands: int, height: int, place: int, bins_per_semitone: int) -> tuple:
        ends = [per(end(n_bands, height, place), bins_per_semitone) for end in (down, up)]
        return tuple(ends[::-1]) if turned else tuple(ends)

    return room


ROOM = Function(
    title="how far a transposition may go",
    minutes=10,
    rubric={
        "down: the bins below the filter's place": 1,
        "up: what is left above its upper end": 1,
        "bins turned into whole semitones": 1,
    },
    right=_room(),
    cases=lambda: [(84, 60, 9, 1), (216, 130, 31, 3), (120, 48, 24, 2), (100, 63, 8, 5)],
    returns="two whole numbers, semitones down and semitones up",
    mistakes={
        "The filter's own height is missing above: its upper end must stay inside the "
        "spectrogram, not its lower one.": (
            _room(up=lambda bands, height, place: bands - place),
            _room(up=lambda bands, height, place: bands - place - 1),
        ),
        "Up there are bands - height - place bins: the highest place is bands - height, "
        "counted from 0.": (
            _room(up=lambda bands, height, place: bands - height - place + 1),
            _room(up=lambda bands, height, place: bands - height - place - 1),
        ),
        "These are bins. There are several to a semitone: divide by bins_per_semitone.": (
            _room(per=lambda bins, per_semitone: bins)
        ),
        "You rounded up: the last semitone would leave the spectrogram.": (
            _room(per=lambda bins, per_semitone: -(-bins // per_semitone)),
            _room(per=lambda bins, per_semitone: round(bins / per_semitone)),
        ),
        "Only whole semitones are asked for: round down.": (
            _room(per=lambda bins, per_semitone: bins / per_semitone)
        ),
        "Down is a number of semitones as well, without a minus sign.": (
            _room(down=lambda bands, height, place: -place, per=lambda bins, s: int(bins / s)),
            _room(down=lambda bands, height, place: -place),
        ),
        "Up and down are exchanged: first down, towards bin 0.": _room(turned=True),
        "You gave all places to both directions. The filter stands at one of them: some lie "
        "below, the others above.": (
            _room(
                up=lambda bands, height, place: bands - height,
                down=lambda bands, height, place: bands - height,
            )
        ),
        "A semitone has bins_per_semitone bins, so divide the bins by it; you multiplied.": (
            _room(per=lambda bins, per_semitone: bins * per_semitone)
        ),
    },
    differs="For {0} bins, a filter {1} high at place {2} and {3} bins a semitone, number {at} "
    "(0 is down, 1 is up) should be {right} and is {got}.",
    praise="Inside these limits the maximum does not move; outside, part of the pattern is cut.",
)

# ---- 3: one harmonic filter ---------------------------------------------------------------------


def _triangle(
    *,
    centre: Callable[[float, int], float] = lambda f, n: n * f,
    width: Callable[[float, int, float, float, float], float] = (
        lambda f, n, alpha, beta, q: (alpha * n * f + beta) / q
    ),
    halves: float = 2.0,
    clipped: bool = True,
    sided: bool = False,
    at_bins: bool = False,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misreads the equation."""

    def weights(
        bins_hz: Sequence[float], f_k: float, n: int, alpha: float, beta: float, q: float
    ) -> NDArray:
        away = np.asarray(bins_hz) - centre(f_k, n)
        away = away if sided else np.abs(away)
        f = np.asarray(bins_hz) / n if at_bins else f_k
        found = 1 - halves * away / width(f, n, alpha, beta, q)
        return np.maximum(0, found) if clipped else found

    return weights


def _banks() -> list[tuple[NDArray, float, int, float, float, float]]:
    hz = np.fft.rfftfreq(1024, 1 / 16000)
    return [
        (hz, 220.0, 3, 0.1079, 24.7, 1.5),
        (hz, 131.0, 2, 0.2, 15.0, 0.8),
        (np.arange(0, 4000, 7.0), 300.0, 5, 0.05, 60.0, 2.5),
        (np.arange(0, 2000, 11.0), 440.0, 1, 0.1, 30.0, 0.5),
    ]


TRIANGLE = Function(
    title="one harmonic filter",
    minutes=12,
    rubric={
        "the peak at n times the band's frequency": 1,
        "bandwidth at the filter's own frequency, divided by Q": 1,
        "half of it to each side, nothing below 0": 1,
    },
    right=_triangle(),
    cases=_banks,
    returns="an array, one weight for each bin",
    rtol=1e-3,
    atol=1e-3,
    mistakes={
        "The bandwidth was taken at f_k, the frequency of the band. The filter stands at n times "
        "that, where the bandwidth is larger.": (
            _triangle(width=lambda f, n, alpha, beta, q: (alpha * f + beta) / q)
        ),
        "The bandwidth was taken at each bin. A filter has one bandwidth, that at its peak.": (
            _triangle(at_bins=True)
        ),
        "Q divides alpha f + beta as a whole, not only one of the two: set brackets.": (
            _triangle(width=lambda f, n, alpha, beta, q: alpha * n * f + beta / q),
            _triangle(width=lambda f, n, alpha, beta, q: alpha * n * f / q + beta),
        ),
        "The whole bandwidth was multiplied by n. Only alpha is a share of the frequency: beta "
        "stays what it is.": _triangle(
            width=lambda f, n, alpha, beta, q: n * (alpha * f + beta) / q
        ),
        "The filter is twice too wide: a bandwidth B reaches B / 2 to each side.": (
            _triangle(halves=1.0)
        ),
        "Q was multiplied instead of divided by: a large Q means a narrow filter.": (
            _triangle(width=lambda f, n, alpha, beta, q: (alpha * n * f + beta) * q)
        ),
        "Q is missing.": _triangle(width=lambda f, n, alpha, beta, q: alpha * n * f + beta),
        "Far from the peak the weights are negative: cut them off at 0.": _triangle(clipped=False),
        "The peak stands at f_k; that of harmonic n stands at n times f_k.": (
            _triangle(centre=lambda f, n: f),
            _triangle(
                centre=lambda f, n: f, width=lambda f, n, alpha, beta, q: (alpha * f + beta) / q
            ),
        ),
        "Harmonics are multiples, n times f_k; yours are an octave apart.": (
            _triangle(
                centre=lambda f, n: f * 2 ** (n - 1),
                width=lambda f, n, alpha, beta, q: (alpha * f * 2 ** (n - 1) + beta) / q,
            )
        ),
        "Below its peak the filter goes on rising: the distance to the peak is an absolute "
        "value.": _triangle(sided=True),
        "Harmonic 1 is f_k itself; here the first harmonic already stands at twice that.": (
            _triangle(
                centre=lambda f, n: (n + 1) * f,
                width=lambda f, n, alpha, beta, q: (alpha * (n + 1) * f + beta) / q,
            )
        ),
    },
    differs="In a hidden case the weight of bin {at[0]} should be {right:.4g} and is {got:.4g}. "
    "With f = n f_k it is max(0, 1 - 2 |f' - f| / B), B = (alpha f + beta) / Q.",
    praise="A triangle at n f_k whose width belongs to its own frequency.",
)

EXERCISES: Mapping[str, Exercise] = {
    "shapes.1": VERTICAL,
    "shapes.2": ROOM,
    "shapes.3": TRIANGLE,
}
