"""Samplers of a latent flow: notes a second, on one thread.

The network is that of ``configs/flow.yaml`` with fresh weights, which cost as much as trained ones;
16 notes of 1.25 s at once, and 16 evaluations of the network for each, but where guidance doubles
them. The baseline is Euler's method. What the codec takes to decode comes on top, and is measured
too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.timing import best_of
from dl101.nn import flow as paths
from dl101.nn.codec import Decoder
from dl101.systems import codec, flow

N_NOTES, N_EVALUATIONS = 16, 16


@torch.inference_mode()
def main() -> None:
    """Print each sampler and its ratio to Euler's method."""
    torch.set_num_threads(1)
    system = flow.build(flow.load_config()).eval()
    n_frames = system.settings.data.patch_frames
    place = torch.arange(n_frames) / n_frames
    pitch, family = torch.full((N_NOTES,), 57.0), torch.zeros(N_NOTES, dtype=torch.long)
    asked = system.asked(pitch, family, place)
    z = flow.noise_of(system, N_NOTES, n_frames, 0)
    told, guided = system.guided(asked, 1.0), system.guided(asked, 2.0)
    n = N_EVALUATIONS
    samplers: dict[str, Callable[[], object]] = {
        f"euler, {n} steps": lambda: paths.solve(told, z, n),
        f"heun, {n // 2} steps": lambda: paths.solve(told, z, n // 2, method="heun"),
        f"ddim, {n} steps": lambda: paths.ddpm_solve(told, z, n),
        f"ancestral, {n} steps": lambda: paths.ddpm_solve(told, z, n, noise=1.0),
        f"euler, {n} steps, guided": lambda: paths.solve(guided, z, n),
    }
    decoder = Decoder(codec.load_config().network).eval()
    baseline_s, *others_s, decode_s = best_of(*samplers.values(), lambda: decoder(z), runs=5)
    print(f"{N_NOTES} notes of {n_frames} frames, {n} evaluations of the network, one thread")
    for name, seconds in zip(samplers, [baseline_s, *others_s], strict=True):
        rate = N_NOTES / seconds
        print(f"  {name:26s} {rate:8.1f} notes/s   ratio {baseline_s / seconds:5.2f}")
    print(f"  {'decoding by the codec':26s} {N_NOTES / decode_s:8.1f} notes/s")
