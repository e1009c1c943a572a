from __future__ import annotations

import pytest
import torch

from dl101.nn.losses import masked_binary_cross_entropy


def test_equals_the_formula_and_ignores_padding():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 5, 4, generator=generator)
    target = (torch.rand(2, 1, 5, 4, generator=generator) > 0.7).float()
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    p = torch.sigmoid(logits)
    cost = -(3 * target * p.log() + (1 - target) * (1 - p).log())
    expected = (cost[0].sum() + cost[1, :, :, :2].sum()) / (5 * 6)
    got = masked_binary_cross_entropy(logits, target, mask, positive_weight=3)
    assert got == pytest.approx(float(expected), rel=1e-5)
    logits[1, :, :, 2:] = 100  # whatever is predicted on padding
    same = masked_binary_cross_entropy(logits, target, mask, positive_weight=3)
    assert same == pytest.approx(float(expected), rel=1e-5)


def test_no_real_frame_costs_nothing():
    zeros = torch.zeros(1, 1, 3, 2)
    assert masked_binary_cross_entropy(zeros, zeros, torch.zeros(1, 2)) == 0
