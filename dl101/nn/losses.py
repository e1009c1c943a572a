"""Losses: differentiable, on logits, averaged over what is real (padding never counts)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
