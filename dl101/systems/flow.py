"""Latent flow: notes from noise, by a rectified flow over the latents of a codec.

A codec with real-valued latents (:mod:`dl101.systems.codec`, ``bottleneck=vae``) turns a note into
32 numbers, 50 times a second. A network learns the velocity that carries noise to such latents,
told the time, the pitch and the family of the instrument (:mod:`dl101.nn.flow`,
:mod:`dl101.nn.flow_unet`); what it makes is decoded by the codec. With ``objective="ddpm"`` the
same network learns a denoising diffusion instead. After Liu and others (2023), Esser and others
(2024) and, for latents of music, Nistal and others (Diff-A-Riff, 2024).

One file because what makes sounds and what is scored call the network that the loss trains. It
follows the chapter: :func:`load_tracks`, :func:`build`, the loss, :func:`generate`,
:func:`variation`, :func:`interpolation`, :func:`evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dl101 import config
from dl101.config import Count, NotNegative, Probability, Range, Seed, Settings
from dl101.data.sounds import at_level
from dl101.data.source import DataConfig
from dl101.errors import ConfigError
from dl101.nn import flow
from dl101.nn.codec import Codec
from dl101.nn.flow_unet import Asked, FlowUNet, NoteCondition, UNetConfig
from dl101.nn.pretrained_codecs import Music2Latent
from dl101.systems import flow_data
from dl101.systems.flow_data import (
    FAMILIES,
    LatentData,
    LatentNote,
    asked_of,
    gaussian_latents,
    judged,
    numbers_of,
    places,
)
from dl101.training import fit, protocol, shipped
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

ATTACK_S, RELEASE_S = (
    0.3,
    0.5,
)  # of a long note, which keep their pace; what is between is stretched
N_KNOWN = 480  # training notes among which a copied one is looked for


class LatentCodec(shipped.Network):
    """A network that ships, a file of one, or ``music2latent:FILE``."""

    def allows(self, value: str) -> bool:
        """Return whether there is such a network, or it is a published one."""
        return value.partition(":")[0] == "music2latent" or super().allows(value)


@dataclass(frozen=True)
class SamplerConfig(Settings):
    """How sounds are made from noise.

    Attributes
    ----------
    method
        ``euler`` or ``heun`` for a flow, ``ddim`` or ``ancestral`` for a diffusion.
    n_steps
        Steps from noise to data.
    guidance
        Weight of the condition: 0 ignores it, 1 obeys as trained, more exaggerates.
    """

    method: Literal["euler", "heun", "ddim", "ancestral"] = "heun"
    n_steps: Annotated[int, Range(at_least=1, at_most=10_000)] = 16
    guidance: NotNegative = 1.0

    def check_for(self, objective: str) -> None:
        """Raise a ConfigError if the method is none for what the network has learned."""
        fits = ("euler", "heun") if objective == "flow" else ("ddim", "ancestral")
        if self.method not in fits:
            raise ConfigError(
                "sampler.method",
                got=f"{self.method!r} for a network with the objective {objective!r}",
                expected=" or ".join(fits),
                hint=f"use {fits[0]}",
            )


@dataclass(frozen=True)
class FlowConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data
        The notes; ``patch_frames`` is the length of a note in latents.
    codec
        A network that ships, a file of one, or ``music2latent:FILE`` with the published weights.
    latents
        Channels of its latents.
    network
        Sizes of the U-Net.
    vector
        Numbers that describe pitch and family to it; 0: it is told nothing.
    drop
        Share of the training notes whose pitch and family are hidden, so that one network also
        learns to do without.
    n_variants
        Latents of each training note; see :func:`dl101.systems.flow_data.varied`.
    objective, times
        What the network learns, and which times it sees.
    sampler
        How sounds are made, for scores too.
    judge
        The network in whose embedding generated notes are compared with real ones.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="notes", patch_frames=63))
    codec: Annotated[str, LatentCodec()] = "codec_vae"
    latents: Count = 32
    network: UNetConfig = field(default_factory=UNetConfig)
    vector: Annotated[int, Range(at_least=0, at_most=4096)] = 48
    drop: Probability = 0.1
    n_variants: Count = 4
    objective: Literal["flow", "ddpm"] = "flow"
    times: Literal["logit-normal", "uniform"] = "logit-normal"
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    judge: Annotated[str, shipped.Network()] = "notes_tagger"
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sampler.check_for(self.objective)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``flow-logit-normal``."""
        return f"{self.objective}-{self.times}"


