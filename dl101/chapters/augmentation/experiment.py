"""What augmentations make a network blind to, and which of them the labels of a task survive.

Conventions. *Versions* of a track are made from its sound once, before training: the sound as it
is, and some changed by one kind of augmentation. In every epoch each track is heard in one version,
drawn at random; all networks of a task get the same number of steps, the same optimiser and no
early stopping, so that the versions alone make the difference. ``masks`` (SpecAugment) and
``mixup`` are drawn anew for every batch, on the inputs. ``everything`` draws from the versions of
all kinds. Test tracks are never changed unless a score says so; they are played by instruments and
in rooms that are not in training.

Two questions:

*Blindness*, asked of networks for the corpus ``instruments``. Some learned to name the leading
instrument; others (``alike: KIND``) saw no label and learned only to tell which of two sounds of a
batch are versions of one (the contrastive loss NT-Xent of Chen and others, "A simple framework for
contrastive learning of visual representations", 2020). For each kind of change ``change_KIND`` is
how far the embedding (the network's last layer but one) of a test track moves when its sound is
changed so, as a share of the mean distance between two test tracks: 0 is blind, 1 is as far as
another piece by another instrument. ``accuracy_KIND`` is the accuracy on test tracks changed so.
``reads_KIND`` is what a linear probe, fitted to the changed training tracks, still reads in the
embeddings of changed validation tracks (other pieces, the same instruments), of the quantity that
the change varies: the share of its variance that is explained, R², 0 for nothing.

*Respect for labels*: the score of four tasks on the test side. ``instrument``; ``chord``, one
second of one chord of the corpus ``chords``, 24 major and minor ones; ``dance`` and ``tempo``,
eight seconds of ``dances``, the tempo right within 4 %. Where a change moves the label it comes
twice: with the label moved along, and with the label left as it was, which teaches what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.data import harte, pair, pyjama
from dl101.data.embedded import export
from dl101.data.splits import SIDES
from dl101.progress import progress as progress_bar
from dl101.signal import augment, cqt, mel
from dl101.signal.augment import Augmented
from dl101.signal.cqt import HcqtConfig
from dl101.signal.stft import stft
from dl101.signal.waveforms import level_dbfs, snr_db
from dl101.training.comparison import Outcome
from dl101.training.fit import check_loss

RATE = 22050
STRENGTH = 1e4  # C of log(1 + C x)
N_VERSIONS = 2  # changed ones, of each kind; the sound as it is comes on top

# What is done to sounds. One augmentation at a time, as strong as is usual.
KINDS: Mapping[str, augment.Augmentation] = {
    "gain": augment.Gain((-20.0, 10.0)),
    "noise": augment.Noise((0.0, 30.0), (0.0, 3.0)),
    "filter": augment.Filter((600.0, 4000.0), (200.0, 1200.0)),
    "room": augment.Room((0.2, 2.0), (-6.0, 3.0)),
    "pitch": augment.PitchShift((-6, 6)),
    "stretch": augment.TimeStretch((0.8, 1.25)),
}
ON_INPUTS = ("masks", "mixup")  # drawn for each batch
MIXUP_ALPHA = 0.4
N_CHANNELS = 48
ALIKE_EPOCHS, ALIKE_BATCH, TEMPERATURE = 60, 96, 0.2


@dataclass(frozen=True)
class Task:
    """A question to a corpus, and the network that answers it.

    Attributes
    ----------
    corpus, n_tracks
        What is heard.
    epochs
        Passes over the training side.
    max_bands, max_frames
        Widest masks.
    pitch_moves, stretch_moves
        Which changes move the label.
    """

    corpus: str
    n_tracks: int
    epochs: int
    max_bands: int
    max_frames: int
    pitch_moves: bool = False
    stretch_moves: bool = False


TASKS: Mapping[str, Task] = {
    "instrument": Task("instruments", 432, 30, 12, 12),
    "chord": Task("chords", 72, 40, 36, 0, pitch_moves=True),
    "dance": Task("dances", 168, 60, 16, 0),
    "tempo": Task("dances", 168, 60, 16, 0, stretch_moves=True),
}

# ---- versions ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Versions:
    """Inputs and labels of one side in several versions.

    Attributes
    ----------
    inputs
        ``(versions, items, ...)``.
    labels
        ``(versions, items)``: the right label of each version.
    quantities
        What a probe is asked, ``(versions, items)`` each.
    """

    inputs: NDArray[np.float32]
    labels: NDArray
    quantities: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


Sides = Mapping[str, Mapping[str, Versions]]  # side, then kind ("plain" or one of KINDS)


@dataclass(frozen=True, eq=False)
class Item:
    """A sound with its labels: one track, or a stretch of one."""

    audio: NDArray[np.float32]
    label: float
    side: str
    pitch_midi: float = 0.0
    tempo_bpm: float = 1.0


Feature = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def make_versions(
    items: Sequence[Item],
    feature: Feature,
    kinds: Sequence[str],
    *,
    move: Callable[[float, Augmented], float],
    seed: int = 0,
    n_versions: int = N_VERSIONS,
    sides: Sequence[str] = SIDES,
    progress: bool = True,
) -> Sides:
    """Return the versions of items: on the training side ``n_versions`` of each kind, else one.

    Parameters
    ----------
    items
        What is heard.
    feature
        Returns the input made from a sound; its shape is the same for all.
    kinds
        Some of :data:`KINDS`; ``plain``, the sound as it is, is always there.
    move
        Returns what a label becomes.
    seed
        Of the augmentations.
    n_versions
        How many of each kind on the training side.
    sides
        Sides that get changed versions.
    progress
        Whether to show a progress bar.
    """
    found: dict[str, dict[str, list]] = {side: {} for side in SIDES}
    bar = progress_bar(list(enumerate(items)), "changing sounds", enabled=progress)
    for index, item in bar:
        for kind in ("plain", *kinds):
            if kind != "plain" and item.side not in sides:
                continue
            n = n_versions if kind != "plain" and item.side == "train" else 1
            rows = []
            for version in range(n):
                number = -1 if kind == "plain" else list(KINDS).index(kind)
                rng = np.random.default_rng([seed, index, number + 1, version])
                changed, quantities = change(item, kind, rng)
                rows.append((feature(changed.audio), move(item.label, changed), quantities))
            found[item.side].setdefault(kind, []).append(rows)
    return {
        side: {kind: _stacked(rows) for kind, rows in kinds_of.items()}
        for side, kinds_of in found.items()
    }


def _stacked(rows: Sequence[Sequence[tuple]]) -> Versions:
    """Turn items of versions into versions of items."""
    by_version = list(zip(*rows, strict=True))
    names = rows[0][0][2]
    return Versions(
        np.array([[each[0] for each in items] for items in by_version], np.float32),
        np.array([[each[1] for each in items] for items in by_version]),
        {
            name: np.array([[each[2][name] for each in items] for items in by_version])
            for name in names
        },
    )


def change(item: Item, kind: str, rng: np.random.Generator) -> tuple[Augmented, dict[str, float]]:
    """Return a changed sound, and the quantity that this kind of change varies."""
    if kind == "plain":
        return Augmented(item.audio, RATE), {}
    if kind == "room":
        rt60_s = float(np.exp(rng.uniform(*np.log(KINDS["room"].rt60_s))))
        heard = augment.Room((rt60_s, rt60_s), KINDS["room"].direct_to_reverb_db)
        return heard(item.audio, RATE, rng), {"room": float(np.log2(rt60_s))}
    changed = KINDS[kind](item.audio, RATE, rng)
    quantity = {
        "gain": lambda: level_dbfs(changed.audio),
        "noise": lambda: snr_db(item.audio, changed.audio),
        "filter": lambda: brightness(changed.audio),
        "pitch": lambda: item.pitch_midi + changed.semitones,
        "stretch": lambda: float(np.log2(item.tempo_bpm / changed.stretch)),
    }[kind]()
    return changed, {kind: quantity}


def brightness(audio: NDArray[np.float32]) -> float:
    """Return the centroid of the magnitude spectrum, in octaves above 1 Hz."""
    magnitude = np.abs(np.fft.rfft(audio))
    return float(np.log2(np.average(np.fft.rfftfreq(audio.size, 1 / RATE), weights=magnitude)))


# ---- what is heard -----------------------------------------------------------------------------

EXCERPT_S = {"instrument": 2.4, "chord": 1.0, "dance": 8.0}  # heard, after any stretching
N_BANDS, WINDOW_SAMPLES, HOP_SAMPLES = 64, 2048, 1024
CQT = HcqtConfig((1,), bins_per_semitone=3, n_octaves=6, f_min_hz=65.4, hop_samples=2048)
LAGS_S = np.geomspace(0.1, 2.5, 100)
TEMPO_BINS = np.geomspace(50, 280, 90)  # bpm, 2 % apart
TEMPI = tuple(f"{bpm:.0f}" for bpm in TEMPO_BINS)
TEMPO_TOLERANCE = 0.04


def _head(audio: NDArray[np.float32], duration_s: float) -> NDArray[np.float32]:
    n_samples = round(duration_s * RATE)
    return np.pad(audio[:n_samples], (0, max(0, n_samples - audio.size)))


def log_mel(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of the first 2.4 s, (bands, frames)."""
    audio = _head(audio, EXCERPT_S["instrument"])
    spectrum = stft(audio, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)
    filters = mel.mel_filters(RATE, n_bands=N_BANDS, window_samples=WINDOW_SAMPLES)
    return np.log1p(STRENGTH * (filters @ np.abs(spectrum) ** 2)).astype(np.float32)


