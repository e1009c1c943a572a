"""What is shown of every exercise, whatever it asks: stubs are not done, mistakes have hints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from dl101.lab.checks import grade


def passes(*arguments: Any) -> None:
    pass


def raises(*arguments: Any) -> None:
    raise NotImplementedError


STUBS = (None, ..., NotImplemented, passes, raises, lambda *arguments: ...)


def assert_stubs_are_not_done(exercise_id: str) -> None:
    """A stub is neither right nor wrong."""
    for stub in STUBS:
        verdict = grade(exercise_id, stub)
        assert not verdict.passed
        assert not verdict.done


def assert_each_has_its_own_hint(
    exercise_id: str, wrong: Mapping[str, Any], *, shared: Collection[str] = ()
) -> None:
    """Wrong answers, by name, are rejected; no two, but the ``shared``, get the same message."""
    hints = {}
    for name, answer in wrong.items():
        with np.errstate(all="ignore"):
            verdict = grade(exercise_id, answer)
        assert not verdict.passed, name
        assert verdict.done, name
        hints[name] = verdict.message
    own = {name: hint for name, hint in hints.items() if name not in shared}
    assert len(set(own.values())) == len(own), own