Config = FlowConfig


def load_config(
    file: str | Path = "flow", *, scale: str = "lab", settings: Sequence[str] = ()
) -> FlowConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(FlowConfig, file, scale=scale, settings=settings)


def load_codec(settings: FlowConfig) -> Codec:
    """Return the codec of a configuration.

    Raises
    ------
    ConfigError
        If its latents are codes, or have another number of channels.
    """
    kind, _, path = settings.codec.partition(":")
    codec = (
        Music2Latent.load(weights=path or None)
        if kind == "music2latent"
        else shipped.load(settings.codec).system
    )
    n = 64 if kind == "music2latent" else codec.settings.network.latent_channels
    if codec.codebooks or n != settings.latents:
        raise ConfigError(
            "FlowConfig.codec",
            got=f"{settings.codec!r}, with {'codes' if codec.codebooks else f'{n} channels'}",
            expected=f"real-valued latents of {settings.latents} channels",
            hint="use codec_vae and latents=32, or music2latent:FILE and latents=64",
        )
    return codec


def load_tracks(
    settings: FlowConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[LatentNote]]:
    """Return the notes of each side, as :mod:`dl101.systems.flow_data` has the sides."""
    return flow_data.load_notes(
        settings.data,
        load_codec(settings),
        n_variants=settings.n_variants,
        accept_restricted=accept_restricted,
        progress=progress,
    )


