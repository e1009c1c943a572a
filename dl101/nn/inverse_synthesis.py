r"""Networks that listen backwards: from a sound to what a synthesiser would need to make it.

A *sinusoidal encoder* hears a log-mel spectrum and says which sines sound in each frame; a
*harmonic encoder* reads those sines, nothing else, and says of which fundamental they are the
multiples. Between the two stands a loss that compares sets of sines in any order. After J. Engel,
R. Swavely, L. H. Hantrakul, A. Roberts and C. Hawthorne, "Self-supervised Pitch Detection by
Inverse Audio Synthesis" (2020).

Shapes: spectra (batch, 1, band, frame); everything that a synthesiser takes (batch, frame, ...), as
in :mod:`dl101.nn.synthesis`. Amplitudes are linear, frequencies in Hz, pitches in MIDI numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.config import Count, NotEmpty, Positive, Range, Settings
from dl101.errors import ConfigError
from dl101.nn.synthesis import exp_sigmoid, frequencies_from_logits
from dl101.units import mel_to_hz

Sizes = Annotated[tuple[Count, ...], NotEmpty()]


class Sinusoids(NamedTuple):
    """What the sinusoidal encoder says, frame by frame.

    Attributes
    ----------
    frequencies_hz, amplitudes
        (batch, frame, sine).
    noise
        (batch, frame, band): magnitudes of the noise.
    """

    frequencies_hz: Tensor
    amplitudes: Tensor
    noise: Tensor


class Harmonics(NamedTuple):
    """What the harmonic encoder says, frame by frame.

    Attributes
    ----------
    f0_hz, amplitude
        (batch, frame).
    distribution
        (batch, frame, harmonic): shares of the amplitude.
    pitch_logits
        (batch, frame, bin): f0 is their mean bin under a softmax.
    """

    f0_hz: Tensor
    amplitude: Tensor
    distribution: Tensor
    pitch_logits: Tensor


@dataclass(frozen=True)
class SinusoidalConfig(Settings):
    """Sizes of the sinusoidal encoder.

    Attributes
    ----------
    n_bands
        Of the log-mel spectrum.
    stem
        Channels of the first convolution, over 7 bands and 7 frames.
    pool
        Whether that convolution takes every second band and a maximum of three bands every second
        of these, as published; else the convolution takes every fourth. A maximum forgets which of
        its bands was the loudest, and thus where a sine stands. Without it, zones also begin as the
        spectrum itself.
    widths, blocks, strides
        Of each stage of residual blocks: the narrow channels, of which four times as many go out;
        how many blocks; by how much the first of them thins the bands.
    norm
        ``"clip"`` normalises over the whole clip, as published; ``"none"`` does not, so that what
        is said of a frame depends on its neighbours alone.
    head
        ``"dense"``: one layer reads the whole column and says all sines, each anywhere; as
        published, where it holds nine tenths of the weights. ``"zones"``: each place along the
        frequency axis says some sines in its own zone.
    n_sines
        In all, or in each zone.
    n_bins
        Of the softmax for each frequency.
    n_noise
        Bands of noise.
    """

    n_bands: Count = 192
    stem: Count = 16
    pool: bool = True
    widths: Sizes = (8, 8)
    blocks: Sizes = (1, 1)
    strides: Sizes = (1, 1)
    norm: Literal["clip", "none"] = "none"
    head: Literal["dense", "zones"] = "zones"
    n_sines: Count = 2
    n_bins: Count = 8
    n_noise: Count = 65

    def __post_init__(self) -> None:
        """Check each field, and that the stages agree."""
        super().__post_init__()
        sizes = {name: len(getattr(self, name)) for name in ("widths", "blocks", "strides")}
        if len(set(sizes.values())) > 1:
            counts = list(sizes.values())
            wrong = next(name for name, n in sizes.items() if counts.count(n) == 1)
            raise ConfigError(
                f"SinusoidalConfig.{wrong}",
                got=f"{len(self.widths)} widths, {len(self.blocks)} blocks, {len(self.strides)} "
                "strides",
                expected="as many of each",
                hint="one of each for every stage",
            )


@dataclass(frozen=True)
class HarmonicConfig(Settings):
    """Sizes of the harmonic encoder.

    Attributes
    ----------
    width
        Of the two layers before and the two after the recurrent one.
    hidden
        Of the recurrent layer (GRU).
    n_harmonics
        Largest multiple.
    n_bins, low_hz, high_hz
        Bins of pitch, and their range.
    mean
        ``"hertz"``: f0 is the mean of the bins in hertz, as published; ``"semitones"``: of their
        pitches, so that a little doubt high up does not pull a low pitch away.
    series
        How many harmonics of each pitch a second way looks up among the sines, see
        :class:`HarmonicSeries`; 0, as published, leaves it out.
    series_channels
        Of its convolutions.
    """

    width: Count = 256
    hidden: Count = 128
    n_harmonics: Count = 60
    n_bins: Count = 214
    low_hz: Positive = 20.0
    high_hz: Positive = 1200.0
    mean: Literal["hertz", "semitones"] = "semitones"
    series: Annotated[int, Range(at_least=0, at_most=64)] = 10
    series_channels: Count = 16


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels) if kind == "clip" else nn.Identity()


class Bottleneck(nn.Module):
    """A residual block that normalises first (He and others, 2016b): 1x1, 3x3 and 1x1 convolutions.

    Parameters
    ----------
    channels, width
        Channels that come in, and the narrow ones; ``4 * width`` go out.
    stride
        Along the bands.
    project
        Whether the way around is a convolution, too: needed where the shape changes.
    """

    def __init__(
        self, channels: int, width: int, *, norm: str, stride: int = 1, project: bool = False
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(_norm(norm, channels), nn.ReLU())
        self.around = nn.Conv2d(channels, 4 * width, 1, (stride, 1)) if project else None
        self.through = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            _norm(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, (stride, 1), padding=1),
            _norm(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, band, frame) to (batch, 4 width, band', frame)."""
        ready = self.before(x)
        around = x if self.around is None else self.around(ready)
        return around + self.through(ready)


