"""A map of sounds: points in a plane, some of which play when they are chosen.

Conventions. The map works without a kernel: drawing, sounds and a little script travel inside the
page, and no request leaves it. A point that plays is a button (mouse, or Tab and Enter); the sound
of the point before stops. Without scripts, the drawing and a list of plain audio elements remain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError
from dl101.lab.kit import sentence
from dl101.lab.pictures import data_uri
from dl101.lab.player import encode_mp3, level_sounds
from dl101.lab.plots import PALETTE
from dl101.lab.show import STYLE, Rendered

WIDTH, HEIGHT, MARGIN = 680, 440, 24
BYTES_PER_S = 2_500
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "bar")
_COLOURS = tuple(PALETTE.values())
_PATHS = {
    "circle": "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "square": "M-5-5h10v10h-10z",
    "triangle": "M0-7l6.5 11.5h-13z",
    "diamond": "M0-7l6.5 7l-6.5 7l-6.5-7z",
    "cross": "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "bar": "M-7-3h14v6h-14z",
}
_STYLE = (
    "<style>.dl101-map svg{width:100%;max-width:44em;height:auto;display:block}"
    ".dl101-map text{fill:currentColor;font:13px sans-serif}"
    ".dl101-map .dl101-spot{cursor:pointer;stroke:currentColor;stroke-width:1}"
    ".dl101-map .dl101-spot:hover,.dl101-map .dl101-spot:focus-visible,.dl101-map .dl101-on"
    "{stroke-width:3;outline:none}"
    ".dl101-map .dl101-mute{opacity:.45}"
    ".dl101-map audio{height:2.5em;max-width:28em;width:100%}</style>"
)
_SCRIPT = r"""<script>
(function () {
  for (const figure of document.querySelectorAll('.dl101-map:not([data-ready])')) {
    figure.dataset.ready = '';
    const sounds = [...figure.querySelectorAll('audio')];
    const spots = [...figure.querySelectorAll('.dl101-spot')];
    const now = figure.querySelector('.dl101-now');
    let on = -1;
    const stop = () => {
      if (on < 0) return;
      sounds[on].pause();
      spots[on].classList.remove('dl101-on');
      on = -1;
    };
    const play = i => {
      const again = i === on;
      stop();
      if (again) { now.textContent = 'Stopped.'; return; }
      document.dispatchEvent(new CustomEvent('dl101-play', {detail: figure}));
      on = i;
      spots[i].classList.add('dl101-on');
      now.textContent = spots[i].getAttribute('aria-label');
      sounds[i].currentTime = 0;
      sounds[i].play().catch(() => { now.textContent += ' (open the list to play it)'; });
    };
    spots.forEach((spot, i) => {
      spot.addEventListener('click', () => play(i));
      spot.addEventListener('keydown', event => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        play(i);
      });
    });
    document.addEventListener('dl101-play', e => { if (e.detail !== figure) stop(); });
  }
})();
</script>"""


def sound_map(
    places: ArrayLike,
    groups: Sequence[str],
    sounds: Mapping[int, ArrayLike],
    sample_rate: int,
    *,
    labels: Mapping[int, str],
    caption: str,
    alt: str,
) -> None:
    """Display points, and play the sound of one that is chosen.

    Parameters
    ----------
    places
        (points, 2).
    groups
        (points,) what colour and shape stand for; at most six different ones.
    sounds
        By number of the point: audio (time,). These points are buttons.
    sample_rate
        In Hz, one that MP3 knows.
    labels
        By number of the point: what it is called while it plays.
    caption
        One sentence: what to listen for.
    alt
        What the map shows, for those who cannot see it.

    Raises
    ------
    DataError
        If numbers do not fit together, there are too many groups, or a text is missing.
    """
    render(places, groups, sounds, sample_rate, labels=labels, caption=caption, alt=alt).display()


def render(
    places: ArrayLike,
    groups: Sequence[str],
    sounds: Mapping[int, ArrayLike],
    sample_rate: int,
    *,
    labels: Mapping[int, str],
    caption: str,
    alt: str,
) -> Rendered:
    """Return what :func:`sound_map` displays."""
    sentence("sound map: caption", caption, "say what to listen for")
    sentence("sound map: alt", alt, "say what the map shows")
    xy, names = np.asarray(places, dtype=float), list(dict.fromkeys(groups))
    fits = xy.shape == (len(groups), 2) and set(sounds) == set(labels)
    if not fits or not sounds or not set(sounds) <= set(range(len(groups))):
        raise DataError(
            "sound map",
            got=f"places of shape {xy.shape}, {len(groups)} groups, {len(sounds)} sounds, "
            f"{len(labels)} labels",
            expected="(points, 2), a group for each, and a label for each sound of a point",
            hint="number sounds and labels by the point that they belong to",
        )
    if len(names) > len(SHAPES):
        raise DataError(
            "sound map: groups",
            got=f"{len(names)} different ones",
            expected=f"at most {len(SHAPES)}",
            hint="call the rarer ones 'other'",
        )
    on_page = _on_page(xy)
    look = {name: (_COLOURS[i % len(_COLOURS)], _PATHS[SHAPES[i]]) for i, name in enumerate(names)}
    if len(set(labels.values())) < len(labels):
        raise DataError(
            "sound map: labels",
            got="two that are the same",
            expected="a name for each sound",
            hint="add the number of the track",
        )
    levelled = level_sounds(
        {labels[i]: sounds[i] for i in sounds}, sample_rate, max_duration_s=30, match=True
    )
    mute, spots, rows = "", "", ""
    for i, group in enumerate(groups):
        (x, y), (colour, path) = on_page[i], look[group]
        where = f'transform="translate({x:.0f} {y:.0f})'
        if i not in sounds:
            mute += f'<path class="dl101-mute" d="{path}" fill="{colour}" {where} scale(.6)"/>'
            continue
        name = escape(labels[i], quote=True)
        spots += (
            f'<path class="dl101-spot" d="{path}" fill="{colour}" {where}" tabindex="0" '
            f'role="button" aria-label="{name}"><title>{name}</title></path>'
        )
        mp3 = encode_mp3(levelled[labels[i]], sample_rate, bytes_per_s=BYTES_PER_S)
        rows += (
            f'<div><span>{name}</span> <audio controls preload="none" aria-label="{name}" '
            f'src="{data_uri("audio/mpeg", mp3)}"></audio></div>'
        )
    legend = "".join(
        f'<path d="{look[name][1]}" fill="{look[name][0]}" '
        f'transform="translate({MARGIN + 110 * i} {HEIGHT + 14})"/>'
        f'<text x="{MARGIN + 110 * i + 12}" y="{HEIGHT + 19}">{escape(name)}</text>'
        for i, name in enumerate(names)
    )
    html = (
        f'{STYLE}{_STYLE}<figure class="dl101 dl101-map" role="group" '
        f'aria-label="{escape(caption, quote=True)}" data-lm-suppress-shortcuts="true">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 30}" role="group" '
        f'aria-label="{escape(alt, quote=True)}">'
        f"{mute}{spots}{legend}</svg>"
        f'<p class="dl101-now" role="status">Choose a point with a border to hear it.</p>'
        f"<details><summary>All sounds of the map, as a list</summary>{rows}</details>"
        f"<figcaption>{escape(caption)}</figcaption></figure>{_SCRIPT}"
    )
    heard = "; ".join(labels.values())
    return Rendered(text=f"A map of sounds: {alt} Sounds: {heard}. {caption}", html=html)


def _on_page(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places in the coordinates of the drawing, y downwards."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    share = (xy - low) / np.where(high > low, high - low, 1.0)
    room = np.array([WIDTH, HEIGHT]) - 2 * MARGIN
    return MARGIN + np.stack([share[:, 0], 1 - share[:, 1]], axis=1) * room
