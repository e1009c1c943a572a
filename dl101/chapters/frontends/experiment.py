"""Front-ends compared: the same back-end, the same steps of training, two tasks, three sizes.

Conventions: a *front-end* is a module that maps what is heard of an excerpt to (batch, channel,
frame), at about 43 frames a second. What it is given is its *input*: the waveform at 11,025 Hz,
(batch, 1, samples), or a fixed picture of it, (batch, 1, band, frame). Behind each stands the same
back-end. The tasks pull in opposite directions: ``instruments`` asks for timbre (which of twelve
instruments plays in front), ``dances`` for rhythm (which of seven dances it is). The test side has
other instruments and rooms than training. Networks learn from *excerpts* that begin anywhere in a
track, and are asked about excerpts of the same length spread over it; their answers are averaged.

Variants are named ``task share: front-end``, where the share is that of the training tracks, the
same number of each class. ``accuracy`` counts test tracks; ``train_accuracy`` those learned from;
``train_cpu_s`` is the processor time of the training, which other work on the machine hardly
changes. All variants take the same number of steps, with one rate of learning, whatever the share;
nothing is chosen on the validation side, except the strength of the linear baselines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor, nn
from torch.nn import functional

from dl101.data import pair, source
from dl101.data.embedded import export
from dl101.data.splits import SIDES, sides_of
from dl101.evaluation import probe_features, probe_models, tagging
from dl101.evaluation.results import Measured
from dl101.nn.compression import PCEN, log_compress
from dl101.nn.convolutional import DilatedFrontend
from dl101.nn.frontends import LearnedSpectrogram, MelConv, MultiScaleSpectrogram
from dl101.nn.leaf import Leaf, SincSpectrogram
from dl101.nn.sample_level import SampleLevelFrontend
from dl101.nn.shapes import HarmonicFrontend, ShapedConvs, SquareConvs, musicnn_shapes
from dl101.nn.spectra import HCQT, LogMel
from dl101.progress import progress as progress_bar
from dl101.signal import waveforms
from dl101.signal.cqt import HcqtConfig
from dl101.training.comparison import Comparison, Measurement
from dl101.training.examples import logits_of
from dl101.training.loop import minimise

SAMPLE_RATE = 11_025
HOP, WINDOW = 256, 512  # samples: 23 ms and 46 ms
STRIDE = 4  # samples, of filters whose power is averaged over a hop
N_CHANNELS = N_BANDS = 40  # that a front-end puts out, about; and of the mel spectrogram
CQT = HcqtConfig(
    harmonics=(1,), bins_per_semitone=1, n_octaves=7, hop_samples=HOP, sample_rate=SAMPLE_RATE
)
LEVEL_DB = -20.0  # RMS of every excerpt
SHARES = {"1/9": 9, "1/3": 3, "1/1": 1}  # the training tracks are divided by
LONGER = ("log-mel", "Conv1d")  # trained for four times as many steps too: is it the budget?


@dataclass(frozen=True)
class Task:
    """What is asked of which tracks.

    Attributes
    ----------
    dataset, n_tracks
        An embedded corpus or a dataset of the catalogue; how many of its tracks, None: all.
    label
        The field of the annotation that holds the answer.
    duration_s
        How much of a track is used, from its start.
    excerpt_s, n_excerpts
        Length of an excerpt, and how many of them are asked about for one answer.
    several
        Whether a track has several tags, rather than one class.
    """

    dataset: str
    label: str
    n_tracks: int | None
    duration_s: float
    excerpt_s: float
    n_excerpts: int
    several: bool = False


TASKS: Mapping[str, Task] = {
    "instruments": Task("instruments", "instrument", 1152, 3.0, excerpt_s=1.5, n_excerpts=2),
    "dances": Task("dances", "rhythm", 672, 12.0, excerpt_s=4.0, n_excerpts=3),
}
# The same comparison on the real datasets: downloads, and hours on a GPU.
FULL_TASKS: Mapping[str, Task] = {
    "genres": Task("gtzan-genre", "genre", None, 30.0, excerpt_s=6.0, n_excerpts=5),
    "tags": Task("mtt", "tag", None, 29.0, excerpt_s=6.0, n_excerpts=5, several=True),
}


@dataclass(frozen=True)
class Budget:
    """How all networks are trained: AdamW whose rate rises and falls once, ``n_steps`` in all."""

    n_steps: int = 400
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2


# --- the front-ends ---


class Bands(nn.Module):
    """Take the bands of a picture as channels: (batch, 1, band, frame) to (batch, band, frame)."""

    def forward(self, picture: Tensor) -> Tensor:
        """Return the picture without its channel axis."""
        return picture[:, 0]


@dataclass(frozen=True)
class FrontEnd:
    """A front-end: the name of its input (see :data:`INPUTS`), and how it is made."""

    input: str
    build: Callable[[], nn.Module]


_FRAMES_PER_SECOND = SAMPLE_RATE / HOP
_SHAPES = musicnn_shapes(N_BANDS, width=0.1, frames_per_second=_FRAMES_PER_SECOND)


def _mel_conv(*, trainable: bool) -> nn.Module:
    return MelConv(
        SAMPLE_RATE,
        n_bands=N_BANDS,
        window_samples=WINDOW,
        hop_samples=HOP,
        trainable=trainable,
    )


def _mel_pcen() -> nn.Module:
    """Return LEAF's last step behind fixed mel bands: what of LEAF is not its filters."""
    smoothing = -math.expm1(-1 / (_FRAMES_PER_SECOND * 0.25))  # forgets in 250 ms, as LEAF does
    return nn.Sequential(Bands(), PCEN(N_BANDS, smoothing=smoothing, floor=1e-8))