class FlowSystem(fit.System):
    """Network, statistics of the latents, and loss; latents (batch, channel, frame).

    Everything but :meth:`latents_of` and :meth:`sounds_of` speaks of *standardised* latents: each
    channel has mean 0 and deviation 1 over the training side. Both travel with the weights.
    """

    shipped_dtype = torch.float16

    def __init__(self, settings: FlowConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.asked = NoteCondition(len(FAMILIES), settings.vector)
        frames = self.asked.n_clock if settings.vector else 0
        self.network = FlowUNet(
            settings.latents, settings.network, vector=settings.vector, frames=frames
        )
        self.register_buffer("mean", torch.zeros(settings.latents))
        self.register_buffer("deviation", torch.ones(settings.latents))
        self.register_buffer("pitch_ranges", torch.tensor([[0.0, 127.0]]).repeat(len(FAMILIES), 1))

    # ---- the codec and its latents ----

    @cached_property
    def codec(self) -> Codec:
        """The codec, which is loaded at first use and is no part of the checkpoint."""
        return load_codec(self.settings)

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.codec.sample_rate

    def standardise(self, latents: Tensor) -> Tensor:
        """Return latents of the codec with mean 0 and deviation 1 in each channel."""
        return (latents - self.mean[:, None]) / self.deviation[:, None]

    @torch.no_grad()
    def latents_of(self, audio: Tensor) -> Tensor:
        """Return standardised latents of sounds, (batch, samples)."""
        return self.standardise(self.codec.encode(audio).to(self.device))

    @torch.no_grad()
    def sounds_of(self, latents: Tensor) -> NDArray[np.float32]:
        """Return the sounds, (batch, samples), of standardised latents."""
        real = latents * self.deviation[:, None] + self.mean[:, None]
        return np.concatenate([self.codec.decode(part).cpu().numpy() for part in real.split(64)])

    # ---- the network, and what it is told ----

    def place_of(self, seconds: float = 0.0) -> Tensor:
        """Return where in a note each frame is; see :func:`dl101.systems.flow_data.places`."""
        usual = self.settings.data.patch_frames
        n_frames = math.ceil(seconds * self.codec.frame_rate - 1e-6) if seconds else usual
        rate = self.codec.frame_rate if n_frames > usual else 1.0
        return places(n_frames, usual, rate).to(self.device)

    def forward(self, x: Tensor, t: Tensor, asked: Asked) -> Tensor:
        """Return the velocity, or for a diffusion the noise, of the shape of ``x``."""
        return self.network(x, t, *asked)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a batch; in evaluation always with the same noise and times."""
        x0 = self.standardise(batch["latents"])
        n, pitch, family = len(x0), batch["pitch"].float(), batch["family"]
        if self.training:
            draw = None
            hidden = torch.rand(n, device=x0.device) < self.settings.drop
            pitch = pitch.masked_fill(hidden, self.asked.any_pitch)
            family = family.masked_fill(hidden, self.asked.any_family)
        else:
            draw = torch.Generator().manual_seed(n)
        times = {"logit-normal": flow.logit_normal_times, "uniform": flow.uniform_times}
        # any network is validated at times that lie alike
        t = times[self.settings.times if self.training else "uniform"](n, generator=draw)
        z = torch.randn(x0.shape, generator=draw).to(x0)
        asked = self.asked(pitch, family, self.place_of()[: x0.shape[-1]])
        objective = flow.flow_loss if self.settings.objective == "flow" else flow.ddpm_loss
        return objective(lambda x, t: self(x, t, asked), x0, z, t.to(x0))

    def on_fit_start(self) -> None:
        """Take the statistics of the latents from the training side, and from it alone."""
        notes = self.trainer.datamodule.train.notes
        for name, value in zip(("mean", "deviation"), flow_data.statistics(notes), strict=True):
            getattr(self, name).copy_(value)
        self.pitch_ranges.copy_(flow_data.pitch_ranges(notes))

    # ---- from noise to latents ----

    def guided(self, asked: Asked, guidance: float) -> flow.Network:
        """Return the network as a function of state and time, for notes of any length."""
        if asked.vector is None:
            return lambda x, t: self(x, t, asked)
        window = self.settings.data.patch_frames

        def told(asked: Asked) -> flow.Network:
            def part(x: Tensor, t: Tensor, start: int) -> Tensor:
                clock = asked.clock[..., start : start + x.shape[-1]]
                return self(x, t, asked._replace(clock=clock))

            return flow.by_windows(part, window=window, hop=window // 2)

        return flow.guided(told(asked), told(self.asked.hidden(asked)), guidance)

    @torch.no_grad()
    def sample(
        self, network: flow.Network, x: Tensor, sampler: SamplerConfig, *, start: float = 1.0,
        seed: int = 0,
    ) -> Tensor:  # fmt: skip
        """Return latents from the state ``x`` at time ``start``."""
        if self.settings.objective == "flow":
            options = {"method": sampler.method, "start": start}
            return flow.solve(network, x, sampler.n_steps, **options)
        noise = float(sampler.method == "ancestral")
        draw = torch.Generator().manual_seed(seed + 1)
        return flow.ddpm_solve(
            network, x, sampler.n_steps, noise=noise, start=start, generator=draw
        )


def build(settings: FlowConfig, *, seed: int = 0) -> FlowSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return FlowSystem(settings)


def batches(
    settings: FlowConfig, tracks: Mapping[str, Sequence[LatentNote]], *, seed: int = 0
) -> LatentData:
    """Return the training side, shuffled, and the validation side in order."""
    return LatentData(tracks, settings.training.batch_size, seed=seed)


# ---- sounds ------------------------------------------------------------------------------------


def _sampler(system: FlowSystem, options: Mapping[str, object]) -> SamplerConfig:
    given = config.to_dict(system.settings.sampler) | options
    sampler = config.build(SamplerConfig, given, where="options of the sampler")
    sampler.check_for(system.settings.objective)
    return sampler


def generate(
    system: FlowSystem,
    *,
    pitches_midi: Sequence[float],
    families: Sequence[str],
    seconds: float = 1.25,
    seed: int = 0,
    **options: float | str,
) -> NDArray[np.float32]:
    """Return notes that nobody played, (items, samples) at ``system.sample_rate``.

    Parameters
    ----------
    system
        Trained.
    pitches_midi, families
        What to play: a MIDI number and a name for each note.
    seconds
        Length. Notes longer than those of the training are made of overlapping windows.
    seed
        Of the noise: the same seed gives the same notes.
    **options
        Changes to the sampler: ``method``, ``n_steps``, ``guidance``; see :class:`SamplerConfig`.

    Raises
    ------
    ConfigError, DataError
        As :func:`~dl101.systems.flow_data.numbers_of`; for an unknown option; for a length of 0 or
        of more than a minute.
    """
    seconds = config.checked(Annotated[float, Range(above=0, at_most=60)], seconds, "seconds")
    pitch, family = numbers_of(pitches_midi, families, system.pitch_ranges)
    return _made(system, pitch, family, seconds, seed, options)


def _made(
    system: FlowSystem,
    pitch: Tensor,
    family: Tensor,
    seconds: float,
    seed: int,
    options: Mapping[str, object],
) -> NDArray[np.float32]:
    """Return notes, (items, samples); pitches may lie beyond what the network has heard."""
    sampler, place = _sampler(system, options), system.place_of(seconds)
    z = noise_of(system.eval(), len(pitch), len(place), seed)
    network = system.guided(system.asked(pitch, family, place), sampler.guidance)
    latents = system.sample(network, z, sampler, seed=seed)
    return system.sounds_of(latents)[:, : round(seconds * system.sample_rate)]


def noise_of(system: FlowSystem, n_items: int, n_frames: int, seed: int) -> Tensor:
    """Return noise (items, channel, frame); item k is the same, however many there are."""
    draw = torch.Generator().manual_seed(config.checked(Seed, seed, "seed"))
    shape = (system.settings.latents, n_frames)
    return torch.stack([torch.randn(shape, generator=draw) for _ in range(n_items)]).to(
        system.device
    )


def variation(
    system: FlowSystem,
    sound: ArrayLike,
    *,
    pitch_midi: float,
    family: str,
    amount: float,
    seed: int = 0,
    **options: float | str,
) -> NDArray[np.float32]:
    """Return a sound like another, (samples,): noised to the time ``amount`` and brought back.

    0 gives the sound as the codec has it, 1 forgets it (Meng and others, SDEdit, 2022). Pitch and
    family are those of the result, and may differ from the sound's.
    """
    sampler = _sampler(system, options)
    x0, asked = _known(system, sound, pitch_midi, family)
    amount = config.checked(Probability, amount, "amount")
    if amount > 0:
        t, z = torch.full((1,), amount).to(x0), noise_of(system, 1, x0.shape[-1], seed)
        blend = flow.mix if system.settings.objective == "flow" else flow.diffuse
        network = system.guided(asked, sampler.guidance)
        x0 = system.sample(network, blend(x0, z, t), sampler, start=amount, seed=seed)
    return system.sounds_of(x0)[0, : len(sound)]


def _known(
    system: FlowSystem, sound: ArrayLike, pitch_midi: float, family: str
) -> tuple[Tensor, Asked]:
    """Return the latents of a sound, (1, channel, frame), and what the network is told of it."""
    audio = at_level(np.asarray(sound))
    x0 = system.eval().latents_of(torch.from_numpy(audio)[None])
    place = system.place_of(len(audio) / system.sample_rate)[: x0.shape[-1]]
    return x0, system.asked(*numbers_of([pitch_midi], [family], system.pitch_ranges), place)


@torch.no_grad()
def interpolation(
    system: FlowSystem,
    sounds: Sequence[ArrayLike],
    *,
    pitches_midi: Sequence[float],
    families: Sequence[str],
    shares: Sequence[float],
    n_steps: int = 32,
) -> NDArray[np.float32]:
    """Return sounds between two, (shares, samples): 0 is the first of them, 1 the second.

    The flow is followed backwards, from each sound to the noise that it would come from; noises are
    mixed on the sphere where they lie, conditions on a line, and the flow leads to sounds again.

    Parameters
    ----------
    sounds, pitches_midi, families
        Two sounds of equal length, and what they are.
    shares
        Of the second, 0 to 1.
    n_steps
        Steps each way.
    """
    options = {"method": "heun"}
    known = [
        _known(system, *each) for each in zip(sounds, pitches_midi, families, strict=True)
    ]  # fmt: skip
    noises = [
        flow.solve(system.guided(asked, 1.0), x0, n_steps, start=0.0, stop=1.0, **options)
        for x0, asked in known
    ]
    (_, first), (_, second) = known
    between = torch.tensor(shares, dtype=torch.float32, device=system.device)[:, None]
    asked = first._replace(
        vector=torch.lerp(first.vector, second.vector, between),
        clock=first.clock.expand(len(shares), -1, -1),
    )
    network = system.guided(asked, 1.0)
    latents = flow.solve(network, flow.slerp(*noises, between[:, 0]), n_steps, **options)
    return system.sounds_of(latents)[:, : len(sounds[0])]


# ---- scores ------------------------------------------------------------------------------------


def predict(
    system: FlowSystem, notes: Sequence[LatentNote], *, seed: int = 0, **options: float | str
) -> NDArray[np.float32]:
    """Return a generated note, (items, samples), for each note: its pitch, its family."""
    pitch = torch.tensor([float(note.pitch_midi) for note in notes], device=system.device)
    family = torch.tensor([note.family for note in notes], device=system.device)
    seconds = len(notes[0].audio) / system.sample_rate
    return _made(system, pitch, family, seconds, seed, options)


def evaluate(system: FlowSystem, tracks: Mapping[str, Sequence[LatentNote]]) -> Evaluation:
    """Return the scores of a generated note for each note of the validation side.

    They are those of :func:`judged`, and the ``loss`` on the notes of the test side.
    """
    sounds = predict(system, asked_of(tracks))
    found = judged(sounds, system.sample_rate, tracks, system.settings.judge)
    items = flow_data.Latents(tracks["test"])
    batch = torch.utils.data.default_collate([items[i] for i in range(len(items))])
    with torch.inference_mode():
        loss = float(system.loss({name: x.to(system.device) for name, x in batch.items()}))
    return Evaluation(found.scores, {}, {**found.overall, "loss": loss})


def baselines(
    settings: FlowConfig, tracks: Mapping[str, Sequence[LatentNote]]
) -> dict[str, Evaluation]:
    """Return the scores of sets that no flow made, of as many notes.

    ``vae-prior``: latents from N(0, 1), what the codec's bottleneck is drawn to. ``gaussian``:
    latents from one Gaussian for each frame of a note, with the mean and the full covariance of
    the channels in the training side; frames don't know of each other, and nothing is asked for.
    ``codec``: the real notes through the codec, the best that can be reached. ``real``: as they
    are.
    """
    codec, asked = load_codec(settings), asked_of(tracks)
    draw, n = torch.Generator().manual_seed(0), len(asked[0].audio)
    shape = (len(asked), *asked[0].latents.shape[1:])
    latents = {
        "vae-prior": torch.randn(shape, generator=draw),
        "gaussian": gaussian_latents(tracks["train"], shape[0], generator=draw),
        "codec": torch.from_numpy(np.stack([note.latents[0] for note in asked])),
    }
    sounds = {
        name: np.concatenate([codec.decode(part).cpu().numpy()[:, :n] for part in x.split(64)])
        for name, x in latents.items()
    }
    sounds["real"] = np.stack([note.audio for note in asked])
    return {
        name: judged(each, codec.sample_rate, tracks, settings.judge)
        for name, each in sounds.items()
    }
