"""Draw the book's diagrams: one SVG a diagram for each of the light and the dark theme.

    python tools/build_diagrams.py [FOLDER]      default: book/_static/diagrams

Conventions: a diagram is a function that draws on a :class:`Canvas`, whose unit is the point
(1/72 inch), with x to the right and y *down* from the upper left corner. Backgrounds are
transparent and text is drawn as paths, so that a page looks the same with any font installed.
The same Matplotlib gives the same bytes: the hash salt is fixed and no date is written.
A diagram whose text is clipped, or touches other text, is an error and not a matter of taste.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import (
    Circle,
    FancyArrowPatch,
    FancyBboxPatch,
    PathPatch,
    Rectangle,
)
from matplotlib.path import Path as Outline
from matplotlib.transforms import Bbox

FOLDER = Path(__file__).resolve().parents[1] / "book" / "_static" / "diagrams"
MAX_BYTES = 66_000

# ink: text · soft: secondary text · line: borders and plain arrows · plain: a neutral surface
# blue: what exists, what is ours · orange: the truth, mistakes · each with a surface of its own
PALETTES = {
    "light": {
        "ink": "#1d2430",
        "soft": "#566072",
        "line": "#7d8798",
        "plain": "#f1f3f7",
        "blue": "#1b68a8",
        "blue surface": "#dcebf8",
        "orange": "#b7500f",
        "orange surface": "#fdeadb",
        "on colour": "#ffffff",
    },
    "dark": {
        "ink": "#e9ecf1",
        "soft": "#aeb7c5",
        "line": "#848e9e",
        "plain": "#272d37",
        "blue": "#74b7ee",
        "blue surface": "#1c3850",
        "orange": "#f2a36c",
        "orange surface": "#4a3220",
        "on colour": "#10151c",
    },
}


class Canvas:
    """A transparent figure of ``width`` x ``height`` points that remembers its texts."""

    def __init__(self, width: float, height: float, theme: str) -> None:
        self.width, self.height, self.palette = width, height, PALETTES[theme]
        self.figure = plt.figure(figsize=(width / 72, height / 72), dpi=72)
        self._agg = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.axis("off")
        self._texts: list = []

    def colour(self, name: str) -> str:
        return self.palette.get(name, name)

    def extent(self, artist: object) -> Bbox:
        """Return the box of a text in points, y down."""
        box = artist.get_window_extent(self._agg.get_renderer())
        return Bbox([[box.x0, self.height - box.y1], [box.x1, self.height - box.y0]])

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 10.5,
        colour: str = "ink",
        ha: str = "center",
        va: str = "center",
        bold: bool = False,
        mono: bool = False,
        inside: tuple[float, float, float, float] | None = None,
    ) -> object:
        """Write words; ``inside`` (x, y, width, height) is the room that they must not leave."""
        if (
            va == "center" and "\n" not in words
        ):  # one baseline for all words, with or without tails
            y, va = y + 0.36 * size, "baseline"
        artist = self.axes.text(
            x,
            y,
            words,
            size=size,
            color=self.colour(colour),
            ha=ha,
            va=va,
            weight="bold" if bold else "normal",
            family="DejaVu Sans Mono" if mono else "DejaVu Sans",
            linespacing=1.25,
            zorder=5,
        )
        self._texts.append((artist, inside or (0, 0, self.width, self.height)))
        return artist

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        *,
        surface: str | None = "plain",
        edge: str = "line",
        dashed: bool = False,
        radius: float = 5,
        edge_width: float = 1.1,
        **text: object,
    ) -> None:
        """Draw a rounded box with words in its middle."""
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle=f"round,pad=0,rounding_size={radius}",
                facecolor=self.colour(surface) if surface else "none",
                edgecolor=self.colour(edge),
                linewidth=edge_width,
                linestyle=(0, (3, 2)) if dashed else "solid",
                zorder=2,
            )
        )
        if words:
            room = (x, y, width, height)
            self.text(x + width / 2, y + height / 2, words, inside=room, **text)

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        surface: str | None = None,
        edge: str | None = None,
        edge_width: float = 0.8,
        zorder: float = 3,
        alpha: float = 1.0,
    ) -> None:
        self.axes.add_patch(
            Rectangle(
                (x, y),
                width,
                height,
                facecolor=self.colour(surface) if surface else "none",
                edgecolor=self.colour(edge) if edge else "none",
                linewidth=edge_width,
                zorder=zorder,
                alpha=alpha,
            )
        )

    def disc(
        self, x: float, y: float, radius: float, colour: str, *, edge: str | None = None
    ) -> None:
        self.axes.add_patch(
            Circle(
                (x, y),
                radius,
                facecolor=self.colour(colour),
                edgecolor=self.colour(edge) if edge else "none",
                linewidth=1.1,
                zorder=4,
            )
        )

    def line(
        self,
        points: Sequence[tuple[float, float]],
        *,
        colour: str = "line",
        width: float = 1.2,
        dashed: bool = False,
        zorder: float = 3,
    ) -> None:
        x, y = zip(*points, strict=True)
        self.axes.plot(
            x,
            y,
            color=self.colour(colour),
            linewidth=width,
            linestyle=(0, (3, 2)) if dashed else "solid",
            solid_capstyle="round",
            solid_joinstyle="round",
            zorder=zorder,
        )

    def arrow(
        self,
        points: Sequence[tuple[float, float]],
        *,
        colour: str = "line",
        dashed: bool = False,
        width: float = 1.4,
    ) -> None:
        """Draw an arrow through points; its corners are rounded."""
        codes = [Outline.MOVETO] + [Outline.LINETO] * (len(points) - 1)
        self.axes.add_patch(
            FancyArrowPatch(
                path=Outline(points, codes),
                arrowstyle="-|>,head_length=5,head_width=2.6",
                mutation_scale=1,
                color=self.colour(colour),
                linewidth=width,
                linestyle=(0, (3, 2)) if dashed else "solid",
                joinstyle="round",
                shrinkA=0,
                shrinkB=0,
                zorder=3,
            )
        )

    def waveform(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        colour: str = "blue",
        phase: float = 0.0,
        n_points: int = 90,
    ) -> None:
        """Draw something that looks like two plucked notes; ``y`` is the middle."""
        t = np.linspace(0, 1, n_points)
        envelope = np.exp(-4 * (t % 0.5)) * (1 - np.exp(-60 * (t % 0.5 + 0.004)))
        wave = envelope * np.sin(2 * np.pi * 21 * t + phase) * (1 + 0.3 * np.sin(9 * t + phase))
        wave = wave / np.abs(wave).max()
        self.line(
            list(zip(x + width * t, y - height / 2 * wave, strict=True)), colour=colour, width=1.0
        )

    def check(self, name: str) -> None:
        """Raise if a text leaves its room or touches another."""
        boxes = [(artist.get_text(), self.extent(artist), room) for artist, room in self._texts]
        for words, box, (x, y, width, height) in boxes:
            slack = (box.x0 - x, box.y0 - y, x + width - box.x1, y + height - box.y1)
            if min(slack) < 1:
                sides = ", ".join(f"{value:.1f}" for value in slack)
                raise ValueError(
                    f"{name}: {words!r} leaves its room (left, top, right, bottom: {sides})"
                )
        for i, (words, box, _) in enumerate(boxes):
            for other_words, other, _ in boxes[i + 1 :]:
                if box.overlaps(other):
                    raise ValueError(f"{name}: {words!r} touches {other_words!r}")

    def svg(self) -> str:
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        plt.close(self.figure)
        return _compact(buffer.getvalue())


def _compact(svg: str) -> str:
    """Shorten an SVG: hundredths of a point, short glyph names, no line break inside a path."""
    svg = re.sub(
        r"DejaVuSans(Mono)?-?(Bold|Oblique)?-", lambda m: f"{m[1] or ''}{m[2] or ''}_", svg
    )
    svg = re.sub(
        r'(?<= )d="([^"]*)"',
        lambda m: 'd="' + re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(m[1].split())) + '"',
        svg,
    )
    svg = re.sub(r' clip-path="[^"]*"', "", svg)  # nothing is drawn outside the page
    svg = re.sub(
        r"scale\([^)]*\)|-?\d+\.\d{3,}",
        lambda m: m[0] if m[0].startswith("s") else f"{float(m[0]):.2f}".rstrip("0").rstrip("."),
        svg,
    )
    svg = re.sub(
        r'(<use xlink:href="[^"]*") transform="translate\(([-\d.]+) 0\)"', r'\1 x="\2"', svg
    )
    return "\n".join(line.strip() for line in svg.splitlines()) + "\n"


# ------------------------------------------------------------------------------- the map

MAP = (
    ("Inputs", "what the network is fed",
     ("waveform", "STFT", "log-mel", "MFCC", "CQT",
      "HCQT", "chroma")),
    ("Front-ends", "its first projection",
     ("2-D convolution", "1-D convolution", "dilated", "SincNet",
      "LEAF", "sample level", "harmonic filters")),
    ("Bricks", "parts to build with",
     ("depthwise", "ResNet", "ConvNeXt", "U-Net", "TCN",
      "pooling", "LSTM", "Transformer", "autoencoder",
      "quantiser", "synthesiser")),
    ("Training", "what is asked of it",
     ("supervised", "augmentation",
      "metric learning", "self-supervised",
      "adversarial", "diffusion")),
    ("Tasks", "listening to music",
     ("multi-pitch", "chords", "tags", "cover versions",
      "source separation", "pitch", "singing vocoder")),
    ("Generation", "making sound",
     ("codec", "autoregressive", "latent diffusion", "judging",
      "sample by sample", "GAN and flow", "chains")),
)  # fmt: skip
CHIP = {"surface": "blue", "edge": "blue", "colour": "on colour"}


def draw_map(theme: str) -> Canvas:
    width, left, chip, gap = 480, 128, 22, 6
    measure = Canvas(width, 100, theme)

    def chip_width(words: str) -> float:
        return measure.extent(measure.text(0, 0, words, size=10)).width + 15

    rows, y = [], 8
    for title, subtitle, chips in MAP:
        placed, x, line = [], left, 0
        for words in chips:
            w = chip_width(words)
            if x + w > width - 12:
                x, line = left, line + 1
            placed.append((words, x, line, w))
            x += w + gap
        height = max((line + 1) * (chip + gap) - gap + 18, 46)
        rows.append((title, subtitle, placed, y, height, line + 1))
        y += height + 16
    plt.close(measure.figure)

    canvas = Canvas(width, y - 8, theme)
    for i, (title, subtitle, placed, y, height, n_lines) in enumerate(rows):
        canvas.box(1, y, width - 2, height, surface="plain", edge="plain", radius=7)
        canvas.text(12, y + height / 2 - 7, title, size=11.5, bold=True, ha="left")
        canvas.text(12, y + height / 2 + 9, subtitle, size=8.8, colour="soft", ha="left")
        top = y + (height - (n_lines * (chip + gap) - gap)) / 2
        for words, x, line, w in placed:
            canvas.box(x, top + line * (chip + gap), w, chip, words, size=10, radius=10.5, **CHIP)
        if i < len(rows) - 2:
            canvas.arrow([(63, y + height + 2), (63, y + height + 14.5)])
    # generation grows from the same training, beside the tasks: no arrow leads from task to task
    return canvas


# -------------------------------------------------------------------------- the pipeline

# a small cadence in four voices: onset (columns), length, height in half spaces of a staff
CADENCE = ((0, 1, 8), (1, 1, 7), (2, 2, 8), (0, 2, 5), (2, 2, 6), (0, 1, 3), (1, 1, 4), (2, 2, 3),
           (0, 1, 0), (1, 1, -1), (2, 2, 0))  # fmt: skip


def _planes(
    canvas: Canvas, x: float, y: float, w: float, h: float, n: int, shift: float, up: int = 0
) -> None:
    """Draw n planes, one behind the other, with a few bars on the front one."""
    for k in reversed(range(n)):
        canvas.rectangle(
            x + k * shift,
            y - k * shift,
            w,
            h,
            surface="blue surface",
            edge="blue",
            zorder=3 + (n - k) * 0.01,
        )
    for onset, length, height in CADENCE:
        top = y + h * (0.86 - 0.095 * ((height + up) % 9 if up else height))
        if y < top < y + h - 2:
            canvas.rectangle(
                x + 3 + onset * (w - 6) / 4,
                top,
                length * (w - 6) / 4 - 1.5,
                2,
                surface="blue",
                zorder=4,
            )


def draw_pipeline(theme: str) -> Canvas:
    canvas = Canvas(480, 294, theme)
    w, h, gap = 102, 74, 24
    steps = (
        ("Score", "Bach's notes,\nas lists"),
        ("Sound", "sampled instruments\nin a room"),
        ("Two files", "sound and truth"),
        ("HCQT", "one plane for\neach harmonic"),
        ("Network", "a probability for\neach pitch"),
        ("Pitches", "peaks above\na threshold"),
        ("Judgement", "precision, recall,\naccuracy"),
        ("Sound again", "hear what\nwas found"),
    )
    tiles = []
    for i, (title, words) in enumerate(steps):
        x, y = i % 4 * (w + gap), 22 + i // 4 * 162
        canvas.text(x + w / 2, y - 11, title, size=11, bold=True)
        canvas.box(x + 0.6, y, w - 1.2, h, radius=6)
        canvas.text(x + w / 2, y + h + 5, words, size=9, colour="soft", va="top")
        tiles.append((x, y))
    for i in (0, 1, 2, 4, 5, 6):
        x, y = tiles[i]
        canvas.arrow([(x + w + 3, y + h / 2), (x + w + gap - 3, y + h / 2)])
    turn = 148
    canvas.arrow(
        [(tiles[3][0] + w / 2, 130), (tiles[3][0] + w / 2, turn), (w / 2, turn), (w / 2, 162)]
    )
    truth_x = tiles[2][0] + w / 2
    canvas.arrow([(truth_x, 116), (truth_x, 162)], colour="orange", dashed=True)
    canvas.text(truth_x - 6, 134, "the truth", size=9.5, colour="orange", ha="right")

    x, y = tiles[0]  # a staff with a chord or two
    for k in range(5):
        canvas.line([(x + 12, y + 20 + 8 * k), (x + w - 12, y + 20 + 8 * k)], width=0.8)
    for onset, height in ((0, 6), (0, 2), (1, 5), (1, 3), (2, 6), (2, 2), (2, 4)):
        cx, cy = x + 28 + 22 * onset, y + 52 - 4 * height
        canvas.disc(cx, cy, 3.6, "ink")
        canvas.line([(cx + 3.3, cy), (cx + 3.3, cy - 17)], colour="ink", width=1.0)
    x, y = tiles[1]
    canvas.waveform(x + 10, y + h / 2, w - 20, 52)
    x, y = tiles[2]
    for dx, colour, words in ((10, "blue", ".hdf5"), (56, "orange", ".pyjama")):
        corner = [(0, 0), (25, 0), (36, 11), (36, 46), (0, 46)]
        outline = Outline([(x + dx + a, y + 8 + b) for a, b in [*corner, (0, 0)]])
        canvas.axes.add_patch(
            PathPatch(
                outline,
                facecolor=canvas.colour(f"{colour} surface"),
                edgecolor=canvas.colour(colour),
                linewidth=1.1,
                zorder=3,
            )
        )
        canvas.text(x + dx + 18, y + 63, words, size=8.6, mono=True)
    canvas.waveform(tiles[2][0] + 14, y + 33, 28, 18, n_points=60)
    for k, length in enumerate((24, 17, 22, 13)):
        canvas.line([(x + 62, y + 24 + 7 * k), (x + 62 + length, y + 24 + 7 * k)], colour="orange")
    x, y = tiles[3]
    _planes(canvas, x + 12, y + 24, 60, 40, 5, 4)
    x, y = tiles[4]
    for k, (height, width) in enumerate(((50, 8), (42, 12), (34, 16), (42, 12), (50, 8))):
        left = x + 13 + (0, 13, 30, 51, 68)[k]
        canvas.box(
            left, y + (h - height) / 2, width, height, surface="blue surface", edge="blue", radius=2
        )
    for i in (5, 6):
        x, y = tiles[i]
        for onset, length, height in CADENCE:
            found = (onset, height) not in ((1, 4), (2, 6))
            top = y + 53 - 5 * height
            span = (x + 11 + 20 * onset, top, 20 * length - 2, 4)
            if i == 6:
                canvas.rectangle(*span, edge="orange", edge_width=1.0)
            if found:
                canvas.rectangle(*span, surface="blue", zorder=2.9)
    x, y = tiles[7]
    canvas.waveform(x + 10, y + h / 2, w - 20, 52, phase=1.2)
    return canvas


# ------------------------------------------------------------------------- the two files


def draw_files(theme: str) -> Canvas:
    canvas = Canvas(480, 306, theme)
    left, right = (1, 26, 196), (241, 26, 238)
    for (x, y, w), name, what, colour in (
        (left, "chorales_audio.hdf5", "the sound", "blue"),
        (right, "chorales.pyjama", "what is known about it", "orange"),
    ):
        canvas.text(x + w / 2, y - 13, name, size=11, mono=True, bold=True)
        canvas.box(x, y, w, 278, edge=colour, radius=7)
        canvas.text(x + w / 2, y + 15, what, size=10, colour="soft")
    entries = (
        ("0007-bwv0269.wav", "mixture", True),
        ("0007-bwv0269-bass.wav", "stem", False),
    )
    for i, (key, role, is_mixture) in enumerate(entries):
        y = 58 + 124 * i
        x = left[0] + 9
        canvas.box(x, y, left[2] - 18, 92, surface="blue surface", edge="blue")
        canvas.text(x + 8, y + 13, key, size=9.4, mono=True, ha="left", bold=True)
        canvas.waveform(x + 10, y + 43, left[2] - 38, 32, phase=1.7 * i)
        canvas.text(x + 8, y + 77, "float32   sr_hz = 22050", size=9.2, mono=True, ha="left")
        x = right[0] + 9
        canvas.box(x, y, right[2] - 18, 112, surface="orange surface", edge="orange")
        truth = (
            ('pitchmidi {"value": 67, …}', "f0multi   (voices, frames)")
            if is_mixture
            else ('instrument [{"value": …}]', "f0        (1, frames)")
        )
        lines = (f"filepath  {key}", f"role      {role}", *truth)
        for k, words in enumerate(lines):
            canvas.text(x + 8, y + 15 + 20 * k, words, size=9.2, mono=True, ha="left", bold=k == 0)
        canvas.text(x + 8, y + 97, "…", size=9.2, mono=True, ha="left")
        canvas.arrow([(x - 2, y + 14), (left[0] + left[2] - 7, y + 14)], colour="orange", width=1.6)
    canvas.text(219, 60, "is the\nkey", size=8.8, colour="soft")
    return canvas


# ------------------------------------------------------------------------------ a tensor


def draw_tensor(theme: str) -> Canvas:
    canvas = Canvas(480, 204, theme)
    w, h, n, shift = 96, 84, 6, 5
    for item in range(3):
        x, y = 44 + item * 150, 66
        _planes(canvas, x, y, w, h, n, shift, up=3 * item)
        canvas.text(x + w / 2, y + h + 34, f"X[{item}]", size=10.5, mono=True)
    x, y = 44, 66
    canvas.arrow([(x - 8, y + h), (x - 8, y)])
    canvas.axes.text(
        x - 21,
        y + h / 2,
        "frequency",
        rotation=90,
        ha="center",
        va="center",
        size=9.5,
        color=canvas.colour("soft"),
        family="DejaVu Sans",
    )
    canvas.arrow([(x, y + h + 8), (x + w, y + h + 8)])
    canvas.text(x + w / 2, y + h + 17, "time", size=9.5, colour="soft")
    canvas.arrow([(x - 5, y - 8), (x - 5 + (n - 1) * shift, y - 8 - (n - 1) * shift)])
    canvas.text(38, 30, "channel", size=9.5, colour="soft")
    canvas.text(240, 14, "a batch: X has shape (3, 6, 360, 64)", size=11, bold=True)
    canvas.arrow([(44, 196), (452, 196)])
    canvas.text(20, 196, "batch", size=9.5, colour="soft")
    return canvas


# ------------------------------------------------------------------------------- patches


def draw_patches(theme: str) -> Canvas:
    canvas = Canvas(480, 350, theme)
    left, wide, n_frames, patch = 66, 300, 60, 16
    step = wide / n_frames
    notes = [
        (onset, min(length, n_frames - onset), row)
        for onset, length, row in zip(
            (0, 0, 0, 9, 14, 20, 22, 30, 34, 40, 44, 48),
            (9, 14, 20, 13, 16, 14, 18, 14, 26, 8, 16, 12),
            (2, 5, 8, 3, 6, 7, 1, 5, 2, 6, 8, 4),
            strict=True,
        )
    ]
    x_top, x_high, y_top, y_high = 46, 96, 196, 62
    canvas.text(left + wide / 2, 12, "one track", size=11, bold=True)
    for k in reversed(range(4)):
        canvas.rectangle(
            left + 4 * k,
            x_top - 4 * k,
            wide,
            x_high,
            surface="blue surface",
            edge="blue",
            zorder=3 - 0.01 * k,
        )
    for onset, length, row in notes:
        for harmonic in (0, 3.2, 5.1):  # partials above the fundamental
            y = x_top + x_high - 8 - 5.5 * (row + harmonic)
            canvas.rectangle(
                left + onset * step,
                y,
                length * step - 1,
                2.4,
                surface="blue",
                alpha=(1, 0.55, 0.3)[int(harmonic // 2.5)],
                zorder=3.5,
            )
    canvas.rectangle(left, y_top, wide, y_high, surface="orange surface", edge="orange")
    for onset, length, row in notes:
        canvas.rectangle(
            left + onset * step,
            y_top + y_high - 8 - 5.6 * row,
            length * step - 1,
            3.4,
            surface="orange",
            zorder=3.5,
        )
    canvas.text(8, x_top + x_high / 2, "input\nfeatures", size=10, ha="left")
    canvas.text(8, y_top + y_high / 2, "target", size=10, ha="left")
    y = 169
    for i, start in enumerate(range(0, n_frames, patch)):
        stop = min(start + patch, n_frames)
        x0, x1 = left + start * step + 1.5, left + stop * step - 1.5
        mine = i == 1
        canvas.line(
            [(x0, y - 6), (x0, y), (x1, y), (x1, y - 6)],
            colour="ink" if mine else "line",
            width=1.8 if mine else 1.2,
        )
        canvas.text(
            (x0 + x1) / 2,
            y + 10,
            f"patch {i}",
            size=9.5,
            bold=mine,
            colour="ink" if mine else "soft",
        )
    x0 = left + patch * step
    for top, high in ((x_top, x_high), (y_top, y_high)):
        canvas.rectangle(x0, top, patch * step, high, edge="ink", edge_width=2.0, zorder=4.5)
    canvas.text(
        left + wide + 8,
        y - 8,
        "shorter: filled\nwith zeros, and\nmasked",
        size=9.3,
        colour="soft",
        ha="left",
        va="top",
    )
    bottom, room = 280, (left - 30, 280, 420, 68)
    canvas.arrow(
        [(x0 + patch * step / 2, y_top + y_high + 3), (x0 + patch * step / 2, bottom - 2)],
        colour="ink",
    )
    canvas.box(*room, surface="plain", edge="ink")
    canvas.text(room[0] + 12, bottom + 34, "dataset[1]", size=10.5, mono=True, bold=True, ha="left")
    for k, words in enumerate(
        ("input   (channel, frequency, time)", "target  (1, pitch, time)", "mask    (time,)")
    ):
        canvas.text(
            room[0] + 130, bottom + 14 + 20 * k, words, size=9.8, mono=True, ha="left", inside=room
        )
    return canvas


# ---------------------------------------------------------------------- the training loop


def draw_loop(theme: str) -> Canvas:
    canvas = Canvas(480, 330, theme)
    mine = {"surface": "blue surface", "edge": "blue"}
    canvas.box(1, 1, 478, 292, surface=None, dashed=True, radius=9)
    canvas.text(12, 15, "for each epoch", size=10.5, colour="soft", ha="left")
    canvas.box(12, 28, 456, 148, surface="plain", edge="plain", radius=8)
    canvas.text(
        22, 42, "for each batch of the training patches", size=10.5, colour="soft", ha="left"
    )
    w, h = 92, 46
    xs = [22 + k * (w + 22.7) for k in range(4)]
    top, low = 56, 121
    canvas.box(xs[0], top, w, h, "take a batch\nX, y", size=10)
    canvas.box(xs[1], top, w, h, "network\nŷ = f(X)", size=10, **mine)
    canvas.box(xs[2], top, w, h, "loss\nL(ŷ, y)", size=10, **mine)
    canvas.box(xs[3], top, w, h, "gradients of L\n(backward)", size=10)
    for k in range(3):
        canvas.arrow([(xs[k] + w + 2, top + h / 2), (xs[k + 1] - 2, top + h / 2)])
    canvas.box(
        xs[2] - 18, low, w + 36, h - 2, "optimiser: move the\nweights a little", size=10, **mine
    )
    canvas.arrow(
        [(xs[3] + w / 2, top + h + 2), (xs[3] + w / 2, low + 22), (xs[2] + w + 20, low + 22)]
    )
    canvas.arrow([(xs[2] - 20, low + 22), (xs[0] + w / 2, low + 22), (xs[0] + w / 2, top + h + 2)])
    canvas.text((xs[0] + xs[2]) / 2 + 14, low + 12, "next batch", size=9.5, colour="soft")
    y, h = 214, 62
    canvas.arrow([(80, 178), (80, y - 2)])
    canvas.text(90, 195, "all batches seen", size=9.5, colour="soft", ha="left")
    canvas.box(12, y, 138, h, "validation loss\neval(), no gradients", size=10)
    canvas.box(171, y, 138, h, "best so far?\nkeep these weights", size=10)
    canvas.box(330, y, 138, h, "no better for\nsome epochs? stop", size=10)
    canvas.arrow([(152, y + h / 2), (169, y + h / 2)])
    canvas.arrow([(311, y + h / 2), (328, y + h / 2)])
    canvas.box(6, 307, 24, 14, radius=4, **mine)
    canvas.text(36, 314, "you write this", size=9.8, colour="soft", ha="left")
    canvas.box(140, 307, 24, 14, radius=4)
    canvas.text(170, 314, "Lightning does this", size=9.8, colour="soft", ha="left")
    return canvas


# ------------------------------------------------------------------------------- counting

# the worked example of book/evaluation.md: tests/book/test_prose.py holds the two together
REFERENCE = ((60, 64, 67), (60, 64, 67), (62, 65), (), (59, 62, 67, 71))
ESTIMATE = ((60, 64, 67.3), (60, 76, 67), (62, 65, 69), (57,), (59,))


def classify(reference: Sequence[float], estimate: Sequence[float]) -> tuple[list, list, list]:
    """Return the true positives, false positives and false negatives of one frame."""
    found = {r: e for r in reference for e in estimate if abs(r - e) <= 0.5}
    extra = [e for e in estimate if e not in found.values()]
    return list(found.values()), extra, [r for r in reference if r not in found]


def draw_counting(theme: str) -> Canvas:
    canvas = Canvas(480, 346, theme)
    left, column, top, row, high = 58, 58, 26, 11.6, 77

    def centre(frame: int, pitch: float) -> tuple[float, float]:
        return left + column * (frame + 0.5), top + row * (high - pitch)

    bottom = centre(0, 55.4)[1]
    names = {57: "A3", 60: "C4", 64: "E4", 67: "G4", 69: "A4", 72: "C5", 76: "E5"}
    for pitch, name in names.items():
        y = centre(0, pitch)[1]
        canvas.line([(left, y), (left + 5 * column, y)], colour="line", width=0.4, zorder=1)
        canvas.text(left - 8, y, f"{name}  {pitch}", size=8.8, colour="soft", ha="right")
    for frame in range(6):
        x = left + column * frame
        canvas.line([(x, top - 8), (x, bottom)], width=0.7, zorder=1)
    sums = np.zeros(3, dtype=int)
    for frame, (reference, estimate) in enumerate(zip(REFERENCE, ESTIMATE, strict=True)):
        right, extra, missed = classify(reference, estimate)
        sums += [len(right), len(extra), len(missed)]
        canvas.text(centre(frame, 0)[0], 10, f"frame {frame}", size=10)
        for pitch in reference:
            x, y = centre(frame, pitch)
            canvas.rectangle(
                x - 19, y - 5.4, 38, 10.8, surface="orange surface", edge="orange", edge_width=1.2
            )
        for pitch in right:
            canvas.disc(*centre(frame, pitch), 3.8, "blue")
        for pitch in extra:
            x, y = centre(frame, pitch)
            for sign in (-1, 1):
                canvas.line(
                    [(x - 4, y - 4 * sign), (x + 4, y + 4 * sign)],
                    colour="blue",
                    width=2.2,
                    zorder=4,
                )
        for k, counted in enumerate((right, extra, missed)):
            canvas.text(centre(frame, 0)[0], bottom + 16 + 19 * k, str(len(counted)), size=11)
    for k, name in enumerate(("TP", "FP", "FN")):
        y = bottom + 16 + 19 * k
        canvas.text(left - 8, y, name, size=11, bold=True, ha="right")
        canvas.text(left + 5 * column + 14, y, f"sum {sums[k]}", size=11, bold=True, ha="left")
    x = centre(1, 0)[0] + 23
    canvas.arrow(
        [(x, centre(1, 64)[1]), (x, centre(1, 76)[1])], colour="soft", width=1.0, dashed=True
    )
    canvas.text(x + 9, centre(1, 73)[1], "octave\nerror", size=8.8, colour="soft", ha="left")
    x, y = left + 5 * column + 14, top + 14
    legend = (
        ("there, and found:", "TP", True, True),
        ("not there, found:", "FP", False, True),
        ("there, not found:", "FN", True, False),
    )
    for k, (words, name, is_there, is_found) in enumerate(legend):
        cy = y + 62 * k
        canvas.text(x, cy, words, size=9.5, colour="soft", ha="left")
        if is_there:
            canvas.rectangle(
                x, cy + 12, 38, 10.8, surface="orange surface", edge="orange", edge_width=1.2
            )
        if is_there and is_found:
            canvas.disc(x + 19, cy + 17.4, 3.8, "blue")
        elif is_found:
            for sign in (-1, 1):
                canvas.line(
                    [(x + 15, cy + 17.4 - 4 * sign), (x + 23, cy + 17.4 + 4 * sign)],
                    colour="blue",
                    width=2.2,
                )
        canvas.text(x + 48, cy + 17.4, name, size=10.5, bold=True, ha="left")
    return canvas


DIAGRAMS: dict[str, Callable[[str], Canvas]] = {
    "map": draw_map,
    "pipeline": draw_pipeline,
    "files": draw_files,
    "tensor": draw_tensor,
    "patches": draw_patches,
    "loop": draw_loop,
    "counting": draw_counting,
}


def build(name: str, theme: str) -> str:
    """Return the SVG of a diagram in a theme; text that does not fit raises ValueError."""
    style = {"svg.hashsalt": f"dl101-{name}", "svg.fonttype": "path", "path.simplify": False}
    with matplotlib.rc_context(style):
        canvas = DIAGRAMS[name](theme)
        canvas.check(name)
        text = canvas.svg()
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"{name}: {len(text.encode())} bytes; at most {MAX_BYTES}")
    return text


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in DIAGRAMS:
        for theme in PALETTES:
            path = folder / f"{name}-{theme}.svg"
            path.write_text(build(name, theme), encoding="utf-8")
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
