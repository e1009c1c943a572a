"""The same architectures, trained: a linear layer on the features, and every filter may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.chapters.untrained.networks import ARCHITECTURES, Extractor, build
from dl101.chapters.untrained.sounds import HOP, RATE, Sounds
from dl101.training.loop import minimise

EPOCHS, BATCH, RATE_OF_LEARNING = 4, 8, 5e-3


class WithHead(nn.Module):
    """Features, shifted and scaled as the untrained ones of the training side, to logits.

    Parameters
    ----------
    extractor
        Gives features (batch, number).
    before
        Its features of the training side before training, (item, number).
    n_classes
        Of the linear layer, which begins with zeros.
    """

    def __init__(self, extractor: Extractor, before: Tensor, n_classes: int) -> None:
        super().__init__()
        self.extractor = extractor
        self.register_buffer("mean", before.mean(dim=0))
        self.register_buffer("scale", before.std(dim=0).clamp(min=1e-6))
        self.head = nn.Linear(before.shape[1], n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, class) of inputs of any length."""
        return self.head((self.extractor(x) - self.mean) / self.scale)


def train(
    name: str, sounds: Sounds, before: Mapping[str, Tensor], *, seed: int = 0, epochs: int = EPOCHS
) -> WithHead:
    """Return the short network of a name, trained on the training side, slow ones on whole tracks.

    Parameters
    ----------
    name
        Of the architecture.
    sounds
        The corpus.
    before
        Its untrained features by side.
    seed
        Of the weights, which are those of the untrained network, and of order and crops.
    epochs
        Passes over the training side.
    """
    extractor = build(name, seed=seed, lengths=sounds.task.lengths)
    network = WithHead(extractor, before["train"], len(sounds.classes))
    inputs = sounds.inputs(ARCHITECTURES[name].input)["train"]
    y = torch.from_numpy(sounds.y["train"])
    n = inputs.shape[-1]
    if not ARCHITECTURES[name].is_slow:
        n = round(
            sounds.task.crop_s * RATE / (1 if ARCHITECTURES[name].input == "waveform" else HOP)
        )
    draws = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[Tensor]:
        yield from torch.randperm(len(y), generator=draws).split(BATCH)

    def loss(numbers: Tensor) -> Tensor:
        begin = int(torch.randint(inputs.shape[-1] - n + 1, (1,), generator=draws))
        return F.cross_entropy(network(inputs[numbers][..., begin : begin + n]), y[numbers])

    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE_OF_LEARNING)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE_OF_LEARNING, total_steps=epochs * -(-len(y) // BATCH), pct_start=0.2
    )
    minimise(network, loss, batches, optimiser, epochs=epochs, schedule=schedule, name=name)
    return network


def said(network: WithHead, x: Tensor) -> Tensor:
    """Return the class that a network says of each input, (item,)."""
    with torch.inference_mode():
        return torch.cat([network(part).argmax(dim=1) for part in x.split(1)])