class ResNet(nn.Module):
    """The stem and the stages of residual blocks; frames are never thinned.

    With widths 32, 64, 128, 256 and blocks 2, 3, 4, 3 the ResNet-38 of the paper: 37 convolutions,
    and the layer that reads it. Its last stage stands behind a normalisation of its own, so that
    two such follow each other there.
    """

    def __init__(self, config: SinusoidalConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, config.stem, 7, (2 if config.pool else 4, 1), padding=3)
        ]
        if config.pool:
            layers.append(nn.MaxPool2d((3, 1), (2, 1), padding=(1, 0)))
        channels = config.stem
        last = len(config.widths) - 1
        for stage, width in enumerate(config.widths):
            if stage == last and stage > 0:
                layers += [_norm(config.norm, channels), nn.ReLU()]
            for block in range(config.blocks[stage]):
                first = block == 0
                stride = config.strides[stage] if first else 1
                layers.append(
                    Bottleneck(channels, width, norm=config.norm, stride=stride, project=first)
                )
                channels = 4 * width
        self.layers = nn.Sequential(*layers, _norm(config.norm, channels), nn.ReLU())
        self.channels = channels
        self.n_places = math.ceil(math.ceil(config.n_bands / 2) / 2)
        for stride in config.strides:
            self.n_places = math.ceil(self.n_places / stride)
        self.context_frames = 3 + sum(config.blocks)  # that reach into what a frame says

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to (batch, channel, place, frame)."""
        return self.layers(spectrum)


class SinusoidalEncoder(nn.Module):
    """From a log-mel spectrum to sines and noise.

    Parameters
    ----------
    config
        Sizes.
    low_hz, high_hz
        Range of the frequencies; spectra end at ``high_hz``, half the sample rate.
    """

    def __init__(
        self, config: SinusoidalConfig, *, low_hz: float = 20.0, high_hz: float = 8000.0
    ) -> None:
        super().__init__()
        self.config, self.range_hz = config, (low_hz, high_hz)
        self.body = ResNet(config)
        places, channels = self.body.n_places, self.body.channels
        if config.head == "dense":
            self.n_sines = config.n_sines
            n_out = config.n_sines * (1 + config.n_bins) + config.n_noise
            self.head = nn.Linear(places * channels, n_out)
            lowest, highest = torch.tensor(low_hz), torch.tensor(high_hz)
        else:
            self.n_sines = config.n_sines * places
            per_place = -(-config.n_bands // places)
            self.n_inside = per_place  # bands of the spectrum that a place may look up again
            self.head = nn.Conv2d(channels + per_place, config.n_sines * (1 + config.n_bins), 1)
            with torch.no_grad():
                self.head.bias[:: 1 + config.n_bins] = -2.0  # quiet, until there is a reason
            if not config.pool:
                self._begin_with_the_spectrum(channels)
            self.narrow = nn.Conv2d(channels + per_place, 4, 1)
            self.noise = nn.Linear(4 * places, config.n_noise)
            lowest, highest = _zones(places, config.n_sines, low_hz, high_hz)
        self.register_buffer("lowest_hz", lowest.float(), persistent=False)
        self.register_buffer("highest_hz", highest.float(), persistent=False)

    @torch.no_grad()
    def _begin_with_the_spectrum(self, channels: int) -> None:
        """Let each sine begin where its zone is loud, about as loud as a sine there would be."""
        n_bins, n_inside = self.config.n_bins, self.n_inside
        for first in range(0, self.head.out_channels, 1 + n_bins):
            rows = self.head.weight[first : first + 1 + n_bins, :, 0, 0]
            rows[:, :channels] *= 0.1
            rows[:, channels:] = 0.0
            rows[0, channels:] = 2.9 / n_inside
            self.head.bias[first] = -2.0
            self.head.bias[first + 1 : first + 1 + n_bins] = 0.0
            for number, place in enumerate(torch.linspace(-0.5, 1.5, n_bins).tolist()):
                if 0 <= place < 1:  # else in a neighbour's zone
                    rows[1 + number, channels + int(place * n_inside)] = 20.0
                else:
                    self.head.bias[first + 1 + number] = -4.0
                    rows[1 + number, channels:] = 20.0 / n_inside

    def forward(self, spectrum: Tensor) -> Sinusoids:
        """Map (batch, 1, band, frame) to sines and noise."""
        x = self.body(spectrum)
        if self.config.head == "dense":
            said = self.head(x.flatten(1, 2).transpose(1, 2))
            n, bins = self.n_sines, self.config.n_bins
            amplitude, pitch, noise = said.split((n, n * bins, self.config.n_noise), dim=-1)
            frequencies = frequencies_from_logits(pitch.unflatten(-1, (n, bins)), *self.range_hz)
            return Sinusoids(frequencies, exp_sigmoid(amplitude), exp_sigmoid(noise))
        places, inside = self.body.n_places, self.n_inside
        missing = places * inside - spectrum.shape[2]
        bands = F.pad(spectrum, (0, 0, 0, missing))[:, 0].unflatten(1, (places, inside))
        x = torch.cat([x, bands.transpose(1, 2)], dim=1)  # (batch, channel + inside, place, frame)
        said = self.head(x).unflatten(1, (self.config.n_sines, 1 + self.config.n_bins))
        said = said.permute(0, 4, 3, 1, 2).flatten(2, 3)  # (batch, frame, sine, 1 + bin)
        share = torch.linspace(0, 1, self.config.n_bins, device=x.device)
        place = said[..., 1:].softmax(-1) @ share.to(said)
        frequencies = self.lowest_hz * (self.highest_hz / self.lowest_hz) ** place
        noise = self.noise(self.narrow(x).flatten(1, 2).transpose(1, 2))
        return Sinusoids(frequencies, exp_sigmoid(said[..., 0]), exp_sigmoid(noise))


def _zones(places: int, n_sines: int, low_hz: float, high_hz: float) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest frequency of each sine: mel zones that overlap by a half."""
    from dl101.units import hz_to_mel

    edges = torch.linspace(0.0, float(hz_to_mel(high_hz)), places + 1, dtype=torch.float64)
    width = edges[1]
    lowest = torch.tensor(mel_to_hz((edges[:-1] - width / 2).clamp_min(0).numpy()))
    highest = torch.tensor(mel_to_hz((edges[1:] + width / 2).clamp_max(edges[-1]).numpy()))
    return (
        lowest.clamp_min(low_hz).repeat_interleave(n_sines),
        highest.repeat_interleave(n_sines),
    )