FRONT_ENDS: Mapping[str, FrontEnd] = {
    "log-mel": FrontEnd("log-mel", Bands),
    "mel, PCEN": FrontEnd("mel", _mel_pcen),
    "CQT": FrontEnd("CQT", Bands),
    "mel as Conv1d": FrontEnd("waveform", partial(_mel_conv, trainable=False)),
    "mel as Conv1d, trained": FrontEnd("waveform", partial(_mel_conv, trainable=True)),
    "Conv1d": FrontEnd("waveform", partial(LearnedSpectrogram, N_CHANNELS, WINDOW, HOP)),
    "Conv1d, three windows": FrontEnd(
        "waveform", partial(MultiScaleSpectrogram, 13, (WINDOW // 4, WINDOW, 4 * WINDOW), HOP)
    ),
    "dilated": FrontEnd("waveform", partial(DilatedFrontend, N_CHANNELS, HOP, channels=24)),
    "SincNet": FrontEnd(
        "waveform",
        partial(
            SincSpectrogram,
            N_CHANNELS,
            251,
            sample_rate=SAMPLE_RATE,
            hop_samples=HOP,
            stride=STRIDE,
        ),
    ),
    "LEAF": FrontEnd(
        "waveform",
        partial(Leaf, SAMPLE_RATE, n_filters=N_CHANNELS, hop_samples=HOP, stride=STRIDE),
    ),
    "sample level": FrontEnd("waveform", partial(SampleLevelFrontend, N_CHANNELS)),
    "many shapes": FrontEnd(
        "log-mel",
        partial(ShapedConvs, N_BANDS, vertical=_SHAPES[0], horizontal=_SHAPES[1]),
    ),
    "harmonic filters": FrontEnd(
        "waveform",
        partial(
            HarmonicFrontend,
            sample_rate=SAMPLE_RATE,
            window_samples=2 * WINDOW,
            hop_samples=HOP,
            n_harmonics=5,
            n_bands=N_BANDS,
            lowest_hz=65.4,
            bands_per_octave=10,
            n_layers=4,
        ),
    ),
    "square kernels": FrontEnd("log-mel", partial(SquareConvs, N_BANDS, channels=20, n_layers=4)),
}


def to_log_mel() -> nn.Module:
    """Return the fixed log-mel spectrogram, (batch, time) to (batch, 1, band, frame)."""
    return LogMel(SAMPLE_RATE, n_bands=N_BANDS, window_samples=WINDOW, hop_samples=HOP)


class MelPower(nn.Module):
    """The same without the logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = to_log_mel()

    def forward(self, waveform: Tensor) -> Tensor:
        """Return powers in mel bands, (batch, 1, band, frame)."""
        return self.mel.spectrogram(waveform)[:, None]


class LogCqt(nn.Module):
    """The fixed constant-Q transform, compressed: (batch, time) to (batch, 1, bin, frame)."""

    def __init__(self) -> None:
        super().__init__()
        self.cqt = HCQT(CQT, n_samples=3 * SAMPLE_RATE)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return log(1 + 10,000 x) of the powers."""
        return log_compress(self.cqt(waveform).square(), 10_000.0)


class Waveform(nn.Module):
    """The waveform as it is: (batch, time) to (batch, 1, time)."""

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the waveform with an axis of channels."""
        return waveform[:, None]


INPUTS: Mapping[str, Callable[[], nn.Module]] = {
    "waveform": Waveform,
    "log-mel": to_log_mel,
    "mel": MelPower,
    "CQT": LogCqt,
}


class BackEnd(nn.Module):
    """The same for all: (batch, channel, frame) to (batch, class).

    Three convolutions over time with pooling between them, so that one value of the last hears
    about 2 s; then mean and maximum over time, and a linear layer. A normalisation of each channel
    comes first, so that front-ends may put out what they like.
    """

    def __init__(self, n_channels: int, n_classes: int, *, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(n_channels)]
        for size, pool in ((5, 2), (5, 4), (9, 1)):
            layers += [
                nn.Conv1d(n_channels, width, size, padding=size // 2),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.MaxPool1d(pool),
            ]
            n_channels = width
        self.over_time = nn.Sequential(*layers)
        self.decide = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * width, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit for each class."""
        x = self.over_time(x)
        return self.decide(torch.cat([x.mean(dim=-1), x.amax(dim=-1)], dim=1))


def build(front_end: FrontEnd, n_classes: int) -> nn.Sequential:
    """Return a front-end with the back-end behind it; ``network[0]`` is the front-end."""
    front = front_end.build()
    probe = INPUTS[front_end.input]()(torch.zeros(2, SAMPLE_RATE))
    with torch.no_grad():
        n_channels = front.eval()(probe).shape[1]
    return nn.Sequential(front.train(), BackEnd(n_channels, n_classes))


# --- the data ---


@dataclass(frozen=True, eq=False)
class Side:
    """The tracks of one side.

    Attributes
    ----------
    waveforms
        (tracks, samples) float32, each track at the same level.
    truth
        (tracks, classes) of zeros and ones.
    described
        What the linear baselines know, by name: (tracks, values) each.
    """

    waveforms: NDArray[np.float32]
    truth: NDArray[np.float32]
    described: Mapping[str, NDArray]

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True, eq=False)
class Data:
    """The sides of a task, the names of its classes, and the pictures that front-ends are given."""

    task: Task
    sides: Mapping[str, Side]
    classes: tuple[str, ...]
    pictures: dict[tuple[str, str], Tensor]

    def given(self, kind: str, side: str) -> Tensor:
        """Return an input of whole tracks, (tracks, 1, ...); pictures are computed once."""
        if (kind, side) not in self.pictures:
            transform, tracks = INPUTS[kind](), torch.from_numpy(self.sides[side].waveforms)
            with torch.inference_mode():
                parts = [transform(part) for part in tracks.split(16)]
            self.pictures[kind, side] = torch.cat(parts).clone()  # no longer an inference tensor
        return self.pictures[kind, side]

    def excerpts(self, kind: str, side: str, rows: Tensor, first: Tensor) -> Tensor:
        """Return excerpts (row, 1, ...) of tracks, each from its first frame on."""
        size = HOP if kind == "waveform" else 1  # of a frame along the last axis
        n = self.excerpt_frames * size
        given = self.given(kind, side)
        cuts = zip(rows.tolist(), first.tolist(), strict=True)
        return torch.stack(
            [given[row, ..., start * size : start * size + n] for row, start in cuts]
        )

    @property
    def excerpt_frames(self) -> int:
        """Return the length of an excerpt in frames."""
        return round(self.task.excerpt_s * SAMPLE_RATE / HOP)

    @property
    def last_start(self) -> int:
        """Return the last frame at which an excerpt can begin."""
        return self.sides["train"].waveforms.shape[1] // HOP - self.excerpt_frames


def load(task: Task, *, seed: int = 0, n_tracks: int | None = None, progress: bool = True) -> Data:
    """Return the tracks of a task; an embedded corpus is rendered, a dataset downloaded.

    ``n_tracks`` None or 0 takes all of a dataset, and the usual number of a corpus.
    """
    n_samples = round(task.duration_s * SAMPLE_RATE)
    embedded = task.dataset in export.CORPORA
    data = source.DataConfig(
        task.dataset, n_tracks=(n_tracks or None) if embedded else None, seed=seed
    )
    files = source.locate(data, progress=progress)
    found: dict[str, list[tuple[NDArray, set[str], Mapping[str, NDArray]]]] = {
        side: [] for side in SIDES
    }
    with pair.opened(files.audio, files.annotations) as (entries, store):
        entries = list(entries)
        side_of = sides_of(task.dataset, entries, stated=embedded, seed=seed)
        kept = [entry for entry in entries if entry.filepath in side_of][: n_tracks or None]
        for entry in progress_bar(kept, f"reading {task.dataset}", enabled=progress):
            audio, rate = store.read(entry.filepath, start_s=0.0, duration_s=task.duration_s)
            tags = {str(value) for value in entry.values(task.label)}
            heard = np.zeros(n_samples)
            resampled = resample_poly(audio.astype(float), SAMPLE_RATE, rate)[:n_samples]
            heard[: resampled.size] = waveforms.to_level(resampled, LEVEL_DB)
            described = probe_features.describe(audio, rate)
            found[side_of[entry.filepath]].append((np.float32(heard), tags, described))
    classes = tuple(sorted(set().union(*(t for items in found.values() for _, t, _ in items))))
    sides = {
        side: Side(
            np.stack([w for w, _, _ in items]),
            np.array([[name in tags for name in classes] for _, tags, _ in items], np.float32),
            {name: np.stack([d[name] for _, _, d in items]) for name in ("mfcc", "rhythm")},
        )
        for side, items in found.items()
    }
    return Data(task, sides, classes, {})


def subset(side: Side, divisor: int) -> NDArray[np.int64]:
    """Return the numbers of the tracks that a share keeps: the first of each class.

    With several tags a track, the first tracks.
    """
    if divisor == 1 or not np.all(side.truth.sum(axis=1) == 1):
        return np.arange(max(1, len(side) // divisor))
    keep = [np.flatnonzero(column) for column in side.truth.T]
    return np.sort(np.concatenate([found[: max(1, len(found) // divisor)] for found in keep]))


# --- training and scores ---


@dataclass(frozen=True)
class Variant:
    """A front-end and the share of the training tracks it learns from."""

    front_end: str
    share: str
    budget: Budget = Budget()

    def describe(self) -> dict[str, object]:
        """Return what is recorded of the variant."""
        given = FRONT_ENDS[self.front_end].input
        return {"input": given, "share": self.share, **vars(self.budget)}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, the tracks it learned from, and what that took."""

    network: nn.Sequential
    learned_from: NDArray[np.int64]
    cpu_s: float


def train(variant: Variant, data: Data, *, seed: int = 0, progress: bool = False) -> Trained:
    """Train one front-end, with the back-end behind it."""
    front_end, budget = FRONT_ENDS[variant.front_end], variant.budget
    several, side = data.task.several, data.sides["train"]
    rows = torch.from_numpy(subset(side, SHARES[variant.share]))
    truth = torch.from_numpy(side.truth)
    data.given(front_end.input, "train")  # the time below is that of the training alone
    torch.manual_seed(seed)
    network = build(front_end, len(data.classes))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    order = torch.Generator().manual_seed(seed)

    def passes() -> Iterator[Tensor]:
        while True:  # a batch goes on with the next pass, so that all are of one size
            yield rows[torch.randperm(len(rows), generator=order)]

    def batches() -> Iterator[Tensor]:
        tracks = chain.from_iterable(passes())
        for _ in range(budget.n_steps):
            yield torch.stack(list(islice(tracks, budget.batch_size)))

    def loss(batch: Tensor) -> Tensor:
        first = torch.randint(data.last_start + 1, batch.shape, generator=order)
        heard = data.excerpts(front_end.input, "train", batch, first)
        logits, wanted = network(heard.to(device)), truth[batch].to(device)
        if several:
            return functional.binary_cross_entropy_with_logits(logits, wanted)
        return functional.cross_entropy(logits, wanted)

    optimiser = torch.optim.AdamW(
        network.parameters(), budget.learning_rate, weight_decay=budget.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, budget.learning_rate, total_steps=budget.n_steps, pct_start=0.1
    )
    start_s = time.process_time()
    minimise(
        network, loss, batches, optimiser, epochs=1, schedule=schedule, name=variant.front_end,
        progress=progress,
    )  # fmt: skip
    return Trained(network, rows.numpy(), time.process_time() - start_s)


def answers(trained: Trained, variant: Variant, data: Data, side: str = "test") -> NDArray:
    """Return the logits (tracks, classes) of a side, means over the excerpts of each track."""
    kind, rows = FRONT_ENDS[variant.front_end].input, torch.arange(len(data.sides[side]))
    logits = [
        logits_of(trained.network, data.excerpts(kind, side, rows, start.expand(len(rows))).numpy())
        for start in torch.linspace(0, data.last_start, data.task.n_excerpts).long()
    ]
    return np.mean(logits, axis=0)


def metric_of(task: Task) -> tuple[str, tagging.Score]:
    """Return the name of a task's score, and the score."""
    return ("macro_auc", tagging.macro_auc) if task.several else ("accuracy", tagging.accuracy)


def score(trained: Trained, variant: Variant, data: Data) -> dict[str, float]:
    """Return the scores of the test side and of what was learned from."""
    name, metric = metric_of(data.task)
    train_side = answers(trained, variant, data, "train")[trained.learned_from]
    truth = data.sides["train"].truth[trained.learned_from]
    return {
        name: metric(data.sides["test"].truth, answers(trained, variant, data)),
        f"train_{name}": metric(truth, train_side),
        "train_cpu_s": trained.cpu_s,
    }


def most_frequent(data: Data) -> dict[str, float]:
    """Return the score of the answer that is right most often in training."""
    name, metric = metric_of(data.task)
    always = probe_models.majority({side: each.truth for side, each in data.sides.items()})
    return {name: metric(data.sides["test"].truth, always)}


def linear(data: Data, *, known: str, share: str) -> dict[str, float]:
    """Return the score of a linear model of what the probes of the corpora know of a track."""
    name, metric = metric_of(data.task)
    rows = subset(data.sides["train"], SHARES[share])
    x = {side: each.described[known] for side, each in data.sides.items()}
    y = {side: each.truth for side, each in data.sides.items()}
    x["train"], y["train"] = x["train"][rows], y["train"][rows]
    return {name: metric(y["test"], probe_models.linear(x, y, metric)["test"])}


def comparison(name: str, task: Task, budget: Budget = Budget()) -> Comparison:
    """Return the comparison of all front-ends on a task."""
    longer = replace(budget, n_steps=4 * budget.n_steps)
    return Comparison(
        corpus=task.dataset,
        n_tracks=task.n_tracks or 0,
        load=partial(load, task),
        n_items=lambda data: len(data.sides["test"]),
        variants={
            **{
                f"{share}: {front_end}": Variant(front_end, share, budget)
                for share in SHARES
                for front_end in FRONT_ENDS
            },
            **{
                f"1/1: {front_end}, longer": Variant(front_end, "1/1", longer)
                for front_end in LONGER
            },
        },
        train=train,
        score=score,
        baselines={
            "most frequent": most_frequent,
            **{
                f"{share}: {title}": partial(linear, known=known, share=share)
                for share in SHARES
                for known, title in (("mfcc", "MFCC, linear"), ("rhythm", "rhythm, linear"))
            },
        },
        describe=Variant.describe,
        prefix=f"{name} ",
    )


def accuracies(measured: Measured, task: str, name: str) -> list[str]:
    """Return a row of a task's table: mean and spread after each share of the training tracks."""
    return [measured.text(f"{task} {share}: {name}", "accuracy") for share in SHARES]


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure all front-ends on both tasks; ``n_tracks``, if given, is the size of both corpora."""
    for name, task in TASKS.items():
        yield from comparison(name, task).run(seed, n_tracks, done=done)
