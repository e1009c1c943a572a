"""Attribution: closed forms, completeness, and what must change when weights do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn import attribution
from dl101.nn.decoder_transformer import Decoder, DecoderConfig


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 6 * 5, 3),
    ).eval()


def inputs(n: int = 2) -> Tensor:
    return torch.randn(n, 1, 6, 5, generator=torch.Generator().manual_seed(1))


def test_gradients_of_a_quadratic_form_are_its_closed_form() -> None:
    weights = torch.randn(4, 4)
    x, reference = torch.randn(3, 4), torch.randn(3, 4)

    def score(x: Tensor) -> Tensor:
        return torch.einsum("bi,ij,bj->b", x, weights, x)

    both = weights + weights.T
    torch.testing.assert_close(attribution.gradient(score, x), x @ both)
    torch.testing.assert_close(attribution.saliency(score, x), (x @ both).abs())
    found = attribution.gradient_times_input(score, x, reference)
    torch.testing.assert_close(found, (x @ both) * (x - reference))
    # of a quadratic form the slope in the middle is the mean slope: one step is exact
    found = attribution.integrated_gradients(score, x, reference, n_steps=1)
    torch.testing.assert_close(found, ((x + reference) / 2 @ both) * (x - reference))
    torch.testing.assert_close(found.sum(1), score(x) - score(reference), rtol=1e-4, atol=1e-4)


def test_integrated_gradients_are_complete_and_better_with_steps() -> None:
    net, x = network(), inputs()
    net.double()

    def score(x: Tensor) -> Tensor:
        return net(x)[:, 1]

    x, reference = x.double(), torch.full((2, 1, 6, 5), 0.3).double()
    gaps = []
    for n_steps in (4, 400):
        found = attribution.integrated_gradients(score, x, reference, n_steps=n_steps)
        with torch.no_grad():
            gained = score(x) - score(reference)
        gaps.append(float((found.sum(dim=(1, 2, 3)) - gained).abs().max()))
    assert gaps[1] < 1e-2 and gaps[1] < gaps[0]


def test_a_score_is_one_number_an_item() -> None:
    with pytest.raises(ShapeError, match="one number for each of 2 items"):
        attribution.gradient(network(), inputs())


def test_guided_backpropagation_lets_positive_slopes_pass_only() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    x = torch.randn(4, 3)

    def score(x: Tensor) -> Tensor:
        return net(x)[:, 0]

    open_ = (net[0](x) > 0).float()
    expected = (open_ * net[2].weight[0].clamp(min=0)) @ net[0].weight
    with attribution.guided(net):
        torch.testing.assert_close(attribution.gradient(score, x), expected)
    torch.testing.assert_close(  # afterwards it is a slope again
        attribution.gradient(score, x), (open_ * net[2].weight[0]) @ net[0].weight
    )
    with pytest.raises(ConfigError, match=r"without nn\.ReLU"), attribution.guided(nn.Linear(2, 2)):
        pass


@pytest.mark.parametrize(("size", "step"), [((2, 3), (1, 1)), ((4, 2), (3, 2)), ((9, 9), None)])
def test_occlusion_is_the_mean_over_the_tiles_of_a_cell(size, step) -> None:
    net, x = network(), inputs(1)

    def score(x: Tensor) -> Tensor:
        return net(x)[:, 2]

    found = attribution.occlusion(score, x, size, step, 0.5)
    rows, columns = min(size[0], 6), min(size[1], 5)
    steps = step or (rows // 2, columns // 2)
    starts = [
        sorted({*range(0, n - extent + 1, move), n - extent})
        for n, extent, move in ((6, rows, steps[0]), (5, columns, steps[1]))
    ]
    falls: dict[tuple[int, int], list[float]] = {}
    with torch.no_grad():
        for r in starts[0]:
            for c in starts[1]:
                covered = x.clone()
                covered[..., r : r + rows, c : c + columns] = 0.5
                fall = float(score(x) - score(covered))
                for i in range(r, r + rows):
                    for j in range(c, c + columns):
                        falls.setdefault((i, j), []).append(fall)
    expected = [[sum(v) / len(v) for v in (falls[i, j] for j in range(5))] for i in range(6)]
    torch.testing.assert_close(found[0, 0], torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_curves_take_away_what_matters_most_first() -> None:
    x = torch.tensor([[3.0, 1.0, 2.0, 4.0]])

    def score(x: Tensor) -> Tensor:
        return x.sum(dim=1)

    shares = (0.0, 0.25, 0.5, 1.0)
    taken = attribution.perturbation_curve(score, x, x, shares, 0.0)
    kept = attribution.perturbation_curve(score, x, x, shares, 0.0, keep=True)
    assert taken.tolist() == [10, 6, 3, 0]
    assert kept.tolist() == [0, 4, 7, 10]


def test_only_the_last_layers_are_drawn_anew() -> None:
    net = network()
    net[1].running_mean.fill_(2.0)
    net[4].running_var.fill_(3.0)
    before = copy.deepcopy(net.state_dict())
    assert attribution.weighted_layers(net) == ["0", "3", "7"]
    twin = attribution.randomised(net, 2, inputs(8), seed=3).state_dict()
    same = {name for name in before if torch.equal(before[name], twin[name])}
    assert {"0.weight", "0.bias", "1.running_mean"} <= same
    assert not {"3.weight", "3.bias", "7.weight", "7.bias", "4.running_var"} & same
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    again = attribution.randomised(net, 2, inputs(8), seed=3).state_dict()
    other = attribution.randomised(net, 2, inputs(8), seed=4).state_dict()
    assert torch.equal(again["3.weight"], twin["3.weight"])
    assert not torch.equal(other["3.weight"], twin["3.weight"])
    untouched = attribution.randomised(net, 0).state_dict()
    assert all(torch.equal(before[name], value) for name, value in untouched.items())


def test_new_normalisations_are_measured() -> None:
    net, x = network(), inputs(64)
    twin = attribution.randomised(net, 3, x)
    seen = twin[:2](x)
    torch.testing.assert_close(seen.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    assert not twin.training and twin[1].momentum == 0.1


CONFIG = DecoderConfig(width=12, depth=2, heads=2, head_width=4, hidden=16)


def test_attention_written_out_gives_what_the_decoder_gives() -> None:
    torch.manual_seed(0)
    decoder, x = Decoder(CONFIG).eval(), torch.randn(3, 7, 12)
    output, weights = attribution.attended(decoder, x)
    torch.testing.assert_close(output, decoder(x), rtol=1e-5, atol=1e-5)
    assert [tuple(weight.shape) for weight in weights] == [(3, 2, 7, 7)] * 2
    for weight in weights:
        torch.testing.assert_close(weight.sum(-1), torch.ones(3, 2, 7))
        assert not weight.triu(1).any()
    flow = attribution.rollout(weights)
    torch.testing.assert_close(flow.sum(-1), torch.ones(3, 7))


def test_what_is_blocked_has_no_influence() -> None:
    torch.manual_seed(0)
    decoder, x = Decoder(CONFIG).eval(), torch.randn(1, 7, 12)
    blocked = torch.zeros(1, 7, 7, dtype=torch.bool)
    blocked[0, 3:, 2] = True  # nobody later sees position 2
    changed = x.clone()
    changed[0, 2] += torch.randn(12)
    before, after = (attribution.attended(decoder, each, blocked)[0] for each in (x, changed))
    torch.testing.assert_close(before[:, 3:], after[:, 3:])
    assert not torch.allclose(before[:, 2], after[:, 2])
