"""A figure with sliders that works in the book, in a saved notebook and in a live kernel.

Conventions. ``render(**values)`` draws one state. :func:`explore` renders every combination of the
listed values once and puts pictures and sounds into one HTML output with a little script
(``dl101/lab/kit.py``): the sliders then need no kernel, so the saved notebook, the book and a live
kernel show the same thing. Where scripts are stripped, the picture and the sounds of the first
state remain. The pictures and sounds of a figure weigh at most :data:`LIMIT_BYTES`; quality goes
down until they do.

A control may list more values for a live kernel (``Control(..., live=...)``): then JupyterLab,
Colab and VS Code also get ipywidgets that call ``render`` for any of those, and hide the first
form as long as the widgets are there. Kernels that run a notebook without anyone watching
(nbclient, ``make notebooks``, nbval) get the first form only: a front-end names the cell in its
request, they do not. ``DL101_LIVE=0`` or ``1`` decides instead.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import os
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError, did_you_mean
from dl101.lab.kit import KIT_STYLE, SCRIPT, json_for_script, sentence
from dl101.lab.pictures import (
    CSS_PX_PER_INCH,
    PAGE_LEVEL,
    PICTURE_QUALITY,
    data_uri,
    encode_picture,
    is_drawing,
    picture_element,
)
from dl101.lab.player import audio_row, encode_mp3, level_sounds
from dl101.lab.show import Rendered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT_BYTES = 120_000
FINE_BYTES = 36_000  # up to here, a figure may have more pixels than the page shows
# largest size of the sounds, in bytes a second, for each step of PICTURE_QUALITY
SOUND_QUALITY = (3_500, 3_500, 3_500, 3_000, 3_000, 3_000)


@dataclass(frozen=True)
class Control:
    """One slider (numbers) or menu (texts).

    Attributes
    ----------
    values
        What ``render`` gets, in the order of the slider.
    unit
        Written after each value, for example ``"samples"``.
    label
        Text beside the slider; by default the name of the argument.
    start
        The value shown first; by default the first one.
    live
        Further values for a live kernel, usually a finer grid; see the module.
    """

    values: Sequence[Any]
    unit: str = ""
    label: str = ""
    start: Any = None
    live: Sequence[Any] = ()

    def text(self, value: object) -> str:
        """Return a value as it is read out."""
        number = isinstance(value, float | np.floating)
        return f"{f'{value:.4g}' if number else value} {self.unit}".strip()

    @property
    def is_choice(self) -> bool:
        """Whether the values are texts, so that a menu suits better than a slider."""
        return any(isinstance(value, str) for value in self.values)


def explore(
    render: Callable[..., Any],
    *,
    caption: str,
    alt: str,
    match_levels: bool = True,
    limit_bytes: int = LIMIT_BYTES,
    **controls: Control | Sequence[Any],
) -> None:
    """Display a figure whose sliders change picture and sound.

    Parameters
    ----------
    render
        Called with one value per control, by name; returns a Matplotlib figure, or
        ``(figure, sounds, sample_rate)`` with sounds as for ``player``. All states have figures of
        one size and the same labels of sounds. Use ``layout="constrained"``, and fixed axis limits
        where a change of scale would hide the change that matters.
    caption
        The text under the figure.
    alt
        What the picture shows; ``{name}`` stands for the present value of a control.
    match_levels
        Bring all sounds to one level; False keeps their ratios (for a lesson about level).
    limit_bytes
        Largest size of the output, without the style and the script of the lab kit.
    **controls
        Name of the argument to a :class:`Control` or just its values.

    Raises
    ------
    DataError
        If a control has fewer than two values, the states do not fit together, a text is missing,
        or the figure stays too large at the lowest quality.

    Examples
    --------
    >>> def spectrum(window):  # doctest: +SKIP
    ...     fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    ...     ax.plot(...)
    ...     return fig
    >>> explore(  # doctest: +SKIP
    ...     spectrum,
    ...     caption="A longer window separates two close tones.",
    ...     alt="Spectrum of two tones with a window of {window}.",
    ...     window=Control([256, 512, 1024], unit="samples"),
    ... )
    """
    figure = Exploration(render, caption, alt, match_levels, limit_bytes, controls)
    live = any(control.live for control in figure.controls.values()) and has_front_end()
    figure.rendered(live=live).display()
    if live:
        figure.display_widgets()


def has_front_end() -> bool:
    """Return whether someone watches this kernel, so that widgets can answer."""
    if "DL101_LIVE" in os.environ:
        return os.environ["DL101_LIVE"] == "1"
    if "google.colab" in sys.modules:
        return True
    try:
        from IPython import get_ipython

        request = get_ipython().kernel.get_parent("shell")
        return "cellId" in request["metadata"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return False


@dataclass(frozen=True, eq=False)
class State:
    """What ``render`` gave for one combination of values."""

    figure: Figure
    sounds: Mapping[str, ArrayLike]
    sample_rate: int
    encoded: dict[int, bytes] = field(default_factory=dict)

    def picture(self, level: int) -> bytes:
        """Return the figure at one step of quality, encoded once."""
        if level not in self.encoded:
            self.encoded[level], _ = encode_picture(self.figure, level)
        return self.encoded[level]

    @property
    def width_px(self) -> int:
        """Width of the picture in CSS pixels."""
        return round(self.figure.get_figwidth() * CSS_PX_PER_INCH)


class Exploration:
    """A figure with controls; :func:`explore` displays it."""

    def __init__(
        self,
        render: Callable[..., Any],
        caption: str,
        alt: str,
        match_levels: bool,
        limit_bytes: int,
        controls: Mapping[str, Control | Sequence[Any]],
    ) -> None:
        self.render, self.match_levels, self.limit_bytes = render, match_levels, limit_bytes
        self.caption = sentence("explore: caption", caption, "say what to look for")
        self.alt = sentence("explore: alt", alt, "say what the figure shows")
        self.controls = {name: _control(name, given) for name, given in controls.items()}
        if not self.controls:
            raise DataError(
                "explore",
                got="no control",
                expected="at least one argument of render with its values",
                hint="write for example window=Control([256, 512], unit='samples')",
            )
        _require_arguments(render, self.controls)
        for _, name, *_ in string.Formatter().parse(alt):
            if name is not None and name not in self.controls:
                raise DataError(
                    "explore: alt",
                    got=f"{{{name}}}",
                    expected="one of " + ", ".join(f"{{{known}}}" for known in self.controls),
                    hint=did_you_mean(name, self.controls),
                )

    def state(self, **values: object) -> State:
        """Return one state, rendered now, checked and taken out of pyplot."""
        from matplotlib.figure import Figure

        result = self.render(**values)
        figure, sounds, sample_rate = result if isinstance(result, tuple) else (result, {}, 0)
        if not isinstance(figure, Figure) or not isinstance(sounds, Mapping):
            raise DataError(
                "explore: render",
                got=f"{type(figure).__name__} and {type(sounds).__name__}",
                expected="a Matplotlib figure, or (figure, {label: audio}, sample_rate)",
                hint="return fig at the end of render",
            )
        from matplotlib import pyplot

        pyplot.close(figure)  # it can still be saved, and the notebook does not draw it again
        return State(figure, sounds, sample_rate)

    def rendered(self, *, live: bool = False) -> Rendered:
        """Return the form that needs no kernel."""
        names = list(self.controls)
        combinations = list(itertools.product(*(c.values for c in self.controls.values())))
        states = [self.state(**dict(zip(names, each, strict=True))) for each in combinations]
        _require_alike(states, combinations)
        first = combinations.index(tuple(_start(c) for c in self.controls.values()))
        levelled = self._levelled(states)
        shown = range(self._first_level(states[first], len(states)), len(PICTURE_QUALITY))
        size = 0
        for level in shown:
            html = self._html(states, levelled, first, level, live=live)
            size = len(html.encode()) - len(KIT_STYLE) - len(SCRIPT)
            if size <= self._limit(level):
                return Rendered(text=self._text(states[first]), html=html)
        raise DataError(
            "explore",
            got=f"{len(states)} states that weigh {size / 1000:.0f} kB at the lowest quality",
            expected=f"at most {self.limit_bytes / 1000:.0f} kB a figure",
            hint="list fewer values, draw a smaller or simpler figure, or shorten the sounds",
        )

    def _limit(self, level: int) -> int:
        """Return how many bytes the figure may have at one step of quality."""
        return min(FINE_BYTES, self.limit_bytes) if level < PAGE_LEVEL else self.limit_bytes

    def _first_level(self, state: State, n_states: int) -> int:
        """Return the finest quality that could do, judging by the picture of one state."""
        for level in range(len(PICTURE_QUALITY)):
            # states often share pictures or are simpler than the first: allow for half
            if len(state.picture(level)) * 2 / 3 * n_states < self._limit(level):
                return level
        return len(PICTURE_QUALITY) - 1

    def _levelled(self, states: Sequence[State]) -> list[dict[str, NDArray[np.float32]]]:
        """Return the sounds of every state, all at one level."""
        flat = {
            f"{label} (state {index})": audio
            for index, state in enumerate(states)
            for label, audio in state.sounds.items()
        }
        if not flat:
            return [{} for _ in states]
        rate = states[0].sample_rate
        levelled = iter(level_sounds(flat, rate, match=self.match_levels).values())
        return [{label: next(levelled) for label in state.sounds} for state in states]

    def _html(
        self,
        states: Sequence[State],
        levelled: Sequence[Mapping[str, NDArray[np.float32]]],
        first: int,
        level: int,
        *,
        live: bool,
    ) -> str:
        rate = states[0].sample_rate
        # the first state comes first, so that it has index 0: its data stands in the elements
        order = [first, *(i for i in range(len(states)) if i != first)]
        pictures: dict[bytes, int] = {}
        picture_of = {
            i: pictures.setdefault(states[i].picture(level), len(pictures)) for i in order
        }
        sounds: dict[bytes, int] = {}
        encoded: dict[bytes, bytes] = {}
        sound_of: dict[str, dict[int, int]] = {label: {} for label in levelled[first]}
        for i in order:
            for label, audio in levelled[i].items():
                key = hashlib.sha256(audio.tobytes()).digest()
                if key not in encoded:
                    encoded[key] = encode_mp3(audio, rate, bytes_per_s=SOUND_QUALITY[level])
                sound_of[label][i] = sounds.setdefault(encoded[key], len(sounds))
        n = range(len(states))
        longest = max((audio.size for each in levelled for audio in each.values()), default=0)
        rows = ""
        for label, of in sound_of.items():
            rows += audio_row(label, levelled[first][label], rate, list(sounds)[of[first]])
        stands = {of[first] for of in sound_of.values()}
        data = {
            "controls": [
                {
                    "name": name,
                    "label": control.label or name.replace("_", " "),
                    "texts": [control.text(value) for value in control.values],
                    "start": list(control.values).index(_start(control)),
                    "choice": control.is_choice,
                }
                for name, control in self.controls.items()
            ],
            "alt": self.alt,
            "picture": [picture_of[i] for i in n],
            "pictures": [data_uri("image/webp", p) if k else "" for p, k in pictures.items()],
            "sounds": [[of[i] for i in n] for of in sound_of.values()],
            "audio": ["" if k in stands else data_uri("audio/mpeg", s) for s, k in sounds.items()],
            "duration_s": longest / rate if longest else 0,
        }
        body = json_for_script(data)
        image = picture_element(
            next(iter(pictures)),
            self._start_alt,
            states[first].width_px,
            drawing=all(is_drawing(state.figure) for state in states),
        )
        attribute = f' data-live="{self._token}"' if live else ""
        return (
            f'{KIT_STYLE}<figure class="dl101 dl101-kit dl101-explore" role="group" '
            f'aria-label="{escape(self.caption)}" data-lm-suppress-shortcuts="true"{attribute}>'
            f"{image}{rows}<figcaption>{escape(self.caption)}</figcaption>"
            f'<script type="application/json" class="dl101-states">{body}</script></figure>'
            f"{SCRIPT}"
        )

    @property
    def _start_alt(self) -> str:
        alt = self.alt
        for name, control in self.controls.items():
            alt = alt.replace(f"{{{name}}}", control.text(_start(control)))
        return alt

    @property
    def _token(self) -> str:
        """Name by which the form without kernel finds the widgets that replace it."""
        about = "\n".join((self.caption, self.alt, *self.controls))
        return "dl101-live-" + hashlib.sha256(about.encode()).hexdigest()[:10]

    def _text(self, first: State) -> str:
        lines = [f"Figure: {self.caption}", self._start_alt]
        for name, control in self.controls.items():
            values = ", ".join(str(value) for value in control.values)
            lines.append(f"{control.label or name}: {values} {control.unit}".rstrip())
        if first.sounds:
            lines.append("Sounds: " + ", ".join(first.sounds))
        return "\n".join(lines)

    def display_widgets(self) -> None:
        """Display sliders that call ``render``, for a kernel with a front-end."""
        import ipywidgets
        from IPython.display import display

        choices = {
            name: ipywidgets.SelectionSlider(
                options=[(control.text(value), value) for value in _every_value(control)],
                value=_start(control),
                description=control.label or name.replace("_", " "),
                continuous_update=False,
                style={"description_width": "initial"},
                layout=ipywidgets.Layout(width="min(100%, 42em)"),
            )
            for name, control in self.controls.items()
        }
        picture = ipywidgets.HTML()

        def draw(*_: object) -> None:
            values = {name: choice.value for name, choice in choices.items()}
            state = self.state(**values)
            alt = self.alt
            for name, control in self.controls.items():
                alt = alt.replace(f"{{{name}}}", control.text(values[name]))
            rows = ""
            if state.sounds:
                levelled = level_sounds(state.sounds, state.sample_rate, match=self.match_levels)
                for label, audio in levelled.items():
                    mp3 = encode_mp3(audio, state.sample_rate)
                    rows += audio_row(label, audio, state.sample_rate, mp3)
            image = picture_element(
                state.picture(0), alt, state.width_px, drawing=is_drawing(state.figure)
            )
            picture.value = (
                f'{KIT_STYLE}<figure class="dl101 dl101-kit" role="group" '
                f'aria-label="{escape(self.caption)}">{image}{rows}'
                f"<figcaption>{escape(self.caption)}</figcaption></figure>"
            )

        for choice in choices.values():
            choice.observe(draw, "value")
        draw()
        box = ipywidgets.VBox([*choices.values(), picture])
        box.add_class(self._token)
        box.add_class("dl101-live")
        display(box)


def _every_value(control: Control) -> list[Any]:
    """Return listed and live values, sorted where they are numbers."""
    every = list(dict.fromkeys([*control.values, *control.live]))
    return every if control.is_choice else sorted(every)


def _start(control: Control) -> Any:
    return control.values[0] if control.start is None else control.start


def _control(name: str, given: Control | Sequence[Any]) -> Control:
    control = given if isinstance(given, Control) else Control(given)
    values = list(control.values)
    if len(values) < 2 or len(set(values)) < len(values):
        raise DataError(
            f"explore: control {name}",
            got=f"the values {values}",
            expected="at least two different values",
            hint="list what the slider runs through",
        )
    if control.start is not None and control.start not in values:
        raise DataError(
            f"explore: control {name}",
            got=f"start={control.start!r}",
            expected="one of " + ", ".join(map(repr, values)),
            hint="start at a listed value",
        )
    return replace(control, values=values)


def _require_arguments(render: Callable[..., Any], controls: Mapping[str, Control]) -> None:
    try:
        inspect.signature(render).bind(**dict.fromkeys(controls))
    except TypeError as error:
        raise DataError(
            "explore: controls",
            got=", ".join(controls),
            expected=f"the parameters of render{inspect.signature(render)}",
            hint="give every parameter of render one control of the same name",
        ) from error


def _require_alike(states: Sequence[State], combinations: Sequence[tuple]) -> None:
    """Raise unless all states have one size of figure, and the same sounds at one rate."""

    def look(state: State) -> tuple:
        size = " by ".join(f"{inch:g}" for inch in state.figure.get_size_inches())
        return f"a figure of {size} inches", tuple(state.sounds), state.sample_rate

    for state, values in zip(states, combinations, strict=True):
        if look(state) != look(states[0]):
            raise DataError(
                f"explore: render{values}",
                got=str(look(state)),
                expected=f"{look(states[0])}, as for {combinations[0]}",
                hint="return figures of one size, with the same labels of sounds, for every state",
            )
