"""Methods that look into networks, measured: whether they find what was planted, and are sane.

Conventions. The networks are those that ship. ``song: METHOD`` and ``chord: METHOD`` say how well a
map finds what was planted (:mod:`dl101.chapters.looking_inside.planted`); ``sanity song: METHOD``
how much it is like the map of a network whose last layers are drawn anew; ``probe ...: LAYER`` what
is read from layers; ``attention: ...`` whether what is looked at matters. The seed draws sounds,
new weights and control tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dl101.chapters.looking_inside import planted, probing
from dl101.chapters.looking_inside.planted import Planted
from dl101.evaluation import attribution as judge
from dl101.nn import attribution
from dl101.nn.code_model import CodeModel
from dl101.nn.code_patterns import to_grid
from dl101.systems import autoregressive
from dl101.systems.autoregressive_data import conditions_of
from dl101.training import shipped
from dl101.training.comparison import Measurement

N_SONGS, N_CHORDS, N_SANE, N_NOTES = 12, 24, 3, 360
N_STEPS = 16  # of integrated gradients
TOP = 0.02  # of the cells: where a map points
TAKEN = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)  # shares of the cells
Method = Callable[[Planted], Tensor]


def _guided(item: Planted) -> Tensor:
    with attribution.guided(item.network):
        return attribution.gradient(item.score, item.x)


def _random(item: Planted) -> Tensor:
    generator = torch.Generator().manual_seed(round(1e6 * float(item.x.sum())) % 2**31)
    return torch.rand(item.x.shape, generator=generator)


def _integrated(item: Planted, reference: Tensor | None = None) -> Tensor:
    reference = item.reference if reference is None else reference
    return attribution.integrated_gradients(item.score, item.x, reference, n_steps=N_STEPS)


def _occlusion(item: Planted, step: tuple[int, int] | None = None) -> Tensor:
    return attribution.occlusion(item.score, item.x, item.tile, step, item.reference)


# Maps of importance by name; the first never ask the network.
IGNORANT: Mapping[str, Method] = {
    "random": _random,
    "energy": lambda item: item.x,
    "louder than usual": lambda item: item.x - item.reference,
}
METHODS: Mapping[str, Method] = {
    "saliency": lambda item: attribution.saliency(item.score, item.x),
    "gradient times input": lambda item: attribution.gradient_times_input(
        item.score, item.x, item.reference
    ),
    "integrated gradients": _integrated,
    "guided backpropagation": _guided,
    "occlusion": _occlusion,
}
# Integrated gradients of a song from other references; the last knows the truth.
REFERENCES: Mapping[str, Method] = {
    "from silence": lambda item: _integrated(item, torch.zeros(())),
    "from one grey": lambda item: _integrated(item, planted.typical(item.network)),
    "from the song without it": lambda item: _integrated(item, item.x_without),
}


def methods_of(kind: str) -> dict[str, Method]:
    """Return the maps for songs, or for chords.

    Guided backpropagation needs ReLUs, which the tagger has not; the reference of chords is
    silence, so what is louder than usual is what is loud.
    """
    left_out = {"song": "guided backpropagation", "chord": "louder than usual"}[kind]
    every = {**IGNORANT, **METHODS, **(REFERENCES if kind == "song" else {})}
    return {name: method for name, method in every.items() if name != left_out}


# ---- does it find what was planted? --------------------------------------------------------------


def found(item: Planted, importance: Tensor) -> dict[str, float]:
    """Return how well a map finds what was planted.

    ``chance`` is the truth's share of the cells; ``top`` the truth's share of the :data:`TOP` cells
    with the highest values, ``inside`` of all that is positive; ``area`` how often a cell of the
    truth ranks above another. ``late`` is the share of what is positive in the second half of the
    frames. ``deletion`` is by how much the score falls when the first cells (:data:`TAKEN`, mean
    over these shares) are taken away, ``insertion`` by how much it rises when they are put into the
    reference.
    """
    truth = item.truth.numpy()
    order = importance.flatten().argsort(descending=True)
    first = order[: round(TOP * len(order))]
    late = np.zeros(truth.shape, dtype=bool)
    late[..., truth.shape[-1] // 2 :] = True
    with torch.no_grad():
        whole = float(item.score(item.x).sum())
        nothing = float(item.score(item.reference.expand_as(item.x)).sum())
    deleted, inserted = (
        attribution.perturbation_curve(
            item.score, item.x, importance, TAKEN, item.reference, keep=keep
        )
        for keep in (False, True)
    )
    return {
        "chance": float(truth.mean()),
        "top": float(item.truth.flatten()[first].float().mean()),
        "inside": judge.share_inside(importance, truth),
        "area": judge.area(importance, truth),
        "late": judge.share_inside(importance, late),
        "deletion": whole - float(deleted.mean()),
        "insertion": float(inserted.mean()) - nothing,
    }


def sane(items: Sequence[Planted], method: Method, *, seed: int) -> dict[str, float]:
    """Return how much maps are like those of a network whose last layers are drawn anew.

    ``rank_N`` is the rank correlation with N layers new, ``size_rank_N`` that of the maps' sizes
    without their signs, which a new last layer turns at random.
    """
    network = items[0].network
    inputs = torch.cat([item.x for item in items])
    before = [method(item) for item in items]
    scores = {}
    for n in range(1, len(attribution.weighted_layers(network)) + 1):
        twin = attribution.randomised(network, n, inputs, seed=seed)
        after = [method(item.judged_by(twin)) for item in items]
        pairs = list(zip(before, after, strict=True))
        for name, change in (("rank", lambda x: x), ("size_rank", torch.abs)):
            found = [judge.rank_correlation(change(a), change(b)) for a, b in pairs]
            scores[f"{name}_{n}"] = float(np.mean(found))
    return scores


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _planted(kind: str, seed: int, done: Collection[str]) -> Iterator[Measurement]:
    name, make, n = {
        "song": ("auto_tagging", planted.songs, N_SONGS),
        "chord": ("multi_pitch", planted.chords, N_CHORDS),
    }[kind]
    system = shipped.load(name).system
    todo = methods_of(kind)
    if f"sanity {kind}: occlusion" in done:
        return
    items = list(make(system, n, seed=seed))
    for method, code in todo.items():
        start = time.perf_counter()
        metrics = _mean([found(item, code(item)) for item in items])
        spent_s = time.perf_counter() - start
        yield Measurement(f"{kind}: {method}", metrics, len(items), wall_time_s=spent_s)
    for method, code in todo.items():
        if method == "random" or method in REFERENCES:
            continue
        if method == "occlusion":
            code = partial(_occlusion, step=items[0].tile)
        start = time.perf_counter()
        metrics = sane(items[:N_SANE], code, seed=seed)
        spent_s = time.perf_counter() - start
        yield Measurement(f"sanity {kind}: {method}", metrics, N_SANE, wall_time_s=spent_s)


# ---- does attention say what matters? ------------------------------------------------------------

N_ASKED = 6  # generated notes
ASKED_FRAMES = 32
STEPS = range(12, 32, 6)  # that are asked what they rest on


def asked(system: autoregressive.AutoregressiveSystem, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return codes (note, stage, frame) that the model writes, and what it was told."""
    rng = np.random.default_rng([seed, 30])
    families = rng.permutation(["guitar", "flute", "organ", "string", "keyboard", "brass", "reed"])
    said = [conditions_of(int(rng.integers(55, 75)), str(name)) for name in families[:N_ASKED]]
    codes = autoregressive.generate_codes(system, said, ASKED_FRAMES, seed=seed)
    return torch.from_numpy(codes), torch.tensor(said)


