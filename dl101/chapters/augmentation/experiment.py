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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.data import harte, pyjama
from dl101.data.splits import SIDES
from dl101.progress import progress as progress_bar
from dl101.signal import augment, cqt, mel
from dl101.signal.augment import Augmented
from dl101.signal.cqt import HcqtConfig
from dl101.signal.stft import stft
from dl101.signal.waveforms import level_dbfs, snr_db
from dl101.training.comparison import Comparison, Measurement, corpus_tracks
from dl101.training.examples import majority
from dl101.training.loop import minimise

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
LEARNING_RATE = 3e-3
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
class Sound:
    """A sound with its labels: one track, or a stretch of one."""

    audio: NDArray[np.float32]
    label: float
    side: str
    pitch_midi: float = 0.0
    tempo_bpm: float = 1.0


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


def change(sound: Sound, kind: str, rng: np.random.Generator) -> tuple[Augmented, dict[str, float]]:
    """Return a changed sound, and the quantity that this kind of change varies."""
    if kind == "plain":
        return Augmented(sound.audio, RATE), {}
    if kind == "room":
        rt60_s = float(np.exp(rng.uniform(*np.log(KINDS["room"].rt60_s))))
        heard = augment.Room((rt60_s, rt60_s), KINDS["room"].direct_to_reverb_db)
        return heard(sound.audio, RATE, rng), {"room": float(np.log2(rt60_s))}
    changed = KINDS[kind](sound.audio, RATE, rng)
    quantity = {
        "gain": lambda: level_dbfs(changed.audio),
        "noise": lambda: snr_db(sound.audio, changed.audio),
        "filter": lambda: brightness(changed.audio),
        "pitch": lambda: sound.pitch_midi + changed.semitones,
        "stretch": lambda: float(np.log2(sound.tempo_bpm / changed.stretch)),
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
    return mel.compress(filters @ np.abs(spectrum) ** 2, STRENGTH).astype(np.float32)


def mean_cqt(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over time of the log-compressed CQT of the middle second, (216,)."""
    values = cqt.cqt(np.ascontiguousarray(audio), CQT).values[0]
    return mel.compress(values, STRENGTH).mean(axis=1)


def rhythm(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how alike the onsets are to themselves some time later, at 100 times, (100,).

    The autocorrelation of the onset strength (rises of the log-mel spectrogram, summed) at lags
    from 0.1 to 2.5 s, evenly spaced in their logarithm, so that another tempo moves it.
    """
    hop, audio = 256, _head(audio, EXCERPT_S["dance"])
    spectrum = stft(audio, window_samples=1024, hop_samples=hop)
    filters = mel.mel_filters(RATE, n_bands=32, window_samples=1024)
    bands = mel.compress(filters @ np.abs(spectrum) ** 2, STRENGTH)
    onsets = np.maximum(np.diff(bands, axis=1), 0).sum(axis=0)
    onsets = onsets - onsets.mean()
    power = np.abs(np.fft.rfft(onsets, 2 * onsets.size)) ** 2
    alike = np.fft.irfft(power)[: onsets.size] / max(power.mean(), 1e-9)
    return np.interp(LAGS_S, np.arange(onsets.size) * hop / RATE, alike).astype(np.float32)


LABELS = {"instrument": "instrument", "dance": "rhythm"}  # fields of the corpora


def load_sounds(
    task: str, *, seed: int = 0, n_tracks: int | None = None, progress: bool = True
) -> LabelledSounds:
    """Return the sounds of a task (for ``tempo`` see :func:`asked_for_tempo`)."""
    plan = TASKS[task]
    sounds: list[Sound] = []
    names: list[str] = []
    for entry, read in corpus_tracks(
        plan.corpus, n_tracks=n_tracks or plan.n_tracks, seed=seed, progress=progress
    ):
        audio, side = read()[0], entry.first("split")
        if task == "chord":
            sounds += _chords(entry, audio, side)
            continue
        pitch = float(np.mean(entry.values("pitchmidi"))) if task == "instrument" else 0.0
        audio = audio[: round(1.25 * EXCERPT_S[task] * RATE)]
        sounds.append(Sound(audio, 0, side, pitch, float(entry.first("tempo"))))
        names.append(entry.first(LABELS[task]))
    if task == "chord":
        return LabelledSounds(task, tuple(sounds), harte.CLASSES[:24], seed)
    classes = tuple(sorted(set(names)))
    labelled = [replace(s, label=classes.index(n)) for s, n in zip(sounds, names, strict=True)]
    return LabelledSounds(task, tuple(labelled), classes, seed)


def _chords(entry: pyjama.Entry, audio: NDArray[np.float32], side: str) -> list[Sound]:
    """Return the middle second of every major or minor chord that lasts a second."""
    found = []
    length_s = EXCERPT_S["chord"]
    for onset_s, duration_s, name in zip(*entry.segments("chord"), strict=True):
        number = harte.to_class(name)
        if 0 <= number < 24 and duration_s >= length_s:
            begin = round((onset_s + (duration_s - length_s) / 2) * RATE)
            excerpt = audio[begin : begin + round(length_s * RATE)]
            found.append(Sound(_head(excerpt, length_s), number, side))
    return found


@dataclass(frozen=True, eq=False)
class LabelledSounds:
    """The sounds of a task and the names of its classes."""

    task: str
    sounds: tuple[Sound, ...]
    classes: tuple[str, ...]
    seed: int

    def versions(
        self,
        kinds: Sequence[str],
        *,
        sides: Sequence[str] = ("train",),
        n_versions: int = N_VERSIONS,
        progress: bool = True,
    ) -> Sides:
        """Return inputs and labels: on the training side ``n_versions`` of each kind, else one.

        Parameters
        ----------
        kinds
            Some of :data:`KINDS`; ``plain``, the sound as it is, is always there.
        sides
            Those that get changed versions.
        n_versions
            How many of each kind on the training side.
        progress
            Whether to show a progress bar.
        """
        feature = {"instrument": log_mel, "chord": mean_cqt}.get(self.task, rhythm)
        found: dict[str, dict[str, list]] = {side: {} for side in SIDES}
        bar = progress_bar(list(enumerate(self.sounds)), "changing sounds", enabled=progress)
        for index, sound in bar:
            for number, kind in enumerate(("plain", *KINDS)):
                if kind != "plain" and (kind not in kinds or sound.side not in sides):
                    continue
                rows = []
                for version in range(
                    n_versions if kind != "plain" and sound.side == "train" else 1
                ):
                    rng = np.random.default_rng([self.seed, index, number, version])
                    changed, quantities = change(sound, kind, rng)
                    label = sound.label
                    if self.task == "chord":
                        label = moved_chord(label, changed)
                    rows.append((feature(changed.audio), label, quantities))
                found[sound.side].setdefault(kind, []).append(rows)
        return {
            side: {kind: _stacked(rows) for kind, rows in kinds_of.items()}
            for side, kinds_of in found.items()
        }

    def targets(self, labels: NDArray) -> NDArray[np.float32]:
        """Return shares of classes (..., classes): one 1, or for tempo a bump around it."""
        if self.task != "tempo":
            return np.eye(len(self.classes), dtype=np.float32)[labels.astype(int)]
        steps = np.log(labels[..., None] / TEMPO_BINS) / np.log(TEMPO_BINS[1] / TEMPO_BINS[0])
        bump = np.exp(-0.5 * steps**2)
        return (bump / bump.sum(axis=-1, keepdims=True)).astype(np.float32)

    def is_right(self, answer: int | NDArray, labels: NDArray) -> NDArray[np.bool_]:
        """Return for which labels an answer, the number of a class or of a tempo, is right."""
        if self.task != "tempo":
            return answer == labels
        return np.abs(np.log(TEMPO_BINS[answer] / labels)) < np.log1p(TEMPO_TOLERANCE)

    def score(self, logits: NDArray, labels: NDArray) -> float:
        """Return the share of right answers."""
        return float(np.mean(self.is_right(logits.argmax(axis=-1), labels)))

    def baseline(self, sides: Sides) -> float:
        """Return the score of the one answer that would be right most often in training."""
        train, test = sides["train"]["plain"].labels[0], sides["test"]["plain"].labels[0]
        answer = majority(train, range(len(self.classes)), self.is_right)
        return float(np.mean(self.is_right(answer, test)))


Data = tuple[LabelledSounds, Sides]


def load(task: str, *, seed: int = 0, n_tracks: int | None = None, progress: bool = True) -> Data:
    """Return the sounds of a task and all their versions; of instruments on every side."""
    if task == "tempo":
        return asked_for_tempo(load("dance", seed=seed, n_tracks=n_tracks, progress=progress))
    sounds = load_sounds(task, seed=seed, n_tracks=n_tracks, progress=progress)
    sides = SIDES if task == "instrument" else ("train",)
    return sounds, sounds.versions(tuple(KINDS), sides=sides, progress=progress)


def moved_chord(label: float, changed: Augmented) -> float:
    """Return the class of a chord after a shift of pitch; see :mod:`dl101.data.harte`."""
    root, is_minor = label % 12, label // 12
    return (root + round(changed.semitones)) % 12 + 12 * is_minor


def asked_for_tempo(dances: Data) -> Data:
    """Return the task ``tempo`` on the sounds that were made for ``dance``."""
    labelled, sides = dances
    sounds = tuple(replace(sound, label=sound.tempo_bpm) for sound in labelled.sounds)
    asked = replace(labelled, task="tempo", sounds=sounds, classes=TEMPI)
    found: dict[str, dict[str, Versions]] = {}
    for side, kinds in sides.items():
        tempi = np.array([sound.tempo_bpm for sound in sounds if sound.side == side])
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


@dataclass(frozen=True)
class Training:
    """One way of training.

    Attributes
    ----------
    name
        In tables and records.
    kinds
        Of :data:`KINDS`, of which versions may be drawn beside the plain one.
    on_inputs
        ``"masks"``, ``"mixup"`` or nothing.
    labels_move
        Whether each version has its own label, or that of the plain one.
    """

    name: str
    kinds: tuple[str, ...] = ()
    on_inputs: str = ""
    labels_move: bool = True


def trainings(task: str) -> dict[str, Training]:
    """Return every way of training for a task, by name."""
    plan = TASKS[task]
    ways = [Training("nothing")]
    for kind in KINDS:
        moves = {"pitch": plan.pitch_moves, "stretch": plan.stretch_moves}.get(kind, False)
        ways.append(Training(kind, (kind,)))
        if moves:
            ways.append(Training(f"{kind}, label left", (kind,), labels_move=False))
    ways += [Training(name, on_inputs=name) for name in ON_INPUTS]
    ways.append(Training("everything", tuple(KINDS)))
    return {way.name: way for way in ways}


def train(way: Training, data: Data, *, seed: int = 0, batch_size: int = 32) -> Network:
    """Train a network on versions of the training side.

    Parameters
    ----------
    way
        What may be drawn, and how.
    data
        The sounds of a task and their versions.
    seed
        Of the first weights, of the order, and of what is drawn.
    """
    sounds, sides = data
    plan, versions = TASKS[sounds.task], [sides["train"][kind] for kind in ("plain", *way.kinds)]
    labels = np.concatenate([v.labels for v in versions])
    targets = sounds.targets(
        labels if way.labels_move else np.broadcast_to(labels[:1], labels.shape)
    )
    n_versions, n_items = labels.shape
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 77])
    network = Network(versions[0].inputs[0], len(sounds.classes))
    inputs = np.concatenate([v.inputs for v in versions])
    inputs = network.standardised(torch.from_numpy(inputs)).numpy()

    def loss(rows: NDArray[np.int64]) -> Tensor:
        drawn = rng.integers(n_versions, size=rows.size)
        x, y = inputs[drawn, rows], targets[drawn, rows]
        if way.on_inputs == "mixup":
            x, y = augment.mixup(x, y, rng, alpha=MIXUP_ALPHA)
        elif way.on_inputs == "masks":
            x = masked(x, plan, rng)
        return nn.functional.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y))

    n_batches = -(-n_items // batch_size)
    _one_cycle(network, network.parameters(), loss, (n_items, n_batches, plan.epochs), rng)
    return network


def train_alike(kind: str, data: Data, *, seed: int = 0) -> Network:
    """Train a network, without labels, to give versions of one sound like embeddings.

    Each batch holds two versions of every track, drawn from the plain one and those of ``kind``
    (``nothing``: the plain one twice; ``everything``: any). An embedding, projected and brought to
    length 1, has to find its partner among all others of the batch. The head stays as it was.
    """
    sounds, sides = data
    kinds = {"nothing": (), "everything": tuple(KINDS)}.get(kind, (kind,))
    inputs = np.concatenate([sides["train"][name].inputs for name in ("plain", *kinds)])
    n_versions, n_items = inputs.shape[:2]
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 78])
    network = Network(inputs[0], len(sounds.classes))
    network.head.requires_grad_(False)
    inputs = network.standardised(torch.from_numpy(inputs)).numpy()
    projector = nn.Sequential(nn.ReLU(), nn.Linear(N_CHANNELS, N_CHANNELS, bias=False))

    def loss(rows: NDArray[np.int64]) -> Tensor:
        both = np.concatenate([rows, rows])
        x = torch.from_numpy(inputs[rng.integers(n_versions, size=both.size), both])
        return nt_xent(projector(network.embed(x)))

    n_batches = -(-n_items // ALIKE_BATCH)
    parameters = [*network.body.parameters(), *projector.parameters()]
    _one_cycle(network, parameters, loss, (n_items, n_batches, ALIKE_EPOCHS), rng)
    return network


def _one_cycle(
    network: Network,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[NDArray[np.int64]], Tensor],
    size: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """Train for a number of steps with a learning rate that rises and falls once."""
    n_items, n_batches, epochs = size
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=1e-3)
    minimise(
        network,
        loss,
        lambda: np.array_split(rng.permutation(n_items), n_batches),
        optimiser,
        epochs=epochs,
        schedule=torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=LEARNING_RATE, total_steps=epochs * n_batches
        ),
    )


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


