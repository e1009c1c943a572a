"""Quantisers against what knows nothing of them: loops, sums by hand, the papers' formulas."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.cluster import KMeans
from torch import nn

from dl101.errors import ConfigError, DataError, ShapeError
from dl101.nn.quantize import (
    FSQ,
    CodebookConfig,
    ResidualVQ,
    VectorQuantizer,
    code_shares,
    nearest_codes,
    perplexity,
    straight_through,
)

STILL = CodebookConfig(start="random", revive_below=0.0)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same_state(module: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(before[key], value) for key, value in module.state_dict().items())


# ---- the nearest code ---------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k", "dim"), [(1, 2, 1), (200, 37, 3), (50, 300, 16)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_the_nearest_code_is_that_of_a_loop(n: int, k: int, dim: int, offset: float) -> None:
    vectors, codebook = randn(n, dim) + offset, randn(k, dim, seed=1) + offset
    for vector, found in zip(vectors.double(), nearest_codes(vectors, codebook), strict=True):
        distances = [float(((vector - code) ** 2).sum()) for code in codebook.double()]
        # far from the origin the inputs themselves are rounded; no other code is clearly nearer
        assert distances[found] <= min(distances) * (1 + 1e-4) + 1e-9


def test_straight_through_has_the_values_of_one_and_the_gradient_of_the_other() -> None:
    x, quantised = (1e4 * randn(50)).requires_grad_(), randn(50, seed=1).requires_grad_()
    out = straight_through(x, quantised)
    assert torch.equal(out, quantised)  # to the last bit, which x + (q - x) is not
    out.backward(randn(50, seed=2))
    assert torch.equal(x.grad, randn(50, seed=2)) and quantised.grad is None


# ---- one codebook -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 11), (2, 3, 4, 5)])
@pytest.mark.parametrize("update", ["averages", "gradient"])
def test_shapes_losses_and_gradients(shape: tuple[int, ...], update: str) -> None:
    config = CodebookConfig(update=update, start="random", commitment=0.4)
    layer = VectorQuantizer(3, 10, config).eval()
    x = randn(*shape).requires_grad_()
    out = layer(x)
    assert out.quantised.shape == x.shape and out.codes.dtype == torch.int64
    assert out.codes.shape == (shape[0], *shape[2:])
    assert torch.equal(out.quantised, layer.decode(out.codes))
    assert torch.equal(out.codes, layer.encode(x))

    difference = (x - out.quantised).detach()
    torch.testing.assert_close(out.commitment, difference.square().mean())
    (gradient,) = torch.autograd.grad(out.commitment, x, retain_graph=True)
    torch.testing.assert_close(gradient, 2 * difference / x.numel())
    if update == "averages":
        assert out.codebook == 0 and not list(layer.parameters())
        torch.testing.assert_close(out.loss, 0.4 * out.commitment)
        return
    torch.testing.assert_close(out.loss, 0.4 * out.commitment + out.codebook)
    (gradient,) = torch.autograd.grad(out.codebook, layer.codebook, retain_graph=True)
    assert torch.autograd.grad(out.codebook, x, allow_unused=True) == (None,)
    vectors, codes = x.detach().movedim(1, -1).reshape(-1, 3), out.codes.flatten()
    for number, codeword in enumerate(layer.codebook.detach()):
        by_hand = (2 * (codeword - vectors[codes == number])).sum(dim=0) / x.numel()
        torch.testing.assert_close(gradient[number], by_hand, atol=1e-6, rtol=1e-5)


def test_averages_by_hand_over_three_steps() -> None:
    config = CodebookConfig(start="random", decay=0.8, revive_below=0.0)
    layer = VectorQuantizer(2, 5, config)
    codebook = layer.codebook.double().numpy().copy()
    n, m = np.ones(5), codebook.copy()
    for step in range(3):
        x = randn(9, 2, seed=step)
        out = layer(x)
        points = x.double().numpy()
        codes = [int(np.argmin([np.sum((p - e) ** 2) for e in codebook])) for p in points]
        assert out.codes.tolist() == codes  # with the codebook from before the step
        np.testing.assert_allclose(out.quantised.numpy(), codebook[codes], rtol=1e-5)
        for number in range(5):
            chosen = [p for p, code in zip(points, codes, strict=True) if code == number]
            n[number] = 0.8 * n[number] + 0.2 * len(chosen)
            m[number] = 0.8 * m[number] + 0.2 * np.sum(chosen, axis=0) * (len(chosen) > 0)
            codebook[number] = m[number] / n[number]
        np.testing.assert_allclose(layer.codebook.numpy(), codebook, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.counts.numpy(), n, rtol=1e-6)
        np.testing.assert_allclose(layer.usage.numpy(), n / n.sum(), rtol=1e-6)


def test_averages_come_to_rest_at_the_means_of_the_cells() -> None:
    torch.manual_seed(0)
    x = randn(400, 2)
    layer = VectorQuantizer(2, 6, CodebookConfig(decay=0.5))
    for _ in range(200):
        codes = layer(x).codes
    for number in range(6):
        expected = x[codes == number].mean(dim=0)
        torch.testing.assert_close(layer.codebook[number], expected, atol=1e-5, rtol=1e-4)
    lloyd = KMeans(6, init=layer.codebook.numpy(), n_init=1).fit(x.numpy())
    np.testing.assert_allclose(lloyd.cluster_centers_, layer.codebook, atol=1e-4)


def test_it_starts_at_vectors_or_at_their_centres() -> None:
    x = randn(300, 2)
    torch.manual_seed(0)
    layer = VectorQuantizer(2, 8, CodebookConfig(start="data", revive_below=0.0, decay=0.0))
    assert not layer.started
    out = layer(x)
    assert layer.started
    assert all(any(torch.equal(q, v) for v in x) for q in out.quantised)
    assert len(out.codes.unique()) == 8
    # with k-means the first output is far better already
    torch.manual_seed(0)
    centres = VectorQuantizer(2, 8, CodebookConfig(start="k-means"))(x)
    assert centres.commitment < 0.8 * out.commitment
    # fewer vectors than codes
    few = VectorQuantizer(2, 64, CodebookConfig(start="k-means"))
    assert few(x[:5]).commitment == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("update", ["averages", "gradient"])
def test_dead_codes_are_revived(update: str) -> None:
    """Codewords far from all vectors: without revival one of them does all the work."""
    x = randn(256, 2)
    used = {}
    for revive_below in (0.0, 0.1):
        torch.manual_seed(0)
        config = CodebookConfig(update, "random", decay=0.9, revive_below=revive_below)
        layer = VectorQuantizer(2, 16, config)
        with torch.no_grad():
            layer.codebook.add_(50.0 + 5 * randn(16, 2, seed=2))
            if update == "averages":
                layer.sums.copy_(layer.codebook)
        for _ in range(60):
            layer(x)
        layer.eval()
        used[revive_below] = perplexity(code_shares(layer(x).codes, 16)).item()
    assert used[0.0] < 3 and used[0.1] > 10


def test_revived_codes_are_vectors_of_the_batch_with_an_even_share() -> None:
    torch.manual_seed(0)
    layer = VectorQuantizer(2, 4, CodebookConfig(start="random", decay=0.0, revive_below=0.5))
    with torch.no_grad():
        layer.codebook.copy_(torch.tensor([[0.0, 0], [1, 0], [99, 0], [99, 9]]))
    x = torch.cat([0.1 * randn(30, 2), torch.tensor([1.0, 0]) + 0.1 * randn(34, 2, seed=1)])
    codes = layer(x).codes
    assert set(codes.tolist()) == {0, 1}
    for number in (2, 3):
        assert any(torch.equal(layer.codebook[number], vector) for vector in x)
    torch.testing.assert_close(layer.counts[2:], torch.full((2,), 64 / 4))
    torch.testing.assert_close(layer.sums, layer.counts[:, None] * layer.codebook)
    torch.testing.assert_close(layer.codebook[0], x[codes == 0].mean(dim=0))


def test_items_that_do_not_count_teach_nothing() -> None:
    x, active = randn(6, 2, 5), torch.tensor([True, False, True, True, False, True])
    torch.manual_seed(0)
    layer = VectorQuantizer(2, 4, CodebookConfig(start="data"))
    alone = copy.deepcopy(layer)
    torch.manual_seed(1)
    out = layer(x, active)
    torch.manual_seed(1)
    expected = alone(x[active])
    assert torch.equal(out.codes[active], expected.codes) and (out.codes[~active] == -1).all()
    assert torch.equal(out.quantised[active], expected.quantised)
    assert (out.quantised[~active] == 0).all()
    torch.testing.assert_close(out.commitment, expected.commitment)
    assert same_state(layer, state(alone))
    before = state(layer)
    nothing = layer(x, torch.zeros(6, dtype=torch.bool))
    assert nothing.commitment == 0 and same_state(layer, before)


def test_shares_and_perplexity() -> None:
    codes = torch.tensor([[0, 1, 1], [3, -1, 1]])
    shares = code_shares(codes, 5)
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.6, 0, 0.2, 0], dtype=torch.float64))
    entropy = -(0.2 * math.log(0.2) * 2 + 0.6 * math.log(0.6))
    assert perplexity(shares).item() == pytest.approx(math.exp(entropy))
    assert perplexity(torch.full((64,), 1 / 64)).item() == pytest.approx(64)
    assert perplexity(code_shares(torch.zeros(9, dtype=torch.long), 64)).item() == 1
    with pytest.raises(DataError, match="code 3"):
        code_shares(codes, 3)
    with pytest.raises(DataError, match="no code"):
        code_shares(torch.full((3,), -1), 3)


# ---- residual stages ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 4), (8, 4, 9)])
def test_residual_algebra(shape: tuple[int, ...]) -> None:
    layer = ResidualVQ(4, 6, 5, config=STILL).eval()
    x = randn(*shape)
    out = layer(x)
    assert out.codes.shape == (shape[0], 5, *shape[2:])
    vectors = x.movedim(1, -1).reshape(-1, 4).double()
    codes = out.codes.movedim(1, -1).reshape(-1, 5)
    total, residual, lost = torch.zeros_like(vectors), vectors.clone(), []
    for number, stage in enumerate(layer.stages):
        codebook = stage.codebook.double()
        nearest = torch.cdist(residual, codebook).argmin(dim=1)
        assert torch.equal(nearest, codes[:, number])
        total, residual = total + codebook[nearest], residual - codebook[nearest]
        lost.append(residual.square().mean())
        k = layer(x, number + 1)
        torch.testing.assert_close(
            k.quantised.movedim(1, -1).reshape(-1, 4), total.float(), rtol=1e-5, atol=1e-5
        )
        assert torch.equal(k.codes[:, : number + 1], out.codes[:, : number + 1])
        assert (k.codes[:, number + 1 :] == -1).all()
    torch.testing.assert_close(total + residual, vectors)
    torch.testing.assert_close(out.commitment, torch.stack(lost).float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.loss, 0.25 * out.commitment.mean())


def test_decoding_any_number_of_stages_is_what_was_put_out() -> None:
    torch.manual_seed(0)
    layer = ResidualVQ(4, 6, 5)
    for step in range(5):
        layer(randn(16, 4, 7, seed=step))
    layer.eval()
    x = randn(3, 4, 7, seed=9)
    codes = layer.encode(x)
    assert torch.equal(codes, layer(x).codes)
    assert torch.equal(layer.decode(codes), layer(x).quantised)
    for k in range(1, 6):
        out = layer(x, k)
        assert torch.equal(layer.encode(x, k), codes[:, :k])
        assert torch.equal(layer.decode(codes[:, :k]), out.quantised)
        assert torch.equal(layer.decode(out.codes), out.quantised)  # with -1 for what is left out


@pytest.mark.parametrize("update", ["averages", "gradient"])
def test_a_gradient_from_every_stage_reaches_the_encoder(update: str) -> None:
    torch.manual_seed(0)
    layer = ResidualVQ(4, 8, 6, config=CodebookConfig(update, "data"))
    encoder = nn.Linear(5, 4)
    out = layer(encoder(randn(64, 5)))
    for commitment in out.commitment:
        (gradient,) = torch.autograd.grad(commitment, encoder.weight, retain_graph=True)
        assert gradient.abs().max() > 1e-6
    if update == "gradient":
        out.loss.backward()
        for stage in layer.stages:
            assert stage.codebook.grad.abs().max() > 1e-6


def test_the_gradient_of_the_output_is_that_of_the_input_once() -> None:
    layer = ResidualVQ(4, 8, 6)
    x = randn(20, 4).requires_grad_()
    layer(x).quantised.backward(randn(20, 4, seed=1))
    assert torch.equal(x.grad, randn(20, 4, seed=1))


def test_quantiser_dropout_draws_stages_for_each_item() -> None:
    torch.manual_seed(0)
    layer = ResidualVQ(2, 4, 4, dropout=0.5)
    x = randn(4000, 2, 3)
    out = layer(x)
    used = (out.codes >= 0).sum(dim=1)
    assert (used == used[:, :1]).all(), "one draw for the whole item"
    assert ((out.codes >= 0).int().diff(dim=1) <= 0).all(), "the first stages, never others"
    shares = torch.bincount(used[:, 0], minlength=5) / 4000
    expected = torch.tensor([0, 1 / 8, 1 / 8, 1 / 8, 5 / 8])
    torch.testing.assert_close(shares, expected, atol=0.03, rtol=0.0)
    for k in (1, 2, 3):
        few = used[:, 0] == k
        fresh = copy.deepcopy(layer).eval()
        assert fresh(x[few], k).quantised.shape == x[few].shape
    # what is left out does not teach: the last stage has seen its own items only
    assert layer.stages[3].counts.sum() == pytest.approx(
        0.99 * 4 + 0.01 * 3 * int((used[:, 0] == 4).sum()), rel=0.05
    )
    layer.eval()
    assert (layer(x).codes >= 0).all()
    never = ResidualVQ(2, 4, 4)
    assert (never(x).codes >= 0).all()


def test_dropped_stages_give_what_fewer_stages_give() -> None:
    torch.manual_seed(0)
    config = CodebookConfig(decay=0.999999, revive_below=0.0)
    layer = ResidualVQ(2, 4, 4, dropout=1.0, config=config)
    x = randn(64, 2, 3)
    layer(x)
    before = copy.deepcopy(layer).eval()
    out = layer(x)
    assert torch.equal(out.quantised, before.decode(out.codes))


# ---- FSQ ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [(5,), (7, 3), (5, 5, 5)])
def test_odd_levels_are_the_formula_of_the_paper(levels: tuple[int, ...]) -> None:
    """Section 3: z -> floor(L / 2) tanh(z), rounded; scaled to -1 ... 1 (appendix A.1)."""
    x = 3 * randn(2000, len(levels)).double()
    half = torch.tensor([level // 2 for level in levels])
    bounded = half * torch.tanh(x)
    clear = ((bounded - bounded.floor() - 0.5).abs() > 2e-3).all(dim=1)  # the library's hair
    expected = torch.round(bounded) / half
    out = FSQ(levels)(x)
    assert torch.equal(out.quantised[clear], expected[clear])
    digits = (torch.round(bounded) + half).long()
    codes = sum(digits[:, i] * math.prod(levels[:i]) for i in range(len(levels)))
    assert torch.equal(out.codes[clear], codes[clear])


@pytest.mark.parametrize("levels", [(8, 6, 5), (2, 3), (4, 4), (8, 5, 5, 5)])
def test_levels_are_all_reached_and_zero_is_zero(levels: tuple[int, ...]) -> None:
    layer = FSQ(levels)
    line = torch.linspace(-12, 12, 4801).double()
    values = layer(line[:, None].expand(-1, len(levels))).quantised
    for number, level in enumerate(levels):
        expected = (torch.arange(level).double() - level // 2) / (level // 2)
        assert torch.equal(values[:, number].unique(), expected)
        assert (values[:, number].diff() >= 0).all()
    assert torch.equal(layer(torch.zeros(1, len(levels))).quantised, torch.zeros(1, len(levels)))
    assert layer.n_codes == math.prod(levels)
    assert layer.n_bits == pytest.approx(sum(math.log2(level) for level in levels))
    every = torch.arange(layer.n_codes)
    decoded = layer.decode(every)
    assert len(decoded.unique(dim=0)) == layer.n_codes
    x = torch.atanh(0.999 * decoded.double())
    if all(level % 2 for level in levels):
        assert torch.equal(layer.encode(x), every)


def test_fsq_shapes_and_the_gradient_of_its_bound() -> None:
    layer = FSQ((8, 5, 3))
    x = randn(4, 3, 6).double().requires_grad_()
    out = layer(x)
    assert out.codes.shape == (4, 6) and out.quantised.shape == x.shape and out.loss == 0
    assert torch.equal(layer.decode(out.codes), out.quantised.float())
    assert not list(layer.parameters())
    out.quantised.sum().backward()
    for number, level in enumerate((8, 5, 3)):
        half, move = (level - 1) / 2 + 1e-3, 0.0 if level % 2 else 0.5
        slope = half / (level // 2) / torch.cosh(x[:, number] + math.atanh(move / half)) ** 2
        torch.testing.assert_close(x.grad[:, number], slope.detach())


# ---- what they all promise ----------------------------------------------------------------------


def every() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "averages": VectorQuantizer(3, 8),
        "gradient": VectorQuantizer(3, 8, CodebookConfig(update="gradient")),
        "rvq": ResidualVQ(3, 8, 3, dropout=0.5),
        "rvq, gradient": ResidualVQ(3, 8, 3, config=CodebookConfig(update="gradient")),
        "fsq": FSQ((8, 5, 5)),
    }


@pytest.mark.parametrize("name", list(every()))
def test_evaluation_changes_nothing(name: str) -> None:
    layer = every()[name]
    layer.eval()
    before = state(layer)
    first = layer(randn(5, 3, 4))
    assert same_state(layer, before), "not even the start at the first batch"
    layer.train()
    layer(randn(50, 3, 4))
    layer.eval()
    before = state(layer)
    first, second = layer(randn(5, 3, 4)), layer(randn(5, 3, 4))
    assert torch.equal(first.quantised, second.quantised) and same_state(layer, before)
    assert torch.equal(layer.decode(first.codes), first.quantised)
    assert torch.equal(layer.encode(randn(5, 3, 4)), first.codes)


@pytest.mark.parametrize("name", [name for name in every() if name != "fsq"])
def test_a_checkpoint_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    layer = every()[name]
    for step in range(4):
        layer(randn(40, 3, 4, seed=step))
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    again = every()[name]
    again.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    for step in range(4, 8):
        results = []
        for each in (layer, again):
            torch.manual_seed(step)
            results.append(each(randn(40, 3, 4, seed=step)))
        assert torch.equal(results[0].codes, results[1].codes)
        assert torch.equal(results[0].quantised, results[1].quantised)
    assert same_state(again, state(layer))


@pytest.mark.parametrize("name", list(every()))
def test_all_that_is_kept_moves_with_the_module(name: str) -> None:
    """On the meta device nothing can be mixed with what stayed behind."""
    layer = every()[name]
    layer(randn(40, 3, 4))
    held = {id(t) for t in (*layer.parameters(), *layer.buffers())}
    for module in layer.modules():
        strays = [v for v in vars(module).values() if isinstance(v, torch.Tensor)]
        assert not [t for t in strays if id(t) not in held]
    moved = layer.to("meta").eval()
    assert moved(torch.zeros(2, 3, 4, device="meta")).quantised.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", list(every()))
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    layer, x = every()[name], randn(40, 3, 4)
    layer(x)
    layer.eval()
    full = layer(x)
    with torch.autocast("cpu", dtype=dtype):
        inside = layer(x)
    assert torch.equal(full.codes, inside.codes), "autocast lowers no distance"
    assert torch.equal(full.quantised, inside.quantised)
    given = layer(x.to(dtype))
    assert given.quantised.dtype == dtype
    assert (given.codes == full.codes).float().mean() > 0.9
    halved = copy.deepcopy(layer).to(dtype).train()
    out = halved(x.to(dtype))
    assert torch.isfinite(out.quantised).all() and torch.isfinite(out.loss)
    halved.eval()
    out = halved(x.to(dtype))
    assert torch.equal(halved.decode(out.codes).to(dtype), out.quantised)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ShapeError, match=r"\(batch, 3, \.\.\.\)"):
        VectorQuantizer(3, 8)(randn(5, 4))
    with pytest.raises(ShapeError):
        ResidualVQ(3, 8, 2)(randn(5, 4, 3))
    with pytest.raises(ShapeError):
        FSQ((5, 5))(randn(5))
    with pytest.raises(ConfigError, match="at least two codes"):
        VectorQuantizer(3, 1)
    with pytest.raises(ConfigError):
        CodebookConfig(update="averages of some kind")
    with pytest.raises(ConfigError, match="share from 0 to 1"):
        ResidualVQ(3, 8, 2, dropout=1.5)
    with pytest.raises(ConfigError, match="1 to 2"):
        ResidualVQ(3, 8, 2)(randn(5, 3), 3)
    with pytest.raises(ConfigError, match="whole number from 2"):
        FSQ((5, 1))
    with pytest.raises(ConfigError):
        FSQ(())
    with pytest.raises(DataError, match="0 to 7"):
        VectorQuantizer(3, 8).decode(torch.tensor([8]))
    with pytest.raises(DataError):
        FSQ((5, 5)).decode(torch.tensor([[25]]))
    with pytest.raises(ShapeError, match="1 to 2 stages"):
        ResidualVQ(3, 8, 2).decode(torch.zeros(1, 3, 4, dtype=torch.long))
