"""What maps a waveform to a representation: the encoders that are pretrained without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from dl101.config import Count, NotEmpty, Range, Settings
from dl101.nn.sample_level import SAMPLE_CNN, SampleCNN
from dl101.nn.tune import TUNe

Level = Annotated[int, Range(at_least=0, at_most=12)]


@dataclass(frozen=True)
class EncoderConfig(Settings):
    """What maps a crop to a representation.

    Attributes
    ----------
    kind
        ``"samplecnn"``, whose ``widths`` are those of its stem and of each block, so that a crop
        has ``3 ** len(widths)`` samples; or ``"tune"``, which ``n_contractive``, ``n_expansive``,
        ``n_tail``, ``filters`` and ``plus`` describe (:class:`dl101.nn.tune.Sizes`).
    representation
        How many numbers describe a crop.
    """

    kind: Literal["samplecnn", "tune"] = "samplecnn"
    representation: Count = 512
    widths: Annotated[tuple[Count, ...], NotEmpty()] = SAMPLE_CNN
    n_contractive: Level = 4
    n_expansive: Level = 0
    n_tail: Level = 4
    filters: Count = 17
    plus: bool = False


def make_encoder(settings: EncoderConfig) -> nn.Module:
    """Return a network from (batch, 1, samples) to (batch, representation), with fresh weights."""
    if settings.kind == "tune":
        return TUNe(
            settings.n_contractive,
            settings.n_expansive,
            settings.n_tail,
            settings.filters,
            representation=settings.representation,
            plus=settings.plus,
        )
    encoder = SampleCNN(1, widths=settings.widths, last_width=settings.representation, dropout=0.0)
    encoder.head = nn.Identity()
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv1d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    return encoder
