"""The augmentations of CLMR for a whole batch at once, on any device: the views of a recording.

:func:`dl101.signal.augment.clmr_chain` says what is done, in which order, how often and within
which limits; :class:`Views` reads it from there and does it to (batch, samples) in a few operations
on tensors. All that the chain does after cropping, but noise and pitch, is a linear filter: what
happens before the pitch is shifted is one multiplication of spectra, and so is the room after it.

Two things differ from the chain of single sounds. The phases of a shifted pitch are locked to their
neighbours, not to peaks (that goes frame by frame), and its resampling is done on the spectrum.
Crops come from elsewhere (:mod:`dl101.systems.self_supervised_data`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dl101.signal import augment

KINDS: Mapping[str, type] = {
    "flip": augment.Flip,
    "noise": augment.Noise,
    "gain": augment.Gain,
    "filter": augment.Filter,
    "delay": augment.Delay,
    "pitch": augment.PitchShift,
    "room": augment.Room,
}
_DAMPING = (0.7653668647, 1.8477590650)  # of the two pairs of poles of a Butterworth filter
_STEEP = 1e4  # where a frequency beside the cutoff is cut off, so that its fourth power fits
_GAP_S = 0.005
_WINDOW_S = 0.093


class Views:
    """Augment a batch; two calls with generators in different states give two views.

    Parameters
    ----------
    sample_rate
        Of the audio, in Hz.
    without
        Names in :data:`KINDS` that are left out.
    always
        Names that are applied to every sound, however seldom the chain does.
    """

    def __init__(
        self, sample_rate: int, *, without: tuple[str, ...] = (), always: tuple[str, ...] = ()
    ) -> None:
        self.sample_rate = sample_rate
        self.window = 2 ** round(math.log2(_WINDOW_S * sample_rate))
        steps = {type(s.augmentation): s for s in augment.clmr_chain().steps[1:]}
        self.limits = {name: steps[kind].augmentation for name, kind in KINDS.items()}
        self.probability = {
            name: 1.0 if name in always else 0.0 if name in without else steps[kind].probability
            for name, kind in KINDS.items()
        }

    def draw(self, n_items: int, rng: np.random.Generator) -> dict[str, NDArray]:
        """Return what is done to each sound: (n_items,) arrays by name.

        ``flip``, ``noise``, ... say whether; ``snr_db``, ``gain_db``, ``cutoff_hz``, ``low_pass``,
        ``delay_samples``, ``echo_db``, ``semitones``, ``rt60_s`` and ``direct_db`` how.
        """

        def even(limits: tuple[float, float]) -> NDArray:
            return rng.uniform(*limits, n_items)

        def in_ratios(limits: tuple[float, float]) -> NDArray:
            return np.exp(rng.uniform(*np.log(limits), n_items))

        drawn = {name: rng.random(n_items) < p for name, p in self.probability.items()}
        of = self.limits
        low = rng.random(n_items) < 0.5
        below, above = in_ratios(of["filter"].low_pass_hz), in_ratios(of["filter"].high_pass_hz)
        lowest, highest = (int(s) for s in of["pitch"].semitones)
        return drawn | {
            "snr_db": even(of["noise"].snr_db),
            "gain_db": even(of["gain"].gain_db),
            "low_pass": low,
            "cutoff_hz": np.where(low, below, above),
            "delay_samples": np.round(even(of["delay"].delay_s) * self.sample_rate),
            "echo_db": even(of["delay"].gain_db),
            "semitones": rng.integers(lowest, highest + 1, n_items),
            "rt60_s": in_ratios(of["room"].rt60_s),
            "direct_db": even(of["room"].direct_to_reverb_db),
        }

    @torch.no_grad()
    def __call__(self, audio: Tensor, rng: np.random.Generator) -> Tensor:
        """Return (batch, samples) of the same length and type, each changed in its own way.

        Noise and rooms are drawn on the device: the same generator gives the same views there, and
        others on another device.
        """
        with torch.autocast(audio.device.type, enabled=False):
            drawn = self.draw(len(audio), rng)
            noise = torch.Generator(audio.device).manual_seed(int(rng.integers(2**62)))
            return self.apply(audio.float(), drawn, noise).to(audio.dtype)

    def apply(self, audio: Tensor, drawn: Mapping[str, NDArray], noise: torch.Generator) -> Tensor:
        """Return (batch, samples) after what was drawn, in the order of the chain."""
        value = {name: _like(audio, values) for name, values in drawn.items()}
        x = torch.where(value["flip"], -audio, audio)
        if drawn["noise"].any():
            added = torch.randn(x.shape, generator=noise, device=x.device)
            rms = x.square().mean(dim=1, keepdim=True).sqrt()
            x = torch.where(value["noise"], x + rms * _amplitude(-value["snr_db"]) * added, x)
        x = torch.where(value["gain"], x * _amplitude(value["gain_db"]), x)
        if (drawn["filter"] | drawn["delay"]).any():
            x = self._filtered(x, value, reach=int(drawn["delay_samples"].max()))
        for steps in np.unique(drawn["semitones"][drawn["pitch"]]):
            rows = np.flatnonzero(drawn["pitch"] & (drawn["semitones"] == steps))
            if steps:
                rows = torch.from_numpy(rows).to(x.device)
                x = x.index_copy(0, rows, shift_pitch(x[rows], float(steps), self.window))
        if drawn["room"].any():
            rows = torch.from_numpy(np.flatnonzero(drawn["room"])).to(x.device)
            x = x.index_copy(0, rows, self._in_rooms(x[rows], value, rows, noise))
        return x

    def _filtered(self, x: Tensor, value: Mapping[str, Tensor], *, reach: int) -> Tensor:
        size = scipy.fft.next_fast_len(x.shape[1] + reach + self.sample_rate // 10, real=True)
        omega = 2 * math.pi * torch.arange(1 + size // 2, device=x.device) / size
        response = butterworth(omega, value["cutoff_hz"] / self.sample_rate, value["low_pass"])
        response = torch.where(value["filter"], response, 1.0)
        late = torch.arange(1 + size // 2, device=x.device, dtype=torch.float64)
        late = torch.remainder(late * value["delay_samples"].double() / size, 1.0).float()
        turn = torch.polar(torch.ones_like(late), -2 * math.pi * late)
        echoed = 1 + _amplitude(value["echo_db"]) * turn
        response = response * torch.where(value["delay"], echoed, 1.0)
        return torch.fft.irfft(torch.fft.rfft(x, size) * response, size)[:, : x.shape[1]]

    def _in_rooms(
        self, x: Tensor, value: Mapping[str, Tensor], rows: Tensor, noise: torch.Generator
    ) -> Tensor:
        rt60_s, direct_db = value["rt60_s"][rows], value["direct_db"][rows]
        n_gap = max(1, round(_GAP_S * self.sample_rate))
        n_tail = max(1, round(float(rt60_s.max()) * self.sample_rate))
        since_s = torch.arange(n_tail, device=x.device) / self.sample_rate
        tail = torch.randn((len(x), n_tail), generator=noise, device=x.device)
        tail *= torch.where(since_s < rt60_s, 10.0 ** (-3.0 * since_s / rt60_s), 0.0)
        tail *= _amplitude(-direct_db) / tail.norm(dim=1, keepdim=True)
        response = functional.pad(tail, (n_gap, 0))
        response[:, 0] = 1.0
        size = scipy.fft.next_fast_len(x.shape[1] + response.shape[1], real=True)
        wet = torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(response, size), size)
        wet = wet[:, : x.shape[1]]
        power, now = (y.square().mean(dim=1, keepdim=True) for y in (x, wet))
        return wet * (power / now.clamp(min=1e-12)).sqrt()


def butterworth(omega: Tensor, cutoff: Tensor, low_pass: Tensor) -> Tensor:
    """Return the frequency response of digital Butterworth filters of order 4, (batch, bins).

    With ``t = tan(omega / 2) / tan(pi cutoff)``, the bilinear transform of ``j t``, a low-pass is
    ``1 / ((1 - t^2 + j a t) (1 - t^2 + j b t))``, and a high-pass the same of ``-1 / t``.

    Parameters
    ----------
    omega
        (bins,) in radians a sample, 0 to pi.
    cutoff
        (batch, 1) in cycles a sample, where it is 3 dB down.
    low_pass
        (batch, 1) True for a low-pass, False for a high-pass.
    """
    t = (torch.tan(omega / 2).abs() / torch.tan(math.pi * cutoff)).clamp(1 / _STEEP, _STEEP)
    t = torch.where(low_pass, t, -1 / t)
    real = 1 - t.square()
    first, second = (torch.complex(real, damping * t) for damping in _DAMPING)
    return 1 / (first * second)


def shift_pitch(audio: Tensor, semitones: float, window: int) -> Tensor:
    """Return (batch, samples) moved in pitch, as long as before: a phase vocoder, and resampling.

    See :func:`dl101.signal.vocoder.pitch_shift`, which locks phases to peaks besides.
    """
    n, hop = audio.shape[1], window // 4
    n_long = round(n * 2 ** (semitones / 12))
    form = torch.hann_window(window, device=audio.device)
    spectrum = torch.stft(
        functional.pad(audio, (0, 2 * hop)), window, hop, window=form, return_complex=True
    )
    places = torch.arange(1 + n_long // hop, device=audio.device) * (n / n_long)
    t = places.long().clamp(max=spectrum.shape[-1] - 2)
    a = (places - t).clamp(0, 1)
    magnitude, angle = spectrum.abs(), spectrum.angle()
    advance = angle.diff(dim=-1)[..., t]
    magnitude = (1 - a) * magnitude[..., t] + a * magnitude[..., t + 1]
    phase = advance.cumsum(dim=-1) - advance
    middle = len(t) // 2  # a frame without the padding at the ends gives the bins their phases
    phase = phase + (angle[..., t[middle]] - phase[..., middle]).unsqueeze(-1)
    # phases of neighbours that come apart make a sound hollow: each bin takes the phase of the sum
    # with its neighbours, whose signs alternate (loose phase locking; Puckette, 1995)
    free = functional.pad(torch.polar(magnitude, phase), (0, 0, 1, 1))
    stretched = magnitude * torch.sgn(free[:, 1:-1] - free[:, :-2] - free[:, 2:])
    longer = torch.istft(stretched, window, hop, window=form, length=n_long)
    return torch.fft.irfft(_of_length(torch.fft.rfft(longer), 1 + n // 2), n) * (n / n_long)


def _of_length(spectrum: Tensor, n_bins: int) -> Tensor:
    return functional.pad(spectrum, (0, n_bins - spectrum.shape[-1]))


def _amplitude(level_db: Tensor) -> Tensor:
    return 10.0 ** (level_db / 20)


def _like(audio: Tensor, values: NDArray[Any]) -> Tensor:
    """Return (batch, 1) on the device of the audio; truths stay truths."""
    tensor = torch.from_numpy(np.asarray(values))[:, None].to(audio.device)
    return tensor if tensor.dtype == torch.bool else tensor.to(audio.dtype)
