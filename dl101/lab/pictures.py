"""Turns Matplotlib figures into pictures that travel inside a page.

Conventions. Pictures are WebP on white, each without loss (a drawing with few colours) or with loss
(a spectrogram), whichever is smaller. The same figure gives the same bytes. A *drawing* is a figure
without images (lines, bars, texts): dark pages may invert it (``dl101/lab/show.py``), while the
colours of an image carry values and stay.
"""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Dots per inch, colours of the lossless form (half as many in a drawing), quality of the lossy one;
# from fine to coarse. A page shows 96 dots per inch; more is for screens with smaller dots, where
# it costs little.
PICTURE_QUALITY = (
    (144, 64, 75),
    (120, 64, 70),
    (96, 40, 52),
    (96, 32, 46),
    (96, 24, 40),
    (80, 24, 35),
)
PAGE_LEVEL = 2  # the first step with no more pixels than the page shows
CSS_PX_PER_INCH = 96
NARROWEST_PX = 460  # on a phone, a picture scrolls rather than get smaller than this


def data_uri(kind: str, data: bytes) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def encode_picture(fig: Figure, level: int = 0, *, crop: bool = False) -> tuple[bytes, int]:
    """Return a Matplotlib figure as WebP, and its width in CSS pixels.

    Parameters
    ----------
    fig
        The finished figure.
    level
        Step of :data:`PICTURE_QUALITY`, 0 is the finest; the width does not depend on it.
    crop
        Cut empty margins off; without, the states of one figure align.
    """
    from PIL import Image

    dpi, n_colours, quality = PICTURE_QUALITY[level]
    raw = io.BytesIO()
    fig.savefig(
        raw, format="png", dpi=dpi, facecolor="white", bbox_inches="tight" if crop else None
    )
    raw.seek(0)
    image = Image.open(raw).convert("RGB")
    # this method keeps the colours of small marks
    keep = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 1, "dither": Image.Dither.NONE}
    flat = image.quantize(n_colours // (1 + is_drawing(fig)), **keep).convert("RGB")
    lossless, lossy = io.BytesIO(), io.BytesIO()
    flat.save(lossless, format="webp", lossless=True, quality=75, method=4)
    image.save(lossy, format="webp", quality=quality, method=4)
    smaller = min(lossless.getvalue(), lossy.getvalue(), key=len)
    return smaller, round(image.width * CSS_PX_PER_INCH / dpi)


def is_drawing(fig: Figure) -> bool:
    """Return whether a figure holds no image, so that inverting it changes no value."""
    from matplotlib.collections import QuadMesh

    return not any(
        ax.images or any(isinstance(each, QuadMesh) for each in ax.collections) for ax in fig.axes
    )


def picture_element(data: bytes, alt: str, width_px: int, *, drawing: bool) -> str:
    """Return a picture in a box that scrolls where the page is too narrow to read it."""
    kind = "dl101-wide dl101-drawing" if drawing else "dl101-wide"
    narrowest_px = min(width_px, NARROWEST_PX)
    return (
        f'<div class="{kind}">'
        f'<img src="{data_uri("image/webp", data)}" alt="{escape(alt)}" '
        f'style="width:{width_px}px;min-width:{narrowest_px}px"></div>'
    )
