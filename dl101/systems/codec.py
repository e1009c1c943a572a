"""A neural codec: a waveform becomes a few codes a second, and a waveform again.

Encoder and decoder are convolutions (:mod:`dl101.nn.codec`); between them a residual vector
quantiser (``bottleneck="rvq"``), whose first stages alone give a lower bitrate, or a Gaussian
(``"vae"``), whose latents are real numbers, for diffusion. The loss compares waveforms and spectra,
with ``adversarial`` also by a discriminator that is trained along. After SoundStream (Zeghidour and
others, 2021) and EnCodec (Défossez and others, 2022).

:class:`CodecSystem` is a :class:`dl101.nn.codec.Codec`: ``encode`` and ``decode`` are what other
chapters need of it. The rest of this file is what :class:`dl101.training.protocol.SystemModule`
lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from dl101 import config
from dl101.config import (
    Count,
    NotEmpty,
    NotNegative,
    Positive,
    Probability,
    Range,
    SampleRate,
    Seed,
    Settings,
)
from dl101.data.sounds import SoundTrack, load_sounds
from dl101.data.source import DataConfig
from dl101.evaluation import codec as judge
from dl101.nn import losses
from dl101.nn.autoencoder import AutoEncoder, Coded, GaussianBottleneck, Sampled
from dl101.nn.codec import ConvConfig, Decoder, Encoder, as_batch
from dl101.nn.discriminators import MultiScaleSTFTDiscriminator
from dl101.nn.quantize import CodebookConfig, ResidualVQ
from dl101.systems import codec_data
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

CODES = Annotated[int, Range(at_least=2, at_most=65_536)]
# Rates in Hz and bits a sample of the simplest codec, each 3.2 kb/s.
LOW = ((400, 8), (640, 5), (800, 4), (1600, 2))
OGG = {  # what soundfile offers at its smallest, and the rate that the sound is brought to before
    "vorbis": ("VORBIS", 1),
    "vorbis-low": ("VORBIS", 4),
    "opus": ("OPUS", 1),
}


@dataclass(frozen=True)
class AdversarialConfig(Settings):
    """The discriminator and what it counts in the loss."""

    windows: Annotated[tuple[Count, ...], NotEmpty()] = (1024, 512, 256)
    channels: Count = 8
    weight: NotNegative = 0.1
    feature_weight: NotNegative = 0.2
    after_steps: Annotated[int, Range(at_least=0, at_most=1_000_000_000)] = 0


@dataclass(frozen=True)
class CodecConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data, also
        The corpus that the scores are of, and another one to learn from as well. A piece for
        training is ``data.patch_frames`` frames long.
    sample_rate
        In Hz.
    network
        Sizes of encoder and decoder.
    bottleneck
        ``"rvq"``: codes; ``"vae"``: real numbers.
    n_stages, n_codes, stage_dropout, codebook
        Of the residual quantiser.
    quantise_after
        Steps at the beginning for which nothing is quantised, so that the codebooks begin from
        latents that mean something.
    kl_weight
        Of the VAE's divergence, in nats a number.
    waveform_weight, windows
        Weight of the mean absolute error of the samples beside the spectra, and the windows of
        these.
    adversarial
        A discriminator, or None.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="notes", patch_frames=32))
    also: DataConfig | None = None
    sample_rate: SampleRate = 16_000
    network: ConvConfig = field(default_factory=ConvConfig)
    bottleneck: Literal["rvq", "vae"] = "rvq"
    n_stages: Annotated[int, Range(at_least=1, at_most=64)] = 8
    n_codes: CODES = 256
    stage_dropout: Probability = 0.5
    quantise_after: Annotated[int, Range(at_least=0, at_most=1_000_000_000)] = 100
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    kl_weight: NotNegative = 1e-2
    waveform_weight: Positive = 10.0
    windows: Annotated[tuple[Count, ...], NotEmpty()] = (1024, 256, 64)
    adversarial: AdversarialConfig | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``rvq``."""
        return self.bottleneck if self.adversarial is None else f"{self.bottleneck}-adversarial"


Config = CodecConfig


def load_config(
    file: str | Path = "codec", *, scale: str = "lab", settings: Sequence[str] = ()
) -> CodecConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(CodecConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: CodecConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[SoundTrack]]:
    """Return the sounds of each side of the split, of both corpora if there are two."""
    wanted = [settings.data] + ([] if settings.also is None else [settings.also])
    tracks = [
        track
        for data in wanted
        for track in load_sounds(
            data, settings.sample_rate, accept_restricted=accept_restricted, progress=progress
        )
    ]
    return by_side(tracks)


