"""Looking inside networks: what kernels pass, what a frame sees, what a unit likes best.

Conventions: waveforms are (batch, 1, samples), other inputs (batch, channel, ..., frame); what a
network returns has its frames on the last axis too. A network is looked at in evaluation mode and
left as it was: its mode, its gradients and its weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dl101.errors import ShapeError


class Reach(NamedTuple):
    """The first and the last position of an input that an output depends on."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many positions lie between them, both included."""
        return self.last - self.first + 1


class Maximised(NamedTuple):
    """Inputs that excite a unit, (batch, ...), and by how much at each step, (step, batch)."""

    inputs: Tensor
    activations: Tensor


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Set evaluation mode for a while; each module gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def frequency_responses(
    kernels: Tensor, sample_rate_hz: float, *, n_fft: int = 4096
) -> tuple[Tensor, Tensor]:
    """Return by how much each kernel of a convolution amplifies each frequency.

    Parameters
    ----------
    kernels
        Impulse responses, (filter, taps) or the weight (filter, 1, taps) of a Conv1d.
    sample_rate_hz
        Of the waveform that is filtered.
    n_fft
        Length of the transform, padded with zeros: the frequencies are ``sample_rate_hz / n_fft``
        apart. Kernels that are longer get a transform of their own length.

    Returns
    -------
    frequencies_hz, gains
        (bin,) from 0 Hz to half the sample rate, and (filter, bin), the magnitudes.
    """
    kernels = _as_rows(kernels)
    n_fft = max(n_fft, kernels.shape[-1])
    frequencies_hz = torch.fft.rfftfreq(n_fft, 1 / sample_rate_hz, device=kernels.device)
    return frequencies_hz, torch.fft.rfft(kernels, n_fft).abs()


def centre_frequencies_hz(kernels: Tensor, sample_rate_hz: float, *, n_fft: int = 4096) -> Tensor:
    """Return the frequency that each kernel amplifies most, (filter,); see the function above."""
    frequencies_hz, gains = frequency_responses(kernels, sample_rate_hz, n_fft=n_fft)
    return frequencies_hz[gains.argmax(dim=-1)]


def _as_rows(kernels: Tensor) -> Tensor:
    kernels = kernels.detach().float()
    if kernels.ndim == 3 and kernels.shape[1] == 1:
        kernels = kernels[:, 0]
    if kernels.ndim != 2:
        raise ShapeError(
            "kernels",
            got=f"shape {tuple(kernels.shape)}",
            expected="(filter, taps) or (filter, 1, taps)",
            hint="pass the weight of one Conv1d that filters a waveform",
        )
    return kernels


def influence(
    network: nn.Module, x: Tensor, frame: int | None = None, *, axis: int = -1, seed: int = 0
) -> Tensor:
    """Return how strongly one output frame reacts to each position of the input.

    The channels (and other axes) of the output at that frame are summed with random weights, so
    that they do not cancel; what is returned is the absolute gradient of this sum, added over all
    axes of the input but one and averaged over the batch. Luo et al. (2016) call the picture of it
    the *effective* receptive field. It is computed in float64, so that small is not zero.

    Parameters
    ----------
    network
        Any module; what it does to one item of the batch must not depend on the others.
    x
        Inputs, (batch, ...): the gradient is taken there.
    frame
        Which position of the output's ``axis``; by default the middle one.
    axis
        The axis that is looked along, the same of input and output, counted from the end: -1 for
        frames, -2 for the bands of a spectrogram.
    seed
        Of the random weights.

    Returns
    -------
    Tensor
        (positions of the input along ``axis``,).
    """
    return _gradients(network, x, frame, axis, seed).mean(dim=0)


