"""Attention that looks at some of the past only, and costs accordingly.

Conventions: queries, keys and values are (batch, head, position, channel); a *pattern* is a boolean
matrix (query, key) that says who may look at whom, and nobody looks ahead. A mask alone saves
nothing: full attention computes all products and throws most away. :func:`attend_local` and
:func:`attend_dilated` compute only what is seen, and give the same.

References
----------
.. [1] R. Child, S. Gray, A. Radford, I. Sutskever, "Generating long sequences with sparse
   transformers", 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dl101.errors import ShapeError

PATTERNS = ("full", "local", "dilated", "strided")


def pattern(name: str, n: int, stride: int) -> Tensor:
    """Return who sees whom among ``n`` positions, (query, key) bool.

    - ``full``: everything up to oneself.
    - ``local``: oneself and what is nearer than ``stride``.
    - ``dilated``: every ``stride``-th position, counted back from oneself.
    - ``strided``: both together, the strided pattern of [1]_.
    """
    if name not in PATTERNS:
        raise ShapeError(
            "pattern", got=repr(name), expected=f"one of {', '.join(PATTERNS)}", hint="use 'full'"
        )
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    near, far = distance < stride, distance % stride == 0
    seen = {"full": near | True, "local": near, "dilated": far, "strided": near | far}[name]
    return seen & (distance >= 0)


def attend(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    """Return attention under any pattern, (batch, head, position, channel); the cost is full."""
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)


def _whole(n: int, stride: int) -> None:
    if n % stride:
        raise ShapeError(
            "sparse attention",
            got=f"{n} positions with a stride of {stride}",
            expected="a whole number of strides",
            hint=f"pad to {-(-n // stride) * stride}",
        )


def attend_local(queries: Tensor, keys: Tensor, values: Tensor, stride: int) -> Tensor:
    """Return attention to the last ``stride`` positions: each block sees itself and the one before.

    It costs ``2 * stride`` products for each query instead of as many as there are positions.
    """
    n = queries.shape[2]
    _whole(n, stride)

    def with_before(x: Tensor) -> Tensor:  # (batch, head, block, 2 * stride, channel)
        blocks = F.pad(x, (0, 0, stride, 0)).unflatten(2, (-1, stride))
        return torch.cat([blocks[:, :, :-1], blocks[:, :, 1:]], dim=3)

    distance = torch.arange(stride, 2 * stride)[:, None] - torch.arange(2 * stride)[None, :]
    seen = ((distance >= 0) & (distance < stride)).expand(n // stride, -1, -1).clone()
    seen[0, :, :stride] = False  # what stands before the first position
    made = F.scaled_dot_product_attention(
        queries.unflatten(2, (-1, stride)), with_before(keys), with_before(values), attn_mask=seen
    )
    return made.flatten(2, 3)


def attend_dilated(queries: Tensor, keys: Tensor, values: Tensor, stride: int) -> Tensor:
    """Return attention to every ``stride``-th position: a short full attention for each remainder.

    It costs a ``stride``-th of full attention.
    """
    _whole(queries.shape[2], stride)
    columns = [x.unflatten(2, (-1, stride)).transpose(2, 3) for x in (queries, keys, values)]
    made = F.scaled_dot_product_attention(*columns, is_causal=True)
    return made.transpose(2, 3).flatten(2, 3)


def reached(patterns: list[Tensor]) -> Tensor:
    """Return which positions can reach which through layers in this order, (query, key) bool."""
    total = torch.eye(len(patterns[0]))
    for seen in patterns:
        total = (seen.float() @ total > 0).float()
    return total.bool()