def blindness(network: Network, data: Data) -> dict[str, float]:
    """Return how much each kind of change moves embeddings and answers; see the module."""
    sounds, sides = data
    test = sides["test"]
    plain, logits = answers(network, test["plain"].inputs[0])
    n = len(plain)
    apart = np.linalg.norm(plain[:, None] - plain[None], axis=-1).sum() / (n * (n - 1))
    scores = {"accuracy_plain": sounds.score(logits, test["plain"].labels[0])}
    for kind in test:
        if kind == "plain":
            continue
        moved, logits = answers(network, test[kind].inputs[0])
        scores[f"change_{kind}"] = float(np.linalg.norm(moved - plain, axis=1).mean() / apart)
        scores[f"accuracy_{kind}"] = sounds.score(logits, test[kind].labels[0])
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


def accuracy(network: Network, data: Data) -> float:
    """Return the share of right answers to the plain test sounds."""
    sounds, sides = data
    test = sides["test"]["plain"]
    return sounds.score(answers(network, test.inputs[0])[1], test.labels[0])


def score(network: Network, way: Training, data: Data) -> dict[str, float]:
    """Return the accuracy on the test side; for instruments blindness, too."""
    scores = {"accuracy": accuracy(network, data)}
    return scores | (blindness(network, data) if data[0].task == "instrument" else {})


