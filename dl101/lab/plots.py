"""Draws the pictures of the chapters on a Matplotlib Axes that the caller made.

Conventions. Every function takes the Axes first, draws, labels the axes with units and returns the
Axes; none makes a figure. Matrices are ``(bins, frames)`` with times in seconds and pitches in
continuous MIDI numbers, both evenly spaced; pitch axes carry note names (C4 is MIDI 60).

One style for the whole book (:func:`use_style`), one meaning a colour (:data:`PALETTE`). The
colours are from the set of Okabe and Ito (2008), told apart by colour-blind readers; where colours
carry meaning they differ in lightness too, and curves differ in line style.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError
from dl101.evaluation.results import Record
from dl101.signal.feature import Feature
from dl101.units import NOTE_NAMES as NOTE_NAMES  # the chapters' name of it
from dl101.units import hz_to_midi, note_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = {
    "main": "#0072b2",  # blue: the signal, the truth, what a figure is about
    "other": "#d55e00",  # orange: what differs from it, what is marked
    "third": "#009e73",
    "fourth": "#cc79a7",
    "context": "#999999",  # grey: what stands behind, single runs, chance
    "ink": "#000000",
}
# Pictures are shown at 672 px where there is room and at no less than 460 px on a phone: 11 points
# are then 10 px. Axes have two sides; values that have none (images) need no frame.
STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "axes.axisbelow": True,
        "axes.labelsize": "medium",
        "axes.prop_cycle": f"cycler(color={list(PALETTE.values())[:4]})",
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": "medium",
        "figure.titlesize": "medium",
        "font.size": 11.0,
        "grid.color": "0.9",
        "image.cmap": "magma",
        "legend.fontsize": "small",
        "xtick.labelsize": "small",
        "ytick.labelsize": "small",
    }
)
HIT, MISS, FALSE_ALARM = "#003a5c", "#e69f00", "#d55e00"  # dark, light, middle
LINES = (  # colour and line style of the curves of one plot
    (PALETTE["main"], "-"),
    (PALETTE["other"], "--"),
    (PALETTE["third"], "-."),
    (PALETTE["ink"], ":"),
    (PALETTE["fourth"], "-"),
)


def use_style() -> None:
    """Set Matplotlib's defaults to the style of the book, for all figures made from now on."""
    import matplotlib

    matplotlib.rcParams.update(STYLE)


def pianoroll(
    ax: Axes,
    matrix: ArrayLike,
    pitches_midi: ArrayLike,
    times_s: ArrayLike,
    *,
    title: str = "",
    label: str = "",
) -> Axes:
    """Draw a ``(bins, frames)`` matrix, binary or of values between 0 and 1: dark is high.

    Parameters
    ----------
    ax
        Where to draw.
    matrix, pitches_midi, times_s
        ``(bins, frames)``, ``(bins,)`` (for example ``axis.midi``), ``(frames,)``.
    title
        Title of the Axes.
    label
        What the values are; when given, a colour bar is drawn with it.

    Raises
    ------
    DataError
        If the shapes do not agree or an axis is not evenly spaced.
    """
    values = np.asarray(matrix, dtype=np.float64)
    top = max(1.0, float(np.nanmax(values))) if values.size else 1.0
    image = _image(ax, values, pitches_midi, times_s, cmap="Greys", vmin=0.0, vmax=top)
    if label:
        ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
    if title:
        ax.set_title(title)
    return ax


def compare_pianorolls(
    ax: Axes,
    truth: ArrayLike,
    estimate: ArrayLike,
    pitches_midi: ArrayLike,
    times_s: ArrayLike,
    *,
    tolerance_semitones: float = 0.5,
    title: str = "",
) -> Axes:
    """Draw what an estimate found, missed and invented, in three colours with a legend.

    A cell of the estimate is a hit when the truth has a pitch within the tolerance in the same
    frame; a cell of the truth that no estimated pitch reaches is a miss. This is a picture: the
    scores match pitches one to one (``dl101.evaluation.multi_pitch``).

    Parameters
    ----------
    ax
        Where to draw.
    truth, estimate
        Binary ``(bins, frames)``.
    pitches_midi, times_s
        ``(bins,)`` and ``(frames,)``.
    tolerance_semitones
        Largest distance of a hit, inclusive.
    title
        Title of the Axes.

    Raises
    ------
    DataError
        If the shapes do not agree.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    reference, found = np.asarray(truth).astype(bool), np.asarray(estimate).astype(bool)
    if reference.shape != found.shape:
        raise DataError(
            "compare_pianorolls",
            got=f"truth {reference.shape} and estimate {found.shape}",
            expected="matrices of one shape (bins, frames)",
            hint="bring both to the same pitch axis and times",
        )
    midi = np.asarray(pitches_midi, dtype=np.float64)
    step = float(midi[1] - midi[0]) if midi.size > 1 else 1.0
    reach = int(np.floor(tolerance_semitones / step + 1e-6))
    cells = np.zeros(reference.shape)
    hits = found & _widened(reference, reach)
    cells[reference & ~_widened(found, reach)] = 2
    cells[found & ~hits] = 3
    cells[hits] = 1
    colours = ListedColormap(["white", HIT, MISS, FALSE_ALARM])
    # Categories must not be blended into colours that mean nothing.
    _image(ax, cells, midi, times_s, cmap=colours, vmin=-0.5, vmax=3.5, interpolation="nearest")
    names = {"hit": HIT, "miss": MISS, "false alarm": FALSE_ALARM}
    ax.legend(
        handles=[Patch(facecolor=colour, label=name) for name, colour in names.items()],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),  # above the Axes, where it hides nothing
        ncols=3,
        fontsize="small",
        frameon=False,
    )
    if title:
        ax.set_title(title, loc="left")
    return ax


def _widened(lit: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Light every bin within ``reach`` bins of a lit one."""
    wide = lit.copy()
    for shift in range(1, reach + 1):
        wide[shift:] |= lit[:-shift]
        wide[:-shift] |= lit[shift:]
    return wide