def mean_cqt(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over time of the log-compressed CQT of the middle second, (216,)."""
    values = cqt.cqt(np.ascontiguousarray(audio), CQT).values[0]
    return np.log1p(STRENGTH * values).mean(axis=1)


def rhythm(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how alike the onsets are to themselves some time later, at 100 times, (100,).

    The autocorrelation of the onset strength (rises of the log-mel spectrogram, summed) at lags
    from 0.1 to 2.5 s, evenly spaced in their logarithm, so that another tempo moves it.
    """
    hop, audio = 256, _head(audio, EXCERPT_S["dance"])
    spectrum = stft(audio, window_samples=1024, hop_samples=hop)
    filters = mel.mel_filters(RATE, n_bands=32, window_samples=1024)
    bands = np.log1p(STRENGTH * (filters @ np.abs(spectrum) ** 2))
    onsets = np.maximum(np.diff(bands, axis=1), 0).sum(axis=0)
    onsets = onsets - onsets.mean()
    power = np.abs(np.fft.rfft(onsets, 2 * onsets.size)) ** 2
    alike = np.fft.irfft(power)[: onsets.size] / max(power.mean(), 1e-9)
    return np.interp(LAGS_S, np.arange(onsets.size) * hop / RATE, alike).astype(np.float32)


def hear(task: str, *, seed: int = 0, n_tracks: int | None = None, progress: bool = True) -> Heard:
    """Return the items of a task; the corpus is rendered at first use."""
    plan = TASKS[task]
    n_tracks = n_tracks or plan.n_tracks
    files = export.cached_corpus(plan.corpus, n_tracks=n_tracks, seed=seed, progress=progress)
    field_name = {"instrument": "instrument", "dance": "rhythm"}.get(task)
    classes: tuple[str, ...] = harte.CLASSES[:24]
    if task == "tempo":
        classes = TEMPI
    items: list[Item] = []
    with pair.opened(files.audio, files.annotations) as (entries, store):
        if field_name:
            classes = tuple(sorted({entry.first(field_name) for entry in entries}))
        for entry in progress_bar(entries, f"hearing {plan.corpus}", enabled=progress):
            audio, _ = store.read(entry.filepath)
            side = entry.first("split")
            if task == "chord":
                items += _chords(entry, audio, side)
                continue
            tempo = float(entry.first("tempo"))
            label = tempo if task == "tempo" else classes.index(entry.first(field_name))
            pitch = float(np.mean(entry.values("pitchmidi"))) if task == "instrument" else 0.0
            audio = audio[: round(1.25 * EXCERPT_S.get(task, EXCERPT_S["dance"]) * RATE)]
            items.append(Item(audio, label, side, pitch, tempo))
    return Heard(task, tuple(items), classes, n_tracks, seed)


def _chords(entry: pyjama.Entry, audio: NDArray[np.float32], side: str) -> list[Item]:
    """Return the middle second of every major or minor chord that lasts a second."""
    found = []
    length_s = EXCERPT_S["chord"]
    for onset_s, duration_s, name in zip(*entry.segments("chord"), strict=True):
        number = harte.to_class(name)
        if 0 <= number < 24 and duration_s >= length_s:
            begin = round((onset_s + (duration_s - length_s) / 2) * RATE)
            excerpt = audio[begin : begin + round(length_s * RATE)]
            found.append(Item(_head(excerpt, length_s), number, side))
    return found


@dataclass(frozen=True, eq=False)
class Heard:
    """The items of a task and the names of its classes."""

    task: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    n_tracks: int
    seed: int

    def versions(
        self,
        kinds: Sequence[str],
        *,
        sides: Sequence[str] = ("train",),
        n_versions: int = N_VERSIONS,
        progress: bool = True,
    ) -> Sides:
        """Return inputs and labels of all versions; see :func:`make_versions`."""
        feature = {"instrument": log_mel, "chord": mean_cqt}.get(self.task, rhythm)
        return make_versions(
            self.items,
            feature,
            kinds,
            move=MOVES.get(self.task, lambda label, changed: label),
            seed=self.seed,
            n_versions=n_versions,
            sides=sides,
            progress=progress,
        )

    def targets(self, labels: NDArray) -> NDArray[np.float32]:
        """Return shares of classes (..., classes): one 1, or for tempo a bump around it."""
        if self.task != "tempo":
            return np.eye(len(self.classes), dtype=np.float32)[labels.astype(int)]
        steps = np.log(labels[..., None] / TEMPO_BINS) / np.log(TEMPO_BINS[1] / TEMPO_BINS[0])
        bump = np.exp(-0.5 * steps**2)
        return (bump / bump.sum(axis=-1, keepdims=True)).astype(np.float32)

    def score(self, logits: NDArray, labels: NDArray) -> float:
        """Return the share of right answers."""
        best = logits.argmax(axis=-1)
        if self.task != "tempo":
            return float(np.mean(best == labels))
        return float(np.mean(np.abs(np.log(TEMPO_BINS[best] / labels)) < np.log1p(TEMPO_TOLERANCE)))

    def baseline(self, sides: Sides) -> float:
        """Return the score of the one answer that would be right most often in training."""
        train, test = sides["train"]["plain"].labels[0], sides["test"]["plain"].labels[0]
        answers = np.eye(len(self.classes))
        best = max(answers, key=lambda a: self.score(np.tile(a, (train.size, 1)), train))
        return self.score(np.tile(best, (test.size, 1)), test)


def moved_chord(label: float, changed: Augmented) -> float:
    """Return the class of a chord after a shift of pitch; see :mod:`dl101.data.harte`."""
    root, is_minor = label % 12, label // 12
    return (root + round(changed.semitones)) % 12 + 12 * is_minor


MOVES: Mapping[str, Callable[[float, Augmented], float]] = {
    "chord": moved_chord,
    "tempo": lambda label, changed: label / changed.stretch,  # twice as long is half as fast
}


def asked_for_tempo(dances: Heard, sides: Sides) -> tuple[Heard, Sides]:
    """Return the task ``tempo`` on the sounds that were made for ``dance``."""
    items = tuple(replace(item, label=item.tempo_bpm) for item in dances.items)
    asked = replace(dances, task="tempo", items=items, classes=TEMPI)
    found: dict[str, dict[str, Versions]] = {}
    for side, kinds in sides.items():
        tempi = np.array([item.tempo_bpm for item in items if item.side == side])
        found[side] = {}
        for kind, versions in kinds.items():
            labels = np.broadcast_to(tempi, versions.labels.shape)
            if kind == "stretch":
                labels = 2 ** versions.quantities["stretch"]
            found[side][kind] = replace(versions, labels=labels)
    return asked, found


# ---- networks ----------------------------------------------------------------------------------


class Network(nn.Module):
    """Standardises, embeds, decides; ``embed`` gives what the last layer sees."""

    def __init__(
        self, inputs: NDArray[np.float32], n_classes: int, *, n_channels: int = N_CHANNELS
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(float(inputs.mean())))
        self.register_buffer("deviation", torch.tensor(float(inputs.std())))
        n_bands = inputs.shape[1]
        if inputs.ndim == 3:  # (items, band, frame): all bands at once, along time
            self.body = nn.Sequential(
                nn.Conv1d(n_bands, n_channels, 3),
                nn.ReLU(),
                nn.Conv1d(n_channels, n_channels, 3),
                nn.ReLU(),
                nn.AdaptiveAvgPool1d(1),
                nn.Flatten(),
            )
        else:
            self.body = nn.Sequential(nn.Linear(n_bands, n_channels), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(n_channels, n_classes))

    def standardised(self, x: Tensor) -> Tensor:
        """Return inputs with mean 0 and deviation 1."""
        return (x - self.mean) / self.deviation

    def embed(self, x: Tensor) -> Tensor:
        """Return embeddings (batch, channels) of inputs that are standardised."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of inputs that are standardised."""
        return self.head(self.embed(x))


def train(
    heard: Heard,
    versions: Sequence[Versions],
    *,
    on_inputs: str = "",
    labels_move: bool = True,
    seed: int = 0,
    batch_size: int = 32,
) -> Network:
    """Train a network on versions of the training side, of which the first is the plain one.

    Parameters
    ----------
    heard
        The task.
    versions
        What may be drawn.
    on_inputs
        ``"masks"``, ``"mixup"`` or nothing.
    labels_move
        Whether each version has its own label, or that of the plain one.
    seed
        Of the first weights, of the order, and of what is drawn.
    """
    plan = TASKS[heard.task]
    inputs = np.concatenate([v.inputs for v in versions])
    labels = np.concatenate([v.labels for v in versions])
    targets = heard.targets(labels if labels_move else np.broadcast_to(labels[:1], labels.shape))
    n_versions, n_items = labels.shape
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 77])
    network = Network(versions[0].inputs[0], len(heard.classes))
    inputs = network.standardised(torch.from_numpy(inputs)).numpy()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    n_batches = -(-n_items // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-3, total_steps=plan.epochs * n_batches
    )
    network.train()
    for epoch in range(plan.epochs):
        for rows in np.array_split(rng.permutation(n_items), n_batches):
            drawn = rng.integers(n_versions, size=rows.size)
            x, y = inputs[drawn, rows], targets[drawn, rows]
            if on_inputs == "mixup":
                x, y = augment.mixup(x, y, rng, alpha=MIXUP_ALPHA)
            elif on_inputs == "masks":
                x = masked(x, plan, rng)
            loss = nn.functional.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y))
            check_loss(loss, f"training for {heard.task}, epoch {epoch + 1}", optimiser)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def train_alike(heard: Heard, sides: Sides, kind: str, *, seed: int = 0) -> Network:
    """Train a network, without labels, to give versions of one sound like embeddings.

    Each batch holds two versions of every track, drawn from the plain one and those of ``kind``
    (``nothing``: the plain one twice; ``everything``: any). An embedding, projected and brought to
    length 1, has to find its partner among all others of the batch.
    """
    kinds = {"nothing": (), "everything": tuple(KINDS)}.get(kind, (kind,))
    inputs = np.concatenate([sides["train"][name].inputs for name in ("plain", *kinds)])
    n_versions, n_items = inputs.shape[:2]
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 78])
    network = Network(inputs[0], len(heard.classes))
    inputs = network.standardised(torch.from_numpy(inputs)).numpy()
    projector = nn.Sequential(nn.ReLU(), nn.Linear(N_CHANNELS, N_CHANNELS, bias=False))
    parameters = [*network.body.parameters(), *projector.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-3)
    n_batches = -(-n_items // ALIKE_BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-3, total_steps=ALIKE_EPOCHS * n_batches
    )
    for epoch in range(ALIKE_EPOCHS):
        for rows in np.array_split(rng.permutation(n_items), n_batches):
            pair = np.concatenate([rows, rows])
            x = torch.from_numpy(inputs[rng.integers(n_versions, size=pair.size), pair])
            loss = nt_xent(projector(network.embed(x)))
            check_loss(loss, f"training alike, epoch {epoch + 1}", optimiser)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def nt_xent(projections: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the contrastive loss of (2 n, channels), where rows i and n + i belong together."""
    z = nn.functional.normalize(projections, dim=1)
    likeness = z @ z.T / temperature
    likeness = likeness - torch.diag(torch.full((len(z),), 1e9))  # nobody is one's partner
    n = len(z) // 2
    partner = torch.arange(2 * n).roll(n)
    return nn.functional.cross_entropy(likeness, partner)


def masked(x: NDArray[np.float32], plan: Task, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a batch with masks of its own for each item; inputs without time get bands only."""
    settings = {"max_bands": plan.max_bands, "max_frames": plan.max_frames}
    grids = x if x.ndim == 3 else x[..., None]
    changed = [augment.spec_augment(each, rng, **settings) for each in grids]
    return np.stack(changed).reshape(x.shape)


def answers(network: Network, inputs: NDArray[np.float32]) -> tuple[NDArray, NDArray]:
    """Return embeddings and logits."""
    with torch.inference_mode():
        x = network.standardised(torch.from_numpy(inputs))
        embeddings = network.embed(x)
        return embeddings.numpy(), network.head(embeddings).numpy()


# ---- scores ------------------------------------------------------------------------------------


def blindness(network: Network, heard: Heard, sides: Sides) -> dict[str, float]:
    """Return how much each kind of change moves embeddings and answers; see the module."""
    test = sides["test"]
    plain, logits = answers(network, test["plain"].inputs[0])
    n = len(plain)
    apart = np.linalg.norm(plain[:, None] - plain[None], axis=-1).sum() / (n * (n - 1))
    scores = {"accuracy_plain": heard.score(logits, test["plain"].labels[0])}
    for kind in test:
        if kind == "plain":
            continue
        moved, logits = answers(network, test[kind].inputs[0])
        scores[f"change_{kind}"] = float(np.linalg.norm(moved - plain, axis=1).mean() / apart)
        scores[f"accuracy_{kind}"] = heard.score(logits, test[kind].labels[0])
        known = sides["validation"][kind]
        scores[f"reads_{kind}"] = probe(
            np.concatenate([answers(network, x)[0] for x in sides["train"][kind].inputs]),
            sides["train"][kind].quantities[kind].ravel(),
            answers(network, known.inputs[0])[0],
            known.quantities[kind][0],
        )
    return scores


def probe(
    x: NDArray, y: NDArray, x_new: NDArray, y_new: NDArray, *, strength: float = 1e-2
) -> float:
    """Return R² of a ridge regression from embeddings to a number, on new items; at least 0."""
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    rows, new = (x - mean) / deviation, (x_new - mean) / deviation
    gram = rows.T @ rows + strength * len(x) * np.eye(x.shape[1])
    found = new @ np.linalg.solve(gram, rows.T @ (y - y.mean())) + y.mean()
    return float(max(0.0, 1.0 - np.mean((found - y_new) ** 2) / np.var(y_new)))


def trainings(task: str) -> dict[str, tuple[tuple[str, ...], str, bool]]:
    """Return for each way of training: kinds of versions, what is done to inputs, labels move."""
    plan = TASKS[task]
    ways: dict[str, tuple[tuple[str, ...], str, bool]] = {"nothing": ((), "", True)}
    for kind in KINDS:
        moves = {"pitch": plan.pitch_moves, "stretch": plan.stretch_moves}.get(kind, False)
        ways[kind] = ((kind,), "", True)
        if moves:
            ways[f"{kind}, label left"] = ((kind,), "", False)
    ways |= {name: ((), name, True) for name in ON_INPUTS}
    ways["everything"] = (tuple(KINDS), "", True)
    return ways


def network_for(heard: Heard, sides: Sides, way: str, *, seed: int = 0) -> Network:
    """Train a network in one of the ways of :func:`trainings`."""
    kinds, on_inputs, labels_move = trainings(heard.task)[way]
    train_side = sides["train"]
    return train(
        heard,
        [train_side[kind] for kind in ("plain", *kinds)],
        on_inputs=on_inputs,
        labels_move=labels_move,
        seed=seed,
    )


def run(seed: int, n_tracks: int | None = None) -> Iterator[Outcome]:
    """Yield for each task the baseline and every training; for instruments blindness, too."""
    heard = sides = None
    for task in TASKS:
        began = time.perf_counter()
        if task == "tempo":
            heard, sides = asked_for_tempo(heard, sides)
        else:
            heard = hear(task, seed=seed, n_tracks=n_tracks)
            changed_sides = SIDES if task == "instrument" else ("train",)
            sides = heard.versions(tuple(KINDS), sides=changed_sides)
        common = {
            "n_items": sides["test"]["plain"].labels.shape[1],
            "corpus": TASKS[task].corpus,
            "n_tracks": heard.n_tracks,
        }
        score = heard.baseline(sides)
        spent = time.perf_counter() - began
        yield Outcome(f"{task}: most frequent", {"accuracy": score}, wall_time_s=spent, **common)
        for way in trainings(task):
            began = time.perf_counter()
            network = network_for(heard, sides, way, seed=seed)
            logits = answers(network, sides["test"]["plain"].inputs[0])[1]
            scores = {"accuracy": heard.score(logits, sides["test"]["plain"].labels[0])}
            if task == "instrument":
                scores |= blindness(network, heard, sides)
            yield Outcome(
                f"{task}: {way}",
                scores,
                config={"training": way, "n_versions": N_VERSIONS, "epochs": TASKS[task].epochs},
                network=network,
                wall_time_s=time.perf_counter() - began,
                **common,
            )
        if task == "instrument":
            for kind in ("nothing", *KINDS, "everything"):
                began = time.perf_counter()
                network = train_alike(heard, sides, kind, seed=seed)
                scores = blindness(network, heard, sides)
                yield Outcome(
                    f"alike: {kind}",
                    {name: value for name, value in scores.items() if "accuracy" not in name},
                    config={"training": f"alike: {kind}", "n_versions": N_VERSIONS},
                    network=network.body,
                    wall_time_s=time.perf_counter() - began,
                    **common,
                )