class HarmonicSeries(nn.Module):
    """From sines to one logit for each pitch, by the same rule for all pitches.

    Sines are laid on an axis of pitches, and the axis is looked up at each multiple of every pitch
    and at its half: what the two-way mismatch does, with a comparison that is learned. Not in the
    paper, whose fully connected layers learn the pattern of each pitch by itself and need a million
    steps for it.

    Parameters
    ----------
    pitches_midi
        (bin,) evenly spaced.
    n_harmonics
        Multiples that are looked up.
    channels
        Of the convolutions along the pitches.
    """

    def __init__(self, pitches_midi: Tensor, n_harmonics: int, channels: int) -> None:
        super().__init__()
        self.n_bins, self.step = len(pitches_midi), float(pitches_midi[1] - pitches_midi[0])
        ratios = [0.5, *range(1, n_harmonics + 1)]
        shifts = [round(12 * math.log2(ratio) / self.step) for ratio in ratios]
        self.starts = [shift - min(shifts) for shift in shifts]
        self.low_midi = float(pitches_midi[0]) + min(shifts) * self.step
        self.n_places = self.n_bins + max(self.starts)
        self.layers = nn.Sequential(
            nn.Conv1d(len(ratios), channels, 5, padding=2),
            nn.LeakyReLU(),
            nn.Conv1d(channels, channels, 3, padding=1),
            nn.LeakyReLU(),
            nn.Conv1d(channels, 1, 3, padding=1),
        )

    def forward(self, frequencies_hz: Tensor, amplitudes: Tensor) -> Tensor:
        """Return (batch, frame, bin) of (batch, frame, sine)."""
        place = (midi_of(frequencies_hz) - self.low_midi) / self.step
        inside = (place >= 0) & (place <= self.n_places - 2)
        share = amplitudes / amplitudes.sum(-1, keepdim=True) * inside
        place = place.clamp(0, self.n_places - 2)
        left = place.detach().floor()
        right_share = share * (place - left)
        axis = share.new_zeros(*share.shape[:-1], self.n_places)
        axis = axis.scatter_add(-1, left.long(), share - right_share)
        axis = axis.scatter_add(-1, left.long() + 1, right_share)
        level = (axis + 1e-3).log10() / 2 + 1
        looked_up = torch.stack(
            [level[..., start : start + self.n_bins] for start in self.starts], dim=-2
        )
        return self.layers(looked_up.flatten(0, 1))[:, 0].unflatten(0, share.shape[:2])


