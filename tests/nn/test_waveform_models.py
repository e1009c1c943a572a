"""WaveNet and SampleRNN: causal, as long as told, and the same whether queued or not."""

import pytest
import torch

from dl101.errors import ConfigError
from dl101.nn.inspection import receptive_field
from dl101.nn.sampling import SamplingConfig
from dl101.nn.waveform_models import (
    SampleRNN,
    WaveNet,
    before,
    bits_per_sample,
    embedding_of_codes,
)

MODELS = {
    "wavenet": lambda **options: WaveNet(16, channels=5, dilations=(1, 2, 4, 1, 2), **options),
    "sample_rnn": lambda **options: SampleRNN(16, frames=(8, 4), hidden=6, channels=3, **options),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param](condition=3).double()


def random_codes(n=24):
    torch.manual_seed(1)
    return torch.randint(0, 16, (2, n)), torch.randn(2, 3, dtype=torch.float64)


def test_what_comes_before_is_silent_at_first():
    codes = torch.tensor([[3, 4, 5]])
    assert before(codes, 16).tolist() == [[8, 3, 4]]
    assert before(codes, 16, 2).tolist() == [[8, 8, 3]]


def test_bits_of_a_uniform_model_are_the_logarithm_of_the_number_of_codes():
    bits = bits_per_sample(torch.zeros(2, 5, 16), torch.randint(0, 16, (2, 5)))
    assert bits.shape == (2, 5)
    assert torch.allclose(bits, torch.tensor(4.0))
    sure = 50.0 * torch.nn.functional.one_hot(torch.tensor([[3]]), 16).float()
    assert bits_per_sample(sure, torch.tensor([[3]])) < 1e-6
    assert bits_per_sample(sure, torch.tensor([[4]])) > 50


def test_neighbouring_codes_are_alike_to_begin_with():
    weight = embedding_of_codes(256, 8).weight
    distance = (weight[:, None] - weight[None]).norm(dim=-1)
    assert distance.diagonal(1).max() < distance.diagonal(64).min()


def test_no_code_sees_itself_or_what_follows(model):
    codes, told = random_codes()
    logits = model(codes, told)
    assert logits.shape == (2, 24, 16)
    for t in range(24):
        changed = codes.clone()
        changed[:, t:] = (changed[:, t:] + 5) % 16
        torch.testing.assert_close(model(changed, told)[:, : t + 1], logits[:, : t + 1])
        if t < 23:  # and the next one does see it
            changed = codes.clone()
            changed[:, t] = (changed[:, t] + 5) % 16
            assert (model(changed, told)[:, t + 1] != logits[:, t + 1]).any()


def test_what_is_told_matters_to_every_sample(model):
    codes, told = random_codes()
    differs = (model(codes, told) != model(codes, -told)).any(dim=2)
    assert differs.all()


def test_generated_samples_are_drawn_from_the_logits_of_forward(model):
    _, told = random_codes()
    torch.manual_seed(2)
    uniform = torch.rand(2, 24)
    written = model.generate(uniform, told)
    probabilities = model(written, told).softmax(dim=-1).cumsum(dim=-1)
    found = torch.searchsorted(probabilities, uniform.double()[..., None], right=True)[..., 0]
    assert torch.equal(written, found)
    going_on = model.generate(uniform, told, start=written[:, :10])
    assert torch.equal(going_on, written)
    other = model.generate(uniform, told, start=(written[:, :10] + 3) % 16)
    assert torch.equal(other[:, :10], (written[:, :10] + 3) % 16)
    greedy = model.generate(uniform, told, SamplingConfig(temperature=0.0))
    assert torch.equal(greedy, model(greedy, told).argmax(dim=-1))


@pytest.mark.parametrize("condition", [0, 3])
def test_queues_change_nothing_but_the_time(condition):
    torch.manual_seed(0)
    model = MODELS["wavenet"](condition=condition).double()
    told = torch.randn(3, condition, dtype=torch.float64) if condition else None
    uniform = torch.rand(3, 60)  # four times as long as what the network sees
    fast = model.generate(uniform, told)
    assert torch.equal(fast, model.generate(uniform, told, queues=False))
    assert len(torch.unique(fast)) > 4


def test_the_receptive_field_is_the_one_that_gradients_show():
    torch.manual_seed(0)
    model = MODELS["wavenet"]()
    assert model.receptive_field == 1 + 1 + 10
    reach = receptive_field(model.stack, (5, 40), 30)
    assert (reach.first, reach.last) == (30 - model.receptive_field + 1, 30)


def test_a_wavenet_learns_a_square_wave():
    torch.manual_seed(0)
    model = WaveNet(4, channels=8, skip_channels=8, dilations=(1, 2, 4))
    codes = torch.tensor([1, 1, 1, 3, 3, 3]).repeat(8)[None]
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        loss = bits_per_sample(model(codes), codes)[:, 8:].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="whole number"):
        SampleRNN(frames=(60, 16))


def test_gradients_reach_every_parameter(model):
    codes, told = random_codes()
    bits_per_sample(model(codes, told), codes).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
