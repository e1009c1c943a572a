"""The plain loop: what it keeps, when it stops, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dl101.errors import TrainingError
from dl101.training.loop import minimise


class Number(nn.Module):
    """One weight, set by its loss to what a list says, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def steps_of(network: nn.Module, **options: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=1.0, **options)


def test_it_is_the_loop_that_one_writes_by_hand() -> None:
    x = torch.linspace(-1, 1, 12)[:, None]
    y = 3 * x + 1
    found = []
    for by_hand in (True, False):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        optimiser = torch.optim.AdamW(network.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.05, total_steps=15)
        if by_hand:
            for _ in range(5):
                for part in torch.randperm(12).split(4):
                    optimiser.zero_grad()
                    nn.functional.mse_loss(network(x[part]), y[part]).backward()
                    optimiser.step()
                    schedule.step()
        else:
            minimise(
                network,
                lambda part, net=network: nn.functional.mse_loss(net(x[part]), y[part]),
                lambda: torch.randperm(12).split(4),
                optimiser,
                epochs=5,
                schedule=schedule,
            )
            assert not network.training
        found.append(torch.cat([p.detach().ravel() for p in network.parameters()]))
    assert torch.equal(*found)


def test_the_weights_of_the_best_validation_are_kept_and_patience_stops() -> None:
    network, seen, modes = Number(), [], []
    losses = iter([3.0, 1.0, 2.0, 1.0, 0.5])

    def validation_loss() -> torch.Tensor:
        modes.append((network.training, torch.is_grad_enabled()))
        return torch.tensor(next(losses))

    def loss(batch: int) -> torch.Tensor:
        modes.append((network.training, torch.is_grad_enabled()))
        seen.append(batch)
        return -network.weight  # a step adds 1

    minimise(
        network,
        loss,
        lambda: [0],
        steps_of(network),
        epochs=5,
        validation_loss=validation_loss,
        patience=2,
    )
    assert len(seen) == 4, "two epochs without a lower loss; as low is not lower"
    assert network.weight.item() == 2.0, "as after the second epoch"
    assert modes == [(True, True), (False, False)] * 4 and not network.training


def test_without_validation_the_last_weights_stay() -> None:
    network = Number()
    minimise(network, lambda batch: -network.weight, lambda: [0, 1], steps_of(network), epochs=3)
    assert network.weight.item() == 6.0


@pytest.mark.parametrize("side", ["training", "validation"])
def test_a_loss_that_is_not_finite_stops_with_a_message(side: str) -> None:
    network = Number()

    def loss(where: str) -> torch.Tensor:
        return network.weight * (torch.nan if where == side else 1.0)

    with pytest.raises(TrainingError, match=r"tones.*epoch 1.*learning rate"):
        minimise(
            network,
            lambda batch: loss("training"),
            lambda: [0],
            steps_of(network),
            epochs=2,
            validation_loss=lambda: loss("validation"),
            name="tones",
        )