def score_alike(network: Network, kind: str, data: Data) -> dict[str, float]:
    """Return the blindness of a network that learned no labels."""
    return {k: value for k, value in blindness(network, data).items() if "accuracy" not in k}


def _comparison(task: str, **parts: object) -> Comparison:
    return Comparison(
        corpus=TASKS[task].corpus,
        n_tracks=TASKS[task].n_tracks,
        load=partial(load, task),
        n_items=lambda data: data[1]["test"]["plain"].labels.shape[1],
        **parts,
    )


def _settings(task: str, way: Training) -> dict[str, object]:
    return {"training": way.name, "n_versions": N_VERSIONS, "epochs": TASKS[task].epochs}


COMPARISONS: Mapping[str, Comparison] = {
    task: _comparison(
        task,
        prefix=f"{task}: ",
        baselines={"most frequent": lambda data: {"accuracy": data[0].baseline(data[1])}},
        variants=trainings(task),
        train=train,
        score=score,
        describe=partial(_settings, task),
    )
    for task in TASKS
}
ALIKE = _comparison(
    "instrument",
    prefix="alike: ",
    variants={kind: kind for kind in ("nothing", *KINDS, "everything")},
    train=train_alike,
    score=score_alike,
    describe=lambda kind: {"training": f"alike: {kind}", "n_versions": N_VERSIONS},
)


def run(seed: int, n_tracks: int | None = None) -> Iterator[Measurement]:
    """Yield for each task the baseline and every training; for instruments blindness, too."""
    instruments = load("instrument", seed=seed, n_tracks=n_tracks)
    yield from COMPARISONS["instrument"].run(seed, n_tracks, data=instruments)
    yield from ALIKE.run(seed, n_tracks, data=instruments)
    yield from COMPARISONS["chord"].run(seed, n_tracks)
    dances = load("dance", seed=seed, n_tracks=n_tracks)
    yield from COMPARISONS["dance"].run(seed, n_tracks, data=dances)
    yield from COMPARISONS["tempo"].run(seed, n_tracks, data=asked_for_tempo(dances))
