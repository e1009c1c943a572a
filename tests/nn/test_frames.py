"""Codes at two clocks, priors of codes, and a gradient that comes back reversed."""

from __future__ import annotations

import pytest
import torch

from dl101.errors import ConfigError, ShapeError
from dl101.nn.frames import CodePrior, Translator, TwoClockVQ, reverse_gradient


def network(**options: int) -> TwoClockVQ:
    """Return a small auto-encoder of frames of 12 bins."""
    torch.manual_seed(0)
    return TwoClockVQ(12, 8, channels=16, dim=6, **options)


@pytest.mark.parametrize(("coarse", "fine"), [(8, 2), (4, 1), (4, 4), (2, 0), (1, 0)])
def test_each_level_has_its_own_clock_and_codes_are_all_that_is_sent(
    coarse: int, fine: int
) -> None:
    vq = network(coarse_stride=coarse, fine_stride=fine)
    x = torch.rand(3, 12, 16)
    vq(x)  # the codebooks begin
    vq.eval()
    out = vq(x)
    assert out.frames.shape == x.shape
    assert out.coarse.shape == (3, 16 // coarse)
    assert (out.fine is None) if fine == 0 else (out.fine.shape == (3, 16 // fine))
    torch.testing.assert_close(vq.decode(out.coarse, out.fine), out.frames)


def test_without_fine_codes_the_coarse_ones_alone_decide() -> None:
    vq = network(coarse_stride=4, fine_stride=1)
    x = torch.rand(2, 12, 16)
    vq(x)
    vq.eval()
    out = vq(x)
    alone = vq.decode(out.coarse)
    assert not torch.allclose(alone, out.frames)
    torch.testing.assert_close(vq.decode(out.coarse, torch.full_like(out.fine, -1)), alone)
    vq.train()
    vq.drop_fine = 1.0
    assert int(vq(x).fine.max()) == -1


def test_lengths_and_strides_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="multiple of 8"):
        network(coarse_stride=8, fine_stride=2)(torch.rand(1, 12, 12))
    with pytest.raises(ConfigError, match="multiple of the fine"):
        network(coarse_stride=4, fine_stride=3)


def test_a_prior_sees_no_code_to_come_but_all_slower_ones() -> None:
    torch.manual_seed(0)
    prior = CodePrior(8, 8, width=16)
    codes, told = torch.randint(8, (2, 12)), torch.randint(8, (2, 3))
    logits = prior(codes, told)
    later = codes.clone()
    later[:, 5:] = (later[:, 5:] + 1) % 8
    torch.testing.assert_close(prior(later, told)[:, :6], logits[:, :6])
    assert not torch.allclose(prior(later, told)[:, 6:], logits[:, 6:])
    other = told.clone()
    other[:, -1] = (other[:, -1] + 1) % 8
    assert not torch.allclose(prior(codes, other)[:, 0], logits[:, 0])


def test_codes_are_drawn_with_the_probabilities_of_the_model() -> None:
    torch.manual_seed(1)
    prior = CodePrior(4, 4, width=8)
    with torch.no_grad():
        prior.logits.weight.mul_(6)
    told = torch.tensor([[2, 1]]).expand(4000, -1)
    drawn = prior.sample(4000, 2, told, seed=3)
    with torch.no_grad():
        first = prior(drawn[:1], told[:1])[0, 0].softmax(0)
        ones = drawn[:, 0] == first.argmax()
        second = prior(drawn[ones][:1], told[:1])[0, 1].softmax(0)
    seen = torch.bincount(drawn[:, 0], minlength=4) / 4000
    torch.testing.assert_close(seen, first, atol=0.03, rtol=0)
    seen = torch.bincount(drawn[ones][:, 1], minlength=4) / int(ones.sum())
    torch.testing.assert_close(seen, second, atol=0.05, rtol=0)
    assert torch.equal(prior.sample(5, 2, told[:5], seed=3), prior.sample(5, 2, told[:5], seed=3))


def test_the_gradient_comes_back_reversed_and_weighted() -> None:
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    y = reverse_gradient(x, 0.4)
    assert torch.equal(y, x)
    (y**3).sum().backward()
    torch.testing.assert_close(x.grad, -0.4 * 3 * x.detach() ** 2)


def test_confusion_moves_the_classifier_one_way_and_the_encoder_the_other() -> None:
    torch.manual_seed(0)
    net = Translator(12, channels=16, dim=4).double()
    x = torch.rand(3, 12, 10, dtype=torch.float64)

    def gradients(weight: float | None) -> tuple[torch.Tensor, torch.Tensor]:
        net.zero_grad()
        latents = net.encode(x)
        if weight is None:  # a classifier that the encoder wants to help
            wanted = torch.ones(3, 10, dtype=torch.long)
            torch.nn.functional.cross_entropy(net.classifier(latents), wanted).backward()
        else:
            net.confusion(latents, 1, weight).backward()
        return net.encoder[0].weight.grad.clone(), net.classifier[0].weight.grad.clone()

    helping, reversed_, nothing = (gradients(weight) for weight in (None, 0.5, 0.0))
    torch.testing.assert_close(reversed_[0], -0.5 * helping[0])
    torch.testing.assert_close(reversed_[1], helping[1])
    assert nothing[0].abs().max() == 0
    assert net(x, 0).shape == x.shape
    assert not torch.allclose(net(x, 0), net(x, 1))
