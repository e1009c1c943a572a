"""Families of TUNe with the same number of parameters, pretrained without labels, at home and away.

Conventions: variants are named ``audio: family``. The *family* says which path is longer or shorter
than in the vanilla network, and how many filters are then left within :data:`BUDGET` parameters;
``CLMR`` has one path only. The *audio* is what was heard in pretraining: ``tags`` (at home: the
tracks that are probed, but for the test side), ``genres``, ``chords``, ``covers`` (away, equally
many seconds of each), or ``untrained``. Probes always read labels of ``tags``, whose test side
nobody has heard. The seed draws the corpora, the initial weights and the order of training.

Scores: AUC and AP of a linear probe and of one with a hidden layer. Beside the networks stands the
same probe on statistics of cepstral coefficients, ``MFCC``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dl101 import config
from dl101.data.audiofile import resample
from dl101.data.embedded.corpora import covers
from dl101.data.embedded.recipe import track_split
from dl101.data.sounds import at_level
from dl101.data.source import DataConfig
from dl101.nn.tune import Sizes
from dl101.progress import progress as progress_bar
from dl101.systems import self_supervised as system
from dl101.systems import self_supervised_data
from dl101.systems.self_supervised import SelfSupervisedConfig, SelfSupervisedSystem
from dl101.systems.self_supervised_data import Recording
from dl101.training import probing, protocol
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "tags", 840
BUDGET = 141_000  # parameters of an encoder
REPRESENTATION = 128
# Each with as many filters as the budget allows; the paths of Table 1, one pooling shorter where
# the tail is longest, since crops are three times shorter.
FAMILIES: Mapping[str, Sizes] = {
    "CLMR": Sizes(0, 0, 9, 3, REPRESENTATION),
    "Vanilla": Sizes(4, 4, 4, 8, REPRESENTATION),
    "Contractive+2": Sizes(6, 6, 4, 2, REPRESENTATION),
    "Expansive-3": Sizes(4, 1, 1, 9, REPRESENTATION),
    "Tail+4": Sizes(4, 4, 8, 3, REPRESENTATION),
    "TUNe+": Sizes(4, 4, 8, 3, REPRESENTATION, plus=True),
}
AWAY = ("genres", "chords", "covers")
TRACK_S = {"tags": 6.0, "genres": 8.0, "chords": 20.0, "covers": 45.0}
CROPS, EPOCHS = 6, 4  # pairs of a track of tags in an epoch, and passes; as many steps for all
# Small batches: at this length many steps teach more than many negatives (tried on CLMR).
BATCH = 32

Sides = Mapping[str, Sequence[Recording]]


@dataclass(frozen=True)
class Variant:
    """A family, and what it heard in pretraining."""

    family: str
    audio: str

    @property
    def name(self) -> str:
        """Return its name in the records."""
        return f"{self.audio}: {self.family}"


VARIANTS = [
    *(Variant(family, "untrained") for family in FAMILIES),
    *(Variant(family, "tags") for family in FAMILIES),
    *(Variant(family, audio) for audio in AWAY for family in ("CLMR", "TUNe+")),
]


def settings_of(
    variant: Variant, *, seed: int = 0, n_tracks: int = N_TRACKS
) -> SelfSupervisedConfig:
    """Return the configuration of a run: that of the file, with another encoder."""
    base = system.load_config("tune")
    sizes = FAMILIES[variant.family]
    lengths = {name: getattr(sizes, name) for name in ("n_contractive", "n_expansive", "n_tail")}
    encoder = replace(
        base.model,
        kind="tune",
        filters=sizes.filters,
        representation=sizes.representation,
        plus=sizes.plus,
        **lengths,
    )
    seconds = TRACK_S.get(variant.audio, TRACK_S["tags"]) / TRACK_S["tags"]
    return replace(
        base,
        model=encoder,
        data=replace(base.data, dataset=CORPUS, n_tracks=n_tracks, seed=seed),
        also=None,
        crops=max(1, round(CROPS * seconds)),
        training=replace(
            base.training, max_epochs=EPOCHS, batch_size=BATCH, precision="bf16-mixed"
        ),
    )


@dataclass(frozen=True, eq=False)
class Data:
    """The tracks that are probed, and those of the other corpora, which are read when asked for."""

    seed: int
    n_tracks: int
    probed: Sides
    read: dict[str, list[Recording]] = field(default_factory=dict)

    def heard(self, audio: str) -> Sides:
        """Return what a network may hear, and what is probed."""
        if audio in ("tags", "untrained"):
            return self.probed
        if audio not in self.read:
            self.read[audio] = recordings_of(audio, self.seed, self.n_tracks)
        deaf = {s: [replace(r, heard=False) for r in side] for s, side in self.probed.items()}
        for each in self.read[audio]:
            deaf[each.side].append(each)
        return deaf


def recordings_of(audio: str, seed: int, n_tracks: int) -> list[Recording]:
    """Return recordings without labels, as many seconds as ``n_tracks`` of the corpus of tags."""
    rate = system.load_config("tune").sample_rate
    n = max(6, round(n_tracks * TRACK_S["tags"] / TRACK_S[audio]))
    if audio != "covers":
        chosen = DataConfig(audio, n_tracks=n, seed=seed)
        return self_supervised_data.load_recordings(chosen, rate, labelled=False)
    found = []  # the corpus holds pitch-class profiles; the performances behind them are played
    for index in progress_bar(range(n), "playing covers"):
        side = track_split(index)[0]
        if side != "test":
            samples, heard_at = covers.render_audio(index, seed=seed)
            played = at_level(resample(samples, heard_at, rate))
            found.append(Recording(f"covers-{seed}/{index:05d}", side, played, None, True))
    return found


def load(*, seed: int, n_tracks: int, progress: bool = True) -> Data:
    """Return the tracks of the corpus of tags, by side."""
    settings = settings_of(VARIANTS[0], seed=seed, n_tracks=n_tracks)
    return Data(seed, n_tracks, system.load_tracks(settings, progress=progress))


def train(variant: Variant, data: Data, *, seed: int = 0) -> SelfSupervisedSystem:
    """Pretrain an encoder without labels; validation chooses the epoch by the same loss."""
    settings = settings_of(variant, seed=data.seed, n_tracks=data.n_tracks)
    tracks = data.heard(variant.audio)
    if variant.audio == "untrained":
        return system.untrained(settings, tracks, seed=seed)
    built = system.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(system, built, settings, tracks, folder, seed=seed, progress=False)
    return built


def score(trained: SelfSupervisedSystem, variant: Variant, data: Data) -> dict[str, float]:
    """Return what probes read in the embeddings of the tracks with tags, on their test side."""
    seen, labels = system.embeddings(trained, data.probed), system.labels_of(data.probed)
    # out of domain the probe learns more slowly, as published
    rate = 3e-4 if variant.audio in AWAY else trained.settings.probe.learning_rate
    found = probing.both(seen, labels, replace(trained.settings.probe, learning_rate=rate))
    return found | system.geometry(trained, system.with_labels(data.probed["test"]))


def by_timbre(data: Data) -> dict[str, float]:
    """Return the scores of the same probes on statistics of cepstral coefficients."""
    settings = settings_of(VARIANTS[0], seed=data.seed, n_tracks=data.n_tracks)
    lengths = (settings.crop_samples, settings.sample_rate)
    seen = {
        side: self_supervised_data.side_by_side(
            [self_supervised_data.timbre_of(each.audio, *lengths) for each in tracks]
        )
        for side, tracks in data.probed.items()
    }
    return probing.both(seen, system.labels_of(data.probed), settings.probe)


def describe(variant: Variant) -> dict[str, Any]:
    """Return the settings of a run but for its data, which the record names."""
    settings = config.to_dict(settings_of(variant))
    of_data = ("data", "also", "heard")
    return asdict(variant) | {key: settings[key] for key in settings if key not in of_data}


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data.probed["test"]),
    variants={variant.name: variant for variant in VARIANTS},
    train=train,
    score=score,
    baselines={"MFCC": by_timbre},
    describe=describe,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure the baseline and every variant on one seed of the corpora."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
