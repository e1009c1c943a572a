"""Patches: reading from a store of features against computing them afresh, on one thread.

Both give the same 64 random patches of 128 frames of an HCQT, 6 x 72 bins, from tracks of 30 s of
noise. The files have just been written, so that what is timed is the processor's part: the disk
comes on top.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.timing import best_of
from dl101.data.featurestore import FeatureStore, FeatureStoreWriter
from dl101.signal.cqt import HcqtConfig, hcqt
from dl101.signal.patches import PatchIndex

RATE, N_TRACKS, N_PATCHES, PATCH_FRAMES = 22050, 4, 64, 128
CONFIG = HcqtConfig(bins_per_semitone=1)
LAYOUTS = {
    "chunks of a patch": {"chunk_frames": PATCH_FRAMES},
    "contiguous": {},
    "chunks of a row": {"chunk_bins": 1},
    "one chunk, gzip": {"compression": "gzip"},
}


def main() -> None:
    """Print the baseline, each way and its ratio."""
    rng = np.random.default_rng(0)
    tracks = [rng.standard_normal(30 * RATE).astype(np.float32) for _ in range(N_TRACKS)]
    whole = [hcqt(audio, CONFIG).values for audio in tracks]
    hop = CONFIG.hop_samples
    lengths = [PATCH_FRAMES * (v.shape[-1] // PATCH_FRAMES) for v in whole]
    index = PatchIndex(lengths, patch_frames=PATCH_FRAMES)
    chosen = [index[number] for number in rng.integers(len(index), size=N_PATCHES)]

    def compute() -> None:
        for track, start, stop in chosen:
            hcqt(tracks[track][start * hop : stop * hop], CONFIG)

    def slice_memory() -> None:
        for track, start, stop in chosen:
            whole[track][..., start:stop].copy()

    with tempfile.TemporaryDirectory() as folder:
        stores = {}
        for name, layout in LAYOUTS.items():
            path = Path(folder) / f"{len(stores)}.hdf5"
            with FeatureStoreWriter(path, **layout) as writer:
                for number, values in enumerate(whole):
                    writer.append(str(number), values, RATE / hop)
            stores[name] = FeatureStore(path)

        def read(store: FeatureStore) -> None:
            for track, start, stop in chosen:
                store.read_frames(str(track), start, stop)

        readers = [lambda store=store: read(store) for store in stores.values()]
        baseline_s, *read_s, memory_s = best_of(compute, *readers, slice_memory, runs=5)
    print(f"patches of {PATCH_FRAMES} frames of an HCQT, {N_PATCHES} of them, one thread")
    print(f"  computed from their samples     {1000 * baseline_s:8.1f} ms")
    for name, seconds in [*zip(stores, read_s, strict=True), ("in memory", memory_s)]:
        where = name if name == "in memory" else f"HDF5, {name}"
        print(f"  {where:30s}  {1000 * seconds:8.1f} ms   ratio {baseline_s / seconds:7.1f}")
