"""Front-ends and networks for tagging, compared on two tasks, beside what needs no deep learning.

Conventions: variants are named ``dataset: name``. Networks are those of
:mod:`dl101.systems.auto_tagging`, with its lab settings; the seed draws the corpus, the initial
weights and the order of training. The main score is the mean recall over the ten genres, and the
mean area under the ROC curve over the tags; ``_low`` and ``_high`` are its 95 % interval over the
test tracks (:func:`dl101.evaluation.tagging.bootstrap`). ``patch_`` is the same score when every
patch of the test tracks answers for itself; ``train_cpu_s`` is the processor time of training.

Beside the networks: how frequent each class is; an SVM on the mean and deviation of MFCC
(Tzanetakis and Cook, 2002, in spirit); a linear model of a scattering transform (Andén and Mallat,
2014), see :func:`scattering`. ``leak`` shows what a careless split is worth: the SVM answers for
half of the tracks of each test artist, and has learned from the usual training side, or from one of
the same size that holds the other half of those artists' tracks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from torch import nn

from dl101.data import pair, source
from dl101.data.audiofile import resample
from dl101.evaluation import probe_models, tagging
from dl101.evaluation.results import Measured
from dl101.systems import auto_tagging as system
from dl101.systems.auto_tagging import AutoTaggingConfig
from dl101.systems.auto_tagging_data import TagTrack, levelled
from dl101.training.comparison import Comparison, Measurement

SIZES = {"genres": 600, "tags": 840}  # tracks
SHIPPED_SEED, SHIPPED_SIZE = 1, 2520  # of the corpus of the network that ships
SCATTERING_HZ = 11_025
LEVEL_DB = -20.0

Sides = Mapping[str, Sequence[TagTrack]]
Judge = Callable[[NDArray, NDArray], float]


@dataclass(frozen=True)
class Variant:
    """A network, and what is changed of its lab settings."""

    model: str
    changes: tuple[str, ...] = ()


VARIANTS: Mapping[str, Mapping[str, Variant]] = {
    "genres": {
        **{name: Variant(name) for name in ("conv2d", "vgg", "musicnn")},
        "conv2d, not centred": Variant("conv2d", ("feature.centred=false",)),
        **{name: Variant(name) for name in ("conv1d", "tcn", "sincnet")},
    },
    "tags": {
        **{name: Variant(name) for name in ("conv2d", "vgg", "musicnn")},
        "conv2d, centred": Variant("conv2d", ("feature.centred=true",)),
    },
}


@dataclass(frozen=True, eq=False)
class Data:
    """The tracks of a dataset; those of each input are read once."""

    dataset: str
    n_tracks: int
    seed: int
    read: dict[tuple, Sides] = field(default_factory=dict)

    def settings(self, variant: Variant = Variant("conv2d")) -> AutoTaggingConfig:
        """Return the lab settings of a network on this data."""
        chosen = {"dataset": self.dataset, "n_tracks": self.n_tracks, "seed": self.seed}
        return system.load_config(
            system.config_for(self.dataset, variant.model),
            settings=[
                f"model={variant.model}",
                *(f"data.{name}={value}" for name, value in chosen.items()),
                *variant.changes,
            ],
        )

    def tracks(self, settings: AutoTaggingConfig | None = None) -> Sides:
        """Return the tracks by side, as a network is given them; by default as log-mel."""
        settings = settings or self.settings()
        key = (settings.input, settings.feature)
        if key not in self.read:
            self.read[key] = system.load_tracks(settings)
        return self.read[key]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, and what that took."""

    network: nn.Module
    cpu_s: float


def judge_of(dataset: str) -> tuple[str, Judge]:
    """Return the name of a dataset's main score, and the score."""
    several = system.auto_tagging_data.TASKS[dataset].several
    return ("macro_auc", tagging.macro_auc) if several else ("macro_recall", tagging.macro_recall)


def load(dataset: str, *, seed: int, n_tracks: int, progress: bool) -> Data:
    """Return the data of a task; tracks are read when they are asked for."""
    return Data(dataset, n_tracks, seed)


def train(variant: Variant, data: Data, *, seed: int = 0) -> Trained:
    """Train one network with its lab settings."""
    settings = data.settings(variant)
    tracks = data.tracks(settings)
    built = system.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        start_s = time.process_time()
        system.train(built, tracks, folder, seed=seed, progress=False)
        return Trained(built, time.process_time() - start_s)


