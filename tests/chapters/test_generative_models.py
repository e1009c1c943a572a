"""The plane, the notes, and seven ways to a distribution."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from dl101.chapters.generative_models import data, experiment, models

NAMES = list(models.MODELS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def shaken(name: str, n_numbers: int, width: int = 24) -> models.Model:
    """Return a model whose weights are all random, in double precision."""
    model = models.MODELS[name](n_numbers, width).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def test_the_recipe_has_the_density_of_its_points() -> None:
    cells, area = experiment.grid(200, 3.0)
    density = data.log_density(cells).exp()
    assert float(density.sum() * area) == pytest.approx(1, abs=1e-3)
    x, note = data.points(50_000, seed=1)
    assert torch.allclose(torch.bincount(note) / len(x), data.SHARES, atol=0.01)
    assert torch.allclose((cells * density[:, None]).sum(0) * area, x.mean(0), atol=0.01)
    assert float(data.inside(x).float().mean()) == pytest.approx(0.99, abs=0.003)
    assert float((data.log_densities(x).argmax(1) == note).float().mean()) > 0.97


def test_numbers_of_a_sound_are_those_it_was_made_from() -> None:
    numbers = np.concatenate([-3.0 * np.arange(data.N_HARMONICS), -20.0 * np.array(data.MOMENTS_S)])
    sound = data.sound_of(numbers, 60)
    found = data.numbers_of(sound, 60)
    assert sound.shape == (data.RATE,)
    levels = found[: data.N_HARMONICS]
    assert np.abs(np.diff(levels) + 3).max() < 0.2
    assert 10 * np.log10((10 ** (levels / 10)).sum()) == pytest.approx(0, abs=0.01)
    course = found[data.N_HARMONICS + 2 : -1]  # between the fades
    assert np.abs(np.diff(course) - np.diff(numbers[data.N_HARMONICS + 2 : -1])).max() < 1.5


def test_the_gaussian_is_scipys() -> None:
    x = torch.randn(200, 3, dtype=torch.double) @ torch.randn(3, 3, dtype=torch.double)
    model = models.Gaussian(3).double().fit(x)
    expected = scipy.stats.multivariate_normal(x.mean(0), np.cov(x.T.numpy()))
    assert np.allclose(model.log_density(x).detach(), expected.logpdf(x.numpy()), atol=1e-9)


@pytest.mark.parametrize("name", ["autoregression", "normalising flow"])
def test_exact_densities_fill_the_plane_to_one(name: str) -> None:
    cells, area = experiment.grid(160, 8.0)
    with torch.no_grad():
        density = shaken(name, 2).log_density(cells.double()).exp()
    assert float(density.sum() * area) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("n_numbers", [2, 7])
def test_a_number_is_told_by_those_before_it_alone(n_numbers: int) -> None:
    model = shaken("autoregression", n_numbers)
    x = torch.randn(1, n_numbers, dtype=torch.double)
    slopes = torch.autograd.functional.jacobian(
        lambda x: torch.cat([part[0].sum(-1) for part in model.bells(x)[1:]]), x
    )[:, 0]
    for part in slopes.split(n_numbers):
        assert torch.equal(part.triu(), torch.zeros_like(part))
        assert (part.tril(-1) != 0).sum() == n_numbers * (n_numbers - 1) / 2


def test_couplings_can_be_undone_and_know_their_determinant() -> None:
    model = shaken("normalising flow", 5)
    with torch.no_grad():
        way = model.way(6, torch.Generator().manual_seed(1))
        z = x = way[-1].double()
        total = torch.zeros(len(x), dtype=torch.double)
        for layer in model.layers:
            z, log_determinant = layer(z)
            total += log_determinant
        for layer in reversed(model.layers):
            z = layer.inverse(z)
    assert torch.allclose(z, x, atol=1e-9)

    def back(row: torch.Tensor) -> torch.Tensor:
        for layer in model.layers:
            row = layer(row)[0]
        return row

    for row, expected in zip(x, total, strict=True):
        jacobian = torch.autograd.functional.jacobian(back, row[None])[0, :, 0]
        assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(expected), abs=1e-9)


def test_the_density_along_a_flow_is_that_of_a_gaussian_where_the_flow_is_known() -> None:
    """For data N(m, s^2), the velocity and the density are known."""
    m, s = 0.7, 0.4

    def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        t = t[:, None]
        return -(m + ((1 - t) * s**2 - t) / (((1 - t) * s) ** 2 + t**2) * (x - (1 - t) * m))

    x = torch.randn(20, 2, dtype=torch.double)
    times = torch.linspace(0, 1, 201, dtype=torch.double)
    found = models.density_along(field, x, times)
    expected = models.log_normal(x, m, float(np.log(s))).sum(1)
    assert torch.allclose(found, expected, atol=2e-2)


def test_the_noise_for_gaussian_data_is_said_without_a_network() -> None:
    model = models.Diffusion(2, 8)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()
        x = torch.randn(30, 2)
        assert torch.allclose(model.log_density(x), models.log_normal(x).sum(1), atol=0.02)


def test_importance_sampling_lies_above_the_bound_and_is_exact_for_a_linear_decoder() -> None:
    model = models.Vae(2, 8, n_latents=1).double()
    model.decoder = torch.nn.Linear(1, 2).double()
    x = torch.randn(50, 2, dtype=torch.double)
    with torch.no_grad():
        w, b, scale = model.decoder.weight, model.decoder.bias, model.log_scale.exp()
        covariance = w @ w.T + torch.diag(scale**2)
        exact = scipy.stats.multivariate_normal(b.numpy(), covariance.numpy()).logpdf(x.numpy())
        found = model.log_density(x, n_draws=4000).numpy()
        bound = torch.stack([model.bound(x) for _ in range(300)]).mean(0).numpy()
    assert np.abs(found - exact).mean() < 0.05
    assert (bound < found + 0.05).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_model_learns_reaches_all_its_weights_and_makes_rows(name: str) -> None:
    plan = experiment.Plan(16, 12, (1e-3, 1e-3) if name == "GAN" else (1e-3,), batch=32)
    before = models.MODELS[name](2, 16)
    seen = []
    model = experiment.train(
        name,
        plan,
        experiment.point_batches,
        2,
        seed=0,
        look=lambda model, step: seen.append(step),
    )
    assert seen == list(range(1, 13))
    assert all(p.grad is not None and torch.isfinite(p).all() for p in model.parameters())
    assert any(
        not torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True)
    )
    made = model.sample(10, seed=1)
    assert made.shape == (10, 2)
    assert torch.equal(made, model.sample(10, seed=1))
    assert (model.log_density(made) is None) == (name == "GAN")


def test_the_energy_distance_is_scipys_and_0_for_equal_sets_on_average() -> None:
    x, y = torch.randn(60, 1).double(), 0.5 + torch.randn(40, 1).double()
    n, m = len(x), len(y)
    own = [float(torch.cdist(a, a).mean()) for a in (x, y)]
    biased = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    unbiased = biased - own[0] / (n - 1) - own[1] / (m - 1)
    assert models.energy_distance(x, y) == pytest.approx(unbiased, abs=1e-9)
    draws = [models.energy_distance(torch.randn(50, 2), torch.randn(50, 2)) for _ in range(40)]
    assert abs(np.mean(draws)) < 0.01


def test_what_is_not_told_is_hidden_and_said_to_be() -> None:
    told = torch.arange(1.0, 16.0).expand(2, 15)  # two families, pitch, twelve moments
    keep = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    found = experiment.hidden(told, 2, keep)
    assert found[0].tolist() == [1, 2, 0, *range(4, 16), 1, 0, 1]
    assert found[1].tolist() == [0, 0, 3, *[0] * 12, 0, 1, 0]
