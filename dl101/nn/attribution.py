"""Attribution: on which parts of its input a number that a network gives rests.

Conventions: a ``score`` is a function of inputs (item, ...) that returns one number for each,
(item,): a logit, or a sum of some. Items must not depend on each other, so a network is looked at
in evaluation mode. Maps have the shape of the input. A ``reference`` is an input that stands for
"nothing", of the shape of the input or one that broadcasts to it. Networks, their modes and their
gradients are left as they were.

References
----------
.. [1] K. Simonyan, A. Vedaldi, A. Zisserman, "Deep inside convolutional networks", ICLR workshop
   2014.
.. [2] J. Springenberg and others, "Striving for simplicity", ICLR workshop 2015.
.. [3] M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep networks", ICML 2017.
.. [4] M. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
.. [5] J. Adebayo and others, "Sanity checks for saliency maps", NeurIPS 2018.
.. [6] V. Petsiuk, A. Das, K. Saenko, "RISE: randomized input sampling for explanation of black-box
   models", BMVC 2018.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.decoder_transformer import Decoder, rotate, rotation, visible

Score = Callable[[Tensor], Tensor]
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
NORMALISED = (nn.BatchNorm1d, nn.BatchNorm2d)
CHUNK = 64  # items that pass through a network at once


# ---- gradients -----------------------------------------------------------------------------------


def gradient(score: Score, x: Tensor) -> Tensor:
    """Return the slope of each item's score with respect to its input, of the shape of ``x``."""
    x = x.detach().requires_grad_()
    value = score(x)
    if value.shape != x.shape[:1]:
        raise ShapeError(
            "score",
            got=f"shape {tuple(value.shape)}",
            expected=f"one number for each of {len(x)} items",
            hint="choose one logit, such as lambda x: network(x)[:, 3]",
        )
    (slope,) = torch.autograd.grad(value.sum(), x)
    return slope


def saliency(score: Score, x: Tensor) -> Tensor:
    """Return the size of the slope at each cell of the input [1]_."""
    return gradient(score, x).abs()


def gradient_times_input(score: Score, x: Tensor, reference: Tensor | float = 0.0) -> Tensor:
    """Return the slope times how far each cell is from the reference."""
    return gradient(score, x) * (x - reference)


def integrated_gradients(
    score: Score, x: Tensor, reference: Tensor | float = 0.0, *, n_steps: int = 32
) -> Tensor:
    """Return the slope, averaged on the straight way from the reference, times the distance [3]_.

    The slopes are taken in the middle of ``n_steps`` equal parts of the way. The more, the nearer
    the sum of an item's map is to ``score(x) - score(reference)``: completeness.
    """
    reference = torch.as_tensor(reference, dtype=x.dtype, device=x.device).expand_as(x)
    total = torch.zeros_like(x)
    for step in range(n_steps):
        total += gradient(score, reference + (step + 0.5) / n_steps * (x - reference))
    return total / n_steps * (x - reference)


@contextmanager
def guided(network: nn.Module) -> Iterator[None]:
    """Let the ReLUs of a network pass positive slopes only, for a while [2]_.

    A gradient taken meanwhile is *guided backpropagation*: a picture, no longer a slope.

    Raises
    ------
    ConfigError
        If the network has no ReLU.
    """
    found = [module for module in network.modules() if isinstance(module, nn.ReLU)]
    if not found:
        raise ConfigError(
            "guided backpropagation",
            got="a network without nn.ReLU",
            expected="one whose non-linearities are ReLUs",
            hint="use integrated_gradients, which suits any network",
        )

    def only_positive(module: nn.Module, given: tuple, taken: tuple) -> tuple[Tensor]:
        return (given[0].clamp(min=0),)

    hooks = [module.register_full_backward_hook(only_positive) for module in found]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# ---- taking away ---------------------------------------------------------------------------------


@torch.no_grad()
def scores_of(score: Score, x: Tensor) -> Tensor:
    """Return the scores of many inputs, a part of them at a time."""
    return torch.cat([score(part) for part in x.split(CHUNK)])


def tiles(n: int, size: int, step: int) -> list[int]:
    """Return where tiles of a size begin so that they cover ``n`` cells; the last ends there."""
    starts = list(range(0, n - size, step))
    return [*starts, n - size]


