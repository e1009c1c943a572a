from __future__ import annotations

import torch

from dl101.nn.discriminators import MultiScaleSTFTDiscriminator, STFTDiscriminator


def test_scores_and_layers_have_the_shapes_of_the_spectrum():
    scores, layers = STFTDiscriminator(256, channels=4)(torch.randn(3, 2000))
    n_frames = 1 + 2000 // 64
    assert [tuple(x.shape) for x in layers] == [
        (3, 4, 129, n_frames),
        (3, 4, 65, n_frames),
        (3, 4, 33, n_frames),
        (3, 4, 17, n_frames),
    ]
    assert scores.shape == (3, 1, 17, n_frames)


def test_one_answer_for_each_window_and_gradients_to_all():
    critic = MultiScaleSTFTDiscriminator((256, 128), channels=3)
    audio = torch.randn(2, 1000, requires_grad=True)
    scores, layers = critic(audio)
    assert len(scores) == len(layers) == 2
    sum(s.square().sum() for s in scores).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters())
    assert torch.isfinite(audio.grad).all()


def test_the_phase_is_seen():
    """Unlike the spectral loss, which takes -x for x."""
    critic, x = STFTDiscriminator(256), torch.randn(1, 2000)
    assert not torch.allclose(critic(x)[0], critic(-x)[0], atol=1e-4)


def test_a_soft_sound_is_seen_too():
    """A hundredth of the amplitude is a quarter of what the first layer sees."""
    critic = STFTDiscriminator(256)
    torch.nn.init.zeros_(critic.layers[0].bias)
    loud = 0.5 * torch.randn(2, 2048, generator=torch.Generator().manual_seed(0))
    first, soft = (critic(x)[1][0].detach() for x in (loud, 0.01 * loud))
    assert 0.9 < float(soft.abs().mean() / (0.01**0.3 * first.abs().mean())) <= 1.001
