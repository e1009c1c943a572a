"""Pictures for pages: size, sharpness, and the colours that carry meaning."""

import base64
import io

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from PIL import Image

from dl101.lab import plots
from dl101.lab.explore import Exploration
from dl101.lab.pictures import PAGE_LEVEL, PICTURE_QUALITY, encode_picture, picture_element


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.fixture
def fig():
    fig, ax = plt.subplots(figsize=(6, 3))
    ax.plot(np.sin(np.arange(500)), color=plots.PALETTE["main"])
    ax.plot(np.cos(np.arange(500)), color="0.6")
    ax.plot(250, 0, "o", color=plots.PALETTE["other"], ms=4)
    yield fig
    plt.close(fig)


@pytest.mark.parametrize("level", range(len(PICTURE_QUALITY)))
def test_a_small_mark_keeps_its_colour(fig, level):
    data, width_px = encode_picture(fig, level)
    orange = 255 * np.array(to_rgb(plots.PALETTE["other"]))
    n_near = (np.abs(opened(data) - orange).max(axis=2) < 40).sum()
    assert n_near >= 6
    assert width_px == 576
    assert opened(data).shape[1] == 6 * PICTURE_QUALITY[level][0]


def test_levels_get_lighter(fig):
    sizes = [len(encode_picture(fig, level)[0]) for level in range(PAGE_LEVEL + 1)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("width_px", "narrowest_px"), [(672, 460), (300, 300)])
def test_a_picture_is_never_narrower_than_readable(width_px, narrowest_px):
    html = picture_element(b"", "a & b", width_px, drawing=False)
    assert f'alt="a &amp; b" style="width:{width_px}px;min-width:{narrowest_px}px"' in html


def test_more_pixels_than_the_page_shows_only_where_they_cost_little():
    def cheap(seed):
        fig, ax = plt.subplots(figsize=(4, 2))
        ax.bar(["a"], [seed])
        return fig

    def dear(seed):
        fig, ax = plt.subplots(figsize=(4, 2))
        ax.imshow(np.random.default_rng(seed).random((200, 400)), aspect="auto")
        return fig

    def width_px(make, n):
        html = Exploration(make, "c", "a", True, 10**6, {"seed": list(range(n))}).rendered().html
        uri = html.partition('<img src="data:image/webp;base64,')[2].partition('"')[0]
        return opened(base64.b64decode(uri)).shape[1]

    assert width_px(cheap, 3) == 4 * PICTURE_QUALITY[0][0]
    assert width_px(dear, 6) == 4 * PICTURE_QUALITY[PAGE_LEVEL][0] == 4 * 96