def score(trained: Trained, variant: Variant, data: Data) -> dict[str, float]:
    """Return the scores of the test side, by tracks and by patches."""
    settings = data.settings(variant)
    tracks = data.tracks(settings)
    patches = {
        side: [system.predict_patches(trained.network, t.input)[0] for t in tracks[side]]
        for side in ("validation", "test")
    }
    said = {side: np.stack([p.mean(axis=0) for p in each]) for side, each in patches.items()}
    counts = [len(p) for p in patches["test"]]
    name, judge = judge_of(data.dataset)
    of_patches = judge(
        np.repeat(system.truth_of(tracks["test"]), counts, axis=0), np.concatenate(patches["test"])
    )
    return {
        **measured(settings, tracks, said),
        f"patch_{name}": of_patches,
        "train_cpu_s": trained.cpu_s,
    }


def measured(
    settings: AutoTaggingConfig, tracks: Sides, said: Mapping[str, NDArray]
) -> dict[str, float]:
    """Return the scores of the test side with the interval of the main one."""
    name, judge = judge_of(settings.data.dataset)
    found = system.score(settings, tracks, said)
    low, high = tagging.bootstrap(system.truth_of(tracks["test"]), said["test"], judge)
    return {**found.mean, **found.chosen, f"{name}_low": low, f"{name}_high": high}


# --- without deep learning ---


def without_network(data: Data, *, name: str) -> dict[str, float]:
    """Return the scores of one of the system's baselines, ``prior`` or ``mfcc-svm``."""
    settings, tracks = data.settings(), data.tracks()
    return measured(settings, tracks, system.baseline_answers(settings, tracks)[name])


def by_scattering(data: Data) -> dict[str, float]:
    """Return the scores of a linear model of the scattering transform."""
    settings, tracks = data.settings(), data.tracks()
    files = source.locate(settings.data, progress=False)
    x = {}
    with pair.opened(files.audio, files.annotations) as (_, store):
        for side, each in tracks.items():
            heard = (store.read(track.key) for track in each)
            x[side] = np.stack(
                [scattering(resample(audio, rate, SCATTERING_HZ)) for audio, rate in heard]
            )
    y = {side: system.truth_of(each).astype(float) for side, each in tracks.items()}
    said = probe_models.linear(x, y, judge_of(data.dataset)[1])
    limits = min(v.min() for v in said.values()), max(v.max() for v in said.values())
    squeezed = {side: (v - limits[0]) / (limits[1] - limits[0]) for side, v in said.items()}
    return measured(settings, tracks, squeezed)


def scattering(
    audio: NDArray[np.floating], *, per_octave: int = 4, lowest_hz: float = 40.0
) -> NDArray[np.float64]:
    """Return the log-scattering of a recording, averaged over its whole length.

    First order: the mean envelope in bands ``1 / per_octave`` octave wide. Second order: how much
    each envelope is modulated, in bands an octave wide from 0.5 Hz up, relative to its mean. So it
    says which frequencies sound, and how fast each of them moves; a shift in time changes nothing.
    (Andén and Mallat, "Deep scattering spectrum", 2014, with Gaussian bands and averages over the
    whole recording.)

    Parameters
    ----------
    audio
        (samples,) at 11,025 Hz, brought to one level here.
    """
    audio = levelled(np.asarray(audio, dtype=np.float32), LEVEL_DB)
    rate, top_hz = SCATTERING_HZ, 0.4 * SCATTERING_HZ
    n_bands = int(per_octave * np.log2(top_hz / lowest_hz))
    centres_hz = top_hz * 2.0 ** (-np.arange(n_bands) / per_octave)
    modulations_hz = 0.5 * 2.0 ** np.arange(9)
    values = []
    for centre_hz, envelope in zip(
        centres_hz, envelopes(audio, centres_hz / rate, per_octave), strict=True
    ):
        envelope_rate = rate * envelope.size / audio.size
        slow_hz = modulations_hz[modulations_hz < min(0.4 * envelope_rate, centre_hz / per_octave)]
        level = envelope.mean() + 1e-6
        values.append(np.log(level))
        for moved in envelopes(envelope, slow_hz / envelope_rate, 1.0):
            values.append(np.log(moved.mean() / level + 1e-3))
    return np.array(values)


