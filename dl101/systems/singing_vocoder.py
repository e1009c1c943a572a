"""A singing vocoder: a mel spectrogram becomes a voice.

After SawSing (Wu and others, 2022): an encoder says, frame by frame, the fundamental of a sawtooth
and the filters that it and noise go through. Beside it stand its kin, which differ in the source
(``kind``: ``sawsing``, ``ddsp-add``, ``wavetable``, ``nsf``), and two rivals in which convolutions
make the samples and discriminators judge them (``hifi-gan``, ``melgan``). The rest of this file is
what :class:`dl101.training.protocol.SystemModule` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from dl101 import config
from dl101.config import Count, HopSamples, NotEmpty, NotNegative, SampleRate, Seed, Settings
from dl101.data.source import DataConfig
from dl101.errors import ConfigError
from dl101.evaluation import singing as judge
from dl101.evaluation.generation import frechet_distance
from dl101.nn import losses
from dl101.nn.discriminators import Discriminators, PeriodDiscriminator, ScaleDiscriminator
from dl101.nn.singing_vocoder import (
    Controls,
    ConvGenerator,
    GeneratorConfig,
    SourceFilter,
    SynthesisConfig,
    VocoderEncoderConfig,
    f0_loss,
)
from dl101.nn.spectra import LogMel
from dl101.signal.mel import expand, log_mel, mel_filters, power_from_mel
from dl101.signal.stft import griffin_lim
from dl101.systems import singing_vocoder_data as voices
from dl101.systems.singing_vocoder_data import VoiceTrack
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

SOURCE_OF = {
    "sawsing": "sawtooth",
    "ddsp-add": "harmonics",
    "wavetable": "wavetable",
    "nsf": "neural",
}
MEL_STRENGTH = 10_000.0  # of the logarithm that the mel spectrogram is in
Sound = NDArray[np.float32]


@dataclass(frozen=True)
class RivalConfig(Settings):
    """The discriminators of the rivals, and what they count in the loss.

    HiFi-GAN has those of ``periods`` and a mel spectrogram in its loss, MelGAN those of
    ``divisors`` and none.
    """

    periods: Annotated[tuple[Count, ...], NotEmpty()] = (2, 3, 5, 7, 11)
    divisors: Annotated[tuple[Count, ...], NotEmpty()] = (1, 2, 4)
    channels: Count = 8
    n_layers: Count = 3
    weight: NotNegative = 1.0
    feature_weight: NotNegative = 4.0
    mel_weight: NotNegative = 15.0


@dataclass(frozen=True)
class VocoderConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data
        The phrases; a piece for a step is ``data.patch_frames`` frames long.
    n_phrases
        Learn from so few phrases of the training side, drawn by the seed; None takes all.
    sample_rate, hop_samples, window_samples, n_bands
        Of the mel spectrogram.
    kind
        What makes the sound.
    encoder, synthesis
        Sizes of ``sawsing`` and its kin.
    generator, adversarial
        Sizes of ``hifi-gan`` and ``melgan``, and of their discriminators; MelGAN has blocks of the
        first kernel alone.
    windows
        Of the loss in spectra, in samples.
    f0_weight
        Of the mean absolute error of the logarithm of the fundamental.
    pieces_per_epoch
        However many phrases there are.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="voice", patch_frames=100))
    n_phrases: Count | None = None
    sample_rate: SampleRate = 24_000
    hop_samples: HopSamples = 240
    window_samples: Count = 1024
    n_bands: Count = 80
    kind: Literal["sawsing", "ddsp-add", "wavetable", "nsf", "hifi-gan", "melgan"] = "sawsing"
    encoder: VocoderEncoderConfig = field(default_factory=VocoderEncoderConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    adversarial: RivalConfig = field(default_factory=RivalConfig)
    windows: Annotated[tuple[Count, ...], NotEmpty()] = (1024, 512, 256, 128)
    f0_weight: NotNegative = 1.0
    pieces_per_epoch: Count = 512
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in SOURCE_OF and np.prod(self.generator.strides) != self.hop_samples:
            raise ConfigError(
                "generator.strides",
                got=f"{self.generator.strides}, whose product is not {self.hop_samples}",
                expected="strides that make as many samples of a frame as lie between frames",
                hint="change the strides, or hop_samples",
            )

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``sawsing`` or ``sawsing, 3 phrases``."""
        late = "" if self.synthesis.compensate else ", delay left in"
        few = "" if self.n_phrases is None else f", {self.n_phrases} phrases"
        return self.kind + late + few


Config = VocoderConfig


def load_config(
    file: str | Path = "singing_vocoder", *, scale: str = "lab", settings: Sequence[str] = ()
) -> VocoderConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(VocoderConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: VocoderConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[VoiceTrack]]:
    """Return the phrases of each side of the split."""
    return by_side(
        voices.load_voices(
            settings.data,
            settings.sample_rate,
            settings.hop_samples,
            accept_restricted=accept_restricted,
            progress=progress,
        )
    )


