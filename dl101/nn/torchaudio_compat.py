"""torchaudio that imports beside any torch: ``from dl101.nn.torchaudio_compat import torchaudio``.

torchaudio's wheels carry a compiled extension that links CUDA, and importing torchaudio fails
where it cannot be loaded, for instance beside a CPU-only torch. All that dl101 uses (transforms,
functional, models) is plain Python. So the real import is tried first and, where it works, nothing
is touched; where the extension fails to load, an empty stand-in for it is put in place, with which
torchaudio takes its own fallbacks. Then recursive filters (``lfilter``, biquads) are slow, forced
alignment is missing, and files are read with soundfile in any case.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, NoReturn

_EXTENSION = "torchaudio._extension"


def _import_torchaudio() -> types.ModuleType:
    """Import torchaudio, with the stand-in if and only if its extension cannot be loaded."""
    already = set(sys.modules)
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError:
        raise  # not installed: no stand-in helps
    except (OSError, ImportError, RuntimeError) as error:
        # A library that is missing, that did not load, or that was built for another CUDA. What
        # the failed import left behind would be half-initialised: forget it.
        for name in set(sys.modules) - already:
            if name == "torchaudio" or name.startswith("torchaudio."):
                del sys.modules[name]
        sys.modules[_EXTENSION] = _stand_in(error)
        try:
            return importlib.import_module("torchaudio")
        except BaseException:
            sys.modules.pop(_EXTENSION, None)
            raise


def _stand_in(error: Exception) -> types.ModuleType:
    """Return a module that says that torchaudio was built without its extension."""

    def fail_if_no_align(function: object) -> Any:
        def fail(*args: object, **kwargs: object) -> NoReturn:
            raise RuntimeError(f"torchaudio's extension is not loaded: {error}")

        return fail

    module = types.ModuleType(_EXTENSION, "Stand-in of dl101: the extension could not be loaded.")
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module.fail_if_no_align = fail_if_no_align
    return module


torchaudio = _import_torchaudio()