class CodecSystem(fit.System):
    """Encoder, bottleneck, decoder and their loss; audio (batch, time) in and out."""

    shipped_dtype = torch.float16  # nobody hears the difference, and the file is half as large

    def __init__(self, settings: CodecConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        network = settings.network
        if settings.bottleneck == "rvq":
            self.network = AutoEncoder(
                Encoder(network),
                Decoder(network),
                ResidualVQ(
                    network.latent_channels,
                    settings.n_codes,
                    settings.n_stages,
                    dropout=settings.stage_dropout,
                    config=settings.codebook,
                ),
            )
        else:
            encoder = Encoder(network, outputs=2 * network.latent_channels)
            self.network = AutoEncoder(encoder, Decoder(network), GaussianBottleneck())
        self.spectra = losses.MultiResolutionSTFT(settings.windows)
        self.critic = None
        if settings.adversarial is not None:
            given = settings.adversarial
            self.critic = MultiScaleSTFTDiscriminator(given.windows, channels=given.channels)

    # ---- what other chapters use ----

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.settings.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.settings.sample_rate / self.settings.network.hop_samples

    @property
    def codebooks(self) -> tuple[int, ...]:
        """Size of the codebook of each stage; none if the latents are real numbers."""
        rvq = self.settings.bottleneck == "rvq"
        return (self.settings.n_codes,) * self.settings.n_stages if rvq else ()

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """Return codes (batch, stage, frame) int64, or latents (batch, channel, frame) of a VAE."""
        latents = self.network.encoder(as_batch(audio))
        if self.settings.bottleneck == "rvq":
            return self.network.bottleneck.encode(latents)
        return latents.chunk(2, dim=1)[0]  # the means

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return whole frames of audio, (batch, time), of codes or latents.

        Codes may be those of the first stages only, ``codes[:, :2]``: a lower bitrate.
        """
        if self.settings.bottleneck == "rvq":
            codes = self.network.bottleneck.decode(codes)
        return self.network.decoder(codes)

    # ---- training ----

    def forward(self, audio: Tensor) -> Coded:
        """Return what is decoded and what the bottleneck gave, which early on lets all through."""
        early = self.training and self.global_step < self.settings.quantise_after
        if early and self.settings.bottleneck == "rvq":
            latents = self.network.encoder(audio)
            return Coded(self.network.decoder(latents), None)
        return self.network(audio)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the distance of waveforms and of spectra, plus what the bottleneck asks."""
        return self.reconstruction(batch["audio"], self(batch["audio"]))

    def reconstruction(self, audio: Tensor, coded: Coded) -> Tensor:
        """Return the loss without the discriminator."""
        decoded = coded.output[:, : audio.shape[-1]]
        waveform = (decoded - audio).abs().mean()
        total = self.settings.waveform_weight * waveform + self.spectra(decoded, audio)
        if isinstance(coded.bottleneck, Sampled):
            return total + self.settings.kl_weight * coded.bottleneck.kl.mean()
        return total if coded.bottleneck is None else total + coded.bottleneck.loss

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of varied pieces; with a discriminator, what both players minimise."""
        # of the seed and the step alone, so that a resumed run draws what it would have drawn
        rng = np.random.default_rng([torch.initial_seed() % 2**32, self.global_step])
        n_samples = self.settings.data.patch_frames * self.settings.network.hop_samples
        audio = codec_data.vary(batch["audio"], n_samples, rng)
        coded = self(audio)
        loss = self.reconstruction(audio, coded)
        options = {"on_step": False, "on_epoch": True, "batch_size": len(audio)}
        self.log("train_loss", loss, prog_bar=True, sync_dist=True, **options)
        given = self.settings.adversarial
        if given is None or self.global_step < given.after_steps:
            return loss
        cheated, caught = self.duel(audio, coded.output[:, :n_samples])
        self.log("critic_loss", caught, **options)
        return loss + cheated + caught

    def duel(self, audio: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the codec and what the discriminator minimise, ready to be added.

        One optimiser serves both: the codec's loss sees the discriminator with its weights held
        fixed, the discriminator's sees the decoded sound as a recording, so that the gradient of
        the sum is that of each player's own loss.
        """
        given = self.settings.adversarial
        fixed = {name: p.detach() for name, p in self.critic.named_parameters()}
        real, real_features = self.critic(audio)
        fake, _ = self.critic(decoded.detach())
        scores, features = functional_call(self.critic, fixed, (decoded,))
        cheated = given.weight * losses.hinge_generator(scores)
        cheated = cheated + given.feature_weight * losses.feature_matching(real_features, features)
        return cheated, losses.hinge_discriminator(real, fake)


def build(settings: CodecConfig, *, seed: int = 0) -> CodecSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return CodecSystem(settings)


def batches(
    settings: CodecConfig, tracks: Mapping[str, Sequence[SoundTrack]], *, seed: int = 0
) -> codec_data.PieceData:
    """Return pieces of the training side, shuffled, and some of the validation side, in order."""
    n_samples = settings.data.patch_frames * settings.network.hop_samples
    return codec_data.PieceData(tracks, 2 * n_samples, settings.training.batch_size, seed=seed)


@torch.no_grad()
def predict(
    system: CodecSystem, audio: NDArray[np.float32], *, n_stages: int | None = None
) -> NDArray[np.float32]:
    """Return a sound, (samples,), after encoding and decoding, of the same length."""
    system.eval()
    codes = system.encode(torch.from_numpy(np.ascontiguousarray(audio))[None].to(system.device))
    if system.codebooks:
        codes = codes[:, :n_stages]
    return system.decode(codes)[0, : len(audio)].cpu().numpy()


def stage_counts(system: CodecSystem) -> tuple[int, ...]:
    """Return how many stages are scored: 1, 2, 4, ... and all; for a VAE 0, which has none."""
    n = len(system.codebooks)
    return tuple(sorted({2**k for k in range(n.bit_length()) if 2**k <= n} | {n}))


def _evaluation(
    settings: CodecConfig,
    tracks: Sequence[SoundTrack],
    decoded: Mapping[str, Sequence[NDArray[np.float32]]],
    overall: Mapping[str, float],
    chosen: Mapping[str, float] | None = None,
) -> Evaluation:
    """Return the distances of each sound of ``data``, and those of ``also`` overall.

    ``decoded`` holds what became of every track, by what is appended to the names of the scores.
    """
    by_corpus: dict[str, dict[str, dict[str, float]]] = {}
    for place, track in enumerate(tracks):
        scores = by_corpus.setdefault(track.corpus, {}).setdefault(track.key, {})
        for tail, sounds in decoded.items():
            found = judge.score(sounds[place], track.audio)
            scores.update({f"{name}{tail}": value for name, value in found.items()})
    own = by_corpus.pop(settings.data.dataset)
    means = {
        f"{corpus}_{name}": value
        for corpus, scores in by_corpus.items()
        for name, value in Evaluation(scores).mean.items()
    }
    return Evaluation(own, chosen or {}, {**overall, **means})


def evaluate(system: CodecSystem, tracks: Mapping[str, Sequence[SoundTrack]]) -> Evaluation:
    """Return the distances of the test side with 1, 2, 4, ... stages.

    Names are those of :func:`dl101.evaluation.codec.score` and the number of stages,
    ``si_sdr_db_4``; those of the corpus ``also`` begin with its name, ``stems_si_sdr_db_4``.
    """
    counts, test = stage_counts(system), tracks["test"]
    decoded = {f"_{n}": [predict(system, t.audio, n_stages=n) for t in test] for n in counts}
    rates = {
        f"bits_per_s_{n}": judge.bits_per_second(system.frame_rate, system.codebooks[:n])
        for n in counts
        if n
    }
    return _evaluation(system.settings, test, decoded, rates)


def baselines(
    settings: CodecConfig, tracks: Mapping[str, Sequence[SoundTrack]]
) -> dict[str, Evaluation]:
    """Return the distances of codecs that need no learning, on the same sounds.

    ``resampled`` is a low rate and few bits at 3.2 kb/s, the best of :data:`LOW` on the validation
    side; ``vorbis`` the smallest OGG Vorbis at the codec's rate, ``vorbis-low`` that at a quarter
    of it, ``opus`` the smallest OGG Opus. None of them goes as low as a neural codec: their rates
    are in ``bits_per_s``.
    """
    rate, test = settings.sample_rate, tracks["test"]
    sounds = [track.audio for track in test]

    def at(audio: NDArray[np.float32], low: tuple[int, int]) -> NDArray[np.float32]:
        return judge.resampled(audio, rate, low_rate=low[0], n_bits=low[1])

    def ratio(low: tuple[int, int]) -> float:
        members = tracks["validation"]
        return float(
            np.mean([judge.score(at(t.audio, low), t.audio)["si_sdr_db"] for t in members])
        )

    low_rate, n_bits = best = max(LOW, key=ratio)
    found = {
        "resampled": _evaluation(
            settings,
            test,
            {"": [at(audio, best) for audio in sounds]},
            {"bits_per_s": low_rate * n_bits},
            {"low_rate_hz": low_rate, "n_bits": n_bits},
        )
    }
    for name, (subtype, divisor) in OGG.items():
        decoded, bits = judge.ogg(sounds, rate, low_rate=rate // divisor, subtype=subtype)
        found[name] = _evaluation(settings, test, {"": decoded}, {"bits_per_s": bits})
    return found
