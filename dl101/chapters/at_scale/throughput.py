"""How fast a corpus larger than memory is read, turned into features and learned from.

Conventions. Each measurement has a process of its own, one thread, and does its work on all tracks
of the corpus (training: on as many patches as :data:`N_STEPS` steps take; rendering: on
:data:`N_RENDERED` tracks). ``per_s`` counts tracks, or patches of three seconds, in a second on the
clock; ``times_real`` how many seconds of music that is; ``peak_gb`` the most memory that the
process held, libraries included, in 10**9 bytes (NaN on Windows, which does not tell); ``read_gb``
what was read. The files have mostly just been written: the operating system may have them in
memory, and a slow disk comes on top.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from dl101.chapters.at_scale import networks, stores
from dl101.chapters.at_scale.networks import FRONT_ENDS, STORE, Training
from dl101.chapters.at_scale.stores import CORPUS, PATCH_FRAMES
from dl101.data import pair
from dl101.data.embedded import export
from dl101.training.comparison import Measurement

N_STEPS, N_RENDERED = 60, 200
PREFIX = "speed: "


def peak_gb() -> float:
    """Return the most memory that this process has held, in 10**9 bytes."""
    try:
        import resource
    except ImportError:
        return math.nan
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 1e9  # bytes there, kibibytes here


def rendering(n_tracks: int, seed: int) -> dict[str, float]:
    """Render some recordings, without writing them."""
    found = export.recipe(CORPUS)
    options = {"seed": seed, "duration_s": found.duration_s, "extras": False}
    found.render(0, **options)  # loads the sounds
    n = min(n_tracks, N_RENDERED)
    start_s = time.perf_counter()
    for index in range(n):
        found.render(index, **options)
    return _speed(n, n * found.duration_s, time.perf_counter() - start_s)


def reading(n_tracks: int, seed: int) -> dict[str, float]:
    """Read all recordings, one after the other."""
    files = export.cached_corpus(CORPUS, n_tracks=n_tracks, seed=seed, progress=False)
    n, n_bytes, seconds = 0, 0, 0.0
    with pair.opened(files.audio, files.annotations) as (entries, store):
        keys = [entry.filepath for entry in entries]
        start_s = time.perf_counter()
        for n, key in enumerate(keys, start=1):  # noqa: B007
            audio, sample_rate = store.read(key)
            n_bytes += audio.nbytes
            seconds += len(audio) / sample_rate
    return _speed(n, seconds, time.perf_counter() - start_s) | {"read_gb": n_bytes / 1e9}


def features(n_tracks: int, seed: int) -> dict[str, float]:
    """Read all recordings, resample them, compute the spectrograms, write both inputs."""
    files = export.cached_corpus(CORPUS, n_tracks=n_tracks, seed=seed, progress=False)
    with tempfile.TemporaryDirectory(dir=files.audio.parent) as folder:
        start_s = time.perf_counter()
        paths = stores.prepare(files, Path(folder), progress=False)
        spent_s = time.perf_counter() - start_s
        sizes = {f"{name}_gb": path.stat().st_size / 1e9 for name, path in paths.items()}
    seconds = n_tracks * export.recipe(CORPUS).duration_s
    return _speed(n_tracks, seconds, spent_s) | sizes


def streaming(kind: str, n_tracks: int, seed: int, *, learn: bool) -> dict[str, float]:
    """Stream patches of the training side, all of them once; or learn from some, step by step."""
    torch.set_num_threads(1)
    corpus = stores.load(seed=seed, n_tracks=n_tracks, progress=False)
    training, tracks = Training(), corpus.sides["train"]
    stream = stores.batches(
        corpus.stores[STORE[kind]], tracks, batch_size=training.batch_size, seed=seed
    )
    if learn:
        torch.manual_seed(seed)
        network = networks.build(kind)
        optimiser = torch.optim.AdamW(network.parameters(), lr=training.learning_rate)
        n_steps = N_STEPS
    else:
        n_steps = max(1, 3 * len(tracks) // training.batch_size)
    start_s, n = time.perf_counter(), 0
    for patches, tags in itertools.islice(stream, n_steps):
        n += len(patches)
        if learn:
            optimiser.zero_grad()
            F.binary_cross_entropy_with_logits(network(patches), tags).backward()
            optimiser.step()
    spent_s = time.perf_counter() - start_s
    patch_s = PATCH_FRAMES * stores.FRAME_SAMPLES / stores.SAMPLE_RATE
    return _speed(n, n * patch_s, spent_s)


def _speed(n: int, seconds: float, spent_s: float) -> dict[str, float]:
    return {
        "per_s": n / spent_s,
        "times_real": seconds / spent_s,
        "seconds": spent_s,
        "peak_gb": peak_gb(),
    }


STAGES: Mapping[str, Callable[[int, int], dict[str, float]]] = {
    "rendering": rendering,
    "reading": reading,
    "features": features,
    **{
        f"{verb} {kind}": partial(streaming, kind, learn=verb == "training")
        for verb in ("streaming", "training")
        for kind in FRONT_ENDS
    },
}


def run(seed: int, n_tracks: int, *, done: Collection[str] = ()) -> Iterator[Measurement]:
    """Measure every stage in a fresh process."""
    spawned = multiprocessing.get_context("spawn")
    for name, stage in STAGES.items():
        if PREFIX + name in done:
            continue
        start_s = time.perf_counter()
        with ProcessPoolExecutor(1, mp_context=spawned) as process:
            metrics = process.submit(stage, n_tracks, seed).result()
        yield Measurement(
            PREFIX + name,
            metrics,
            n_tracks,
            corpus=CORPUS,
            n_tracks=n_tracks,
            wall_time_s=time.perf_counter() - start_s,
            split="all",
        )
