"""Kill this process at a random moment, the same one for the same seed, without waiting for it.

A moment is the number of a call: Python tells of each call of a function, its own or a built-in
one, and the process sends itself SIGKILL at one of them. Nothing is cleaned up, as when a machine
loses its power.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def count_calls(work: Callable[[], object]) -> int:
    """Return how many calls this thread makes during some work."""
    calls = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event.endswith("call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def killed_at(moment: int, work: Callable[[], object]) -> bool:
    """Do some work in a fork that is killed at its ``moment``-th call; return whether it was.

    A fork has only the thread that made it: call this in a process that computes with one thread.
    """
    child = os.fork()
    if child == 0:
        left = moment

        def profile(frame: object, event: str, argument: object) -> None:
            nonlocal left
            left -= event.endswith("call")
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(profile)
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the work failed before it could be killed"
    return os.WIFSIGNALED(status)