class HarmonicEncoder(nn.Module):
    """From sines to one fundamental and its harmonics; a recurrent layer carries the past along.

    Parameters
    ----------
    config
        Sizes.
    lowest_hz, highest_hz
        Range of each sine, (sine,) or one number for all: a frequency is read as its place in it.
    n_sines
        How many come in.
    """

    def __init__(
        self, config: HarmonicConfig, n_sines: int, lowest_hz: Tensor, highest_hz: Tensor
    ) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("lowest", lowest_hz.log(), persistent=False)
        self.register_buffer("octaves", (highest_hz / lowest_hz).log(), persistent=False)
        self.before = nn.Sequential(*_layer(2 * n_sines, config.width), *_layer(config.width))
        self.memory = nn.GRU(config.width, config.hidden, batch_first=True)
        self.after = nn.Sequential(*_layer(config.hidden, config.width), *_layer(config.width))
        self.head = nn.Linear(config.width, 1 + config.n_harmonics + config.n_bins)
        pitches = torch.linspace(
            *(midi_of(torch.tensor(x)).item() for x in (config.low_hz, config.high_hz)),
            config.n_bins,
        )
        self.register_buffer("pitches_midi", pitches, persistent=False)
        self.series = None
        if config.series:
            self.series = HarmonicSeries(pitches, config.series, config.series_channels)

    def forward(
        self, frequencies_hz: Tensor, amplitudes: Tensor, state: Tensor | None = None
    ) -> tuple[Harmonics, Tensor]:
        """Return what is said of (batch, frame, sine), and the state after the last frame.

        ``state`` is what an earlier call returned for the frames before these.
        """
        levels = amplitudes.log10() / 2 + 1  # from -2.5 to 1.2
        places = 2 * (frequencies_hz.log() - self.lowest) / self.octaves - 1
        x, state = self.memory(self.before(torch.cat([levels, places], dim=-1)), state)
        said = self.head(self.after(x))
        sizes = (1, self.config.n_harmonics, self.config.n_bins)
        amplitude, shares, pitch = said.split(sizes, dim=-1)
        if self.series is not None:
            pitch = pitch + self.series(frequencies_hz, amplitudes)
        if self.config.mean == "hertz":
            f0 = frequencies_from_logits(pitch, self.config.low_hz, self.config.high_hz)
        else:
            f0 = hz_of(pitch.softmax(-1) @ self.pitches_midi.to(pitch))
        shares = exp_sigmoid(shares)
        shares = shares / shares.sum(-1, keepdim=True)
        return Harmonics(f0, exp_sigmoid(amplitude[..., 0]), shares, pitch), state


