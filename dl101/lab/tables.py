"""Tables and figures of recorded results, with their spread over seeds.

Conventions: variants and metrics are given as mappings from their names in the records to what the
page calls them, or as sequences where it calls them the same; their order is the order of rows and
columns. Numbers are the mean ± the sample standard deviation over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dl101.evaluation.results import Measured
from dl101.lab.plots import PALETTE
from dl101.lab.show import show_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Names = Mapping[str, str] | Sequence[str]


def _titles(names: Names) -> dict[str, str]:
    return dict(names) if isinstance(names, Mapping) else {name: name for name in names}


def results_table(
    measured: Measured,
    variants: Names,
    metrics: Names,
    *,
    first: str,
    caption: str,
    digits: int = 2,
    scale: float = 1.0,
    parameters: bool = False,
) -> None:
    """Display one row for each variant and one column for each metric.

    Parameters
    ----------
    measured
        The records.
    variants
        Rows: name in the records to name on the page, or names alone.
    metrics
        Columns, likewise.
    first
        Heading of the first column: what the rows are.
    caption
        One sentence that says what the table holds; ``{seeds}`` and ``{n_seeds}`` are filled in.
    digits
        Decimals.
    scale
        What scores are multiplied by: 100 for percent.
    parameters
        Whether the second column counts trained numbers.
    """
    rows, metrics = [], _titles(metrics)
    for variant, label in _titles(variants).items():
        counted = [measured.runs(variant)[0].n_parameters or None] if parameters else []
        scores = (measured.text(variant, name, digits=digits, scale=scale) for name in metrics)
        rows.append([label, *counted, *scores])
    columns = [first, *(["parameters"] if parameters else []), *metrics.values()]
    seeds = ", ".join(map(str, measured.seeds))
    show_table(rows, columns, caption=caption.format(seeds=seeds, n_seeds=len(measured.seeds)))


def dots_by_seed(
    measured: Measured,
    variants: Names,
    metrics: Names,
    *,
    label: str,
    chance: float | None = None,
    marked: Sequence[str] = (),
    height: float | None = None,
) -> Figure:
    """Return a figure with a row for each variant, a panel for each metric, a dot for each seed.

    Parameters
    ----------
    measured, variants, metrics
        As in :func:`results_table`; the first variant stands at the top.
    label
        Of the axis of scores.
    chance
        Where the dotted line of guessing stands.
    marked
        Variants whose dots have the second colour.
    height
        Of the figure in inches; None: by the number of rows.
    """
    import matplotlib.pyplot as plt

    variants, metrics = _titles(variants), _titles(metrics)
    height = 1.0 + 0.24 * len(variants) if height is None else height
    fig, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(7.0 if len(metrics) == 1 else 9.0, height),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for ax, (metric, title) in zip(axes[0], metrics.items(), strict=True):
        for place, variant in enumerate(variants):
            values = measured.each(variant, metric)
            colour = PALETTE["other" if variant in marked else "main"]
            ax.plot(values, [place] * len(values), "o", color=PALETTE["context"], ms=4)
            ax.plot(values.mean(), place, "|", color=colour, ms=14, mew=2.5)
        if chance is not None:
            ax.axvline(chance, color=PALETTE["context"], lw=1, ls=":")
        ax.set(title=title, xlabel=label)
        ax.grid(axis="x")
    axes[0, 0].set_yticks(range(len(variants)), list(variants.values()))
    axes[0, 0].invert_yaxis()
    return fig