def receptive_field(
    network: nn.Module,
    input_shape: Sequence[int],
    frame: int | None = None,
    *,
    axis: int = -1,
    n_draws: int = 16,
    seed: int = 0,
) -> Reach:
    """Measure, by gradient, which positions of the input one output frame depends on.

    Where a maximum or a ReLU lets only some inputs pass, each random input shows a part of the
    field; the union of ``n_draws`` is taken, so the result is a lower bound that grows with it.

    Parameters
    ----------
    network
        Any module.
    input_shape
        Of one input, without the batch.
    frame, axis
        See :func:`influence`.
    n_draws, seed
        How many random inputs, and where they come from.

    Raises
    ------
    ShapeError
        If the frame does not depend on the input at all.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_draws, *input_shape, generator=generator)
    reached = _gradients(network, x, frame, axis, seed).amax(dim=0).nonzero().flatten()
    if reached.numel() == 0:
        raise ShapeError(
            "receptive field",
            got="an output frame with no gradient to any input",
            expected="a frame that depends on the input",
            hint="choose another frame, or more draws: a ReLU may be shut for all of these",
        )
    return Reach(int(reached[0]), int(reached[-1]))


def _gradients(network: nn.Module, x: Tensor, frame: int | None, axis: int, seed: int) -> Tensor:
    """Return absolute gradients (batch, positions); see :func:`influence`."""
    twin = copy.deepcopy(network).double().eval().requires_grad_(False)
    x = x.detach().double().requires_grad_()
    y = twin(x)
    if axis >= 0 or -axis > min(x.ndim, y.ndim) - 1:
        raise ShapeError(
            "axis",
            got=f"{axis} for an input {tuple(x.shape)} and an output {tuple(y.shape)}",
            expected="an axis of both, counted from the end, that is not the batch",
            hint="-1 looks along the frames, -2 along the bands of a spectrogram",
        )
    frame = y.shape[axis] // 2 if frame is None else frame
    at_frame = y.select(axis, frame).flatten(1)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(at_frame.shape[1], generator=generator, dtype=at_frame.dtype)
    (gradient,) = torch.autograd.grad((at_frame * weights.to(x.device)).sum(), x)
    # the looked-along axis last, everything else but the batch added up
    return gradient.abs().movedim(axis, -1).flatten(1, -2).sum(dim=1)


def outputs_of(
    network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...], x: Tensor
) -> dict[str, Tensor]:
    """Return what every module of a kind puts out while the network runs, by its name.

    The tensors keep their gradients, so that one can be maximised. A module that runs more than
    once keeps its last output.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: found.__setitem__(name, output)

    hooks = [
        module.register_forward_hook(keep(name))
        for name, module in network.named_modules()
        if isinstance(module, kind)
    ]
    try:
        with _evaluating(network):
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def maximise_activation(
    network: nn.Module,
    activation: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    n_steps: int = 100,
    step: float = 0.1,
) -> Maximised:
    """Change inputs by gradient ascent until they excite a unit as much as possible.

    Erhan et al. (2009). Each step adds the gradient, divided by its own RMS and times ``step``
    times the RMS of the start; then the input is brought back to that RMS, since louder would
    mostly be better. Normalising the gradient makes one ``step`` fit units of all layers.

    Parameters
    ----------
    network
        Whose unit it is; it is kept in evaluation mode meanwhile.
    activation
        Called with inputs: the activation of the unit for each, (batch,). Mostly the mean over
        time of one channel of :func:`outputs_of`.
    start
        Where to begin, (batch, ...), mostly soft noise; not changed. Not silent.
    n_steps, step
        How many steps, and their size as a share of the input's RMS.

    Returns
    -------
    Maximised
        The inputs found, and the activations (step, batch) on the way: ``n_steps + 1`` of them.
    """
    rms = _rms(start)
    if not bool((rms > 0).all()):
        raise ShapeError(
            "start of the ascent",
            got="silence",
            expected="inputs with some energy",
            hint="begin with noise, such as 0.1 * torch.randn(...)",
        )
    x, seen = start.detach().clone(), []
    with _evaluating(network):
        for _ in range(n_steps):
            x.requires_grad_()
            value = activation(x)
            seen.append(value.detach())
            (gradient,) = torch.autograd.grad(value.sum(), x)
            with torch.no_grad():
                x = x + step * rms * gradient / _rms(gradient).clamp(min=1e-20)
                x = x * (rms / _rms(x))
        with torch.no_grad():
            seen.append(activation(x))
    return Maximised(x.detach(), torch.stack(seen))


def _rms(x: Tensor) -> Tensor:
    """Return the RMS of each item of a batch, with axes of length 1 for the rest."""
    return x.square().mean(dim=tuple(range(1, x.ndim)), keepdim=True).sqrt()
