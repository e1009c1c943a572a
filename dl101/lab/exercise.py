"""What an exercise is, and how an answer to it is judged.

Conventions. An exercise is a declaration: the right code, the cases it is tried on, and each known
mistake *as code* under the hint that it gets. Nothing here knows a chapter; the declarations stand
in ``dl101/chapters/<chapter>/exercises.py``, and ``dl101/lab/checks.py`` finds and displays them.

- :class:`Function` compares the student's function with the right one, case by case. A named hint
  is given only to an answer that behaves like that mistake in every case, the nearest mistake
  first. Then come symptoms, which are broader than one mistake and must show in every case that is
  wrong; then what is wrong with the form; and at last the smallest case in which the answer
  differs. Special cases (silence, an empty list) are tried once the ordinary ones are right.
- :class:`Value` does the same with an answer that is no function.
- :class:`Behaviour` is for answers without a single right result, such as random ones: it looks for
  faults in what was observed.

Whatever has a hint carries an answer that gets it, so that one test proves all of them. Results may
be arrays, lists, tensors or numbers of any type.
"""

from __future__ import annotations

import copy
import inspect
import linecache
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME_ANSWER = "Your function gives the same result for different input: does it use its arguments?"
Code = Callable[..., Any]
Crashes = Mapping[type[BaseException], tuple[str, Code]]