def _layer(n_in: int, n_out: int | None = None) -> list[nn.Module]:
    n_out = n_out or n_in
    return [nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.LeakyReLU()]


def pitch_cross_entropy(
    logits: Tensor, f0_midi: Tensor, pitches_midi: Tensor, *, deviation: float = 0.4
) -> Tensor:
    """Return how far a softmax over pitches is from a narrow bell around the truth, (...).

    Not in the paper, where only the mean of the softmax is told: a narrow and a wide one may have
    the same mean, and the width is to say how sure the network is. As in CREPE (Kim and others,
    2018), with a bell for each frame.

    Parameters
    ----------
    logits
        (..., bin).
    f0_midi
        (...).
    pitches_midi
        (bin,) of the bins.
    deviation
        Of the bell, in semitones.
    """
    bell = torch.exp(-0.5 * ((pitches_midi - f0_midi[..., None]) / deviation).square())
    bell = bell / bell.sum(-1, keepdim=True).clamp_min(1e-7)
    return -(bell * logits.log_softmax(-1)).sum(-1)


def likeliest_pitch(logits: Tensor, pitches_midi: Tensor, *, reach: float = 1.0) -> Tensor:
    """Return MIDI numbers (...): the mean of the bins next to the likeliest, not of all.

    Where a softmax hesitates between two pitches, an octave apart or a note before and after, its
    mean lies between the two, where nobody sings. For training the mean is needed, because a
    gradient passes through it; for an answer it is not.

    Parameters
    ----------
    logits
        (..., bin).
    pitches_midi
        (bin,) evenly spaced.
    reach
        Distance up to which bins count, in semitones; at least that of the next bin.
    """
    best = pitches_midi[logits.argmax(-1)]
    reach = max(reach, 1.01 * float(pitches_midi[1] - pitches_midi[0]))
    near = (pitches_midi - best[..., None]).abs() <= reach
    shares = logits.softmax(-1) * near
    return (shares * pitches_midi).sum(-1) / shares.sum(-1)


# ---- pitches and sets of sines -------------------------------------------------------------------


def midi_of(frequencies_hz: Tensor) -> Tensor:
    """Return MIDI numbers of frequencies in Hz, which must be positive."""
    return 69.0 + 12.0 * torch.log2(frequencies_hz / 440.0)