def envelopes(
    signal: NDArray[np.floating], centres: NDArray[np.float64], quality: float
) -> Iterator[NDArray[np.float64]]:
    """Yield the envelope of a signal in Gaussian bands, each at as low a rate as it needs.

    Parameters
    ----------
    signal
        (samples,), zeros beyond its ends.
    centres
        Middle of each band in cycles per sample.
    quality
        Middle over width at half the height.
    """
    spectrum = scipy.fft.rfft(signal)
    for centre in centres * signal.size:  # in bins
        deviation = centre / (2.355 * quality)
        low = max(0, int(centre - 4 * deviation))
        high = min(spectrum.size, int(centre + 4 * deviation) + 2)
        window = np.exp(-0.5 * ((np.arange(low, high) - centre) / deviation) ** 2)
        # The band alone, moved down to 0 Hz: its modulus is that of the analytic signal.
        n_out = scipy.fft.next_fast_len(max(16, 2 * (high - low)))
        band = scipy.fft.ifft(2 * spectrum[low:high] * window, n_out)
        yield np.abs(band) * (n_out / signal.size)


def leak(data: Data, *, careless: bool) -> dict[str, float]:
    """Return the score of the SVM on half of the tracks of each test artist.

    ``careless`` puts the other half into the training side, in the place of as many of its tracks.
    """
    settings, tracks = data.settings(), data.tracks()
    seen: dict[str, int] = {}
    halves: tuple[list[TagTrack], list[TagTrack]] = ([], [])
    for track in tracks["test"]:
        n = seen[track.artist] = seen.get(track.artist, -1) + 1
        halves[n % 2].append(track)
    train_side = list(tracks["train"])
    if careless:
        train_side = train_side[: len(train_side) - len(halves[1])] + halves[1]
    sides = {"train": train_side, "validation": tracks["validation"], "test": halves[0]}
    return measured(settings, sides, system.baseline_answers(settings, sides)["mfcc-svm"])


def comparison(dataset: str) -> Comparison:
    """Return the comparison of all networks and baselines on a dataset."""
    baselines: dict[str, Callable[[Data], Mapping[str, float]]] = {
        "prior": lambda data: without_network(data, name="prior"),
        "MFCC, SVM": lambda data: without_network(data, name="mfcc-svm"),
        "scattering, linear": by_scattering,
        "leak: artists apart": lambda data: leak(data, careless=False),
        "leak: artists on both sides": lambda data: leak(data, careless=True),
    }
    return Comparison(
        corpus=dataset,
        n_tracks=SIZES[dataset],
        load=lambda **asked: load(dataset, **asked),
        n_items=lambda data: len(data.tracks()["test"]),
        variants=VARIANTS[dataset],
        train=train,
        score=score,
        baselines=baselines,
        prefix=f"{dataset}: ",
    )


def beside_the_shipped() -> Comparison:
    """Return what the shipped network has to beat, on the corpus that it was trained on."""
    return Comparison(
        corpus="tags",
        n_tracks=SHIPPED_SIZE,
        load=lambda **asked: load("tags", **asked),
        n_items=lambda data: len(data.tracks()["test"]),
        variants={},
        train=train,
        score=score,
        baselines={"scattering, linear": by_scattering},
        prefix="tags, as shipped: ",
    )


def table_rows(found: Measured, dataset: str, names: Mapping[str, str]) -> list[list[str]]:
    """Return a row for each variant: words, mean ± deviation over seeds, interval, cost."""
    name, _ = judge_of(dataset)
    rows = []
    for variant, words in names.items():
        full = f"{dataset}: {variant}"
        low, high = (found.mean(full, f"{name}_{end}") for end in ("low", "high"))
        n = found.runs(full)[0].n_parameters
        cpu_s = f"{found.mean(full, 'train_cpu_s'):.0f}" if n else "–"
        rows.append(
            [words, found.text(full, name), f"{low:.2f}–{high:.2f}", f"{n:,}" if n else "–", cpu_s]
        )
    return rows


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure everything on both tasks; ``n_tracks``, if given, is the size of both corpora."""
    for dataset in SIZES:
        yield from comparison(dataset).run(seed, n_tracks, done=done)
    if seed == SHIPPED_SEED and n_tracks is None:
        yield from beside_the_shipped().run(seed, done=done)