class NotAccepted(Exception):
    """Raised while an answer is judged: it is not right, and this is the hint."""

    def __init__(self, hint: str, *, done: bool = True) -> None:
        super().__init__(hint)
        self.done = done


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What every exercise states.

    Attributes
    ----------
    title
        In a few words.
    minutes
        How long a student who has read the chapter needs.
    rubric
        What a right answer shows, and the points for it. The check gives all or nothing; these
        lines are for judging by hand an answer that it does not accept.
    praise
        What a right answer is told.
    crash
        By exception: what usually causes it here, and an answer that it happens to.
    """

    title: str
    minutes: int
    rubric: Mapping[str, int]
    praise: str
    crash: Crashes = field(default_factory=dict)

    @property
    def points(self) -> int:
        """Return the points of an accepted answer."""
        return sum(self.rubric.values())

    def grade(self, answer: object) -> str:
        """Return the praise of a right answer.

        Raises
        ------
        NotAccepted
            If it is not right.
        """
        raise NotImplementedError

    def examples(self) -> Iterator[tuple[str, Any]]:
        """Yield every hint with an answer that gets it; ``{`` begins what differs each time."""
        yield from self.crash.values()

    def _ask(self, answer: object, *arguments: object, **options: Any) -> Any:
        hints = {kind: hint for kind, (hint, _) in self.crash.items()}
        return ask(answer, *arguments, hints=hints, **options)


@dataclass(frozen=True)
class _Trial:
    """One case, what the student's function gave and what is right."""

    case: tuple
    got: Any
    right: Any


@dataclass(frozen=True, kw_only=True)
class Function(Exercise):
    """An exercise whose answer is a function with one right result.

    Attributes
    ----------
    right
        The function that is asked for; the type of its result is the type that is asked.
    cases
        ``cases()`` returns the arguments of each trial.
    returns
        What is asked, to follow "Return": ``"a matrix (12, frames)"``.
    differs
        What is said when no hint fits. Either a text in which ``{0}``, ``{1}``, ... stand for the
        arguments of the smallest case, ``{got}`` and ``{right}`` for the first value that
        differs and ``{at}`` for its place; or a function of ``(got, right, *arguments)`` that
        returns a text.
    mistakes
        By hint: the code that makes this mistake, or several that make the same. It returns None
        where it comes to no result; there an answer may be anything.
    symptoms
        By hint: a predicate of ``(got, right, *arguments)``, and an answer that shows it.
    edges
        By hint: the arguments of a special case, and an answer that fails there. The hint is for
        what none of the mistakes explains, and may have fields like ``differs``.
    rtol, atol
        How far from the right value, relative and absolute, a value may be.
    gap
        Replaces these two: ``gap(got, right)`` is 0 for equal results and 1 at the limit.
    forgive
        ``forgive(got, right, *arguments)`` returns the result to compare: the right values where
        others are as good.
    optional
        How many of the last arguments the student's function may do without.
    names
        Names of the parts of the result, where a dictionary is as good as a tuple.
    apart
        Whether the parts are results of their own: a mistake then only has to explain the first
        part that is wrong.
    """

    right: Code
    cases: Callable[[], Sequence[tuple]]
    returns: str
    differs: str | Code
    mistakes: Mapping[str, Code | tuple[Code, ...]] = field(default_factory=dict)
    symptoms: Mapping[str, tuple[Code, Code]] = field(default_factory=dict)
    edges: Mapping[str, tuple[tuple, Code]] = field(default_factory=dict)
    rtol: float = 1e-6
    atol: float = 1e-9
    gap: Callable[[Any, Any], float] | None = None
    forgive: Code | None = None
    optional: int = 0
    names: tuple[str, ...] = ()
    apart: bool = False

    def examples(self) -> Iterator[tuple[str, Any]]:
        """Yield every hint with an answer that gets it."""
        yield from super().examples()
        for hint, codes in self.mistakes.items():
            yield from ((hint, code) for code in _several(codes))
        for table in (self.symptoms, self.edges):
            yield from ((hint, code) for hint, (_, code) in table.items())

    def grade(self, answer: object) -> str:
        """Return the praise of a right answer; see :meth:`Exercise.grade`."""
        trials: list[_Trial] = []
        for case in self.cases():
            trials.append(self._try(answer, case, is_first=not trials))
        self._judge(trials)
        for hint, (case, _) in self.edges.items():
            trials.insert(0, self._try(answer, case))
            self._judge(trials, otherwise=hint)
        return self.praise

    def _try(self, answer: object, case: tuple, *, is_first: bool = False) -> _Trial:
        right = self._run(self.right, case)
        try:
            result = self._ask(answer, *case, optional=self.optional)
        except NotAccepted as mishap:
            if mishap.done or is_first:
                raise
            return _Trial(case, None, right)  # no stub: it returned something before
        if self.names and isinstance(result, Mapping):
            lower = {str(name).lower(): value for name, value in result.items()}
            if missing := [name for name in self.names if name not in lower]:
                raise NotAccepted(f"The dictionary lacks {', '.join(missing)}.")
            result = [lower[name] for name in self.names]
        try:
            return _Trial(case, read(result, right), right)
        except (TypeError, ValueError):
            raise NotAccepted(
                f"Return {self.returns}; your function returns {_described(result)}."
            ) from None

    def _run(self, code: Code, case: tuple, right: Any = None) -> Any:
        """Return the result of code of ours, read like a student's."""
        with np.errstate(all="ignore"):
            result = code(*copy.deepcopy(case))
        return read(result, result if right is None else right)

    def _miss(self, trial: _Trial, made: Any = ..., part: int | None = None) -> float:
        """Return how far an answer is from the right one, or from what a mistake makes."""
        got, wanted = trial.got, trial.right if made is ... else made
        if shapes(got) != shapes(wanted):
            return np.inf
        if self.forgive is not None and shapes(got) == shapes(trial.right):
            got = self.forgive(got, trial.right, *trial.case)
            wanted = self.forgive(wanted, trial.right, *trial.case)
        if part is not None:
            got, wanted = got[part], wanted[part]
        gap = self.gap(got, wanted) if self.gap else self._distance(got, wanted)
        return np.inf if np.isnan(gap) else gap

    def _distance(self, got: Any, right: Any) -> float:
        return distance(got, right, rtol=self.rtol, atol=self.atol)

    def _judge(self, trials: Sequence[_Trial], otherwise: str | None = None) -> None:
        """Raise the most telling hint, unless all trials are right."""
        wrong = [trial for trial in trials if self._miss(trial) > 1]
        if not wrong:
            return
        if hint := self._mistake(trials):
            raise NotAccepted(hint)
        for hint, (shows, _) in self.symptoms.items():
            if all(_shown(shows, trial) for trial in wrong):
                raise NotAccepted(hint)
        smallest = min(wrong, key=lambda trial: _size(trial.case))
        hint = self._misshapen(smallest)
        if otherwise and shapes(smallest.got) == shapes(smallest.right):
            hint = self._difference(smallest, otherwise) if "{" in otherwise else otherwise
        if hint:
            raise NotAccepted(hint)
        if len(trials) > 1 and _constant(trials):
            raise NotAccepted(SAME_ANSWER)
        raise NotAccepted(self._difference(smallest, self.differs))

    def _mistake(self, trials: Sequence[_Trial]) -> str | None:
        """Return the hint of the mistake that is nearest to the answer, if it explains it all."""
        part = None
        if self.apart:
            parts = range(len(trials[0].right))
            wrong = (i for i in parts if any(self._miss(t, part=i) > 1 for t in trials))
            part = next(wrong, None)
        best, limit = None, np.nextafter(1.0, 2.0)
        for hint, codes in self.mistakes.items():
            for code in _several(codes):
                gap = explained = 0.0
                for trial in trials:
                    made = self._run(code, trial.case, trial.right)
                    if made is None and trial.got is not None:
                        continue  # whoever makes this mistake has no answer here
                    gap = max(gap, self._miss(trial, made, part))
                    if gap >= limit:
                        break
                    explained = max(explained, self._miss(trial, part=part))
                else:
                    if explained > max(gap, 1.0):  # nearer to the mistake than to what is right
                        best, limit = hint, gap
        return best

    def _misshapen(self, trial: _Trial) -> str | None:
        """Return what is wrong with the form of a result, if something is."""
        got, right = shapes(trial.got), shapes(trial.right)
        if trial.got is None:
            return (
                "In a hidden case the function returns nothing: does every way through it end "
                "with a return?"
            )
        if got != right:
            asked = f"asked is {self.returns}, here {right}"
            if isinstance(right, tuple) and _turned(got, right):
                return f"The axes are in another order: the result is transposed, {got}; {asked}."
            return f"The result has shape {got}; {asked}."
        leaves = [
            each for each in _leaves(trial.got) if isinstance(each, np.ndarray | float | complex)
        ]
        if any(np.iscomplexobj(each) for each in leaves):
            return "The result is complex; real numbers are asked."
        if not all(np.isfinite(each).all() for each in leaves):
            return (
                "Some values are not finite numbers (NaN or infinite): is something divided by "
                "zero?"
            )
        return None

    def _difference(self, trial: _Trial, differs: str | Code) -> str:
        if callable(differs):
            return differs(trial.got, trial.right, *trial.case)
        at, got, right = self._first(trial.got, trial.right)
        return differs.format(*trial.case, at=at, got=got, right=right)

    def _first(self, got: Any, right: Any, at: tuple = ()) -> tuple[tuple, Any, Any]:
        """Return the place of the first value that differs, and the two values."""
        if isinstance(right, tuple | list):
            places = range(len(right))
            index = next((i for i in places if self._distance(got[i], right[i]) > 1), 0)
            return self._first(got[index], right[index], (*at, index))
        if isinstance(right, np.ndarray):
            apart = ~(np.abs(got - right) <= self.atol + self.rtol * np.abs(right))
            index = np.unravel_index(int(apart.argmax()), right.shape)
            return (*at, *map(int, index)), got[index], right[index]
        return at, got, right


@dataclass(frozen=True, kw_only=True)
class Value(Function):
    """An exercise whose answer is a value or a choice; ``mistakes`` holds values by their hints."""

    right: Any
    cases: Callable[[], Sequence[tuple]] = field(default_factory=lambda: lambda: [()], init=False)

    def _try(self, answer: object, case: tuple, *, is_first: bool = False) -> _Trial:
        right = self._run(self.right, case)
        try:
            return _Trial((), read(answer, right), right)
        except (TypeError, ValueError):
            raise NotAccepted(f"Give {self.returns}; yours is {_described(answer)}.") from None

    def _run(self, code: Any, case: tuple, right: Any = None) -> Any:
        return read(code, code if right is None else right)


@dataclass(frozen=True, kw_only=True)
class Behaviour(Exercise):
    """An exercise whose answer is judged by what it does over several calls.

    Attributes
    ----------
    observe
        ``observe(call, answer)`` returns what was seen. ``call`` asks the student's function, with
        the very arguments, so that it can be seen whether it changes them; ``answer`` is that
        function itself.
    faults
        By hint, in the order in which they are looked for: a predicate of what was seen, and an
        answer with this fault. Where the predicate returns a mapping, its values are put into the
        hint.
    """

    observe: Callable[[Code, Any], Any]
    faults: Mapping[str, tuple[Callable[[Any], Any], Code]]

    def examples(self) -> Iterator[tuple[str, Any]]:
        """Yield every hint with an answer that gets it."""
        yield from super().examples()
        yield from ((hint, code) for hint, (_, code) in self.faults.items())

    def grade(self, answer: object) -> str:
        """Return the praise of a right answer; see :meth:`Exercise.grade`."""
        seen = self.observe(partial(self._ask, answer, copies=False), answer)
        for hint, (shows, _) in self.faults.items():
            if found := shows(seen):
                raise NotAccepted(hint.format(**found) if isinstance(found, Mapping) else hint)
        return self.praise


# ---- results ------------------------------------------------------------------------------------


def read(result: Any, like: Any) -> Any:
    """Return a result in the form of a right one: float64 arrays, floats, tuples and lists.

    Shapes stay what they are; a number may come as an array of one.

    Raises
    ------
    TypeError, ValueError
        If it cannot be read as what is asked.
    """
    if result is None:
        return None
    if isinstance(like, tuple):
        parts = list(_plain(result))
        if len(parts) != len(like):
            raise ValueError(f"{len(parts)} parts")
        return tuple(map(read, parts, like))
    if isinstance(like, list):
        return [read(part, like[0]) if like else part for part in result]
    if like is None or isinstance(like, str):
        value = _plain(result)
        return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    values = _numbers(result)
    if isinstance(like, np.ndarray):
        return values
    if values.size != 1:
        raise ValueError(f"{values.size} values")
    return values.item()


def _numbers(result: Any) -> NDArray:
    values = np.asarray(_plain(result))
    if values.dtype.kind not in "biufc":
        raise TypeError(f"values of type {values.dtype}")
    values = np.real_if_close(values)
    return values if values.dtype.kind == "c" else values.astype(np.float64)


def _plain(result: Any) -> Any:
    """Return a result whose tensors, also those that require a gradient, are arrays."""
    if isinstance(result, list | tuple):
        return [_plain(part) for part in result]
    if hasattr(result, "detach"):
        return np.asarray(result.detach().tolist())  # of any type, on any device
    return result


def shapes(result: Any) -> Any:
    """Return the shapes of the arrays in a result; of a number None."""
    if isinstance(result, tuple | list):
        return [shapes(part) for part in result]
    return result.shape if isinstance(result, np.ndarray) else None


def distance(got: Any, right: Any, *, rtol: float = 0.0, atol: float = 1.0) -> float:
    """Return the largest difference of two results of one form, in units of the tolerance."""
    if isinstance(right, tuple | list):
        parts = zip(got, right, strict=True)
        return max((distance(a, b, rtol=rtol, atol=atol) for a, b in parts), default=0.0)
    if got is None or right is None or isinstance(got, str) or isinstance(right, str):
        return 0.0 if type(got) is type(right) and got == right else np.inf
    got, right = np.asarray(got), np.asarray(right)
    try:
        with np.errstate(all="ignore"):
            apart = np.abs(got - right) / (atol + rtol * np.abs(right))
    except TypeError:  # objects that are no numbers
        return np.inf
    apart = np.where((got == right) | (np.isnan(got) & np.isnan(right)), 0.0, apart)
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _several(codes: Code | tuple[Code, ...]) -> tuple[Code, ...]:
    return codes if isinstance(codes, tuple) else (codes,)


def _described(result: Any) -> str:
    if isinstance(result, tuple | list):
        return f"a {type(result).__name__} of {len(result)}"
    return f"a {type(result).__name__}"


def _leaves(result: Any) -> Iterator[Any]:
    if isinstance(result, tuple | list):
        for part in result:
            yield from _leaves(part)
    else:
        yield result


def _size(case: Any) -> int:
    if isinstance(case, tuple | list):
        return sum(map(_size, case))
    return int(np.size(case))


def _turned(got: Any, right: Any) -> bool:
    return isinstance(got, tuple) and len(right) > 1 and sorted(got) == sorted(right)


def _shown(shows: Code, trial: _Trial) -> bool:
    """Return whether a symptom shows; one that cannot be looked for in a result does not."""
    try:
        return bool(shows(trial.got, trial.right, *trial.case))
    except (TypeError, ValueError, IndexError):
        if shapes(trial.got) == shapes(trial.right):
            raise
        return False


def _constant(trials: Sequence[_Trial]) -> bool:
    """Return whether all results are the same, as far as their shapes overlap."""
    if any(shapes(trial.got) != shapes(trial.right) for trial in trials):
        return False
    first, *others = [list(_leaves(trial.got)) for trial in trials]
    return all(_overlap(a, b) for other in others for a, b in zip(first, other, strict=False))


def _overlap(a: Any, b: Any) -> bool:
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return type(a) is type(b) and a == b
    if a.ndim != b.ndim:
        return False
    common = tuple(slice(min(sizes)) for sizes in zip(a.shape, b.shape, strict=True))
    return np.array_equal(a[common], b[common])


# ---- asking -------------------------------------------------------------------------------------


def ask(
    function: object,
    *arguments: object,
    hints: Mapping[type[BaseException], str] | None = None,
    optional: int = 0,
    copies: bool = True,
) -> Any:
    """Return what a student's function answers; turn every mishap into a hint.

    Parameters
    ----------
    function
        The answer; not being a function is a mishap too.
    *arguments
        What it is called with.
    hints
        Explanations of exceptions that are typical of this exercise.
    optional
        How many of the last arguments are left away if the function has no place for them.
    copies
        Pass deep copies, so that a function that changes its arguments harms only itself.

    Raises
    ------
    NotAccepted
        If there is nothing to call, the arguments do not fit, or the function raises or returns
        nothing.
    """
    if not callable(function):
        raise NotAccepted(
            f"The check got a {type(function).__name__}, but needs the function itself: pass its "
            "name without parentheses, so that it can be tried on other cases."
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        needed = len(arguments) - optional
        while True:
            try:
                signature.bind(*arguments)
                break
            except TypeError:
                if len(arguments) > needed:
                    arguments = arguments[:-1]
                    continue
                raise NotAccepted(
                    f"Your function takes {signature}, but is called with {needed} "
                    "arguments: keep the parameters of the stub."
                ) from None
    arguments = copy.deepcopy(arguments) if copies else arguments
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = function(*arguments)
    except NotImplementedError:
        result = NotImplemented
    except (Exception, SystemExit) as error:
        raise NotAccepted(_describe(error, function, hints or {})) from None
    if result is None:
        raise NotAccepted(
            "The function returns nothing yet. If it is written, see that it ends with a return.",
            done=False,
        )
    if result is ... or result is NotImplemented:
        raise NotAccepted("Replace the body of the stub by your own code.", done=False)
    return result


def _describe(error: BaseException, function: object, hints: Mapping[type, str]) -> str:
    """Return what went wrong, where in the student's function, and what usually causes it."""
    text = f"Your function stopped with {type(error).__name__}"
    text += f" ({error})" if str(error) else ""
    code = getattr(function, "__code__", None)
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if code is not None and frame.filename == code.co_filename
    ]
    if places and code is not None:
        line = linecache.getline(places[-1].filename, places[-1].lineno or 0).strip()
        number = (places[-1].lineno or 0) - code.co_firstlineno + 1
        if number > 0:
            text += f" in its line {number}" + (f", {line!r}" if line else "")
    for kind, hint in hints.items():
        if isinstance(error, kind):
            return f"{text}. {hint}"
    return f"{text}. Try it on a small example of your own in a cell of its own."