def occlusion(
    score: Score,
    x: Tensor,
    size: tuple[int, int],
    step: tuple[int, int] | None = None,
    reference: Tensor | float = 0.0,
) -> Tensor:
    """Return by how much the score falls where a tile is covered [4]_, of the shape of ``x``.

    Each cell has the mean over the tiles that cover it, also of those that reach beyond the border
    of another: a sum would grow with the number of tiles, which is smaller at the edges.

    Parameters
    ----------
    score
        Of inputs (1, ..., row, column).
    x
        One input, (1, ..., row, column). A tile covers all channels.
    size, step
        Rows and columns of a tile, at most those of the input, and how far one begins after the
        other; by default half a tile.
    reference
        What is put in its place.
    """
    size = (min(size[0], x.shape[-2]), min(size[1], x.shape[-1]))
    step = step or (max(1, size[0] // 2), max(1, size[1] // 2))
    reference = torch.as_tensor(reference, dtype=x.dtype, device=x.device).expand_as(x)
    covers = []
    for row in tiles(x.shape[-2], size[0], step[0]):
        for column in tiles(x.shape[-1], size[1], step[1]):
            cover = torch.zeros(x.shape[-2:], dtype=torch.bool, device=x.device)
            cover[row : row + size[0], column : column + size[1]] = True
            covers.append(cover)
    total = torch.zeros(x.shape[-2:], dtype=x.dtype, device=x.device)
    times = torch.zeros_like(total)
    whole = scores_of(score, x)
    for part in torch.stack(covers).split(CHUNK):
        shape = (len(part), *[1] * (x.ndim - 3), *x.shape[-2:])
        falls = whole - scores_of(score, torch.where(part.view(shape), reference, x))
        total += torch.einsum("n,nrc->rc", falls, part.to(x.dtype))
        times += part.sum(dim=0)
    return (total / times).expand_as(x).clone()


@torch.no_grad()
def perturbation_curve(
    score: Score,
    x: Tensor,
    importance: Tensor,
    shares: Sequence[float],
    reference: Tensor | float = 0.0,
    *,
    keep: bool = False,
) -> Tensor:
    """Return the score while the most important cells are taken away, or put in [6]_.

    Parameters
    ----------
    score
        Of inputs (1, ...).
    x, importance
        One input, (1, ...), and a map of its shape.
    shares
        Of the cells that are taken away first, each from 0 to 1.
    reference
        What stands where a cell is not.
    keep
        Keep those cells alone, in place of all others (insertion); else take them away (deletion).

    Returns
    -------
    Tensor
        (share,).
    """
    reference = torch.as_tensor(reference, dtype=x.dtype, device=x.device).expand_as(x)
    order = importance.flatten().argsort(descending=True, stable=True)
    changed = []
    for share in shares:
        chosen = torch.zeros(x.numel(), dtype=torch.bool, device=x.device)
        chosen[order[: round(share * x.numel())]] = True
        chosen = chosen.view_as(x)
        changed.append(torch.where(chosen == keep, x, reference))
    return scores_of(score, torch.cat(changed))


# ---- sanity --------------------------------------------------------------------------------------


def weighted_layers(network: nn.Module) -> list[str]:
    """Return the names of the convolutions and linear layers, in the order of their definition."""
    return [name for name, module in network.named_modules() if isinstance(module, WEIGHTED)]


def randomised(
    network: nn.Module, n_layers: int, inputs: Tensor | None = None, *, seed: int = 0
) -> nn.Module:
    """Return a copy whose last layers have weights as before any training [5]_.

    Parameters
    ----------
    network
        Its layers are defined in the order in which they run.
    n_layers
        How many convolutions or linear layers, from the output on, are drawn anew. Batch
        normalisations behind the first of them are reset, too.
    inputs
        A batch on which the statistics of these normalisations are measured; without it they are
        mean 0 and variance 1.
    seed
        Of the weights.
    """
    twin = copy.deepcopy(network).eval()
    names = weighted_layers(twin)
    drawn = names[len(names) - n_layers :] if n_layers else []
    reset, behind = [], False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in twin.named_modules():
            behind = behind or name in drawn
            if name in drawn or (behind and isinstance(module, NORMALISED)):
                module.reset_parameters()  # of a batch normalisation also its statistics
            if behind and isinstance(module, NORMALISED):
                reset.append(module)
    if inputs is not None and reset:
        momenta = [module.momentum for module in reset]
        for module in reset:
            module.momentum = None  # the statistics become the mean of what is seen
            module.train()
        with torch.no_grad():
            twin(inputs)
        for module, momentum in zip(reset, momenta, strict=True):
            module.momentum = momentum
            module.eval()
    return twin


# ---- attention -----------------------------------------------------------------------------------


def attended(
    decoder: Decoder, x: Tensor, blocked: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Return what a decoder puts out, and where each of its layers looks.

    Parameters
    ----------
    decoder
        In evaluation mode.
    x
        (batch, position, width).
    blocked
        (batch, query, key) bool: what each query may not look at, in all layers. A query that may
        look nowhere else still sees itself.

    Returns
    -------
    output, weights
        (batch, position, width), and for each layer (batch, head, query, key), rows that add to 1.
    """
    config, positions = decoder.config, torch.arange(x.shape[1], device=x.device)
    seen = visible(positions, positions, config.window)[None]
    if blocked is not None:
        itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        seen = (seen & ~blocked) | itself
    weights = []
    for layer in decoder.layers:
        attention, given = layer.attention, layer.attention_norm(x)

        def heads(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (config.heads, -1)).transpose(1, 2)

        turns = rotation(positions, config.n_rotated)
        queries = rotate(heads(attention.to_queries(given)), *turns)
        keys = rotate(heads(attention.to_keys(given)), *turns)
        products = queries @ keys.transpose(-1, -2) / config.head_width**0.5
        weight = products.masked_fill(~seen[:, None], -torch.inf).softmax(dim=-1)
        mixed = weight @ heads(attention.to_values(given))
        x = x + attention.to_output(mixed.transpose(1, 2).flatten(2))
        x = x + layer.perceptron(layer.perceptron_norm(x))
        weights.append(weight)
    return decoder.norm(x), weights


def rollout(weights: Sequence[Tensor]) -> Tensor:
    """Return attention through all layers, (batch, query, key); rows add to 1.

    Half of what passes a layer goes past its attention (Abnar and Zuidema, "Quantifying attention
    flow in transformers", ACL 2020); heads are averaged.
    """
    n = weights[0].shape[-1]
    flow = torch.eye(n, dtype=weights[0].dtype, device=weights[0].device)
    for weight in weights:
        flow = 0.5 * (weight.mean(dim=1) @ flow + flow)
    return flow
