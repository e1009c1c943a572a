"""The two networks of the chapter: their front-ends, the back-end that they share, training.

Conventions. Inputs are patches as :mod:`dl101.chapters.at_scale.stores` hands them out: frames of
samples (batch, 486, frame), or log-mel bands (batch, 48, frame). Answers are logits of the tags.

The waveform front-end [1]_ is a stack of seven stages of three samples, without padding; that of
the spectrogram has filters of ten shapes, which keep their share of the bands and their length in
seconds. Both have a quarter of the published number of filters.

.. [1] J. Pons et al., "End-to-end learning for music audio tagging at scale", 2018,
   arXiv:1711.02520, section 3; J. Pons, thesis, 2019, tables 5.2 and 5.3.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.chapters.at_scale import stores
from dl101.chapters.at_scale.stores import N_BANDS, TASK, Corpus, Tracks
from dl101.nn.sample_level import TAGGING_AT_SCALE, SampleLevelFrontend
from dl101.nn.shapes import MusicnnBackend, ShapedConvs, musicnn_shapes
from dl101.training.loop import minimise

FRONT_ENDS = ("spectrogram", "waveform")
STORE = {"spectrogram": "spectra", "waveform": "waves"}
WIDTH = 0.25  # filters of the front-ends, as a share of those of the thesis
CHANNELS, HIDDEN = 64, 200  # of the shared back-end
# Best of three (spectrogram) and of two (waveform) on the validation side of the first seed, after
# 500 steps: 0.002 (spectrogram alone), 0.005, 0.01.
LEARNING_RATES = {"spectrogram": 1e-2, "waveform": 5e-3}
N_LOOKED_AT = 300  # validation tracks that choose the weights


@dataclass(frozen=True)
class Training:
    """How both networks are trained: AdamW, a rate that rises and falls, binary cross-entropy."""

    n_steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 2e-3
    n_looks: int = 8  # at the validation side; the best one counts


class Unframed(nn.Module):
    """Frames of samples (batch, samples of a frame, frame) to a waveform (batch, 1, samples)."""

    def forward(self, frames: Tensor) -> Tensor:
        """Join the frames."""
        return frames.transpose(1, 2).flatten(1)[:, None]


class Pictured(nn.Module):
    """A spectrogram (batch, band, frame) to (batch, 1, band, frame), normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, spectra: Tensor) -> Tensor:
        """Normalise."""
        return self.norm(spectra[:, None])


def front_end(kind: str, width: float = WIDTH) -> tuple[nn.Module, nn.Module, int]:
    """Return what arranges the input, the front-end, and its number of channels."""
    if kind == "waveform":
        widths = [int(n * width) for n in TAGGING_AT_SCALE]
        return Unframed(), SampleLevelFrontend(widths=widths, same=False), widths[-1]
    rate_hz = stores.SAMPLE_RATE / stores.FRAME_SAMPLES
    vertical, horizontal = musicnn_shapes(N_BANDS, width=width, frames_per_second=rate_hz)
    found = ShapedConvs(N_BANDS, vertical=vertical, horizontal=horizontal)
    return Pictured(), found, found.out_channels


def build(kind: str, *, width: float = WIDTH) -> nn.Sequential:
    """Return a whole network: arrangement, front-end, shared back-end; logits of the tags."""
    arranged, front, n_channels = front_end(kind, width)
    back = MusicnnBackend(n_channels, len(TASK.classes), channels=CHANNELS, hidden=HIDDEN)
    return nn.Sequential(arranged, front, back)


def train_network(
    kind: str,
    corpus: Corpus,
    tracks: Tracks,
    *,
    training: Training = Training(),
    seed: int = 0,
    progress: bool = False,
) -> nn.Module:
    """Train a network on some tracks, which are streamed."""
    store = corpus.stores[STORE[kind]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(kind)
        optimiser = torch.optim.AdamW(network.parameters(), lr=training.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, training.learning_rate, total_steps=training.n_steps, pct_start=0.1
        )
        stream = stores.batches(store, tracks, batch_size=training.batch_size, seed=seed)
        validation = corpus.sides["validation"].some(slice(N_LOOKED_AT))

        def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
            patches, tags = batch
            return F.binary_cross_entropy_with_logits(network(patches), tags)

        def validation_loss() -> Tensor:
            said = torch.from_numpy(logits(network, kind, corpus, validation))
            return F.binary_cross_entropy_with_logits(said, torch.from_numpy(validation.targets))

        minimise(
            network,
            loss,
            lambda: itertools.islice(stream, training.n_steps // training.n_looks),
            optimiser,
            epochs=training.n_looks,
            schedule=schedule,
            validation_loss=validation_loss,
            name=f"{kind}, {len(tracks)} tracks",
            progress=progress,
        )
    return network


def logits(network: nn.Module, kind: str, corpus: Corpus, tracks: Tracks) -> NDArray[np.float32]:
    """Return what a network says of whole tracks, (tracks, tags): the mean over their patches."""
    network.eval()
    found = []
    with torch.inference_mode():
        for patches, index in stores.whole_tracks(corpus.stores[STORE[kind]], tracks.keys):
            found.append(index.mean_by_track(network(patches).numpy()))
    return np.concatenate(found).astype(np.float32)