class VocoderSystem(fit.System):
    """A mel spectrogram, what makes a voice of it, and the loss."""

    shipped_dtype = torch.float16

    def __init__(self, settings: VocoderConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.mel = LogMel(
            settings.sample_rate,
            n_bands=settings.n_bands,
            window_samples=settings.window_samples,
            hop_samples=settings.hop_samples,
        )
        self.spectra = losses.MultiResolutionSTFT(settings.windows)
        self.critic = None
        if settings.kind in SOURCE_OF:
            self.network = SourceFilter(
                SOURCE_OF[settings.kind],
                n_bands=settings.n_bands,
                sample_rate=settings.sample_rate,
                hop_samples=settings.hop_samples,
                encoder=settings.encoder,
                config=settings.synthesis,
            )
        else:
            given = settings.adversarial
            sizes = {"channels": given.channels, "n_layers": given.n_layers}
            sizes_of_network = settings.generator
            if settings.kind == "melgan":
                sizes_of_network = replace(sizes_of_network, kernels=sizes_of_network.kernels[:1])
            self.network = ConvGenerator(settings.n_bands, sizes_of_network)
            self.critic = Discriminators(
                (PeriodDiscriminator(period, **sizes) for period in given.periods)
                if settings.kind == "hifi-gan"
                else (ScaleDiscriminator(divisor, **sizes) for divisor in given.divisors)
            )

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return self.settings.hop_samples

    def analyse(self, audio: Tensor) -> Tensor:
        """Return the mel spectrogram (batch, band, 1 + time // hop) of (batch, time)."""
        return self.mel(audio)[:, 0]

    def forward(self, mel: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return audio (batch, frame * hop) of a mel spectrogram (batch, band, frame)."""
        if self.critic is not None:
            return self.network(mel)
        return sum(self.network.synthesise(self.network(mel), generator))

    # ---- training ----

    def sounds_and_loss(
        self, audio: Tensor, f0_hz: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what becomes of audio (batch, time), and the loss without discriminators."""
        mel = self.analyse(audio)
        if self.critic is not None:
            made = self.network(mel)[:, : audio.shape[-1]]
            if self.settings.kind == "melgan" and self.training:
                return made, made.new_zeros(())
            error = (self.analyse(made) - mel).abs().mean()
            return made, self.settings.adversarial.mel_weight * error
        controls = self.network(mel)
        made = sum(self.network.synthesise(controls, generator))[:, : audio.shape[-1]]
        loss = self.spectra(made, audio)
        return made, loss + self.settings.f0_weight * f0_loss(controls.f0_hz, f0_hz)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a batch as it is, by which the weights to keep are chosen."""
        drawn = torch.Generator().manual_seed(0)
        return self.sounds_and_loss(batch["audio"], batch["f0_hz"], drawn)[1]

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of varied pieces; with discriminators, what both players minimise."""
        # of the seed and the step alone, so that a resumed run draws what it would have drawn
        rng = np.random.default_rng([torch.initial_seed() % 2**32, self.global_step])
        audio, f0_hz = voices.cut(batch, self.settings.data.patch_frames, self.hop, rng)
        made, loss = self.sounds_and_loss(audio, f0_hz)
        options = {"on_step": False, "on_epoch": True, "batch_size": len(audio)}
        self.log("train_loss", loss, prog_bar=True, sync_dist=True, **options)
        if self.critic is None:
            return loss
        cheated, caught = self.duel(audio, made)
        self.log("critic_loss", caught, **options)
        return loss + cheated + caught

    def duel(self, audio: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the generator and what the discriminators minimise, ready to be added.

        One optimiser serves both, as in :meth:`dl101.systems.codec.CodecSystem.duel`: each player's
        loss sees the other held fixed.
        """
        given = self.settings.adversarial
        fixed = {name: p.detach() for name, p in self.critic.named_parameters()}
        real, real_features = self.critic(audio)
        fake, _ = self.critic(made.detach())
        scores, features = functional_call(self.critic, fixed, (made,))
        cheated = given.weight * losses.hinge_generator(scores)
        cheated = cheated + given.feature_weight * losses.feature_matching(real_features, features)
        return cheated, losses.hinge_discriminator(real, fake)


def build(settings: VocoderConfig, *, seed: int = 0) -> VocoderSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return VocoderSystem(settings)


def batches(
    settings: VocoderConfig, tracks: Mapping[str, Sequence[VoiceTrack]], *, seed: int = 0
) -> voices.PhraseData:
    """Return pieces of all phrases of the training side, or of the few that the seed draws."""
    chosen = list(tracks["train"])
    if settings.n_phrases is not None:
        sung = [track for track in chosen if track.style == voices.SUNG] or chosen
        drawn = np.random.default_rng([seed, 3]).permutation(len(sung))[: settings.n_phrases]
        chosen = [sung[number] for number in sorted(drawn)]
    return voices.PhraseData(
        {**tracks, "train": chosen},
        settings.data.patch_frames,
        settings.hop_samples,
        settings.training.batch_size,
        n_pieces=settings.pieces_per_epoch,
        seed=seed,
    )


@torch.no_grad()
def controls_of(system: VocoderSystem, audio: Sound) -> Controls:
    """Return what the encoder of ``sawsing`` or its kin says of a sound (samples,)."""
    system.eval()
    given = torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None]
    return system.network(system.analyse(given.to(system.device)))


@torch.no_grad()
def sound_of(system: VocoderSystem, controls: Controls, *, seed: int = 0) -> Sound:
    """Return the sound of controls of one voice, (frames * hop,); the seed draws the noise."""
    drawn = torch.Generator().manual_seed(seed)
    return sum(system.network.synthesise(controls, drawn))[0].cpu().numpy()


@torch.no_grad()
def predict(system: VocoderSystem, audio: Sound, *, seed: int = 0) -> Sound:
    """Return what the vocoder makes of the mel spectrogram of a sound, of the same length."""
    system.eval()
    given = torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None].to(system.device)
    made = system(system.analyse(given), torch.Generator().manual_seed(seed))
    return made[0, : len(audio)].cpu().numpy()


def invert(settings: VocoderConfig, audio: Sound, *, n_iterations: int = 32) -> Sound:
    """Return what Griffin-Lim makes of the mel spectrogram of a sound: no learning."""
    rate, hop = settings.sample_rate, settings.hop_samples
    bands = {"n_bands": settings.n_bands, "window_samples": settings.window_samples}
    heard = log_mel(audio, rate, hop_samples=hop, **bands)
    filters = mel_filters(rate, **bands)
    magnitude = np.sqrt(power_from_mel(expand(heard.values[0], MEL_STRENGTH), filters))
    found = griffin_lim(
        magnitude.astype(np.float32),
        hop_samples=hop,
        n_samples=len(audio),
        n_iterations=n_iterations,
    )
    return found.audio.astype(np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch work on one thread of the CPU, so that times can be compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _evaluation(
    settings: VocoderConfig, tracks: Sequence[VoiceTrack], make: Callable[[Sound], Sound]
) -> Evaluation:
    """Return the scores of what ``make`` makes of each phrase of the test side.

    Those of recorded voices are overall ones, ``recorded_msstft`` and so on.
    """
    rate, hop = settings.sample_rate, settings.hop_samples
    spectra = losses.MultiResolutionSTFT(settings.windows)
    sung: dict[str, dict[str, float]] = {}
    recorded: dict[str, dict[str, float]] = {}
    wanted, found = [], []
    for track in tracks:
        made = make(track.audio)
        pair = (torch.from_numpy(np.ascontiguousarray(x))[None] for x in (made, track.audio))
        scores = {
            "msstft": float(spectra(*pair)),
            **judge.f0_error(made, track.f0_hz, rate, hop),
            "phase_jitter": judge.phase_jitter(made, track.f0_hz, rate, hop),
        }
        is_recorded = track.style not in ("", voices.SUNG)
        (recorded if is_recorded else sung)[track.key] = scores
        if not is_recorded:
            wanted.append(track.audio)
            found.append(made)
    overall = {f"recorded_{name}": x for name, x in Evaluation(recorded).mean.items()}
    overall["frechet"] = frechet_distance(judge.timbre(wanted, rate), judge.timbre(found, rate))
    with one_thread():
        overall["real_time_factor"] = judge.real_time_factor(make, wanted[0], rate)
    return Evaluation(sung, {}, overall)


def evaluate(system: VocoderSystem, tracks: Mapping[str, Sequence[VoiceTrack]]) -> Evaluation:
    """Return the scores of the test side; sounds are made on the CPU.

    ``msstft`` is :class:`dl101.nn.losses.MultiResolutionSTFT` on the windows of the loss; the
    others are those of :mod:`dl101.evaluation.singing`; ``real_time_factor`` is of one thread.
    """
    on_cpu = VocoderSystem(system.settings)
    on_cpu.load_state_dict({name: value.cpu() for name, value in system.state_dict().items()})
    return _evaluation(system.settings, tracks["test"], lambda audio: predict(on_cpu, audio))


def baselines(
    settings: VocoderConfig, tracks: Mapping[str, Sequence[VoiceTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of ``griffin-lim``, and of the phrases themselves (``original``)."""
    test = tracks["test"]
    return {
        "griffin-lim": _evaluation(settings, test, lambda audio: invert(settings, audio)),
        "original": _evaluation(settings, test, lambda audio: audio),
    }
