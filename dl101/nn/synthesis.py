r"""Synthesis that gradients pass through: oscillators, filtered noise, wavetables, reverberation.

Controls come in frames, ``(batch, frame, channel)``, and sound goes out in samples,
``(batch, time)``. Frame :math:`i` stands at sample :math:`i\,\text{hop}`, and the value of the last
frame is held, so that :math:`n` frames make :math:`n\,\text{hop}` samples: the centred frames of
the project's spectra, less the last. Sound is float32 of any device; only phases are added up in
float64, and once a frame. After J. Engel and others, "DDSP: Differentiable Digital Signal
Processing" (ICLR 2020), with phases, filters and limits written from their formulas.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dl101.errors import ConfigError, ShapeError

# ---- what a network gives, as what a synthesiser takes -------------------------------------------


def exp_sigmoid(
    x: Tensor, maximum: float = 2.0, exponent: float = 10.0, floor: float = 1e-7
) -> Tensor:
    r"""Return :math:`m\,\sigma(x)^{\ln e} + \text{floor}`: positive, bounded, with a long soft end.

    An amplitude of a network (Engel and others, 2020, Eq. 5). Far to the left it falls by about
    10 dB for each :math:`x` less by one half with the default exponent of 10.
    """
    return maximum * torch.sigmoid(x) ** math.log(exponent) + floor


def frequencies_from_logits(logits: Tensor, low_hz: float, high_hz: float) -> Tensor:
    """Return frequencies in Hz, (...), from (..., bin): the mean bin under a softmax.

    Bins lie from ``low_hz`` to ``high_hz`` at equal ratios; their mean is taken in hertz, as in
    "Self-supervised Pitch Detection by Inverse Audio Synthesis" (Engel and others, 2020).

    Raises
    ------
    ConfigError
        If there are fewer than two bins, or the range isn't one.
    """
    n_bins = logits.shape[-1]
    if n_bins < 2 or not 0 < low_hz < high_hz:
        raise ConfigError(
            "frequencies_from_logits",
            got=f"{n_bins} bins from {low_hz} to {high_hz} Hz",
            expected="at least two bins, and 0 < low_hz < high_hz",
            hint="64 bins from 20 to 1200 Hz serve for the pitch of a voice",
        )
    ends = math.log(low_hz), math.log(high_hz)
    bins = torch.linspace(*ends, n_bins, dtype=torch.float64, device="cpu").exp()
    return logits.softmax(-1) @ bins.to(device=logits.device, dtype=logits.dtype)


# ---- from frames to samples ----------------------------------------------------------------------


def upsample_linear(frames: Tensor, hop_samples: int) -> Tensor:
    """Return (batch, frame * hop, channel): straight lines from frame to frame, the last held."""
    return _between(frames, _steps(hop_samples, frames))


def upsample_hann(frames: Tensor, hop_samples: int) -> Tensor:
    """Return (batch, frame * hop, channel): a Hann window of two hops around each frame, added up.

    Windows one hop apart add up to exactly 1, so a constant stays one; there are no corners, which
    a straight line has at every frame. The last frame is held.
    """
    return _between(frames, _fade(hop_samples, frames))


def _steps(hop_samples: int, like: Tensor) -> Tensor:
    """Return how far each sample of a hop is from this frame to the next."""
    return torch.arange(hop_samples, device=like.device, dtype=like.dtype) / hop_samples


def _fade(hop_samples: int, like: Tensor) -> Tensor:
    """Return the rising half of a periodic Hann window of two hops: weights of the next frame."""
    return 0.5 - 0.5 * torch.cos(math.pi * _steps(hop_samples, like))


def _between(frames: Tensor, weight: Tensor) -> Tensor:
    _check_frames(frames)
    step = _next(frames) - frames
    mixed = frames[:, :, None] + step[:, :, None] * weight[:, None]
    return mixed.flatten(1, 2)


def _next(frames: Tensor) -> Tensor:
    """Return for each frame the one after it; the last is its own."""
    return torch.cat([frames[:, 1:], frames[:, -1:]], dim=1)


# ---- oscillators ---------------------------------------------------------------------------------


def phases(frequency_hz: Tensor, sample_rate: float, initial: Tensor | None = None) -> Tensor:
    r"""Return :math:`2\pi \sum_{s<t} f_s / \text{rate}`, wrapped to one turn.

    A phase is the *sum* of the frequencies so far, not the frequency now times the time now: the
    two agree only while the frequency is constant. The first sample has the phase ``initial``.

    Parameters
    ----------
    frequency_hz
        (batch, time, partial), in Hz.
    initial
        (batch, partial), in radians; None starts at 0.

    Returns
    -------
    Tensor
        Of the shape of ``frequency_hz``, float32, from 0 to below a turn; added up in float64, for
        a float32 sum is wrong by a thousandth of a turn after ten seconds.
    """
    _check_frames(frequency_hz)
    turns = frequency_hz.double() / sample_rate
    turns = turns.cumsum(1) - turns
    if initial is not None:
        turns = turns + initial.double()[:, None] / (2 * math.pi)
    return 2 * math.pi * _wrap(turns).to(torch.float32)


def _wrap(turns: Tensor) -> Tensor:
    return turns - turns.detach().floor()


def _turns(frequencies_hz: Tensor, hop_samples: int, sample_rate: float) -> Tensor:
    """Return (batch, frame, hop, partial), float32: turns so far, at frequencies between frames.

    Within a frame the sum of a straight line is a parabola, so nothing is added up from sample to
    sample. Float64 says where every 16th sample or so stands, and float32 goes on from there. Of a
    single partial it says all: its multiples multiply what it is wrong by.
    """
    longest = 1 if frequencies_hz.shape[-1] == 1 else min(16, hop_samples)
    block = next(n for n in range(longest, 0, -1) if hop_samples % n == 0)
    hz = frequencies_hz.double()
    speed, bend = hz / sample_rate, (_next(hz) - hz) / (2 * hop_samples * sample_rate)
    per_frame = speed * hop_samples + bend * (hop_samples * (hop_samples - 1))
    begin = per_frame.cumsum(1) - per_frame
    at = torch.arange(0, hop_samples, block, device=hz.device, dtype=hz.dtype)[:, None]
    begin = begin[:, :, None] + speed[:, :, None] * at + bend[:, :, None] * (at * (at - 1))
    begin = _wrap(begin)[:, :, :, None].to(torch.float32)
    speed = (speed[:, :, None] + bend[:, :, None] * (2 * at))[:, :, :, None].to(torch.float32)
    bend = bend[:, :, None, None].to(torch.float32)
    r = torch.arange(block, device=hz.device, dtype=torch.float32)[:, None]
    return _wrap(begin + speed * r + bend * (r * (r - 1))).flatten(2, 3)


def _audible(frequencies_hz: Tensor, sample_rate: float) -> Tensor:
    """Return (batch, frame, partial), 0 where a partial reaches half the rate near this frame.

    A frame's neighbours count, too: the frequency moves between them, so nothing at or above half
    the rate sounds at any sample, and what rises to it fades out over the frame before.
    """
    above = (frequencies_hz.detach() >= sample_rate / 2).float()
    above = torch.cat([above[:, :1], above, above[:, -1:]], dim=1)
    return 1 - torch.stack([above[:, :-2], above[:, 1:-1], above[:, 2:]]).amax(0)


def _sum_of_sines(turns: Tensor, amplitudes: Tensor) -> Tensor:
    """Return (batch, time): sines (batch, frame, hop, partial), amplitudes in Hann windows.

    Amplitudes are not made for each sample: the sines of a frame are weighed once as this frame
    wants them and once as the next does, and the two sums are faded.
    """
    pair = torch.stack([amplitudes, _next(amplitudes)], dim=-1)
    return _faded(torch.sin(2 * math.pi * turns) @ pair.to(torch.float32))


def _faded(pair: Tensor) -> Tensor:
    """Return (batch, time): from (batch, frame, hop, 2), the first faded into the second."""
    now, then = pair.unbind(-1)
    return (now + (then - now) * _fade(pair.shape[2], pair)).flatten(1)


def oscillator_bank(
    frequencies_hz: Tensor, amplitudes: Tensor, hop_samples: int, sample_rate: float
) -> Tensor:
    """Return (batch, time): the sum of sines with the given frequencies and amplitudes.

    Frequencies move in straight lines between frames, amplitudes in Hann windows. A partial at or
    above half the sample rate is silent, as it would be heard as another frequency.

    Parameters
    ----------
    frequencies_hz, amplitudes
        (batch, frame, partial), in Hz and of full scale.

    Raises
    ------
    ShapeError
        If the two are not of one such shape.
    """
    _check_frames(frequencies_hz)
    _check_same("amplitudes", amplitudes, frequencies_hz)
    heard = amplitudes * _audible(frequencies_hz, sample_rate)
    return _sum_of_sines(_turns(frequencies_hz, hop_samples, sample_rate), heard)


def harmonics(
    f0_hz: Tensor, amplitude: Tensor, distribution: Tensor, hop_samples: int, sample_rate: float
) -> Tensor:
    """Return (batch, time): sines at the multiples of a fundamental.

    Parameters
    ----------
    f0_hz, amplitude
        (batch, frame): the fundamental in Hz, and the sum of all harmonics' amplitudes.
    distribution
        (batch, frame, harmonic), not negative: the share of each. What lies at or above half the
        sample rate is silenced *before* shares are made to add up to 1, so that the amplitude stays
        what it is called; where nothing is left there is silence.

    Raises
    ------
    ShapeError
        If frames don't agree.
    """
    _check_frames(distribution)
    for name, value in (("f0_hz", f0_hz), ("amplitude", amplitude)):
        _check_same(name, value, distribution[..., 0])
    number = torch.arange(1, distribution.shape[-1] + 1, device=f0_hz.device, dtype=f0_hz.dtype)
    shares = distribution * _audible(f0_hz[..., None] * number, sample_rate)
    shares = shares / shares.sum(-1, keepdim=True).clamp_min(1e-7)
    turns = _turns(f0_hz[..., None], hop_samples, sample_rate)
    return _sum_of_sines(_multiples(turns, number), shares * amplitude[..., None])


def _multiples(turns: Tensor, number: Tensor) -> Tensor:
    """Return turns of harmonics, (batch, frame, hop, harmonic), from those of the fundamental."""
    return _wrap(turns * number.to(turns.dtype))


def sawtooth(f0_hz: Tensor, hop_samples: int, sample_rate: float, n_partials: int = 150) -> Tensor:
    r"""Return (batch, time): the sum of :math:`\sin(k \varphi) / k` below half the rate.

    With all partials a sawtooth that falls from :math:`\pi/2` to :math:`-\pi/2` in each period.
    Partials are added in groups and not kept for the gradient but made again, so memory is that of
    one group, however many there are.

    Parameters
    ----------
    f0_hz
        (batch, frame), in Hz.
    """
    _check_frames(f0_hz[..., None])
    turns = _turns(f0_hz[..., None], hop_samples, sample_rate)
    number = torch.arange(1, n_partials + 1, device=f0_hz.device, dtype=f0_hz.dtype)
    amplitudes = _audible(f0_hz[..., None] * number, sample_rate) / number
    sound = f0_hz.new_zeros(f0_hz.shape[0], f0_hz.shape[1] * hop_samples)
    for group, amplitude in zip(number.split(16), amplitudes.split(16, -1), strict=True):
        if not amplitude.any():
            break
        sound = sound + checkpoint(
            _group, turns, group, amplitude, use_reentrant=False, preserve_rng_state=False
        )
    return sound


def _group(turns: Tensor, number: Tensor, amplitudes: Tensor) -> Tensor:
    return _sum_of_sines(_multiples(turns, number), amplitudes)


def wavetables(
    f0_hz: Tensor,
    amplitude: Tensor,
    tables: Tensor,
    weights: Tensor,
    hop_samples: int,
    sample_rate: float,
) -> Tensor:
    """Return (batch, time): one period read from tables at the pace of the fundamental.

    Nothing is silenced above half the sample rate: a table should hold few enough harmonics.

    Parameters
    ----------
    f0_hz, amplitude
        (batch, frame), in Hz and of what the tables hold.
    tables
        (n, length), one period each; between samples a straight line, around the end the first.
    weights
        (batch, frame, n): the share of each table.

    Raises
    ------
    ShapeError
        If frames or numbers of tables don't agree.
    """
    _check_frames(weights)
    for name, value in (("f0_hz", f0_hz), ("amplitude", amplitude)):
        _check_same(name, value, weights[..., 0])
    if tables.ndim != 2 or tables.shape[0] != weights.shape[-1]:
        raise ShapeError(
            "tables",
            got=f"{tuple(tables.shape)}",
            expected=f"({weights.shape[-1]}, length), as there are {weights.shape[-1]} weights",
            hint="give one table for each weight",
        )
    length = tables.shape[1]
    position = _turns(f0_hz[..., None], hop_samples, sample_rate)[..., 0] * length
    lower = position.detach().floor()
    index, columns = lower.long() % length, tables.T
    first, second = columns[index], columns[(index + 1) % length]
    read = first + (second - first) * (position - lower)[..., None]
    scaled = weights * amplitude[..., None]
    return _faded(read @ torch.stack([scaled, _next(scaled)], dim=-1))


# ---- filters -------------------------------------------------------------------------------------


def ltv_filter(
    signal: Tensor, magnitudes: Tensor, hop_samples: int, compensate: bool = True
) -> Tensor:
    r"""Return (batch, time): a sound through a filter that changes from frame to frame.

    Each frame's magnitudes become a symmetric impulse response of :math:`2(\text{band} - 1)`
    samples under a Hann window. The sound is cut in Hann windows of two hops, which add up to 1;
    each piece goes through its frame's filter, by FFT, and the results are added.

    Parameters
    ----------
    signal
        (batch, frame * hop).
    magnitudes
        (batch, frame, band): gains from 0 Hz to half the sample rate, both included.
    compensate
        A symmetric response is late by :math:`\text{band} - 1` samples; True takes the delay out
        (gains are all that changes), False leaves it in.

    Raises
    ------
    ShapeError
        If frames don't fit the sound, or there are fewer than 2 bands.
    """
    _check_frames(magnitudes)
    batch, n_frames, n_bands = magnitudes.shape
    if n_bands < 2 or tuple(signal.shape) != (batch, n_frames * hop_samples):
        raise ShapeError(
            "ltv_filter",
            got=f"a signal {tuple(signal.shape)} and magnitudes {tuple(magnitudes.shape)}",
            expected=f"(batch, frame * {hop_samples}) and (batch, frame, at least 2 bands)",
            hint="cut the signal to a whole number of frames, or change hop_samples",
        )
    delay = n_bands - 1
    response = torch.fft.irfft(magnitudes, n=2 * delay).roll(delay, -1)
    response = response * torch.hann_window(2 * delay, device=signal.device, dtype=response.dtype)

    rise = _fade(hop_samples, signal)
    window = torch.cat([rise, 1 - rise])
    # One frame more, the last held: it fades in over the last hop.
    padded = F.pad(signal, (hop_samples, hop_samples))
    pieces = padded.unfold(1, 2 * hop_samples, hop_samples) * window
    n_hops = -(-(2 * hop_samples + 2 * delay - 1) // hop_samples)
    n_fft = _fast_length(2 * hop_samples + 2 * delay - 1)
    spectra = torch.fft.rfft(response, n=n_fft)
    spectra = torch.cat([spectra, spectra[:, -1:]], dim=1)
    filtered = torch.fft.irfft(torch.fft.rfft(pieces, n=n_fft) * spectra, n=n_fft)
    filtered = F.pad(filtered, (0, n_hops * hop_samples - n_fft))  # or cut, if that is negative
    parts = filtered.unflatten(-1, (n_hops, hop_samples))
    whole = sum(F.pad(parts[:, :, m], (0, 0, m, n_hops - 1 - m)) for m in range(n_hops)).flatten(1)
    first = hop_samples + (delay if compensate else 0)  # pieces begin one hop early
    return whole[:, first : first + signal.shape[1]]


def _fast_length(at_least: int) -> int:
    """Return the smallest even number from ``at_least`` on with no prime factor above 5."""
    n = at_least + at_least % 2
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2


def filtered_noise(
    magnitudes: Tensor, hop_samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Return (batch, frame * hop): Gaussian white noise of RMS 1 through :func:`ltv_filter`.

    Magnitudes of 1 in all bands leave it at an RMS of 1. Noise is drawn on the generator's device.
    """
    _check_frames(magnitudes)
    n_samples = magnitudes.shape[1] * hop_samples
    device = magnitudes.device if generator is None else generator.device
    noise = torch.randn(magnitudes.shape[0], n_samples, generator=generator, device=device)
    return ltv_filter(noise.to(magnitudes), magnitudes, hop_samples)