def hz_of(pitches_midi: Tensor) -> Tensor:
    """Return frequencies in Hz of MIDI numbers."""
    return 440.0 * torch.exp2((pitches_midi - 69.0) / 12.0)


def multiples(f0_hz: Tensor, n: int) -> Tensor:
    """Return the frequencies of harmonics 1 to ``n`` of (...), (..., n)."""
    return f0_hz[..., None] * torch.arange(1, n + 1, device=f0_hz.device, dtype=f0_hz.dtype)


def log_density(
    pitches: Tensor, centres: Tensor, weights: Tensor, deviation: float = 0.1, tail: float = 0.0
) -> Tensor:
    r"""Return the logarithm of a Gaussian kernel density, (..., K), at K pitches.

    .. math:: p(f_k) = \sum_j \frac{A_j}{\sigma \sqrt{2 \pi}}
        \exp \frac{-(f_k - f_j)^2}{2 \sigma^2}

    Equation 8 of the paper, all in semitones.

    Parameters
    ----------
    pitches
        (..., K) where the density is asked for.
    centres, weights
        (..., J) of the kernels; weights are normalised here.
    deviation
        :math:`\sigma` in semitones.
    tail
        Share of a second bell in each kernel, ten times as wide. Not in the paper: with it a sine
        far from all others costs something, but not more than all the rest together.
    """
    distance = (pitches[..., :, None] - centres[..., None, :]) / deviation
    share = (weights / weights.sum(-1, keepdim=True).clamp_min(1e-7)).clamp_min(1e-12).log()
    constant = math.log(deviation * math.sqrt(2 * math.pi))
    bells = -0.5 * distance.square()
    if tail:
        wide = 0.01 * bells + math.log(tail / 10)
        bells = torch.logaddexp(bells + math.log1p(-tail), wide)
    return torch.logsumexp(share[..., None, :] + bells, dim=-1) - constant


def consistency_loss(
    frequencies_a: Tensor,
    amplitudes_a: Tensor,
    frequencies_b: Tensor,
    amplitudes_b: Tensor,
    *,
    deviation: float = 0.1,
    tail: float = 0.0,
) -> Tensor:
    """Return how little two sets of sines agree, (...), in whatever order they stand.

    Equation 9: each sine of either set should stand where the other set has a peak. One direction
    alone would be content with sines everywhere, or with all of them on one peak. The third term
    compares mean amplitudes; of sets that differ in size, totals over the larger number.

    Parameters
    ----------
    frequencies_a, amplitudes_a
        (..., K), in Hz and linear.
    frequencies_b, amplitudes_b
        (..., J).
    deviation, tail
        Of the kernels, see :func:`log_density`.
    """
    a, b = midi_of(frequencies_a), midi_of(frequencies_b)

    def share(amplitudes: Tensor) -> Tensor:
        return amplitudes / amplitudes.sum(-1, keepdim=True).clamp_min(1e-7)

    one_way = share(amplitudes_a) * log_density(a, b, amplitudes_b, deviation, tail)
    other_way = share(amplitudes_b) * log_density(b, a, amplitudes_a, deviation, tail)
    n_most = max(a.shape[-1], b.shape[-1])
    levels = (amplitudes_a.sum(-1) - amplitudes_b.sum(-1)).abs() / n_most
    return levels - one_way.sum(-1) - other_way.sum(-1)


