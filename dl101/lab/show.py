"""Shows things in a notebook: source code, tables, shape tables, figures with alternative text.

Conventions. Every function displays at once and returns nothing, so that it works anywhere in a
cell. What is displayed is a :class:`Rendered`: the same content as plain text (terminal, screen
reader, plain diff) and as HTML or Markdown. HTML is self-contained (no request leaves the page),
takes its colours from the page around it and therefore works in light and dark, in JupyterLab, in
Colab and in the book. Source code is Markdown, because each of these then highlights it itself.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from dl101.errors import DataError, ShapeError
from dl101.lab.pictures import PICTURE_QUALITY, encode_picture, is_drawing, picture_element
from dl101.repository import BRANCH, REPOSITORY_URL

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from dl101.lab.costs import LayerCost

FIGURE_LIMIT_BYTES = 15_000  # 20 kB once written in base64

# The book's dark theme puts a light box behind every HTML output that it does not know; ours take
# the page's own colours instead. Elsewhere the selectors match nothing.
_DARK_OUTPUT = "html[data-theme=dark] .bd-content div.cell_output"
# the book, JupyterLab, Colab, VS Code
_DARK = ":is(html[data-theme=dark],body[data-jp-theme-light=false],html[theme=dark],.vscode-dark)"
# Wide things scroll in their own box, whose edges fade where there is more. A drawing is inverted
# on a dark page, hues kept, and its ground let through; an image keeps its colours and its ground.
STYLE = (
    "<style>"
    f"{_DARK_OUTPUT} .text_html.text_html:has(.dl101){{background:none;color:inherit;padding:0}}"
    ".dl101.dl101{margin:0 0 1em;max-width:100%;overflow-x:auto;color:inherit}"
    ".dl101.dl101 figcaption,.dl101.dl101 caption"
    "{caption-side:bottom;text-align:left;color:inherit;font-size:.9em;font-weight:400;margin-top:.4em}"
    ".dl101 table{font-size:.9em}.dl101 th,.dl101 td{padding:.2em .6em;white-space:nowrap}"
    ".dl101-wide.dl101-wide table.dataframe{display:table;max-width:none}"
    ".dl101.dl101 img{max-width:100%;height:auto;background:#fff}"
    f"{_DARK} .dl101.dl101.dl101 img{{padding:0}}"
    f"{_DARK} .dl101 .dl101-drawing{{filter:invert(1) hue-rotate(180deg);mix-blend-mode:screen}}"
    f"{_DARK} .dl101.dl101.dl101 .dl101-drawing img{{filter:none}}"
    "@property --dl101-a{syntax:'<length>';inherits:false;initial-value:0px}"
    "@property --dl101-b{syntax:'<length>';inherits:false;initial-value:0px}"
    "@keyframes dl101-more{0%{--dl101-b:2.5em}12%,88%{--dl101-a:2.5em;--dl101-b:2.5em}"
    "100%{--dl101-a:2.5em}}"
    ".dl101-wide{max-width:100%;overflow-x:auto;scrollbar-width:thin;"
    "animation:dl101-more linear;animation-timeline:scroll(self inline);"
    "mask:linear-gradient(90deg,#0003,#000 var(--dl101-a) calc(100% - var(--dl101-b)),#0003)}"
    "</style>"
)


@dataclass(frozen=True)
class Rendered:
    """One piece of output in several media types.

    Attributes
    ----------
    text
        Plain text that says the same; always present.
    html, markdown
        The rich form; a front-end takes HTML when both are given.
    """

    text: str
    html: str | None = None
    markdown: str | None = None

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        rich = {"text/html": self.html, "text/markdown": self.markdown, "text/plain": self.text}
        return {kind: content for kind, content in rich.items() if content is not None}

    def display(self) -> None:
        """Display in a notebook; print the plain text elsewhere."""
        from IPython.display import display

        display(self)


def show(obj: object) -> None:
    """Display the source of a function, method or class of the library, with a link to its file.

    Parameters
    ----------
    obj
        A function, method or class written in Python.

    Raises
    ------
    DataError
        If there is no Python source to show.
    """
    source_listing(obj).display()


def source_listing(obj: object) -> Rendered:
    """Return what :func:`show` displays."""
    target = inspect.unwrap(obj) if callable(obj) else obj
    if not (inspect.isroutine(target) or inspect.isclass(target)):
        raise DataError(
            "show",
            got=f"a {type(obj).__name__}",
            expected="a function, a method or a class",
            hint="pass the object itself, for example show(hcqt), without calling it",
        )
    name = getattr(target, "__qualname__", repr(target))
    try:
        lines, first = inspect.getsourcelines(target)
    except (OSError, TypeError) as error:
        raise DataError(
            f"show({name})",
            got="an object without Python source",
            expected="a function or class written in Python",
            hint="show the Python function that calls it",
        ) from error
    source = textwrap.dedent("".join(lines)).rstrip()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", source)), default=0))
    markdown = f"{fence}python\n{source}\n{fence}"
    text = source
    module = getattr(target, "__module__", None) or ""
    if module.split(".")[0] == "dl101":
        last = first + len(lines) - 1
        path = module.replace(".", "/") + ".py"
        url = f"{REPOSITORY_URL}/blob/{BRANCH}/{path}#L{first}-L{last}"
        markdown += f"\n\nSource: [{path}, lines {first} to {last}]({url})"
        text += f"\n\nSource: {path}, lines {first} to {last}: {url}"
    return Rendered(text=text, markdown=markdown)


def show_table(rows: Sequence[Sequence[object]], columns: Sequence[str], *, caption: str) -> None:
    """Display a table whose first column names its rows.

    Parameters
    ----------
    rows
        One sequence of cells per row. Integers get thousands separators, floats three decimals,
        ``None`` a dash; format a number as text to write it otherwise.
    columns
        One heading per cell.
    caption
        One sentence that says what the table holds, with units.

    Raises
    ------
    DataError
        If a row has another number of cells than there are columns.
    """
    table(rows, columns, caption=caption).display()


def table(rows: Sequence[Sequence[object]], columns: Sequence[str], *, caption: str) -> Rendered:
    """Return what :func:`show_table` displays."""
    for index, row in enumerate(rows):
        if len(row) != len(columns):
            raise DataError(
                f"row {index} of the table {caption!r}",
                got=f"{len(row)} cells",
                expected=f"{len(columns)} cells ({', '.join(columns)})",
                hint="give every row one cell per column, None where there is nothing",
            )
    cells = [[_cell(value) for value in row] for row in rows]
    right = [
        bool(rows) and all(row[i] is None or _is_number(row[i]) for row in rows)
        for i in range(len(columns))
    ]
    side = ["right" if is_right else "left" for is_right in right]
    head = "".join(
        f'<th scope="col" style="text-align:{side[i]}">{escape(name)}</th>'
        for i, name in enumerate(columns)
    )
    body = ""
    for row in cells:
        body += f'<tr><th scope="row" style="text-align:{side[0]}">{escape(row[0])}</th>'
        body += "".join(
            f'<td style="text-align:{side[i]}">{escape(cell)}</td>'
            for i, cell in enumerate(row[1:], start=1)
        )
        body += "</tr>"
    # "dataframe" is the class that notebook themes already style, in light and dark.
    html = (
        f'{STYLE}<div class="dl101 dl101-wide"><table class="dataframe">'
        f"<caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    grid = [list(columns), *cells]
    widths = [max(len(row[i]) for row in grid) for i in range(len(columns))]
    lines = [
        "  ".join(
            cell.rjust(widths[i]) if right[i] else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ).rstrip()
        for row in grid
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return Rendered(text="\n".join([caption, *lines]), html=html)


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (hasattr(value, "__index__") and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):  # includes np.float64
        return f"{value:.3f}"
    return f"{int(value):,}" if _is_number(value) else str(value)


def shape_table(
    network: nn.Module,
    input_shape: Sequence[int],
    *,
    caption: str = "",
    sample_rate: float | None = None,
    hop_samples: int = 1,
    time_axis: int = -1,
    frequency_axis: int | None = None,
) -> None:
    """Display shapes, parameters, multiply-adds and receptive fields, found by a dry pass.

    Parameters
    ----------
    network
        Any module that takes one tensor.
    input_shape
        Shape of one input, without the batch axis.
    caption
        Replaces the standard caption.
    sample_rate
        In Hz; when given, receptive fields are shown in ms too.
    hop_samples
        Samples from one step of the input's time axis to the next; 1 for a waveform.
    time_axis
        Where time is in ``input_shape``.
    frequency_axis
        Where frequency is; when given, the receptive field along it is shown too, and the table is
        written narrowly: places as 1.2.3 (block, sequential, layer), multiply-adds in millions.

    Raises
    ------
    ShapeError
        If the network does not accept an input of this shape.

    Notes
    -----
    What counts as a multiply-add and how far a receptive field reaches: see ``lab/costs.py``. Where
    the input has one axis only, nothing is said about receptive fields.
    """
    rows = layer_rows(network, input_shape, time_axis=time_axis)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    n_multiply_adds = sum(row.multiply_adds for row in rows)
    step_ms = None if sample_rate is None else 1000 * hop_samples / sample_rate
    standard = (
        f"Shapes without the batch axis, for an input of {_shape(input_shape)}; "
        f"{n_parameters:,} parameters and {n_multiply_adds:,} multiply-adds in all."
    )
    if frequency_axis is not None:
        bins = [r.field for r in layer_rows(network, input_shape, time_axis=frequency_axis)]
        cells, columns = _narrow(rows, bins, input_shape)
        standard += " Work: millions of multiply-adds. Sees: bins × frames of the input, for a cell"
        last = rows[-1].field
        known = step_ms is not None and last is not None
        standard += f"; {last} frames are {_ms(last * step_ms)} ms." if known else "."
        show_table(cells, columns, caption=caption or standard)
        return
    columns = ["place", "layer", "output shape", "parameters", "multiply-adds"]
    cells: list[list[object]] = [["input", None, _shape(input_shape), None, None]]
    cells += [[r.layer, r.type, _shape(r.output_shape), *r[3:5]] for r in rows]
    cells.append(["all", None, None, n_parameters, n_multiply_adds])
    if len(input_shape) > 1:
        unit = "" if sample_rate is None else " (samples)" if hop_samples == 1 else " (frames)"
        columns.append("receptive field" + unit)
        fields = [1, *(row.field for row in rows), None]
        cells = [[*row, n] for row, n in zip(cells, fields, strict=True)]
        if step_ms is not None:
            columns.append("(ms)")
            cells = [[*row, row[-1] and _ms(row[-1] * step_ms)] for row in cells]
        standard += " The receptive field is along time, in steps of the input."
    show_table(cells, columns, caption=caption or standard)


def _narrow(
    rows: Sequence[LayerCost], bins: Sequence[int | None], input_shape: Sequence[int]
) -> tuple[list[list[object]], list[str]]:
    """Return the cells and headings of a table that fits a column of prose, or a phone."""

    def sizes(*values: int | None) -> str:
        return "×".join("?" if value is None else str(value) for value in values)

    def millions(multiply_adds: int) -> str:
        return f"{multiply_adds / 1e6:.1f}" if multiply_adds else "0"

    cells: list[list[object]] = [["input", None, sizes(*input_shape), None, None, sizes(1, 1)]]
    for row, n_bins in zip(rows, bins, strict=True):
        place = re.sub(r"(block|sequential|layer)_", "", row.layer)
        kind, work = row.type.removeprefix("Activation "), millions(row.multiply_adds)
        output, seen = sizes(*row.output_shape), sizes(n_bins, row.field)
        cells.append([place, kind, output, row.parameters, work, seen])
    total = millions(sum(row.multiply_adds for row in rows))
    cells.append(["all", None, None, sum(row.parameters for row in rows), total, None])
    return cells, ["place", "layer", "output", "parameters", "work", "sees"]


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(str(size) for size in shape)


def _ms(duration_ms: float) -> float | int:
    """Round to what is worth reading."""
    return round(duration_ms) if duration_ms >= 10 else round(duration_ms, 3)


def layer_rows(
    network: nn.Module, input_shape: Sequence[int], *, time_axis: int = -1
) -> list[LayerCost]:
    """Return one row per layer, in the order of execution; see :func:`shape_table`."""
    from dl101.lab.costs import layer_costs

    try:
        return layer_costs(network, input_shape, time_axis=time_axis)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ShapeError(
            f"shape table of {type(network).__name__}",
            got=f"an input of {_shape(input_shape)} ({str(error).splitlines()[0]})",
            expected="an input shape, without batch, that the network accepts",
            hint="pass the shape of one item of the dataset",
        ) from error


def figure_with_alt(fig: Figure, alt: str, caption: str) -> None:
    """Display a Matplotlib figure with the text that stands for it when it cannot be seen.

    The figure is closed afterwards, so that the notebook does not draw it a second time.

    Parameters
    ----------
    fig
        The finished figure; it is drawn on white, and dark pages adapt it (:data:`STYLE`).
    alt
        What the picture shows, in one or two sentences: the message, not the drawing.
    caption
        The text under the figure; everyone reads it.

    Raises
    ------
    DataError
        If one of the texts is empty.
    """
    picture(fig, alt, caption).display()
    from matplotlib import pyplot

    pyplot.close(fig)


def picture(fig: Figure, alt: str, caption: str) -> Rendered:
    """Return what :func:`figure_with_alt` displays."""
    for name, text in (("alt", alt), ("caption", caption)):
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f"figure_with_alt: {name}",
                got=repr(text),
                expected="a sentence",
                hint="say what the figure shows",
            )
    data, width = b"", 0
    for level in range(len(PICTURE_QUALITY)):
        data, width = encode_picture(fig, level, crop=True)
        if len(data) <= FIGURE_LIMIT_BYTES:
            break
    html = (
        f'{STYLE}<figure class="dl101">'
        f"{picture_element(data, alt, width, drawing=is_drawing(fig))}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
    return Rendered(text=f"Figure: {caption}\n{alt}", html=html)
