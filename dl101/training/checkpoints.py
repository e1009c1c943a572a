"""Checkpoints as safetensors files: tensors plus a JSON header, so loading one can never run code.

Weights are kept by name (``weights.NAME``), so that they can be read without Lightning; the rest of
a training state is plain data in the header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dl101.data.cache import replacing
from dl101.errors import DataError


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Turn a tree of plain data and tensors into JSON, moving tensors aside under a name."""
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"map": [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_pack(item, tensors) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}  # JSON has no infinity, and best scores start there
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "map":
            return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
        if kind == "tuple":
            return tuple(_unpack(item, tensors) for item in content)
        return float(content)
    return value


class SafetensorsCheckpointIO(CheckpointIO):
    """Lightning's checkpoints (weights, optimiser, loops, callbacks) as safetensors files.

    Parameters
    ----------
    metadata
        Text that each file carries in its header.
    """

    def __init__(self, metadata: Mapping[str, str] | None = None) -> None:
        self.metadata = dict(metadata or {})

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write atomically: a run that is killed never leaves half a checkpoint."""
        tensors: dict[str, Tensor] = {}
        # saved by name, so that the weights can be read without Lightning
        weights = {f"weights.{k}": v for k, v in checkpoint["state_dict"].items()}
        rest = {k: v for k, v in checkpoint.items() if k != "state_dict"}
        header = {**self.metadata, "checkpoint": json.dumps(_pack(rest, tensors))}
        for name, value in weights.items():
            tensors[name] = value.detach().cpu().contiguous().clone()
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=header)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return the dictionary that was saved, or raise a DataError."""
        tensors, header = read_safetensors(Path(path))
        if "checkpoint" not in header:
            raise DataError(
                f"checkpoint {path}",
                got="weights without a training state",
                expected="a checkpoint written during training",
                hint="load it with load_weights, or start a fresh run",
            )
        checkpoint = _unpack(json.loads(header["checkpoint"]), tensors)
        checkpoint["state_dict"] = {
            name.removeprefix("weights."): tensor
            for name, tensor in tensors.items()
            if name.startswith("weights.")
        }
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint that a better one replaces."""
        Path(path).unlink(missing_ok=True)


def read_safetensors(
    path: Path, *, header_only: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, none if only its header is asked for, and the header's text.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = () if header_only else file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except Exception as error:  # safetensors raises its own, undocumented, type
        raise DataError(
            f"checkpoint {path}",
            got=f"{type(error).__name__}: {error}",
            expected="a complete safetensors file",
            hint="delete the file and train or download it again",
        ) from error


def save_weights(
    module: nn.Module,
    path: Path | str,
    metadata: Mapping[str, str],
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write the weights of a module to a safetensors file, with text metadata.

    With a ``dtype`` such as float16, weights that are floating point are converted to it: a file of
    half the size, which :func:`load_weights` converts back.
    """
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    if dtype is not None:
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=dict(metadata))


def load_weights(module: nn.Module, path: Path | str) -> dict[str, str]:
    """Load weights (of :func:`save_weights` or a checkpoint) into a module; return the metadata.

    Raises
    ------
    DataError
        If the file is damaged, or its weights are not those of this module.
    """
    tensors, metadata = read_safetensors(Path(path))
    marked = [name for name in tensors if name.startswith("weights.")]
    weights = {n.removeprefix("weights."): tensors[n] for n in marked} if marked else tensors
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"checkpoint {path}",
            got=" ".join(str(error).split()),
            expected=f"the weights of a {type(module).__name__} of this configuration",
            hint="build the module with the configuration that the checkpoint was trained with",
        ) from error
    return metadata
