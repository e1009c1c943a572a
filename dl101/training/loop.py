"""A training loop in plain PyTorch, for what fits into memory and is done in seconds.

:func:`dl101.training.fit.fit` is the loop for everything else: it checkpoints, resumes and uses
any device. This one does what a loop written by hand does, in one place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from dl101.progress import progress as progress_bar
from dl101.training.fit import check_loss

Batch = TypeVar("Batch")


def minimise(
    network: nn.Module,
    loss: Callable[[Batch], Tensor],
    batches: Callable[[], Iterable[Batch]],
    optimiser: torch.optim.Optimizer,
    *,
    epochs: int,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    validation_loss: Callable[[], Tensor] | None = None,
    patience: int | None = None,
    name: str = "training",
    progress: bool = False,
) -> None:
    """Train a network in place; it is left in evaluation mode.

    Parameters
    ----------
    network
        What is trained; set to training mode for the steps, to evaluation mode for validation.
    loss
        Of a batch.
    batches
        Called once an epoch: batches, mostly numbers of items.
    optimiser
        Takes the steps.
    epochs
        Upper bound on passes.
    schedule
        Of the learning rate, stepped after every batch.
    validation_loss
        Called after each epoch without gradients; the weights of the epoch where it was lowest are
        kept. None keeps the last weights.
    patience
        Epochs without a lower ``validation_loss`` before training stops. None never stops early.
    name
        What is trained, for messages.
    progress
        Whether to show a progress bar.

    Raises
    ------
    TrainingError
        If a loss is not a finite number.
    """
    best, kept, waited = math.inf, None, 0
    for epoch in progress_bar(range(1, epochs + 1), name, enabled=progress):
        network.train()
        for batch in batches():
            optimiser.zero_grad()
            step = loss(batch)
            check_loss(step, f"{name}, epoch {epoch}", optimiser)
            step.backward()
            optimiser.step()
            if schedule is not None:
                schedule.step()
        network.eval()
        if validation_loss is None:
            continue
        with torch.inference_mode():
            now = float(validation_loss())
        check_loss(now, f"{name}, validation of epoch {epoch}", optimiser)
        if now < best:
            best, waited = now, 0
            kept = {key: value.clone() for key, value in network.state_dict().items()}
        else:
            waited += 1
            if patience is not None and waited >= patience:
                break
    if kept is not None:
        network.load_state_dict(kept)
