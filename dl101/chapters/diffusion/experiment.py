"""What the chapter on latent flow compares over seeds.

Three small networks, trained for some twenty seconds each on the same latents: a rectified flow
that sees logit-normal times, one that sees uniform times, and a denoising diffusion. Each makes a
note for every held-out one with 4 to 32 *evaluations of the network*, which is what sampling costs:
a step of Heun's method takes two, a step of the others one.

Then, once and with seed 0, the flow that ships: steps, methods and guidance; and real
notes through the codec with a little noise in their latents, to see what the judge makes of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dl101.config import to_dict
from dl101.evaluation import generation
from dl101.nn import flow as paths
from dl101.systems import flow
from dl101.systems.flow_data import LatentNote, asked_of
from dl101.training import protocol, shipped
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "notes", 1080
EVALUATIONS = (4, 8, 16, 32)
GUIDANCE = (0.0, 1.0, 2.0, 3.0, 5.0)
NOISE = (0.0, 0.05, 0.2)  # deviation of what is added to the latents of real notes
N_PITCHES = 45  # notes whose pitch is measured, which takes longest
SMALL = (
    "network.channels=[48, 64, 80]",
    "n_variants=2",
    "training.max_epochs=45",
    "training.patience=45",
)
METHODS = {"flow": ("euler", "heun"), "ddpm": ("ddim", "ancestral")}

Sides = Mapping[str, Sequence[LatentNote]]


def steps_of(method: str, n_evaluations: int) -> int:
    """Return how many steps take so many evaluations of the network."""
    return max(1, n_evaluations // 2) if method == "heun" else n_evaluations


@dataclass(frozen=True, eq=False)
class Judge:
    """The notes that are asked for, and real notes to compare with."""

    tagger: Any
    asked: Sequence[LatentNote]
    reference: NDArray[np.float64]

    @classmethod
    def of(cls, tracks: Sides, network: str, sample_rate: int) -> Judge:
        """Return the judge of a split."""
        tagger = shipped.load(network).system
        real = tagger.embed_sounds([note.audio for note in tracks["test"]], sample_rate)
        return cls(tagger, asked_of(tracks), real)

    def __call__(self, system: flow.FlowSystem, seed: int, **options: Any) -> dict[str, float]:
        """Return what is measured of a note for each that is asked for."""
        sounds = flow.predict(system, self.asked, seed=seed, **options)
        return self.scores(list(sounds), system.sample_rate)

    def scores(self, sounds: Sequence[NDArray[np.float32]], rate: int) -> dict[str, float]:
        """Return what is measured of sounds, one for each note that is asked for."""
        found = self.tagger.embed_sounds(sounds, rate)
        named = self.tagger.families_of(sounds, rate).argmax(axis=1)
        few = sounds[:N_PITCHES]
        wanted = [note.pitch_midi for note in self.asked[: len(few)]]
        near = generation.plays_as_asked(few, rate, wanted)
        return {
            "frechet": generation.frechet_distance(self.reference, found),
            "coverage": generation.density_coverage(self.reference, found)[1],
            "family": float(np.mean(named == [note.family for note in self.asked])),
            "pitch": float(np.mean(near)),
        }


def named(scores: Mapping[str, float], *tail: object) -> dict[str, float]:
    """Return scores whose names end with what they were measured for: ``frechet_euler_8``."""
    return {"_".join(map(str, (name, *tail))): value for name, value in scores.items()}


@torch.no_grad()
def bend_of(system: flow.FlowSystem, notes: Sequence[LatentNote], *, n_steps: int = 32) -> float:
    """Return how far the paths of generated notes are from straight lines, see ``nn.flow.bend``."""
    place = system.place_of()
    pitch = torch.tensor([float(note.pitch_midi) for note in notes])
    asked = system.asked(pitch, torch.tensor([note.family for note in notes]), place)
    z = flow.noise_of(system, len(notes), len(place), 0)
    states = [x for _, x in paths.path(system.guided(asked, 1.0), z, n_steps, method="heun")]
    return float(paths.bend(torch.stack(states)).mean())


# ---- small networks ----------------------------------------------------------------------------


VARIANTS: dict[str, tuple[str, ...]] = {
    "flow": (),
    "flow, uniform times": ("times=uniform",),
    "diffusion": ("objective=ddpm", "times=uniform", "sampler.method=ddim"),
}


def settings_of(changes: Sequence[str]) -> flow.FlowConfig:
    """Return the settings of a variant, given as changes to those of the small flow."""
    return flow.load_config(settings=[*SMALL, *changes])


def load(*, n_tracks: int = N_TRACKS, seed: int = 0, progress: bool = True) -> Sides:
    """Return the notes of each side with their latents."""
    size = (f"data.n_tracks={n_tracks}", f"data.seed={seed}")
    return flow.load_tracks(settings_of(size), progress=progress)


def train(changes: Sequence[str], data: Sides, *, seed: int = 0) -> flow.FlowSystem:
    """Return a trained system."""
    settings = settings_of(changes)
    system = flow.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(flow, system, settings, data, folder, seed=seed, progress=False)
    return system


def score(system: flow.FlowSystem, changes: Sequence[str], data: Sides) -> dict[str, float]:
    """Return the scores for each method and number of evaluations of the network."""
    settings = system.settings
    judge = Judge.of(data, settings.judge, system.sample_rate)
    scores: dict[str, float] = {}
    for method in METHODS[settings.objective]:
        for n in EVALUATIONS:
            options = {"method": method, "n_steps": steps_of(method, n)}
            scores |= named(judge(system, 0, **options), method, n)
    if settings.objective == "flow":
        scores["bend"] = bend_of(system, judge.asked)
    return scores


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data["test"]),
    variants=VARIANTS,
    train=train,
    score=score,
    describe=lambda changes: to_dict(settings_of(changes)),
)


# ---- the flow that ships -----------------------------------------------------------------------


def sampling_scores(
    seed: int, system: flow.FlowSystem, variant: Mapping[str, Any], data: Sides
) -> dict[str, float]:
    """Return the scores of the network that ships for each of some options."""
    judge = Judge.of(data, system.settings.judge, system.sample_rate)
    found = {}
    for tail, options in variant.items():
        if "noise" in options:
            sounds = list(with_noise(system, judge.asked, options["noise"], seed))
            found |= named(judge.scores(sounds, system.sample_rate), tail)
        else:
            found |= named(judge(system, seed, **options), tail)
    return found | {"bend": bend_of(system, judge.asked)}


def with_noise(
    system: flow.FlowSystem, notes: Sequence[LatentNote], deviation: float, seed: int
) -> NDArray[np.float32]:
    """Return real notes through the codec, with some noise in their standardised latents."""
    x = system.standardise(torch.from_numpy(np.stack([note.latents[0] for note in notes])))
    z = flow.noise_of(system, len(notes), x.shape[-1], seed)
    return system.sounds_of(x + deviation * z)[:, : len(notes[0].audio)]


SAMPLING: dict[str, dict[str, dict[str, Any]]] = {
    "shipped, steps": {
        f"{method}_{n}": {"method": method, "n_steps": steps_of(method, n)}
        for method in METHODS["flow"]
        for n in (2, 8, 32)
    },
    "codec, noise": {f"{level:g}": {"noise": level} for level in NOISE},
    "shipped, guidance": {f"{weight:g}": {"guidance": weight} for weight in GUIDANCE},
}


def sampling(seed: int) -> Comparison:
    """Return the comparison of ways to sample, with the noise of a seed."""
    network = shipped.load("flow")
    data = network.settings.data

    def held_out(*, n_tracks: int, seed: int, progress: bool = True) -> Sides:
        settings = flow.load_config(settings=[f"data.n_tracks={n_tracks}", "n_variants=1"])
        return flow.load_tracks(settings, progress=progress)

    return Comparison(
        corpus=CORPUS,
        n_tracks=data.n_tracks,
        load=held_out,
        n_items=lambda sides: len(sides["test"]),
        variants=SAMPLING,
        train=lambda variant, sides, *, seed: network.system,
        score=partial(sampling_scores, seed),
        describe=lambda variant: {"network": "flow", "options": variant},
    )


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Train and score the small networks; with seed 0, sample from the one that ships."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
    if seed == 0 and "flow" in shipped.names() and not set(SAMPLING) <= set(done):
        yield from sampling(seed).run(seed, done=done)
