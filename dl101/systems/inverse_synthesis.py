"""Pitch by inverse synthesis: a network that finds f0 because it learns to make the sound again.

After J. Engel, R. Swavely, L. H. Hantrakul, A. Roberts and C. Hawthorne, "Self-supervised Pitch
Detection by Inverse Audio Synthesis" (2020): encoders and their loss in
:mod:`dl101.nn.inverse_synthesis`, synthesisers in :mod:`dl101.nn.synthesis`. Training begins with
tones made at random, all of whose parameters are known; then recordings join in, of which nothing
is known but their sound. No pitch of a recording is ever told.

The functions of this file are the chapter in order; those that every system has are listed in
:class:`dl101.training.protocol.SystemModule`. One file because what is heard of a stream, what is
scored and what is learned must be frame by frame the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dl101 import config
from dl101.config import Count, NotNegative, Positive, Probability, Seed, Settings
from dl101.data import audiofile
from dl101.data.pitch_curve import PitchCurve
from dl101.data.source import DataConfig
from dl101.errors import ConfigError
from dl101.evaluation import pitch as judge
from dl101.nn import inverse_synthesis as parts
from dl101.nn import losses, synthesis
from dl101.nn.inverse_synthesis import HarmonicConfig, Harmonics, SinusoidalConfig, Sinusoids
from dl101.nn.spectra import LogMel
from dl101.signal import pitch as trackers
from dl101.signal import streams
from dl101.systems import inverse_synthesis_data as data_of
from dl101.systems.inverse_synthesis_data import HOP_SAMPLES, SAMPLE_RATE, PitchTrack
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation
from dl101.units import hz_to_midi, midi_to_hz

WINDOW_SAMPLES = 2048
MARGIN_FRAMES = 2  # of a window of the spectrum, at either end of a stretch of sound
Reading = Literal["peak", "mean"]  # how a softmax over pitches becomes one pitch
SCORED_TONES = 40  # at most; of a corpus that is mostly there to learn from
BASELINES = ("yin", "pyin", "sawtooth", "twm-peaks")


@dataclass(frozen=True)
class LossWeights(Settings):
    """The weights of equation 10, and those of equation 5.

    ``bins`` is not in the paper: see :func:`dl101.nn.inverse_synthesis.pitch_cross_entropy`.
    """

    f0: NotNegative = 1.0
    amplitude: NotNegative = 10.0
    distribution: NotNegative = 100.0
    noise: NotNegative = 100.0
    sinusoids: NotNegative = 0.1
    bins: NotNegative = 0.0
    reconstruction: NotNegative = 1.0


@dataclass(frozen=True)
class InverseConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data
        Whose test side is scored; learned from as a recording. ``data.patch_frames`` is the length
        of a piece of a tone.
    also
        More recordings to learn from and to be scored on.
    tones
        The synthetic corpus.
    curriculum
        ``"mixed"``: tones alone first, then recordings as well; ``"tones"``: tones alone;
        ``"recordings"``: nothing but recordings from the beginning.
    tones_alone
        The share of steps for which recordings wait, with ``"mixed"``.
    real_frames, real_batch
        Length of a piece of a recording, and how many a step takes.
    consistency_every
        In every how manieth frame sets of sines are compared.
    deviation, tail
        Of the kernels: semitones, and the share of a wider bell.
    stop_gradient
        Whether the harmonic encoder's errors stop before the sinusoidal encoder.
    vary
        Whether tones are filtered and mixed with noise.
    low_midi, high_midi
        Range of pitches that are scored.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="voice", patch_frames=62))
    also: tuple[DataConfig, ...] = ()
    tones: DataConfig = field(default_factory=lambda: DataConfig(dataset="tones", n_tracks=240))
    sines: SinusoidalConfig = field(default_factory=SinusoidalConfig)
    harmonic: HarmonicConfig = field(default_factory=HarmonicConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    curriculum: Literal["mixed", "tones", "recordings"] = "mixed"
    tones_alone: Probability = 0.85
    real_frames: Count = 32
    real_batch: Count = 4
    windows: tuple[Count, ...] = (2048, 1024, 512, 256, 128, 64)
    consistency_every: Count = 4
    deviation: Positive = 0.1
    tail: Probability = 0.0
    stop_gradient: bool = True
    vary: bool = True
    low_midi: Positive = 24.0
    high_midi: Positive = 84.0
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check each field, and that the range is one."""
        super().__post_init__()
        if self.low_midi >= self.high_midi:
            wrong = "low_midi" if self.low_midi != InverseConfig.low_midi else "high_midi"
            raise ConfigError(
                f"InverseConfig.{wrong}",
                got=f"{self.low_midi} to {self.high_midi}",
                expected="the lower end below the higher",
                hint="24 to 84 is the range of the tones",
            )

    @property
    def range_midi(self) -> tuple[float, float]:
        """Return the pitches that are scored."""
        return self.low_midi, self.high_midi

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``mixed``."""
        names = [self.curriculum]
        names += [] if self.stop_gradient else ["through"]
        names += [] if self.weights.sinusoids else ["inconsistent"]
        return "-".join(names)


Config = InverseConfig


def load_config(
    file: str | Path = "inverse_synthesis", *, scale: str = "lab", settings: Sequence[str] = ()
) -> InverseConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(InverseConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: InverseConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[PitchTrack]]:
    """Return tones and recordings of each side of the split."""
    tracks = data_of.load_tones(settings.tones, settings.harmonic.n_harmonics, progress=progress)
    for data in (settings.data, *settings.also):
        tracks += data_of.load_recordings(
            data, settings.range_midi, accept_restricted=accept_restricted, progress=progress
        )
    return by_side(tracks)


class Heard(NamedTuple):
    """What the network makes of a sound."""

    sines: Sinusoids
    harmonics: Harmonics
    state: Tensor


class InverseSystem(fit.System):
    """Both encoders, both synthesisers and their loss; audio (batch, time) in."""

    shipped_dtype = torch.float16

    def __init__(self, settings: InverseConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.spectrum = LogMel(
            SAMPLE_RATE,
            n_bands=settings.sines.n_bands,
            window_samples=WINDOW_SAMPLES,
            hop_samples=HOP_SAMPLES,
        )
        self.sines = parts.SinusoidalEncoder(settings.sines, high_hz=SAMPLE_RATE / 2)
        self.harmonics = parts.HarmonicEncoder(
            settings.harmonic, self.sines.n_sines, self.sines.lowest_hz, self.sines.highest_hz
        )
        self.distance = losses.MultiResolutionSTFT(settings.windows)

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return SAMPLE_RATE

    # ---- from sound to parameters, and back ----

    def hear(self, spectrum: Tensor, state: Tensor | None = None) -> Heard:
        """Return what a log-mel spectrum, (batch, 1, band, frame), is made of."""
        sines = self.sines(spectrum)
        given = sines.frequencies_hz, sines.amplitudes
        if self.settings.stop_gradient:
            given = tuple(x.detach() for x in given)
        harmonics, state = self.harmonics(*given, state)
        return Heard(sines, harmonics, state)

    def forward(self, audio: Tensor) -> Heard:
        """Return what a sound, (batch, frames * hop), is made of: one frame each hop."""
        spectrum = self.spectrum(audio)[..., : audio.shape[-1] // HOP_SAMPLES]
        return self.hear(spectrum / 10 - 1)

    def play_sines(self, sines: Sinusoids) -> Tensor:
        """Return the sum of the sines, (batch, time)."""
        return synthesis.oscillator_bank(
            sines.frequencies_hz, sines.amplitudes, HOP_SAMPLES, SAMPLE_RATE
        )

    def play_harmonics(self, said: Harmonics) -> Tensor:
        """Return the harmonic sound, (batch, time)."""
        return synthesis.harmonics(
            said.f0_hz, said.amplitude, said.distribution, HOP_SAMPLES, SAMPLE_RATE
        )

    def play_noise(self, sines: Sinusoids) -> Tensor:
        """Return the noise, (batch, time), which both sounds share."""
        return synthesis.filtered_noise(sines.noise, HOP_SAMPLES)

    # ---- training ----

    def told(self, heard: Heard, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts of equation 10, not yet weighed: what is said against the truth."""
        sines, said, _ = heard
        sounds = (batch["amplitude"] > data_of.SILENT).float()
        n = sounds.sum().clamp_min(1)
        step = self.settings.consistency_every
        frequencies, amplitudes = (x[:, ::step] for x in data_of.partials_of(batch))
        apart = parts.consistency_loss(
            frequencies,
            amplitudes,
            sines.frequencies_hz[:, ::step],
            sines.amplitudes[:, ::step],
            deviation=self.settings.deviation,
            tail=self.settings.tail,
        )
        here = sounds[:, ::step]
        wrong = (parts.midi_of(said.f0_hz) - batch["f0_midi"]).abs()
        shares = (said.distribution - batch["distribution"]).abs().mean(-1)
        found = {
            "f0": (wrong * sounds).sum() / n,
            "amplitude": (said.amplitude - batch["amplitude"]).abs().mean(),
            "distribution": (shares * sounds).sum() / n,
            "noise": (sines.noise - batch["noise"]).abs().mean(),
            "sinusoids": (apart * here).sum() / here.sum().clamp_min(1),
        }
        if self.settings.weights.bins:
            bins = self.harmonics.pitches_midi
            spread = parts.pitch_cross_entropy(said.pitch_logits, batch["f0_midi"], bins)
            found["bins"] = (spread * sounds).sum() / n
        return found

    def untold(self, heard: Heard, audio: Tensor) -> dict[str, Tensor]:
        """Return what a sound alone can teach: both resyntheses, and whether the two agree."""
        sines, said, _ = heard
        noise = self.play_noise(sines)
        made = [self.play_sines(sines) + noise, self.play_harmonics(said) + noise]
        step = self.settings.consistency_every
        partials = parts.multiples(said.f0_hz, said.distribution.shape[-1])[:, ::step]
        audible = partials < SAMPLE_RATE / 2
        strengths = (said.amplitude[..., None] * said.distribution)[:, ::step] * audible
        apart = parts.consistency_loss(
            partials.clamp_max(SAMPLE_RATE / 2),
            strengths,
            sines.frequencies_hz[:, ::step],
            sines.amplitudes[:, ::step],
            deviation=self.settings.deviation,
            tail=self.settings.tail,
        )
        loud = (said.amplitude[:, ::step].detach() > 1e-3).float()
        return {
            "reconstruction": sum(self.distance(sound, audio) for sound in made),
            "sinusoids": (apart * loud).sum() / loud.sum().clamp_min(1),
        }

    def weighed(self, found: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the parts of a loss."""
        return sum(getattr(self.settings.weights, name) * value for name, value in found.items())

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the whole objective, equation 5, on tones and on recordings."""
        return self.objective(batch, tones=True, recordings=True)

    def objective(self, batch: Mapping[str, Tensor], *, tones: bool, recordings: bool) -> Tensor:
        """Return the parts of the objective that are asked for, added up."""
        total = batch["audio"].new_zeros(())
        if tones:
            total = total + self.weighed(self.told(self(batch["audio"]), batch))
        if recordings and "real" in batch:
            real = batch["real"][: self.settings.real_batch]
            total = total + self.weighed(self.untold(self(real), real))
        return total

    def stage(self) -> dict[str, bool]:
        """Return what the present step learns from."""
        if self.settings.curriculum != "mixed":
            alone = self.settings.curriculum == "tones"
            return {"tones": alone, "recordings": not alone}
        n_steps = max(int(self.trainer.estimated_stepping_batches), 1)
        waits = self.global_step < self.settings.tones_alone * n_steps
        return {"tones": True, "recordings": not waits}

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, of varied tones."""
        # of the seed and the step alone, so that a resumed run draws what it would have drawn
        rng = np.random.default_rng([torch.initial_seed() % 2**32, self.global_step])
        if self.settings.vary:
            batch = data_of.varied(batch, rng)
        loss = self.objective(batch, **self.stage())
        options = {"on_step": False, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log("train_loss", loss, batch_size=len(batch["audio"]), **options)
        return loss

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the loss of what the curriculum ends with, and the distance of f0 in semitones."""
        kind = self.settings.curriculum
        loss = self.objective(batch, tones=kind != "recordings", recordings=kind != "tones")
        options = {"batch_size": len(batch["audio"]), "sync_dist": True}
        self.log("val_loss", loss, prog_bar=True, **options)


def build(settings: InverseConfig, *, seed: int = 0) -> InverseSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return InverseSystem(settings)


def batches(
    settings: InverseConfig, tracks: Mapping[str, Sequence[PitchTrack]], *, seed: int = 0
) -> data_of.PieceData:
    """Return pieces of the training side, shuffled, and some of the validation side, in order."""
    return data_of.PieceData(
        tracks,
        settings.data.patch_frames,
        settings.real_frames,
        settings.training.batch_size,
        seed=seed,
    )


# ---- estimates and scores ------------------------------------------------------------------------


@torch.no_grad()
def follow(
    system: InverseSystem, blocks: Iterable[NDArray[np.float32]], *, chunk_frames: int = 256
) -> Iterator[tuple[Sinusoids, Harmonics]]:
    """Hear a sound of any length, chunk by chunk, in memory that does not grow with it.

    What comes out is, put together, what the network says of the whole: convolutions see the frames
    around a chunk, the recurrent layer goes on from its last state.

    Parameters
    ----------
    system
        The trained system; one whose normalisation looks at the whole clip hears each chunk as one.
    blocks
        Samples (n,) at 16 kHz, one after the other.
    chunk_frames
        Frames that are heard at once.

    Yields
    ------
    sines, harmonics
        Of the next frames, at most ``chunk_frames``, batch 1. Frame ``t`` stands at sample
        ``512 t``; the last at or before the end.
    """
    system.eval()
    context = system.sines.body.context_frames
    around = context + MARGIN_FRAMES
    held, first = np.zeros(0, np.float32), 0  # of the held samples, the first frame
    done, state, ended = 0, None, False
    source = iter(blocks)
    while True:
        while not ended and len(held) < (done - first + chunk_frames + around) * HOP_SAMPLES:
            block = next(source, None)
            ended = block is None
            held = held if ended else np.concatenate([held, block])
        last = first + len(held) // HOP_SAMPLES  # the last frame, if the sound ends here
        stop = last + 1 if ended else done + chunk_frames
        stop = min(stop, done + chunk_frames)
        if stop <= done or not len(held):
            return
        audio = torch.from_numpy(held)[None].to(system.device)
        spectrum = system.spectrum(audio) / 10 - 1
        low = max(done - context, 0)
        high = min(stop + context, first + spectrum.shape[-1])
        sines = system.sines(spectrum[..., low - first : high - first])
        sines = Sinusoids(*(x[:, done - low : stop - low] for x in sines))
        said, state = system.harmonics(sines.frequencies_hz, sines.amplitudes, state)
        yield sines, said
        done = stop
        drop = max(done - around - first, 0)
        held, first = held[drop * HOP_SAMPLES :], first + drop


def pitch_of(system: InverseSystem, said: Harmonics, *, reading: Reading = "peak") -> Tensor:
    """Return f0 in Hz, (batch, frame): at the peak of the softmax, or its mean as published."""
    if reading == "mean":
        return said.f0_hz
    bins = system.harmonics.pitches_midi
    return parts.hz_of(parts.likeliest_pitch(said.pitch_logits, bins))


def confidence_of(system: InverseSystem, said: Harmonics) -> Tensor:
    """Return how sure the network is, (batch, frame) from 0 to 1.

    The share of the softmax within a semitone of its peak, times how far the amplitude is above
    silence: 0.5 at -60 dB.
    """
    shares = said.pitch_logits.softmax(-1)
    peak_midi = parts.midi_of(pitch_of(system, said))
    distance = system.harmonics.pitches_midi - peak_midi[..., None]
    near = (shares * (distance.abs() <= 1)).sum(-1)
    return near * said.amplitude / (said.amplitude + 1e-3)


def curve(
    system: InverseSystem,
    blocks: Iterable[NDArray[np.float32]],
    *,
    reading: Reading = "peak",
) -> PitchCurve:
    """Return the pitch of a sound of any length at 16 kHz, given in blocks (n,)."""
    f0_hz, confidence = [np.zeros(0)], [np.zeros(0)]
    for _, said in follow(system, blocks):
        pitch = pitch_of(system, said, reading=reading)
        f0_hz.append(pitch[0].double().cpu().numpy())
        confidence.append(confidence_of(system, said)[0].double().cpu().numpy())
    found = np.concatenate(f0_hz)
    times_s = np.arange(len(found)) * HOP_SAMPLES / SAMPLE_RATE
    return PitchCurve(times_s, found, np.concatenate(confidence))


def predict(
    system: InverseSystem, audio: NDArray[np.float32], *, reading: Reading = "peak"
) -> PitchCurve:
    """Return the pitch of a sound, (samples,), at 16 kHz."""
    return curve(system, [np.ascontiguousarray(audio, dtype=np.float32)], reading=reading)


def follow_recording(
    system: InverseSystem, recording: audiofile.Recording
) -> tuple[PitchCurve, float]:
    """Return the pitch of an open file of any rate and length, and its duration in seconds.

    The file is read block by block: memory holds a few seconds of sound, and the curve.
    """
    rate, n_read = recording.sample_rate, 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal n_read
        for block in recording.blocks:
            n_read += block.shape[-1]
            yield block

    found = curve(system, streams.mono(counted(), rate, SAMPLE_RATE))
    return found, n_read / rate


def mismatch_curve(
    system: InverseSystem, audio: NDArray[np.float32], *, deviation: float
) -> NDArray[np.float64]:
    """Return what the two-way mismatch makes of the network's sines, Hz, one a frame."""
    found = [
        parts.two_way_mismatch(sines.frequencies_hz[0], sines.amplitudes[0], deviation=deviation)[0]
        for sines, _ in follow(system, [np.ascontiguousarray(audio, dtype=np.float32)])
    ]
    return torch.cat(found).double().cpu().numpy()


Guess = Callable[[NDArray[np.float32]], NDArray[np.float64]]  # a sound at 16 kHz to Hz a frame


def score(
    settings: InverseConfig,
    tracks: Sequence[PitchTrack],
    guess: Guess,
    *,
    hop_samples: int = HOP_SAMPLES,
    chosen: Mapping[str, float] | None = None,
) -> Evaluation:
    """Return the scores of each track of ``data``, and means of the other corpora overall.

    Of the tones the first :data:`SCORED_TONES` count.

    Names are those of :func:`dl101.evaluation.pitch.pitch_scores`; those of another corpus begin
    with its name, ``notes_raw_pitch_accuracy``.
    """
    by_corpus: dict[str, dict[str, dict[str, float]]] = {}
    heard = [track for track in tracks if np.isfinite(track.f0_midi).any()]
    tones = [track for track in heard if track.parameters][:SCORED_TONES]
    for track in [track for track in heard if not track.parameters] + tones:
        pitch_midi = hz_to_midi(guess(track.audio))
        times_s = np.arange(len(pitch_midi)) * hop_samples / SAMPLE_RATE
        found = judge.at_times(times_s, pitch_midi, track.times_s)
        scores = judge.pitch_scores(track.f0_midi, found)
        scores["median_hz"] = float(midi_to_hz(np.nanmedian(found)))
        by_corpus.setdefault(track.corpus, {})[track.key] = scores
    own = by_corpus.pop(settings.data.dataset, {})
    overall = {
        f"{corpus}_{name}": value
        for corpus, scores in by_corpus.items()
        for name, value in Evaluation(scores).mean.items()
    }
    return Evaluation(own, chosen or {}, overall)


DEVIATIONS = (0.1, 0.25, 0.5, 1.0)  # of the mismatch, in semitones, tried on validation


def tune_mismatch(
    settings: InverseConfig,
    tracks: Sequence[PitchTrack],
    guess: Callable[[NDArray[np.float32], float], NDArray[np.float64]],
    *,
    hop_samples: int = HOP_SAMPLES,
    n_tracks: int = 12,
) -> float:
    """Return the deviation with which the mismatch is right most often on some of these tracks."""
    own = [track for track in tracks if track.corpus == settings.data.dataset][:n_tracks]

    def right(deviation: float) -> float:
        made = score(settings, own, lambda audio: guess(audio, deviation), hop_samples=hop_samples)
        return made.mean["raw_pitch_accuracy"]

    return max(DEVIATIONS, key=right)


def evaluate(system: InverseSystem, tracks: Mapping[str, Sequence[PitchTrack]]) -> Evaluation:
    """Score the test side: f0 as published, the mean of a softmax.

    Scores named ``peak_...`` are of its peak, ``twm_...`` of the mismatch of the network's sines.
    The deviation of the mismatch is chosen on the validation side.
    """
    settings = system.settings

    def by_mismatch(audio: NDArray[np.float32], deviation: float) -> NDArray[np.float64]:
        return mismatch_curve(system, audio, deviation=deviation)

    deviation = tune_mismatch(settings, tracks["validation"], by_mismatch)

    def by_network(reading: Reading) -> Evaluation:
        return score(
            settings, tracks["test"], lambda audio: predict(system, audio, reading=reading).f0_hz
        )

    found, peak = by_network("mean"), by_network("peak")
    other = score(settings, tracks["test"], lambda audio: by_mismatch(audio, deviation))
    overall = dict(found.overall)
    for prefix, scores in (("peak", peak), ("twm", other)):
        overall |= {f"{prefix}_{name}": value for name, value in scores.mean.items()}
    return Evaluation(found.scores, {"twm_deviation": deviation}, overall)


def baselines(
    settings: InverseConfig, tracks: Mapping[str, Sequence[PitchTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of trackers that learn nothing, ``BASELINES``; see :func:`baseline`."""
    return {name: baseline(name, settings, tracks) for name in BASELINES}


def baseline(
    name: str, settings: InverseConfig, tracks: Mapping[str, Sequence[PitchTrack]]
) -> Evaluation:
    """Return the scores of one tracker, every 16 ms, on the test side.

    ``yin`` and ``pyin`` of librosa, ``sawtooth`` (like SWIPE), and ``twm-peaks``: the two-way
    mismatch of the peaks of a spectrum.
    """
    low, high = data_of.lowest_and_highest_hz(settings.range_midi)
    hop = HOP_SAMPLES // 2
    options = {"hop_samples": hop, "low_hz": low, "high_hz": high}

    def by_mismatch(audio: NDArray[np.float32], deviation: float) -> NDArray[np.float64]:
        found = trackers.spectral_peaks(audio, SAMPLE_RATE, hop_samples=hop)
        frequencies, amplitudes = (torch.from_numpy(x.astype(np.float32)) for x in found)
        f0, _ = parts.two_way_mismatch(
            frequencies, amplitudes, low_hz=low, high_hz=high, deviation=deviation
        )
        return f0.double().numpy()

    if name == "twm-peaks":
        deviation = tune_mismatch(settings, tracks["validation"], by_mismatch, hop_samples=hop)
        return score(
            settings,
            tracks["test"],
            lambda audio: by_mismatch(audio, deviation),
            hop_samples=hop,
            chosen={"twm_deviation": deviation},
        )
    guesses: dict[str, Guess] = {
        "yin": lambda audio: trackers.yin(audio, SAMPLE_RATE, **options),
        "pyin": lambda audio: trackers.pyin(audio, SAMPLE_RATE, **options)[0],
        "sawtooth": lambda audio: trackers.sawtooth_match(audio, SAMPLE_RATE, **options),
    }
    return score(settings, tracks["test"], guesses[name], hop_samples=hop)
