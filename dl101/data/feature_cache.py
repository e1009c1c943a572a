"""Features computed once: a cache on disk, addressed by content.

An entry's name is a digest of the audio's samples, the function, its parameters, and the code
(that of the function's module and of all it imports from dl101 or from its own package) and library
versions that computed it, so nothing ever has to be invalidated: change any of them and
another entry is meant. An entry is one ``.npy`` file holding four arrays one after the other
(values, times, frequencies, rate and hop); ``numpy.load`` reads the first. Files appear whole or
not at all, hold no pickle, and one that cannot be read is computed again. The cache lives in
``features`` inside :func:`dl101.data.cache.cache_dir`; deleting it is always safe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.data import source_code
from dl101.data.cache import cache_dir, fingerprint, replacing
from dl101.errors import ConfigError
from dl101.signal.feature import Feature


def cached(
    compute: Callable[..., Feature], audio: ArrayLike, *args: object, **kwargs: object
) -> Feature:
    """Return ``compute(audio, *args, **kwargs)``, from disk if it was computed before.

    The values are a read-only memory map of the cache's file: a slice reads what it needs.
    ``cached(hcqt, audio, config)`` and ``cached(log_mel, audio, 22050, n_bands=64)`` are typical.

    Parameters
    ----------
    compute
        A function defined at the top level of a module that takes audio first and returns a
        :class:`~dl101.signal.feature.Feature`.
    audio
        Samples, any shape that ``compute`` accepts.
    *args, **kwargs
        Parameters: numbers, strings, sequences, mappings and dataclasses of these.

    Raises
    ------
    ConfigError
        If ``compute`` or a parameter has no lasting description to make a key of.
    """
    path = entry_path(compute, audio, *args, **kwargs)
    feature = _load(path)
    if feature is None:
        _save(path, compute(audio, *args, **kwargs))
        feature = _load(path)
        assert feature is not None  # it has just been written
    return feature


def entry_path(
    compute: Callable[..., Feature], audio: ArrayLike, *args: object, **kwargs: object
) -> Path:
    """Return where :func:`cached` keeps the result of this very call, whether it exists or not."""
    code = _code_digest(getattr(compute, "__module__", None) or "")
    if "<" in getattr(compute, "__qualname__", "<") or code is None:
        raise ConfigError(
            "cached function",
            got=repr(compute),
            expected="a function defined at the top level of a module that is a file",
            hint="give the lambda, inner function or notebook's function a name in a .py file",
        )
    arguments = inspect.signature(compute).bind(audio, *args, **kwargs)
    arguments.apply_defaults()  # so that a default spelt out is the same entry
    name, *_ = arguments.arguments
    del arguments.arguments[name]
    samples = np.ascontiguousarray(audio)
    digest = hashlib.blake2b(samples.data.cast("B") if samples.size else b"", digest_size=20)
    key = fingerprint(
        {
            "audio": [digest.hexdigest(), samples.dtype.str, list(samples.shape)],
            "function": f"{compute.__module__}.{compute.__qualname__}",
            "parameters": _describe(dict(arguments.arguments), "parameter"),
            "code": code,
            "libraries": _library_versions(),
        }
    )
    return cache_dir("features", key[:2]) / f"{key}.npy"


def _describe(value: Any, where: str) -> object:
    """Return a JSON description of a parameter in which different values differ."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"type": type(value).__qualname__, **_describe(fields, where)}
    if isinstance(value, dict):
        return {str(k): _describe(v, f"{where} {k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_describe(v, where) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        # 1 and 1.0 are one parameter; floats are described exactly.
        return float(value).hex() if type(value) in (int, float) else value
    raise ConfigError(
        f"cached function, {where}",
        got=f"a {type(value).__name__}",
        expected="numbers, strings, sequences, mappings or dataclasses",
        hint="pass plain values",
    )


@lru_cache(maxsize=64)
def _code_digest(module: str) -> str | None:
    """Return the version of a function's code, or None if its text is not in a file."""
    if source_code.text_of(module) is None:
        return None
    kept = source_code.behind(Feature.__module__)
    return source_code.digest(sorted({*kept, *source_code.behind(module)}))


@lru_cache(maxsize=1)
def _library_versions() -> list[str]:
    return [f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "librosa")]


def _save(path: Path, feature: Feature) -> None:
    frequencies = np.empty(0) if feature.frequencies is None else feature.frequencies
    grid = np.array([feature.sample_rate, feature.hop_samples], dtype=np.int64)
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        for array in (feature.values, feature.times, frequencies, grid):
            np.save(stream, array, allow_pickle=False)


def _load(path: Path) -> Feature | None:
    """Return the entry, or None if it is missing or cannot be what was saved."""
    try:
        with open(path, "rb") as stream:
            # the values stay on disk until they are used: a dataset may be larger than memory
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            stream.seek(values.offset + values.nbytes)
            times, frequencies, grid = (_load_array(stream) for _ in range(3))
            complete = stream.read(1) == b""
    except (OSError, ValueError, EOFError, AttributeError):
        return None
    consistent = complete and grid.shape == (2,) and values.shape[-1:] == times.shape
    if not consistent:
        return None
    sample_rate, hop_samples = grid.tolist()
    return Feature(
        values, times, frequencies if frequencies.size else None, sample_rate, hop_samples
    )


def _load_array(stream: Any) -> NDArray:
    return np.load(stream, allow_pickle=False)
