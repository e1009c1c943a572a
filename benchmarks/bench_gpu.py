"""Training steps and inputs on a GPU: bfloat16 against 32-bit floats, and the GPU against one core.

Networks have the sizes of the published configurations (``scale="full"``), fresh weights and random
batches: a step is the forward pass, a scalar of the output, the backward pass and Adam's update.
Times are of the wall clock, after warming up and with the device idle at both ends. Without a GPU
nothing is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from dl101.nn import spectra
from dl101.signal import cqt, mel
from dl101.systems import auto_tagging, multi_pitch, source_separation

STEPS = 20


def main() -> None:
    """Print steps a second by precision, and seconds of audio a second for two inputs."""
    if not torch.cuda.is_available():
        print("  no GPU here")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, full sizes")
    for name, (network, shape) in _networks().items():
        rates = {}
        for precision, dtype in (("32-bit", None), ("bfloat16", torch.bfloat16)):
            rates[precision] = 1 / _seconds(_step(network.cuda(), shape, dtype))
        ratio = rates["bfloat16"] / rates["32-bit"]
        print(
            f"  {name:30s} batch {shape[0]:3d}: {rates['32-bit']:7.1f} steps/s, "
            f"bfloat16 {rates['bfloat16']:7.1f}   ratio {ratio:5.2f}"
        )
    _inputs()


def _networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Return a network of each system at its full size, and the shape of a batch."""
    pitch = multi_pitch.load_config(scale="full")
    tagging = auto_tagging.load_config(scale="full")
    stems = source_separation.load_config(scale="full")
    image = (pitch.feature.n_bins, pitch.data.patch_frames)
    samples = stems.data.patch_frames * stems.hop_samples
    return {
        "multi_pitch, conv2d": (
            multi_pitch.build(pitch).network,
            (pitch.training.batch_size, len(pitch.feature.harmonics), *image),
        ),
        "auto_tagging, conv2d": (
            auto_tagging.build(tagging).network,
            (tagging.training.batch_size, 1, tagging.feature.n_bands, tagging.data.patch_frames),
        ),
        "source_separation, unet": (
            source_separation.build(stems),
            (stems.training.batch_size, stems.n_channels, samples),
        ),
    }


def _step(
    network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype | None
) -> Callable[[], object]:
    """Return a function that takes one training step on a random batch."""
    batch = torch.randn(shape, device="cuda")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-6)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cuda", dtype=dtype) if dtype else nullcontext():
            output = network(batch)
        output.float().square().mean().backward()
        optimiser.step()

    return step


def _seconds(function: Callable[[], object], runs: int = STEPS) -> float:
    """Return the mean wall time of a run, in seconds."""
    for _ in range(5):
        function()
    torch.cuda.synchronize()
    start_s = time.perf_counter()
    for _ in range(runs):
        function()
    torch.cuda.synchronize()
    return (time.perf_counter() - start_s) / runs


def _inputs() -> None:
    """Print how much audio a second becomes a log-mel or an HCQT, on one core and on the GPU."""
    torch.set_num_threads(1)
    rate, seconds, batch = 22050, 30, 16
    waveforms = np.random.default_rng(0).standard_normal((batch, rate * seconds)).astype(np.float32)
    on_device = torch.from_numpy(waveforms).cuda()
    transforms = [module.cuda() for module in (spectra.LogMel(rate), spectra.HCQT())]
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "log-mel": (
            lambda: mel.log_mel(waveforms[0], rate),
            lambda: transforms[0](on_device),
        ),
        "HCQT, 6 harmonics": (
            lambda: cqt.hcqt(waveforms[0]),
            lambda: transforms[1](on_device),
        ),
    }
    for name, (on_core, on_gpu) in pairs.items():
        on_core()
        start_s = time.perf_counter()
        on_core()
        core = seconds / (time.perf_counter() - start_s)
        with torch.inference_mode():
            gpu = batch * seconds / _seconds(on_gpu)
        print(
            f"  {name:30s} {core:7.0f} s of audio a second on a core, {gpu:8.0f} on the GPU   "
            f"ratio {gpu / core:5.1f}"
        )
