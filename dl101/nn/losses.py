"""Losses: differentiable, on logits, averaged over what is real (padding never counts)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError
from dl101.signal.mel import mel_filters


def masked_binary_cross_entropy(
    logits: Tensor, target: Tensor, mask: Tensor, *, positive_weight: float = 1.0
) -> Tensor:
    r"""Binary cross-entropy of independent yes/no decisions, over the frames that exist.

    With :math:`\hat y = \sigma(\text{logit})` and weight :math:`w`,

    .. math:: -\frac{1}{|M|} \sum_{m \in M} w\, y_m \log \hat y_m + (1 - y_m) \log(1 - \hat y_m)

    Parameters
    ----------
    logits, target
        (batch, 1, bins, frames); targets are 0 or 1 (or between, if smoothed).
    mask
        (batch, frames), 1 for real frames and 0 for padding.
    positive_weight
        :math:`w > 1` makes a missed pitch cost more than a false alarm. At two sounding bins in
        two hundred, silence is a good guess; a weight keeps training from settling on it.

    Returns
    -------
    Tensor
        Scalar mean over bins and real frames.
    """
    weight = torch.as_tensor(positive_weight, dtype=logits.dtype, device=logits.device)
    loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
    mask = mask[:, None, None, :].to(loss.dtype)
    n_real = mask.sum() * logits.shape[1] * logits.shape[2]
    return (loss * mask).sum() / n_real.clamp(min=1)


class MultiResolutionSTFT(nn.Module):
    r"""Distance of two sounds in the magnitudes of several short-time spectra.

    For each window, with magnitudes :math:`E` of the estimate and :math:`R` of the reference,

    .. math:: \frac{\lVert E - R \rVert}{\lVert R \rVert}
        + \frac{1}{n} \sum \Bigl\lvert \log \frac{E + f}{R + f} \Bigr\rvert

    (Yamamoto and others, "Parallel WaveGAN", 2020; over the whole batch, as there, so that a silent
    part divides by nothing), and the mean over windows. The first term, spectral convergence,
    weighs what is loud, the second what is soft down to the floor :math:`f`. Phases don't count. A
    magnitude is that of a sine: 1 for a sine of full scale.

    Parameters
    ----------
    windows
        Lengths of the Hann windows in samples; frames are a quarter of a window apart.
    floor
        :math:`f`; 0.001 is 60 dB below a sine of full scale.
    n_bands
        Sum powers in this many mel bands first; None keeps the linear frequencies.
    sample_rate
        In Hz; needed with ``n_bands``.

    Raises
    ------
    ConfigError
        If there is no window, one is shorter than 4 samples, or bands are asked for without a rate.
    """

    def __init__(
        self,
        windows: Sequence[int] = (2048, 1024, 512, 256, 128),
        *,
        floor: float = 1e-3,
        n_bands: int | None = None,
        sample_rate: int | None = None,
    ) -> None:
        super().__init__()
        if not windows or min(windows) < 4 or (n_bands is not None and sample_rate is None):
            raise ConfigError(
                "MultiResolutionSTFT",
                got=f"windows {tuple(windows)}, {n_bands} bands, a sample rate of {sample_rate}",
                expected="windows of at least 4 samples, and a sample rate where there are bands",
                hint="leave windows out to get 2048 to 128 samples",
            )
        self.windows, self.floor = tuple(windows), floor
        for size in self.windows:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
            if n_bands is not None:
                bands = mel_filters(
                    sample_rate, n_bands=n_bands, window_samples=size, equal_area=False
                )
                self.register_buffer(f"bands_{size}", torch.tensor(bands).float(), persistent=False)
        self.n_bands = n_bands

    def magnitudes(self, audio: Tensor) -> Iterator[Tensor]:
        """Yield (batch, bin, frame) for each window, of (batch, time)."""
        for size in self.windows:
            window = getattr(self, f"window_{size}").to(audio.dtype)
            spectrum = torch.stft(
                audio, size, size // 4, window=window, pad_mode="constant", return_complex=True
            )
            magnitude = spectrum.abs() * (2.0 / window.sum())
            if self.n_bands is not None:
                power = getattr(self, f"bands_{size}").to(audio.dtype) @ magnitude.square()
                magnitude = (power + 1e-12).sqrt()  # the root has no slope at 0
            yield magnitude

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return the scalar distance of two batches (batch, time) of one shape."""
        total = estimate.new_zeros(())
        pairs = zip(self.magnitudes(estimate), self.magnitudes(reference), strict=True)
        for found, wanted in pairs:
            distance = torch.linalg.vector_norm(found - wanted)
            size = torch.linalg.vector_norm(wanted)
            logarithms = torch.log(found + self.floor) - torch.log(wanted + self.floor)
            total = total + distance / size.clamp_min(1e-6) + logarithms.abs().mean()
        return total / len(self.windows)


def si_sdr_loss(
    estimate: Tensor, reference: Tensor, *, any_level: bool = True, silent_db: float = -80.0
) -> Tensor:
    r"""Return the mean of the negative SI-SDR in dB, over the references that are not silent.

    With :math:`\alpha = \langle \hat s, s \rangle / \lVert s \rVert^2`, minus the ratio of
    :math:`\lVert \alpha s \rVert^2` and :math:`\lVert \alpha s - \hat s \rVert^2` (Le Roux and
    others, 2019). A millionth of the target's energy is added to both, so that a perfect estimate
    has 60 dB and a gradient. What is silent has no ratio, so a network learns nothing there, not
    even to be silent.

    Parameters
    ----------
    estimate, reference
        (..., samples) of one shape; each row has a ratio of its own.
    any_level
        False sets :math:`\alpha` to 1: the negative SDR, for which a wrong level is an error.
    silent_db
        RMS re full scale below which a reference doesn't count. If none does, the loss is 0.
    """
    energy = reference.square().sum(-1, keepdim=True)
    heard = energy[..., 0] > 10 ** (silent_db / 10) * reference.shape[-1]
    scale = (estimate * reference).sum(-1, keepdim=True) / energy.clamp_min(1e-12)
    target = scale * reference if any_level else reference
    wanted = target.square().sum(-1)
    unwanted = (target - estimate).square().sum(-1)
    least = 1e-6 * wanted.detach() + 1e-12
    ratio_db = 10.0 * torch.log10((wanted + least) / (unwanted + least))
    return -(ratio_db * heard).sum() / heard.sum().clamp_min(1)


# ---- adversarial: each argument is a list with one entry for each discriminator -----------------


def hinge_discriminator(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return what a discriminator minimises: ``relu(1 - D(real)) + relu(1 + D(fake))``, the means.

    It wants scores above 1 for what is real and below -1 for what is made, and no more than that
    (Lim and Ye, "Geometric GAN", 2017). Scores have any shape; all discriminators count alike.
    """
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def hinge_generator(fake: Sequence[Tensor]) -> Tensor:
    """Return what the maker minimises: ``relu(1 - D(fake))``, the mean, as in EnCodec."""
    return torch.stack([F.relu(1 - scores).mean() for scores in fake]).mean()


def feature_matching(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return how far what is made is from what is real *inside* the discriminators.

    For each layer of each discriminator the mean absolute difference of its outputs over the mean
    absolute output for what is real; the mean of all (EnCodec, Eq. 2). What is real is taken as it
    is: no gradient reaches it.
    """
    losses = []
    for layers_real, layers_fake in zip(real, fake, strict=True):
        for r, f in zip(layers_real, layers_fake, strict=True):
            r = r.detach()
            losses.append((f - r).abs().mean() / r.abs().mean().clamp_min(1e-6))
    return torch.stack(losses).mean()
