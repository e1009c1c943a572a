"""Auto-encoders: an encoder, a bottleneck and a decoder; the Gaussian bottleneck of the VAE.

Shapes: latents are (batch, latent, ...), so that one brick serves a vector for each item
(batch, latent) and a sequence of vectors (batch, latent, time). Axis 1 holds the numbers of one
latent vector, and a Kullback-Leibler divergence (KL) counts in nats (1 nat is 1.44 bits).

A variational auto-encoder [1]_ (VAE) minimises, for each vector, the negative log likelihood of the
input plus the KL of its latents. Sum the first over the values of the input: a *mean* of squared
errors is smaller by their number, and the KL then outweighs it.

References
----------
.. [1] D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014.
.. [2] D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever, M. Welling, "Improved
   variational inference with inverse autoregressive flow", NeurIPS 2016.
.. [3] Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
.. [4] S. R. Bowman, L. Vilnis, O. Vinyals, A. M. Dai, R. Jozefowicz, S. Bengio, "Generating
   sentences from a continuous space", CoNLL 2016.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.compression import full_precision, hold_between, without_autocast

# exp(-30) to exp(20) in float32: a variance beyond is a training that has gone wrong
_LOG_VARIANCE = (-30.0, 20.0)


class Coded(NamedTuple):
    """What an auto-encoder gives.

    Attributes
    ----------
    output
        What the decoder made, as the input.
    bottleneck
        What the bottleneck gave: a tuple whose first part the decoder was given.
    """

    output: Tensor
    bottleneck: Any


class Plain(NamedTuple):
    """What a bottleneck gives that only passes on: ``latent`` (batch, latent, ...)."""

    latent: Tensor


class Sampled(NamedTuple):
    """What the Gaussian bottleneck gives; all of them (batch, latent, ...).

    Attributes
    ----------
    latent
        A draw in training, the mean in evaluation.
    mean, log_variance
        Of the Gaussian from which it is drawn; natural logarithm.
    kl
        Of that Gaussian from the standard normal one, in nats, one value for each number.
    """

    latent: Tensor
    mean: Tensor
    log_variance: Tensor
    kl: Tensor


def reparameterise(
    mean: Tensor, log_variance: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """Return a draw from N(mean, exp(log_variance)) that has a gradient to both [1]_.

    It is mean + deviation * noise: all that is random stands in the noise, which depends on
    neither. Any shape.
    """
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + torch.exp(0.5 * log_variance) * noise


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return the KL of N(mean, exp(log_variance)) from N(0, 1), in nats, value by value.

    :math:`\tfrac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)` ([1]_, appendix B). Any shape; the KL of
    a whole vector is the sum over its numbers.
    """
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)


def free_bits(kl: Tensor, least_nats: float) -> Tensor:
    """Return the KL of a batch as a loss that leaves the first nats of each latent free [2]_.

    For each latent (axis 1), the mean over batch and time, but at least ``least_nats``; the sum of
    these. Below the floor the gradient is zero: nothing draws a latent that says so little any
    nearer to saying nothing.

    Parameters
    ----------
    kl
        (batch, latent, ...), as :class:`Sampled` has it.
    least_nats
        Floor of each latent, in nats; 0 gives the plain KL, in nats a vector.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    ConfigError
        If the floor is negative.
    """
    if not least_nats >= 0:
        raise ConfigError(
            "free_bits",
            got=f"a floor of {least_nats} nats",
            expected="a number that is not negative",
            hint="0 leaves nothing free; 0.1 to 0.5 are usual",
        )
    each = kl.transpose(0, 1).flatten(start_dim=1).mean(dim=1)
    return each.clamp(min=least_nats).sum()


def warm_up(step: int, n_steps: int) -> float:
    """Return the weight of the KL at a step of training: from 0 in a line to 1 at ``n_steps``.

    The network first learns to use its latents, and only then to pay for them [4]_.
    """
    return 1.0 if n_steps <= 0 else min(1.0, max(0.0, step / n_steps))


def active_latents(mean: Tensor, *, least_variance: float = 0.01) -> Tensor:
    """Return which latents tell inputs apart, (latent,) bool [3]_.

    A latent is active where its mean varies from input to input: a variance above 0.01. One that
    has collapsed gives the same Gaussian, the prior, for whatever comes.

    Parameters
    ----------
    mean
        Means of many inputs, (batch, latent, ...).
    least_variance
        From where a latent counts.
    """
    return mean.transpose(0, 1).flatten(start_dim=1).var(dim=1) > least_variance


class GaussianBottleneck(nn.Module):
    """The bottleneck of a VAE: (batch, 2 * latent, ...) to a draw, :class:`Sampled` [1]_.

    The first half of the channels are means, the second half natural logarithms of variances. In
    evaluation the latent is the mean. Nothing is learned here: the layer before makes both halves.
    Computed in float32 at least, also under autocast; a log variance is kept between -30 and 20.
    """

    def forward(self, x: Tensor) -> Sampled:
        """Return latents, their Gaussians and the KL, each (batch, latent, ...).

        Raises
        ------
        ShapeError
            If the number of channels is odd.
        """
        if x.ndim < 2 or x.shape[1] % 2:
            raise ShapeError(
                "Gaussian bottleneck",
                got=f"an input of shape {tuple(x.shape)}",
                expected="(batch, 2 * latent, ...): means, then log variances",
                hint="double the output channels of the encoder",
            )
        with without_autocast(x):
            mean, log_variance = full_precision(x).chunk(2, dim=1)
            log_variance = hold_between(log_variance, *_LOG_VARIANCE)
            kl = kl_to_standard_normal(mean, log_variance)
            latent = reparameterise(mean, log_variance) if self.training else mean
        return Sampled(latent.to(x.dtype), mean, log_variance, kl)


class PlainBottleneck(nn.Module):
    """The bottleneck of an ordinary auto-encoder: few numbers, passed on as they are."""

    def forward(self, x: Tensor) -> Plain:
        """Return ``x`` as the only part of a tuple."""
        return Plain(x)


class AutoEncoder(nn.Module):
    """Encoder, bottleneck, decoder.

    Parameters
    ----------
    encoder
        Maps an input to (batch, channel, ...).
    decoder
        Maps (batch, latent, ...) to the shape of the input.
    bottleneck
        Returns a tuple whose first part goes to the decoder: :class:`GaussianBottleneck`, or one of
        :mod:`dl101.nn.quantize`. By default nothing is done to the latents.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, bottleneck: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.bottleneck = PlainBottleneck() if bottleneck is None else bottleneck

    def forward(self, x: Tensor) -> Coded:
        """Return the output and what the bottleneck gave."""
        coded = self.bottleneck(self.encoder(x))
        return Coded(self.decoder(coded[0]), coded)
