"""Exceptions whose message tells what was got, what was expected and what to try.

Every error that dl101 raises on purpose is a :class:`Dl101Error`. Each kind also inherits from the
built-in exception that a caller would catch (``ValueError`` for bad values, ``OSError`` for files
and network), so generic handlers keep working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MAX_PART = 1200  # characters


class Dl101Error(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    what
        The thing that is wrong, naming its place (file, entry, field, block, layer).
    got
        What was found, as text.
    expected
        What would have been right, as text.
    hint
        What the user can do next, as an imperative without a final full stop.
    """

    def __init__(self, what: str, *, got: object, expected: object, hint: str) -> None:
        self.what, self.got, self.expected, self.hint = what, got, expected, hint
        ending = "" if hint.endswith(("?", ".")) else "."
        what, got, expected, hint = map(_cut, (what, got, expected, hint))
        super().__init__(f"{what}: got {got}; expected {expected}. Try: {hint}{ending}")

    def __reduce__(self) -> tuple:
        """Keep the four parts when an error crosses a process boundary (data-loader workers)."""
        return _rebuild, (type(self), self.what, self.got, self.expected, self.hint)


def _rebuild(kind: type, what: str, got: object, expected: object, hint: str) -> Dl101Error:
    return kind(what, got=got, expected=expected, hint=hint)


def _cut(part: object) -> str:
    """Return a part of a message; what a user gave may be of any length."""
    text = str(part)
    return text if len(text) <= _MAX_PART else f"{text[: _MAX_PART - 150]} ... {text[-100:]}"


def did_you_mean(
    name: object,
    known: Iterable[object],
    *,
    otherwise: str = "use one of the expected names",
) -> str:
    """Return the hint for a name that does not exist: the nearest that does, or ``otherwise``."""
    by_lower = {str(candidate).lower(): str(candidate) for candidate in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[near[0]]!r}?" if near else otherwise


class ConfigError(Dl101Error, ValueError):
    """A configuration file, key or value that cannot be used."""


class DataError(Dl101Error, ValueError):
    """An array, audio file or annotation that is malformed."""


class ShapeError(Dl101Error, ValueError):
    """Tensors or layers whose shapes do not fit together."""


class FetchError(Dl101Error, OSError):
    """A download that failed or whose content is not what was promised."""


class TrainingError(Dl101Error, RuntimeError):
    """A training run that cannot go on."""