def hcqt_channel(
    ax: Axes, feature: Feature, index: int = 0, *, title: str = "", label: str = "magnitude"
) -> Axes:
    """Draw channel ``index`` of a feature ``(harmonic, bin, time)``: bright is high.

    Parameters
    ----------
    ax
        Where to draw.
    feature
        A record with ``values`` of three axes, ``frequencies`` in Hz and ``times`` in seconds.
    index
        Which harmonic channel.
    title
        Title of the Axes.
    label
        What the values are, for the colour bar.

    Raises
    ------
    DataError
        If the feature has no such channel or no frequencies.
    """
    values = np.asarray(feature.values)
    if values.ndim != 3 or not -values.shape[0] <= index < values.shape[0]:
        raise DataError(
            "hcqt_channel",
            got=f"values of shape {values.shape} and index {index}",
            expected="values (harmonic, bin, time) and the index of one harmonic",
            hint="pass the result of hcqt(...) and an index from 0",
        )
    if feature.frequencies is None:
        raise DataError(
            "hcqt_channel",
            got="a feature without frequencies",
            expected="frequencies in Hz",
            hint="pass the result of cqt(...) or hcqt(...)",
        )
    channel = values[index]
    pitches = hz_to_midi(feature.frequencies)
    image = _image(
        ax,
        channel,
        pitches,
        feature.times,
        cmap="magma",
        vmin=0.0,
        vmax=float(channel.max()) or 1.0,
    )
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
    if title:
        ax.set_title(title)
    return ax


def precision_recall(
    ax: Axes,
    curve: Sequence[Mapping[str, float]],
    *,
    chosen: float | None = None,
    scores: Sequence[str] = ("precision", "recall", "accuracy"),
) -> Axes:
    """Draw scores between 0 and 1 against the threshold that gives them.

    Parameters
    ----------
    ax
        Where to draw.
    curve
        What ``evaluation.multi_pitch.threshold_curve`` returns: per point ``threshold`` and scores.
    chosen
        The threshold in use; marked by a vertical line.
    scores
        Which scores to draw.

    Raises
    ------
    DataError
        If the curve has no point or a point lacks a score.
    """
    x = _column(curve, "threshold", "precision_recall")
    for name, (colour, style) in zip(scores, LINES * 2, strict=False):
        y = _column(curve, name, "precision_recall")
        ax.plot(x, y, color=colour, linestyle=style, label=name.replace("_", " "))
    if chosen is not None:
        ax.axvline(chosen, color="0.4", linewidth=1, label=f"chosen: {chosen:.2f}")
    ax.set(xlabel="threshold", ylabel="score", ylim=(0, 1.02))
    ax.legend(fontsize="small")
    return ax


def training_curves(
    ax: Axes,
    history: Sequence[Mapping[str, float]],
    *,
    curves: Mapping[str, str] | None = None,
    ylabel: str = "loss",
) -> Axes:
    """Draw the losses of training and validation over the epochs, and mark the epoch kept.

    Parameters
    ----------
    ax
        Where to draw.
    history
        What ``training.fit`` returns: per epoch ``epoch`` (from 1) and losses.
    curves
        Field to label; the best epoch is the lowest point of the last of them. By default
        ``train_loss`` and ``val_loss``.
    ylabel
        What the values are.

    Raises
    ------
    DataError
        If there is no epoch or one lacks a field.
    """
    from matplotlib.ticker import MaxNLocator

    curves = curves or {"train_loss": "training", "val_loss": "validation"}
    epochs = _column(history, "epoch", "training_curves")
    for (field, label), (colour, style) in zip(curves.items(), LINES * 2, strict=False):
        y = _column(history, field, "training_curves")
        ax.plot(epochs, y, color=colour, linestyle=style, marker=".", label=label)
    kept = int(epochs[np.nanargmin(y)])
    ax.axvline(kept, color="0.4", linewidth=1, label=f"kept: epoch {kept}")
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend(fontsize="small")
    return ax


