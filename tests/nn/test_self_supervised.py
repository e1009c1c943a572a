"""Losses without labels, against brute force and closed forms; counts of the encoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dl101.nn import self_supervised as ssl
from dl101.nn.encoders import EncoderConfig, make_encoder
from dl101.nn.sample_level import SampleCNN


def pair(n: int = 6, d: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))
    return a, a + 0.5 * b


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_is_simclrs(temperature: float) -> None:
    a, b = (x.numpy() for x in pair())
    z = np.concatenate([a, b])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, losses = len(a), []
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [math.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
        losses.append(-math.log(math.exp(z[i] @ z[partner] / temperature) / sum(others)))
    found = ssl.nt_xent(*pair(), temperature=temperature)
    assert float(found) == pytest.approx(np.mean(losses), abs=1e-9)


def test_nt_xent_of_one_point_is_the_log_of_the_others() -> None:
    same = torch.ones(8, 3, dtype=torch.float64)
    assert float(ssl.nt_xent(same, same)) == pytest.approx(math.log(15), abs=1e-9)


def test_barlow_twins_is_the_papers() -> None:
    a, b = (x.numpy() for x in pair())
    total, d = 0.0, a.shape[1]
    for i in range(d):
        for j in range(d):
            c = np.corrcoef(a[:, i], b[:, j])[0, 1]
            total += (1 - c) ** 2 if i == j else 0.02 * c**2
    assert float(ssl.barlow_twins(*pair(), weight=0.02)) == pytest.approx(total, abs=1e-9)


def test_vicreg_is_the_papers() -> None:
    a, b = (x.numpy() for x in pair())
    total = 25.0 * np.mean((a - b) ** 2)
    for view in (a, b):
        matrix = np.cov(view.T)
        d = len(matrix)
        total += 10.0 * sum(max(0.0, 1 - math.sqrt(matrix[i, i] + 1e-4)) for i in range(d)) / d
        total += 2.0 * sum(matrix[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    found = ssl.vicreg(*pair(), variance=10.0, covariance=2.0)
    assert float(found) == pytest.approx(total, abs=1e-9)


def test_simsiam_has_no_gradient_in_its_targets() -> None:
    (p1, z1), (p2, z2) = (
        tuple(x.clone().requires_grad_() for x in pair(seed=seed)) for seed in (0, 1)
    )
    loss = ssl.simsiam((p1, p2), (z1, z2))
    cosine = torch.nn.functional.cosine_similarity
    brute = -0.5 * (cosine(p1, z2).mean() + cosine(p2, z1).mean())
    assert loss.item() == pytest.approx(brute.item(), abs=1e-12)
    loss.backward()
    assert z1.grad is None and p1.grad.abs().max() > 0
    ssl.simsiam((p1, p2), (z1, z2), stop=False).backward()
    assert z1.grad.abs().max() > 0


def test_geometry_of_known_clouds() -> None:
    point = torch.ones(64, 16)
    assert float(ssl.alignment(point, point)) == pytest.approx(0, abs=1e-6)
    assert float(ssl.uniformity(point)) == pytest.approx(0, abs=1e-6)
    assert float(ssl.spread(point)) < 1e-3
    cloud = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert float(ssl.spread(cloud)) == pytest.approx(1, abs=0.02)
    assert float(ssl.uniformity(cloud[:1000])) == pytest.approx(-3.85, abs=0.1)  # -4 + var of d^2
    line = torch.outer(torch.linspace(-1, 1, 50), torch.arange(1.0, 9.0))
    assert float(ssl.effective_rank(line)) == pytest.approx(1, abs=1e-2)
    assert float(ssl.effective_rank(cloud)) == pytest.approx(64, rel=0.02)
    two = torch.eye(2).double()
    # one pair, a right angle apart: exp(-2 * 2)
    assert float(ssl.uniformity(two)) == pytest.approx(-4, abs=1e-9)
    assert float(ssl.alignment(two, two.flip(0))) == pytest.approx(2, abs=1e-9)


def test_counts_of_clmr() -> None:
    assert count(SampleCNN(50)) == 2_394_162
    encoder = make_encoder(EncoderConfig())
    assert count(encoder) == 2_368_512
    assert count(ssl.projector(512, 512, 64)) == 294_912
    assert encoder(torch.zeros(2, 1, 59_049)).shape == (2, 512)
