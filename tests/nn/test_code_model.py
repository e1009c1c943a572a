"""Patterns and their inverses, sampling, and the language model of codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.errors import ConfigError, ShapeError
from dl101.nn import code_patterns, sampling
from dl101.nn.code_model import CodeModel
from dl101.nn.code_patterns import PATTERNS, from_grid, in_a_row, steps_of, to_grid
from dl101.nn.decoder_transformer import DecoderConfig
from dl101.nn.sampling import SamplingConfig

# ---- patterns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("stages", "frames"), [(1, 1), (1, 7), (4, 1), (4, 9), (3, 2)])
def test_patterns_have_exact_inverses(pattern, stages, frames):
    codes = torch.randint(0, 50, (3, stages, frames), generator=torch.Generator().manual_seed(0))
    grid = to_grid(codes, pattern, 50)
    assert int((grid != 50).sum()) == codes.numel()
    assert torch.equal(from_grid(grid, pattern, frames), codes)


def test_grids_by_hand():
    codes = torch.tensor([[[1, 2, 3], [11, 12, 13]]])
    flattened = [[1, 0, 2, 0, 3, 0], [0, 11, 0, 12, 0, 13]]
    assert to_grid(codes, "flattened", 0)[0].tolist() == flattened
    assert to_grid(codes, "delayed", 0)[0].tolist() == [[1, 2, 3, 0], [0, 11, 12, 13]]
    assert to_grid(codes, "parallel", 0)[0].tolist() == codes[0].tolist()
    assert in_a_row(codes, 100).tolist() == [[1, 111, 2, 112, 3, 113]]


@pytest.mark.parametrize("pattern", ["flattened", "delayed"])
def test_of_a_frame_each_stage_comes_after_those_before_it(pattern):
    steps = steps_of(pattern, 4, 6)
    assert (steps.diff(dim=0) > 0).all() and (steps.diff(dim=1) > 0).all()


def test_what_is_no_grid_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'delayed'"):
        steps_of("delaid", 2, 3)
    with pytest.raises(ShapeError, match="8 for 5 frames"):
        from_grid(torch.zeros(1, 4, 5, dtype=torch.long), "delayed", 5)
    with pytest.raises(ShapeError, match="batch axis"):
        to_grid(torch.zeros(4, 5, dtype=torch.long), "delayed", 9)


# ---- sampling ----------------------------------------------------------------------------------


def test_the_nucleus_has_the_token_that_crosses_the_threshold():
    logits = torch.tensor([[0.1, 0.5, 0.05, 0.35]]).log()

    def kept(p: float) -> list[int]:
        return sampling.keep_nucleus(logits, p)[0].isfinite().nonzero().flatten().tolist()

    assert kept(0.01) == [1]
    assert kept(0.49) == [1]
    assert kept(0.6) == [1, 3]  # 0.5 is not enough
    assert kept(0.9) == [0, 1, 3]
    assert kept(1.0) == [0, 1, 2, 3]


@pytest.mark.parametrize("p", [0.05, 0.3, 0.8, 0.99])
def test_the_nucleus_is_the_smallest_set_that_is_enough(p):
    logits = torch.randn(50, 12, generator=torch.Generator().manual_seed(1)) * 2
    probabilities = logits.softmax(-1)
    kept = sampling.keep_nucleus(logits, p).isfinite()
    assert ((probabilities * kept).sum(-1) >= p - 1e-6).all()
    smallest = probabilities.masked_fill(~kept, 2.0).amin(-1)
    assert ((probabilities * kept).sum(-1) - smallest < p).all()
    assert (probabilities.masked_fill(kept, 0.0).amax(-1) <= smallest).all()


def test_top_k_and_temperature():
    logits = torch.tensor([[1.0, 3.0, 2.0, 3.0]])
    assert sampling.keep_top_k(logits, 2).isfinite().tolist() == [[False, True, False, True]]
    assert sampling.keep_top_k(logits, 0) is logits
    assert sampling.keep_top_k(torch.zeros(1, 5), 2).isfinite().sum() == 2  # of equal ones
    cold = sampling.probabilities_of(logits, SamplingConfig(temperature=0.5))
    torch.testing.assert_close(cold, (2 * logits).softmax(-1))
    greedy = sampling.probabilities_of(logits, SamplingConfig(temperature=0.0))
    assert greedy.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_draws_have_the_probabilities_asked_for():
    logits = torch.tensor([0.5, 0.0, 0.3, 0.2]).log()
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = sampling.draw(logits.expand(20_000, -1), SamplingConfig(), uniform)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    torch.testing.assert_close(shares, logits.exp(), atol=0.012, rtol=0)
    assert shares[1] == 0
    edges = sampling.draw(logits.expand(2, -1), SamplingConfig(), torch.tensor([0.0, 1 - 2**-24]))
    assert edges.tolist() == [0, 3]
    only = sampling.draw(torch.tensor([[-torch.inf, 0.0, -torch.inf]]), SamplingConfig(), edges[:1])
    assert only.tolist() == [1]


# ---- the model ---------------------------------------------------------------------------------

CONFIG = DecoderConfig(width=16, depth=2, heads=2, head_width=8, hidden=24)


def model_of(pattern: str, config: DecoderConfig = CONFIG) -> CodeModel:
    torch.manual_seed(0)
    model = CodeModel(config, 3, 10, pattern, conditions=(5, 2)).eval()
    with torch.no_grad():  # as sure of itself as a trained one
        model.tables.mul_(10)
    return model


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_code_is_told_from_those_of_earlier_steps_alone(pattern):
    """Changing one code changes the logits of later steps, and of no other."""
    model, steps = model_of(pattern), steps_of(pattern, 3, 6)
    codes = torch.randint(0, 10, (1, 3, 6), generator=torch.Generator().manual_seed(0))
    other = codes.clone()
    stage, frame = 1, 2
    other[0, stage, frame] = (codes[0, stage, frame] + 1) % 10
    conditions = torch.tensor([[1, 1]])
    with torch.no_grad():
        change = (model(codes, conditions) - model(other, conditions)).abs().amax(-1)[0]
    assert torch.equal(change > 1e-6, steps > steps[stage, frame])


def test_the_start_is_no_code_and_conditions_count():
    model = model_of("delayed")
    codes = torch.zeros(1, 3, 4, dtype=torch.long)
    told = torch.tensor([[1, 1]])
    with torch.no_grad():
        first = model(codes, told)[0, 0, 0]
        model.tables[0, 0] += 1.0  # code 0 of the first stage, that would be the start otherwise
        assert torch.equal(model(codes, told)[0, 0, 0][1:], first[1:])
        for other in ([2, 1], [1, 2], [0, 1], [0, 0]):
            assert not torch.allclose(model(codes, torch.tensor([other]))[0, 0, 0][1:], first[1:])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_cached_and_naive_generation_are_equal(pattern, guidance):
    model = model_of(pattern, DecoderConfig(**{**CONFIG.__dict__, "window": 9}))
    conditions = torch.tensor([[0, 0], [3, 1], [5, 2]])
    uniform = torch.rand(3, 3, 8, generator=torch.Generator().manual_seed(0))
    draws = [
        model.generate(conditions, 8, uniform, guidance=guidance, cached=cached)
        for cached in (True, False)
    ]
    assert torch.equal(*draws)
    assert draws[0].shape == (3, 3, 8) and draws[0].max() < 10 and len(draws[0].unique()) > 5
    alone = model.generate(conditions[1:2], 8, uniform[1:2], guidance=guidance)
    assert torch.equal(alone[0], draws[0][1])  # whatever else is in the batch


@pytest.mark.parametrize("pattern", PATTERNS)
def test_greedy_generation_takes_what_forward_says(pattern):
    model, conditions = model_of(pattern), torch.tensor([[2, 1]])
    greedy = SamplingConfig(temperature=0.0)
    codes = model.generate(conditions, 5, torch.zeros(1, 3, 5), greedy)
    with torch.no_grad():
        assert torch.equal(model(codes, conditions).argmax(-1), codes)


def test_guidance_moves_logits_away_from_the_untold():
    model = model_of("flattened")
    conditions, start = torch.tensor([[2, 1]]), torch.zeros(1, 3, 1, dtype=torch.long)
    with torch.no_grad():
        told = model(start, conditions)[0, 0, 0]
        untold = model(start, torch.zeros_like(conditions))[0, 0, 0]
    probabilities = (untold + 3.0 * (told - untold)).softmax(-1)
    uniform = torch.rand(4000, 3, 1, generator=torch.Generator().manual_seed(0))
    drawn = model.generate(conditions.expand(4000, -1), 1, uniform, guidance=3.0)[:, 0, 0]
    shares = torch.bincount(drawn, minlength=10) / 4000
    np.testing.assert_allclose(shares, probabilities, atol=0.03)


def test_every_parameter_learns():
    model = CodeModel(CONFIG, 3, 10, "delayed", conditions=(5, 2))
    codes = torch.randint(0, 10, (4, 3, 6))
    model(codes, torch.tensor([[1, 1], [0, 0], [5, 2], [3, 0]])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert code_patterns.n_steps_of("delayed", 3, 6) == 8
