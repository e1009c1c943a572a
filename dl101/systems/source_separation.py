"""Source separation in the short-time spectrum: from a mixture to vocals, drums, bass and the rest.

A network (:mod:`dl101.nn.spectral_separation`) looks at the mixture's spectrum and says of each
stem a mask, or a spectrum; with the mixture's phase that goes back to sound. The loss compares
magnitudes (``l1``), waveforms whatever their level (``si-sdr``), or spectra of several windows
(``stft``).

:class:`SeparationSystem` separates one window of audio, :func:`separate` audio of any length. The
rest of this file is what :class:`dl101.training.protocol.SystemModule` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dl101 import config
from dl101.config import Count, HopSamples, NotEmpty, Range, SampleRate, Seed, Settings
from dl101.data.songs import STEMS, SongTrack, load_songs
from dl101.data.source import DataConfig
from dl101.errors import ConfigError, DataError
from dl101.evaluation import separation
from dl101.nn import losses
from dl101.nn.spectral_separation import SpectralConfig, SpectralSeparator
from dl101.signal import hpss, unmixing
from dl101.systems import source_separation_data
from dl101.systems.source_separation_data import RemixConfig
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

WINDOW_S = 10.0  # of audio that is separated at once
BASS_HZ = 200.0  # where the answer without learning takes bass from the rest
N_PARTS = 16  # of the answer by NMF
FRAME_S = 1.0  # of the SDR whose median is stated
Stems = NDArray[np.float32]  # (stems, channels, samples)


@dataclass(frozen=True)
class SeparationConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data
        Songs with stems. A piece for training is ``data.patch_frames`` frames long.
    sample_rate, n_channels
        Of the audio that the network works on, in Hz; one channel is the average of two.
    stems
        What is taken out of a mixture; all four stems make the mixture in any case.
    window_samples, hop_samples
        Of the short-time Fourier transform.
    model
        The network, and what it says.
    loss, windows
        ``"l1"``, ``"si-sdr"`` or ``"stft"``, and the windows of the last.
    augment
        How pieces are varied; None takes them as they are.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="stems", patch_frames=64))
    sample_rate: SampleRate = 16_000
    n_channels: Annotated[int, Range(at_least=1, at_most=2)] = 1
    stems: Annotated[tuple[Literal[STEMS], ...], NotEmpty()] = STEMS
    window_samples: Annotated[int, Range(at_least=16, at_most=65_536)] = 1024
    hop_samples: HopSamples = 512
    model: SpectralConfig = field(default_factory=SpectralConfig)
    loss: Literal["l1", "si-sdr", "stft"] = "l1"
    windows: Annotated[tuple[Count, ...], NotEmpty()] = (2048, 512, 128)
    augment: RemixConfig | None = field(default_factory=RemixConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check each field, that no stem is named twice, and that windows overlap by half."""
        super().__post_init__()
        if len(set(self.stems)) < len(self.stems):
            raise ConfigError(
                "SeparationConfig.stems",
                got=", ".join(self.stems),
                expected="each stem once",
                hint=f"choose among {', '.join(STEMS)}",
            )
        if self.window_samples % 2 or self.hop_samples > self.window_samples // 2:
            raise ConfigError(
                "SeparationConfig.hop_samples",
                got=f"{self.hop_samples} with windows of {self.window_samples}",
                expected="an even window, and at most half of it",
                hint="a spectrum whose frames don't overlap can't become sound again",
            )

    @property
    def piece_samples(self) -> int:
        """Length of what a step of training sees."""
        return (self.data.patch_frames - 1) * self.hop_samples

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``unet-mask-l1``."""
        kind = self.model.kind + ("-all" if self.model.film == "all" else "")
        parts = [kind, self.model.output, self.loss]
        parts += [] if self.stems == STEMS else list(self.stems)
        return "-".join(parts if self.augment is not None else [*parts, "as-is"])


Config = SeparationConfig


def load_config(
    file: str | Path = "source_separation", *, scale: str = "lab", settings: Sequence[str] = ()
) -> SeparationConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(SeparationConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: SeparationConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[SongTrack]]:
    """Return the songs of each side of the split."""
    songs = load_songs(
        settings.data,
        settings.sample_rate,
        settings.n_channels,
        accept_restricted=accept_restricted,
        progress=progress,
    )
    return by_side(songs)


class SeparationSystem(fit.System):
    """The network and its loss.

    With ``sample_rate``, ``stems``, ``window_s``, ``context_samples``, ``step_samples`` and
    :meth:`separate`, it is what separates a recording window by window.
    """

    shipped_dtype = torch.float16

    def __init__(self, settings: SeparationConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.network = SpectralSeparator(
            settings.model,
            len(settings.stems),
            settings.n_channels,
            window_samples=settings.window_samples,
            hop_samples=settings.hop_samples,
        )
        self.spectra = losses.MultiResolutionSTFT(settings.windows)
        self.rows = [STEMS.index(stem) for stem in settings.stems]

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.settings.sample_rate

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of what it gives, in order."""
        return self.settings.stems

    @property
    def window_s(self) -> float:
        """Length of the windows that suit it, in seconds."""
        return WINDOW_S

    @property
    def context_samples(self) -> int:
        """What is left out at each end of a window where windows overlap: half a second or more."""
        hop = self.settings.hop_samples
        return -(-max(self.sample_rate // 2, self.settings.window_samples) // hop) * hop

    @property
    def step_samples(self) -> int:
        """Audio that is moved by a multiple of this has the same frames, moved."""
        return self.settings.hop_samples

    @torch.no_grad()
    def separate(self, audio: NDArray[np.floating]) -> Stems:
        """Return (stems, channels, samples) of a window (channels, samples).

        A network of one channel hears each of two by itself; one of two hears mono twice.
        """
        self.eval()
        heard = torch.from_numpy(np.asarray(audio, dtype=np.float32)).to(self.device)
        n_channels, n_samples = heard.shape
        if self.settings.n_channels == 1:
            return self(heard[:, None])[:, :, 0].transpose(0, 1).cpu().numpy()
        return self(heard.expand(2, n_samples)[None])[0, :, :n_channels].cpu().numpy()

    def forward(self, audio: Tensor) -> Tensor:
        """Return (batch, stems, channels, samples) of mixtures (batch, channels, samples)."""
        found = self.network(self.network.spectrum(audio))
        return self.network.audio(found, audio.shape[-1])

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return how far the stems are from what is said of their sum."""
        return self.distance(batch["stems"])

    def distance(self, stems: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the loss of stems (batch, stems, channels, samples).

        ``asked`` is the one stem, (batch,), that a conditioned network is asked for; None asks for
        all.
        """
        wanted = stems[:, self.rows]
        if asked is not None:
            wanted = wanted[torch.arange(len(stems), device=stems.device), asked][:, None]
        found = self.network(self.network.spectrum(stems.sum(1)), asked)
        if self.settings.loss == "l1":
            truth = self.network.spectrum(wanted)
            if self.settings.model.output == "parts":
                return torch.view_as_real(found - truth).abs().mean()
            return (found.abs() - truth.abs()).abs().mean()
        heard = self.network.audio(found, stems.shape[-1])
        if self.settings.loss == "si-sdr":
            return losses.si_sdr_loss(heard, wanted)
        return self.spectra(heard.flatten(0, 2), wanted.flatten(0, 2))

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, of varied pieces."""
        # of the seed and the step alone, so that a resumed run draws what it would have drawn
        rng = np.random.default_rng([torch.initial_seed() % 2**32, self.global_step])
        stems = source_separation_data.cut(batch["stems"], self.settings.piece_samples, rng)
        if self.settings.augment is not None:
            stems = source_separation_data.vary(stems, rng, self.settings.augment)
        asked = None
        if self.settings.model.kind == "film":
            numbers = rng.integers(0, len(self.stems), len(stems))
            asked = torch.from_numpy(numbers).to(stems.device)
        loss = self.distance(stems, asked)
        options = {"on_step": False, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log("train_loss", loss, batch_size=len(stems), **options)
        return loss


def build(settings: SeparationConfig, *, seed: int = 0) -> SeparationSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return SeparationSystem(settings)


def batches(
    settings: SeparationConfig, tracks: Mapping[str, Sequence[SongTrack]], *, seed: int = 0
) -> source_separation_data.SongData:
    """Return pieces of the training side, shuffled, and of the validation side, in order."""
    return source_separation_data.SongData(
        tracks,
        settings.piece_samples,
        settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


def separate(system: SeparationSystem, audio: NDArray[np.floating]) -> Stems:
    """Return the stems of audio of any length, at the system's rate.

    Windows of 10 s overlap; of each the ends are left out, where the network lacks what comes
    before or after, and one fades into the next.

    Parameters
    ----------
    system
        What separates.
    audio
        (samples,) or (channels, samples) with 1 or 2 channels.

    Returns
    -------
    ndarray, shape (stems, channels, samples)
        In the order of ``system.stems``, with as many channels as the audio.
    """
    audio = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if audio.ndim != 2 or len(audio) not in (1, 2) or not audio.shape[1]:
        raise DataError(
            "audio to separate",
            got=f"shape {audio.shape}",
            expected="(samples,) or (channels, samples) with 1 or 2 channels",
            hint="put channels first",
        )
    n_samples, context, step = audio.shape[1], system.context_samples, system.step_samples
    size = -(-max(round(system.window_s * system.sample_rate), 6 * context) // step) * step
    hop = size - 3 * context  # a context at both ends, and one to fade in
    found = np.zeros((len(system.stems), *audio.shape), dtype=np.float32)
    rising = ((np.arange(context) + 0.5) / context).astype(np.float32)
    for start in range(0, max(n_samples - 3 * context, 1), hop):
        said = system.separate(audio[:, start : start + size])
        is_last = start + size >= n_samples
        if start:
            said = said[..., context:]
            said[..., :context] *= rising
        if not is_last:
            said = said[..., : said.shape[-1] - context]
            said[..., -context:] *= 1 - rising
        begin = start + (context if start else 0)
        found[..., begin : begin + said.shape[-1]] += said
        if is_last:
            break
    return found


predict = separate


# ---- scores ------------------------------------------------------------------------------------


def score(
    tracks: Sequence[SongTrack],
    estimate: Callable[[SongTrack], NDArray],
    stems: Sequence[str],
    sample_rate: int,
) -> Evaluation:
    """Return the scores of estimates of the songs' stems, by song and overall.

    Of each song ``si_sdr_db``, ``sdr_db`` (of BSSEval 4: the median over frames of a second) and
    ``gain_db`` (SI-SDR above that of the mixture) are means over the stems that are heard in it.
    Overall they are also by stem, ``si_sdr_db_vocals``, means over the songs in which it is heard,
    but ``sdr_db``, by stem, is the median. ``silent_frames`` is the share of frames left out.
    """
    rows = [STEMS.index(stem) for stem in stems]
    names = ("si_sdr_db", "sdr_db", "gain_db")
    found, n_frames, n_silent = {}, 0, 0
    for track in tracks:
        said, mixture, values = estimate(track), track.mixture, []
        for row, one in zip(rows, said, strict=True):
            truth = track.stems[row]
            ratio = separation.si_sdr(one, truth)
            frames = separation.frame_sdr(one, truth, round(FRAME_S * sample_rate))
            n_frames, n_silent = n_frames + len(frames), n_silent + int(np.isnan(frames).sum())
            median = float(separation.median_over_frames(frames))
            values.append((ratio, median, ratio - separation.si_sdr(mixture, truth)))
        found[track.key] = np.array(values).T  # (names, stems)
    overall = {"silent_frames": n_silent / max(n_frames, 1)}
    for place, stem in enumerate(stems):
        heard = np.array([values[:, place] for values in found.values()])
        heard = heard[~np.isnan(heard).any(axis=1)]
        for number, name in enumerate(names if len(heard) else ()):
            average = np.median if name == "sdr_db" else np.mean
            overall[f"{name}_{stem}"] = float(average(heard[:, number]))
    by_song = {
        key: dict(zip(names, np.nanmean(values, axis=1).tolist(), strict=True))
        for key, values in found.items()
        if not np.isnan(values).all(axis=1).any()
    }
    return Evaluation(by_song, overall=overall)


def evaluate(system: SeparationSystem, tracks: Mapping[str, Sequence[SongTrack]]) -> Evaluation:
    """Return the scores of the test side; see :func:`score`."""
    return score(
        tracks["test"],
        lambda track: separate(system, track.mixture),
        system.stems,
        system.sample_rate,
    )


def baselines(
    settings: SeparationConfig, tracks: Mapping[str, Sequence[SongTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of answers without learning, and of bounds that know the truth.

    ``mixture`` for each stem; ``hpss``: what is broad is drums, what lasts is bass below 200 Hz and
    the others above; ``repet``: what doesn't repeat is vocals, and what does each of the others;
    ``nmf-dealt``: 16 components, each given to a stem by the truth. Bounds are those of
    :data:`dl101.evaluation.separation.BOUNDS`, with the system's window.
    """
    rate = settings.sample_rate
    rows = [STEMS.index(stem) for stem in settings.stems]

    def bound(make: Callable[..., NDArray]) -> Callable[[SongTrack], NDArray]:
        return lambda track: make(track.stems, frame_samples=settings.window_samples)

    ways: dict[str, Callable[[SongTrack], NDArray]] = {
        "mixture": lambda track: np.broadcast_to(track.mixture, track.stems.shape),
        "hpss": lambda track: by_steadiness(track.mixture, rate),
        "repet": lambda track: by_repetition(track.mixture, rate),
        "nmf-dealt": by_parts,
        **{name: bound(make) for name, make in separation.BOUNDS.items()},
    }
    return {
        name: score(tracks["test"], lambda t, way=way: way(t)[rows], settings.stems, rate)
        for name, way in ways.items()
    }


def by_steadiness(mixture: NDArray[np.float32], sample_rate: int) -> NDArray:
    """Return (4, channels, samples): drums are broad, the rest lasts, and bass is low."""
    from scipy.signal import butter, sosfiltfilt

    parts = np.array([hpss.separate(channel, sample_rate) for channel in mixture])
    lasting, broad = parts[:, 0], parts[:, 1]
    low = sosfiltfilt(butter(4, BASS_HZ, fs=sample_rate, output="sos"), lasting)
    return np.stack([lasting - low, broad, low, lasting - low])


def by_repetition(mixture: NDArray[np.float32], sample_rate: int) -> NDArray:
    """Return (4, channels, samples): vocals don't repeat, all the others do."""
    parts = np.array([unmixing.repet(channel, sample_rate) for channel in mixture])
    again, rest = parts[:, 0], parts[:, 1]
    return np.stack([rest, again, again, again])


def by_parts(track: SongTrack) -> NDArray:
    """Return (4, channels, samples): components of an NMF, each dealt to the stem it is most of.

    That is, to the stem with which its inner product is largest: no method, but what one could
    reach that sorts perfectly.
    """
    found = np.zeros(track.stems.shape)
    for channel, mixture in enumerate(track.mixture):
        truth = track.stems[:, channel]
        for part in unmixing.components(mixture, N_PARTS):
            found[np.argmax(truth @ part), channel] += part
    return found