def read(network: CodeModel, codes: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
    """Return what enters the decoder, (note, step, width), and the codes of each step, a grid.

    The grid is (note, stage, step); what is at ``step`` is said from all that entered until there.
    """
    grid = to_grid(codes, network.pattern, network.n_codes)
    start = torch.full_like(grid[:, :, :1], network.n_codes)
    return network.embed(torch.cat([start, grid[:, :, :-1]], dim=2), conditions), grid


def log_probability(network: CodeModel, hidden: Tensor, grid: Tensor) -> Tensor:
    """Return the log probability of what was said, (note, step): over all stages that say one."""
    logits = torch.einsum("bsw,knw->bksn", hidden, network.tables[:, : network.n_codes])
    known = grid < network.n_codes
    said = grid.clamp(max=network.n_codes - 1)[..., None]
    chosen = logits.log_softmax(dim=-1).gather(-1, said)[..., 0]
    return (chosen * known).sum(dim=1)


@torch.no_grad()
def effects(network: CodeModel, x: Tensor, grid: Tensor, step: int) -> Tensor:
    """Return by how much what is said at a step changes without each step before, (note, step)."""
    blocked = torch.zeros(step + 1, step + 1, step + 1, dtype=torch.bool)
    for key in range(step):
        blocked[key, key + 1 :, key] = True  # hidden from all that come after; last: from none
    rows = []
    for note, told in zip(x[:, : step + 1], grid[:, :, step : step + 1], strict=True):
        many = note.expand(step + 1, -1, -1)
        hidden, _ = attribution.attended(network.decoder, many, blocked)
        said = log_probability(network, hidden[:, -1:], told.expand(step + 1, -1, -1))[:, 0]
        rows.append((said[-1] - said[:-1]).abs())
    return torch.stack(rows)


def looks(network: CodeModel, x: Tensor, grid: Tensor, step: int) -> dict[str, Tensor]:
    """Return answers to "which steps before matter", (note, step) each, by name."""
    x = x[:, : step + 1].detach().requires_grad_()
    hidden, weights = attribution.attended(network.decoder, x)
    value = log_probability(network, hidden[:, -1:], grid[:, :, step : step + 1]).sum()
    (slope,) = torch.autograd.grad(value, x)
    mean = torch.stack(weights).mean(dim=(0, 2))[:, -1, :step]
    return {
        "mean of all heads": mean.detach(),
        "last layer": weights[-1].mean(dim=1)[:, -1, :step].detach(),
        "rollout": attribution.rollout(weights)[:, -1, :step].detach(),
        "gradient": slope.norm(dim=-1)[:, :step],
        "recency": torch.arange(step).float().expand(len(x), -1),
    }


def _attention(seed: int, done: Collection[str]) -> Iterator[Measurement]:
    system = shipped.load("autoregressive").system
    if "attention: recency" in done:
        return
    start = time.perf_counter()
    codes, conditions = asked(system, seed=seed)
    untrained = autoregressive.build(system.settings, seed=seed).network.eval()
    found: dict[str, list[float]] = {}
    with torch.no_grad():
        x, grid = read(system.network, codes, conditions)
        x_new, _ = read(untrained, codes, conditions)
    for step in STEPS:
        truth = effects(system.network, x, grid, step)
        said = looks(system.network, x, grid, step)
        said["untrained: mean of all heads"] = looks(untrained, x_new, grid, step)[
            "mean of all heads"
        ]
        for name, weights in said.items():
            pairs = zip(weights, truth, strict=True)
            found.setdefault(name, []).extend(judge.rank_correlation(a, b) for a, b in pairs)
    spent_s = time.perf_counter() - start
    for name, values in found.items():
        metrics = {"rank": float(np.mean(values))}
        yield Measurement(f"attention: {name}", metrics, len(values), wall_time_s=spent_s)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure all; ``n_tracks`` is the number of notes that probes learn from and are tried on."""
    torch.set_num_threads(1)
    for kind in ("chord", "song"):
        yield from _planted(kind, seed, done)
    yield from _attention(seed, done)
    yield from probing.measure(seed, n_tracks or N_NOTES, done=done)