def two_way_mismatch(
    frequencies_hz: Tensor,
    amplitudes: Tensor,
    *,
    low_hz: float = 20.0,
    high_hz: float = 1200.0,
    n_candidates: int = 20,
    n_harmonics: int = 10,
    deviation: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Return the f0 of sets of sines by the paper's heuristic, (frame,), and its mismatch.

    Each sine is tried as the fundamental of a series; the one whose series agrees best with all
    sines by :func:`consistency_loss` is taken. In a series all harmonics weigh alike. After Maher
    and Beauchamp, "Fundamental frequency estimation of musical signals using a two-way mismatch
    procedure" (1994).

    Parameters
    ----------
    frequencies_hz, amplitudes
        (frame, sine).
    low_hz, high_hz
        Where candidates may lie.
    n_candidates
        How many of the strongest sines there are tried.
    n_harmonics
        Of a series.
    deviation
        Of the kernels in semitones.
    """
    inside = (frequencies_hz >= low_hz) & (frequencies_hz <= high_hz)
    strongest = amplitudes.where(inside, amplitudes.new_zeros(())).topk(
        min(n_candidates, amplitudes.shape[-1]), dim=-1
    )
    candidates = frequencies_hz.gather(-1, strongest.indices)  # (frame, candidate)
    series = multiples(candidates, n_harmonics)  # (frame, candidate, harmonic)
    loss = consistency_loss(
        series,
        torch.ones_like(series),
        frequencies_hz[:, None].expand(-1, candidates.shape[1], -1),
        amplitudes[:, None].expand(-1, candidates.shape[1], -1),
        deviation=deviation,
    )
    loss = loss.masked_fill(strongest.values <= 0, torch.inf)
    found = loss.argmin(-1, keepdim=True)
    return candidates.gather(-1, found)[:, 0], loss.gather(-1, found)[:, 0]


# ---- a rival -------------------------------------------------------------------------------------


class PitchClassifier(nn.Module):
    """A network that is *told* pitches: from 1024 samples of a sound to one of many pitches.

    Like CREPE (J. W. Kim, J. Salamon, P. Li and J. P. Bello, "CREPE: A Convolutional Representation
    for Pitch Estimation", 2018), smaller: the same six convolutions over time, fewer channels.

    Parameters
    ----------
    pitches_midi
        Of the classes; in CREPE a fifth of a semitone apart.
    channels
        Of each convolution.
    """

    window_samples = 1024

    def __init__(
        self, pitches_midi: Tensor, channels: tuple[int, ...] = (16, 8, 8, 8, 16, 32)
    ) -> None:
        super().__init__()
        self.register_buffer("pitches_midi", pitches_midi, persistent=False)
        layers: list[nn.Module] = []
        last = 1
        for number, out in enumerate(channels):
            taps, stride = (512, 4) if number == 0 else (64, 1)
            layers += [
                nn.Conv1d(last, out, taps, stride, padding=taps // 2 - (stride == 1)),
                nn.ReLU(),
                nn.BatchNorm1d(out),
                nn.MaxPool1d(2),
            ]
            last = out
        self.layers = nn.Sequential(*layers, nn.Flatten())
        n_features = self.layers(torch.zeros(2, 1, self.window_samples)).shape[1]
        self.head = nn.Linear(n_features, len(pitches_midi))

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (frame, pitch) of (frame, 1024); each frame is scaled to deviation 1."""
        frames = frames - frames.mean(-1, keepdim=True)
        frames = frames / frames.std(-1, keepdim=True).clamp_min(1e-5)
        return self.head(self.layers(frames[:, None]))

    def loss(self, frames: Tensor, f0_midi: Tensor, deviation: float = 0.25) -> Tensor:
        """Return the binary cross-entropy against a bell around the true pitch (frame,)."""
        distance = (self.pitches_midi - f0_midi[:, None]) / deviation
        bell = torch.exp(-0.5 * distance.square())
        return F.binary_cross_entropy_with_logits(self(frames), bell, reduction="none").sum(-1)

    def pitch(self, logits: Tensor) -> Tensor:
        """Return MIDI numbers (frame,): the mean of the classes next to the likeliest."""
        best = logits.argmax(-1, keepdim=True)
        near = best + torch.arange(-4, 5, device=logits.device)
        inside = (near >= 0) & (near < logits.shape[-1])
        near = near.clamp(0, logits.shape[-1] - 1)
        weights = logits.sigmoid().gather(-1, near) * inside
        return (weights * self.pitches_midi[near]).sum(-1) / weights.sum(-1).clamp_min(1e-9)