def _column(rows: Sequence[Mapping[str, float]], field: str, place: str) -> NDArray[np.float64]:
    if not rows or any(field not in row for row in rows):
        raise DataError(
            place,
            got="no row" if not rows else f"rows with {', '.join(rows[0])}",
            expected=f"rows that all have {field!r}",
            hint="pass the list of dictionaries as it was returned",
        )
    return np.array([row[field] for row in rows], dtype=np.float64)


def scores_by_variant(
    ax: Axes,
    records: Iterable[Record],
    *,
    metric: str,
    baselines: Mapping[str, float] | None = None,
) -> Axes:
    """Draw one point per run, with mean and standard deviation per variant.

    Parameters
    ----------
    ax
        Where to draw.
    records
        Runs, as ``evaluation.results.load`` returns them. Variants are drawn from the top in the
        order of their first run.
    metric
        Which of the records' metrics.
    baselines
        Scores to compare with, drawn as labelled vertical lines; one that is further from the runs
        than twice their range stands in the legend alone.

    Raises
    ------
    DataError
        If there is no record, or one lacks the metric.
    """
    groups: dict[str, list[float]] = {}
    for record in records:
        if metric not in record.metrics:
            raise DataError(
                f"scores_by_variant: {record.variant}, seed {record.seed}",
                got=f"metrics {', '.join(record.metrics)}",
                expected=f"metric {metric!r}",
                hint="check the name of the metric",
            )
        groups.setdefault(record.variant, []).append(float(record.metrics[metric]))
    if not groups:
        raise DataError(
            "scores_by_variant",
            got="no record",
            expected="at least one run",
            hint="check the filter on the records",
        )
    for row, values in enumerate(groups.values()):
        mean = float(np.mean(values))
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        first = row == 0
        ax.plot(
            values,
            [row] * len(values),
            "o",
            color=PALETTE["context"],
            markersize=5,
            label="one run" if first else None,
        )
        ax.errorbar(
            mean,
            row + 0.22,
            xerr=spread,
            color=PALETTE["main"],
            marker="|",
            markersize=9,
            capsize=3,
            linestyle="none",
            label="mean ± standard deviation" if first else None,
        )
    every = [value for values in groups.values() for value in values]
    # what lies further off would squeeze the runs, and is only named
    reach = 2 * (max(every) - min(every)) or np.inf
    for (name, value), (_, style) in zip((baselines or {}).items(), LINES[1:] * 2, strict=False):
        if min(every) - reach <= value <= max(every) + reach:
            ax.axvline(value, color="0.35", linestyle=style, linewidth=1.2, label=name)
        else:
            ax.plot([], [], " ", label=f"off the axis: {name}, {value:.2f}")
    ax.set(xlabel=metric.replace("_", " "), ylim=(len(groups) - 0.5, -0.5))
    ax.set_yticks(range(len(groups)), list(groups))
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    # below the Axes, where it hides no point
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return ax


def _image(
    ax: Axes, values: NDArray, pitches_midi: ArrayLike, times_s: ArrayLike, **options: Any
) -> Any:
    """Draw ``(bins, frames)`` with cells centred on their pitch and time; label both axes."""
    midi = np.asarray(pitches_midi, dtype=np.float64)
    times = np.asarray(times_s, dtype=np.float64)
    if values.shape != (midi.size, times.size) or values.size == 0:
        raise DataError(
            "plot",
            got=f"a matrix {values.shape}, {midi.size} pitches and {times.size} times",
            expected="a matrix (pitches, times), not empty",
            hint="pass (bins, frames), with the axes that the matrix was made with",
        )
    edges = []
    for name, centres in (("times_s", times), ("pitches_midi", midi)):
        steps = np.diff(centres)
        step = float(np.median(steps)) if steps.size else 1.0
        if step <= 0 or np.any(np.abs(steps - step) > 0.02 * step):
            raise DataError(
                f"plot: {name}",
                got="values that are not evenly spaced",
                expected="evenly spaced, increasing values",
                hint="resample to an even grid; pitches are in MIDI numbers, not in Hz",
            )
        edges += [centres[0] - step / 2, centres[-1] + step / 2]
    image = ax.imshow(values, origin="lower", aspect="auto", extent=edges, **options)
    ax.set(xlabel="time (s)", ylabel="pitch")
    _name_pitches(ax)
    return image


def _name_pitches(ax: Axes) -> None:
    """Write note names on the pitch axis: every C, and more notes when fewer octaves are shown."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    low, high = ax.get_ylim()
    span = high - low
    ax.yaxis.set_major_locator(MultipleLocator(12 if span > 20 else 4 if span > 8 else 1))
    ax.yaxis.set_minor_locator(MultipleLocator(1 if span <= 40 else 12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda pitch, _: note_name(pitch)))