def reverb(signal: Tensor, impulse: Tensor) -> Tensor:
    """Return (batch, time): a sound in a room, cut where the sound ends.

    Parameters
    ----------
    signal
        (batch, time).
    impulse
        (sample,) or (batch, sample): what the room makes of a single click; 1 as its first sample
        is the sound itself.
    """
    n_samples = signal.shape[-1]
    n_fft = _fast_length(n_samples + impulse.shape[-1] - 1)
    spectrum = torch.fft.rfft(signal, n=n_fft) * torch.fft.rfft(impulse, n=n_fft)
    return torch.fft.irfft(spectrum, n=n_fft)[..., :n_samples]


# ---- checks --------------------------------------------------------------------------------------


def _check_frames(frames: Tensor) -> None:
    if frames.ndim != 3 or 0 in frames.shape or not frames.is_floating_point():
        raise ShapeError(
            "controls",
            got=f"{frames.dtype} of shape {tuple(frames.shape)}",
            expected="floating point of shape (batch, frame, channel), none of them 0",
            hint="add an axis for the batch or for the channel",
        )


def _check_same(name: str, value: Tensor, like: Tensor) -> None:
    if value.shape != like.shape:
        raise ShapeError(
            name,
            got=f"shape {tuple(value.shape)}",
            expected=f"{tuple(like.shape)}",
            hint="give every control the same frames",
        )
