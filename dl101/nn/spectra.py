"""Signal processing that gradients pass through: torch twins of the features.

Conventions: audio comes in batches ``(batch, time)``; results put ``batch`` first and are float32.
What a transform needs beside its input are buffers: they move with the module, and are not saved in
checkpoints because the configuration determines them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dl101.errors import ShapeError
from dl101.nn.compression import log_compress
from dl101.signal.cqt import HcqtConfig, hcqt_plan


def _check_batch(waveform: Tensor) -> Tensor:
    if waveform.ndim != 2 or waveform.shape[-1] == 0 or not waveform.is_floating_point():
        raise ShapeError(
            "waveform",
            got=f"{waveform.dtype} of shape {tuple(waveform.shape)}",
            expected="floating point of shape (batch, time) with at least one sample",
            hint="add a batch axis with waveform[None], or drop the channel axis",
        )
    return waveform.float()


class HCQT(nn.Module):
    """Magnitudes of the harmonic CQT, ``(batch, time)`` to ``(batch, H, F, T)``.

    The twin of :func:`dl101.signal.cqt.hcqt`: same plan, same values within 1e-4 of the largest,
    on any device and differentiable (the gradient of a magnitude that is zero is zero).

    Parameters
    ----------
    config
        Default: ``HcqtConfig()``.
    n_samples
        Usual length of the input, for which the work is laid out. Any length is accepted: longer
        inputs are analysed in overlapping blocks. Default: about 48 s.

    Raises
    ------
    ShapeError
        On call, if the input is not ``(batch, time)``.
    """

    def __init__(self, config: HcqtConfig | None = None, *, n_samples: int | None = None) -> None:
        super().__init__()
        self.config = HcqtConfig() if config is None else config
        self.plan = hcqt_plan(self.config, n_samples)
        plan, n_bins = self.plan, self.config.n_bins
        for i, group in enumerate(plan.groups):
            self.register_buffer(f"starts_{i}", torch.from_numpy(group.starts), persistent=False)
            self.register_buffer(f"weights_{i}", torch.from_numpy(group.weights), persistent=False)
        # Row of the computed magnitudes for each distinct frequency; beyond half the sample rate
        # the extra row of zeros, which is last.
        n_computed = sum(group.bins.size for group in plan.groups)
        row = np.full(plan.frequencies_hz.size, n_computed)
        if plan.groups:
            row[np.concatenate([group.bins for group in plan.groups])] = np.arange(n_computed)
        rows = np.concatenate([row[offset : offset + n_bins] for offset in plan.offsets])
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the HCQT of each waveform; ``T = 1 + time // hop_samples``."""
        waveform = _check_batch(waveform)
        pieces = []
        for first_sample, skip, start, stop in self.plan.blocks(waveform.shape[-1]):
            block = waveform[:, max(0, first_sample) : first_sample + self.plan.block_samples]
            if first_sample < 0:
                block = nn.functional.pad(block, (-first_sample, 0))
            pieces.append(self._block(block)[..., skip : skip + stop - start])
        magnitudes = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)
        config = self.config
        return magnitudes[:, self.rows].unflatten(1, (len(config.harmonics), config.n_bins))

    def _block(self, block: Tensor) -> Tensor:
        """Return the magnitudes ``(batch, n_computed + 1, block_frames)`` of one block."""
        plan, batch = self.plan, block.shape[0]
        spectrum = torch.view_as_real(torch.fft.rfft(block, n=plan.block_samples))
        # One row per coefficient, so that picking rows is fast and needs no complex arithmetic,
        # which not every device has.
        spectrum = spectrum.transpose(0, 1).reshape(-1, 2 * batch)
        rows = []
        for i in range(len(plan.groups)):
            starts, weights = getattr(self, f"starts_{i}"), getattr(self, f"weights_{i}")
            n, width = weights.shape
            index = starts[:, None] + torch.arange(width, device=starts.device)
            segments = spectrum.index_select(0, index.flatten()).view(n, width, 2 * batch)
            segments = segments * weights[..., None]
            if width > plan.block_frames:
                segments = segments.unflatten(1, (-1, plan.block_frames)).sum(1)
            segments = torch.view_as_complex(segments.view(n, -1, batch, 2))
            response = torch.fft.ifft(segments, n=plan.block_frames, dim=1)
            rows.append(response.abs().permute(2, 0, 1))
        rows.append(block.new_zeros(batch, 1, plan.block_frames))
        return torch.cat(rows, dim=1)


class LogMel(nn.Module):
    """Log-mel spectrogram ``log(1 + 10000 x)``, ``(batch, time)`` to ``(batch, 1, band, T)``.

    The twin of :func:`dl101.signal.mel.log_mel`, on ``torchaudio.transforms.MelSpectrogram``.

    Parameters
    ----------
    sample_rate
        Rate of the audio in Hz.
    n_bands
        Number of mel bands between 0 Hz and half the sample rate.
    window_samples
        Length of the analysis window, and of its FFT.
    hop_samples
        Distance between frames.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        n_bands: int = 128,
        window_samples: int = 2048,
        hop_samples: int = 512,
    ) -> None:
        super().__init__()
        # Imported here because torchaudio takes a moment, and an HCQT does without.
        from dl101.nn.torchaudio_compat import torchaudio

        self.spectrogram = torchaudio.transforms.MelSpectrogram(
            sample_rate,
            n_fft=window_samples,
            hop_length=hop_samples,
            n_mels=n_bands,
            pad_mode="constant",
            norm="slaney",
            mel_scale="slaney",
        )
        # Determined by the parameters, so kept out of checkpoints.
        for module in self.spectrogram.modules():
            module._non_persistent_buffers_set.update(module._buffers)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel spectrogram of each waveform; ``T = 1 + time // hop_samples``."""
        power = self.spectrogram(_check_batch(waveform))
        return log_compress(power, 10_000.0).unsqueeze(1)


def log_mel(
    waveform: Tensor,
    sample_rate: int,
    *,
    n_bands: int = 128,
    window_samples: int = 2048,
    hop_samples: int = 512,
) -> Tensor:
    """Return the log-mel spectrogram ``(batch, 1, n_bands, T)``; see :class:`LogMel`.

    For repeated use keep a :class:`LogMel`: this builds its filters at each call.
    """
    transform = LogMel(
        sample_rate, n_bands=n_bands, window_samples=window_samples, hop_samples=hop_samples
    )
    return transform.to(waveform.device)(waveform)
