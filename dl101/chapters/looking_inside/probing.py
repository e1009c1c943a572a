"""Linear probes: what can be read, by a weighted sum, from each layer of a network.

Conventions. A layer is (item, number). A probe is a ridge regression
(:func:`dl101.evaluation.probe_models.linear`) that learns from the training side, chooses its
strength on the validation side and is scored on the test side: classes by balanced accuracy,
quantities by the explained share of their variance (0: no better than their mean). A *control task*
has labels that are drawn at random, one for each pitch (Hewitt and Liang, "Designing and
interpreting probes with control tasks", EMNLP 2019): what a probe gets right there it has learned
by heart.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dl101.chapters.looking_inside import planted
from dl101.data import pyjama
from dl101.data.embedded import renderer
from dl101.data.embedded.corpora import chorales
from dl101.data.sounds import at_level
from dl101.data.splits import SIDES
from dl101.evaluation import probe_models, tagging
from dl101.nn import attribution, inspection
from dl101.systems.notes_tagger import FAMILIES, spectra_of
from dl101.training import pitch_tracks, shipped
from dl101.training.comparison import Measurement, Read, load_sides
from dl101.units import db_to_amplitude

N_CHORDS = 240
Layers = Mapping[str, NDArray[np.float32]]  # (item, number) by name


@dataclass(frozen=True, eq=False)
class Probed:
    """Items that a network sees, and what is known of each.

    ``x`` are inputs (item, ...), ``sides`` (item,) numbers of the sides, ``classes`` and
    ``quantities`` (item,) by name; -1 and NaN leave an item out.
    """

    x: torch.Tensor
    sides: NDArray[np.int64]
    classes: Mapping[str, NDArray[np.int64]]
    quantities: Mapping[str, NDArray[np.float64]]


def explained(truth: NDArray, said: NDArray) -> float:
    """Return the share of the variance that is explained; negative if the mean does better."""
    return float(1 - np.sum((truth - said) ** 2) / np.sum((truth - truth.mean(axis=0)) ** 2))


def by_side(values: NDArray, sides: NDArray, kept: NDArray) -> dict[str, NDArray]:
    """Return the kept items of each side."""
    return {side: values[kept & (sides == number)] for number, side in enumerate(SIDES)}


def scores(layer: NDArray, probed: Probed) -> dict[str, float]:
    """Return how well each concept is read from a layer (item, number)."""
    found = {}
    for name, labels in probed.classes.items():
        kept = labels >= 0
        x = by_side(layer, probed.sides, kept)
        y = by_side(np.eye(labels.max() + 1)[np.maximum(labels, 0)], probed.sides, kept)
        said = probe_models.linear(x, y, tagging.balanced_accuracy)["test"]
        found[name] = tagging.balanced_accuracy(y["test"], said)
    for name, values in probed.quantities.items():
        kept = np.isfinite(values)
        x = by_side(layer, probed.sides, kept)
        y = by_side(values[:, None], probed.sides, kept)
        found[name] = explained(y["test"], probe_models.linear(x, y, explained)["test"])
    return found


def control_labels(pitches: NDArray, n_classes: int, seed: int) -> NDArray[np.int64]:
    """Return a label for each item that depends on its pitch alone, at random."""
    drawn = np.random.default_rng([seed, 40]).integers(n_classes, size=128)
    return drawn[np.asarray(pitches, dtype=np.int64)]


# ---- the tagger of notes -------------------------------------------------------------------------


def notes(seed: int, n_tracks: int) -> Probed:
    """Return single notes; those of the test side have instruments that nobody has heard."""

    def to_item(entry: pyjama.Entry, read: Read) -> list[tuple]:
        pitch = float(np.ravel(entry.fields["pitchmidi"][0].value)[0])
        family = FAMILIES.index(entry.first("family"))
        return [(at_level(read()[0]), family, pitch, float(entry.first("velocity")))]

    found = load_sides("notes", to_item, n_tracks=n_tracks, seed=seed)
    rows = [(*row, SIDES.index(side)) for side, items in found.items() for row in items]
    audio, families, pitches, velocities, sides = map(list, zip(*rows, strict=True))
    pitches = np.array(pitches)
    return Probed(
        torch.from_numpy(spectra_of(audio)),
        np.array(sides),
        {
            "family": np.array(families),
            "pitch_class": pitches.astype(np.int64) % 12,
            "control": control_labels(pitches, 12, seed),
        },
        {"height": pitches, "velocity": np.array(velocities)},
    )


def note_layers(network: nn.Module, x: torch.Tensor) -> Layers:
    """Return what the tagger of notes holds after each layer, means over time."""
    seen = inspection.outputs_of(network, (nn.ReLU, nn.Linear), x)
    names = ("convolution 1", "convolution 2", "convolution 3", "embedding", "output")
    layers = {"input": x.mean(dim=-1)}
    for name, values in zip(names, seen.values(), strict=True):
        layers[name] = values.mean(dim=-1).flatten(1) if values.ndim == 4 else values
    return {name: values.detach().numpy() for name, values in layers.items()}


# ---- multi-pitch estimation ----------------------------------------------------------------------


def places(seed: int, n_chords: int = N_CHORDS) -> Probed:
    """Return places in chords of one to four notes: where each note is, and where none is.

    Half of the silent places are an octave above a note, where its harmonics are.
    """
    system = shipped.load("multi_pitch").system
    rate, feature = renderer.SAMPLE_RATE, system.settings.feature
    rng = np.random.default_rng([planted.FIRST_SEED + seed, 41])
    players = chorales.PLAYERS["test"]
    rows = []
    for number in range(n_chords):
        side = (0, 0, 0, 1, 2)[number % 5]
        pitches = rng.choice(np.arange(*planted.PITCHES), size=rng.integers(1, 5), replace=False)
        names = planted.able(pitches, rng)
        begins_s, levels_db = rng.uniform(0.1, 1.0, pitches.size), rng.uniform(-12, 0, pitches.size)
        sound = sum(
            planted.play_note(name, int(pitch), begin_s, level_db, rng.uniform(-8.0, 8.0))
            for name, pitch, begin_s, level_db in zip(
                names, pitches, begins_s, levels_db, strict=True
            )
        )
        noise = renderer.background_noise(sound.size, 3.0, rng)
        sound = np.float32(sound + planted.NOTE_RMS * db_to_amplitude(-50.0) * noise)
        values = pitch_tracks.network_input(sound, feature, sample_rate=rate).values
        time_s = rng.uniform(1.1, 1.6)
        frame = round(time_s * rate / feature.hop_samples)
        for name, pitch, level_db in zip(names, pitches, levels_db, strict=True):
            known = (1, players.index(name), pitch, level_db)
            x = planted.around(values, planted.row_of(pitch, feature), frame)
            rows.append((x, side, *known, pitches.size))
        silent = [p for p in range(*planted.PITCHES) if np.abs(pitches - p).min() >= 2]
        octaves = [p + 12 for p in pitches if p + 12 in silent] or silent
        for pitch in (rng.choice(silent), rng.choice(octaves)):
            x = planted.around(values, planted.row_of(pitch, feature), frame)
            rows.append((x, side, 0, -1, -1, np.nan, np.nan))
    x, sides, sounds, instruments, pitches, levels, numbers = map(np.array, zip(*rows, strict=True))
    control = np.where(pitches < 0, -1, control_labels(np.maximum(pitches, 0), len(players), seed))
    return Probed(
        torch.from_numpy(x),
        sides,
        {"sounds": sounds, "instrument": instruments, "control": control},
        {"level": levels, "number": numbers},
    )


def place_layers(network: nn.Module, x: torch.Tensor) -> Layers:
    """Return what the network of multi-pitch estimation holds at a place after each layer."""
    parts = [
        inspection.outputs_of(network, nn.ReLU, part) | {"output": network(part)}
        for part in x.split(attribution.CHUNK)
    ]
    layers = {"input": x}
    for number, key in enumerate(parts[0]):
        name = key if key == "output" else f"convolution {number + 1}"
        layers[name] = torch.cat([part[key].detach() for part in parts])
    centre = (slice(None), slice(None), planted.ROWS, planted.FRAMES)
    return {name: values[centre].numpy() for name, values in layers.items()}


# ---- both ----------------------------------------------------------------------------------------


def measure(seed: int, n_notes: int, *, done: Collection[str] = ()) -> Iterator[Measurement]:
    """Yield what is read from each layer of both networks, and of untrained copies of them."""
    for kind, name, make, layers_of in (
        ("places", "multi_pitch", lambda: places(seed), place_layers),
        ("notes", "notes_tagger", lambda: notes(seed, n_notes), note_layers),
    ):
        if f"probe untrained {kind}: output" in done:
            continue
        probed, network = make(), shipped.load(name).system.network
        n_layers = len(attribution.weighted_layers(network))
        untrained = attribution.randomised(network, n_layers, probed.x[::4], seed=seed)
        corpus = {"corpus": "notes", "n_tracks": n_notes} if kind == "notes" else {}
        n_items = int((probed.sides == SIDES.index("test")).sum())
        with torch.no_grad():
            for prefix, twin in (("probe", network), ("probe untrained", untrained)):
                for layer, values in layers_of(twin, probed.x).items():
                    start = time.perf_counter()
                    metrics = scores(values, probed)
                    spent_s = time.perf_counter() - start
                    yield Measurement(
                        f"{prefix} {kind}: {layer}",
                        metrics,
                        n_items,
                        config={"numbers": values.shape[1]},
                        wall_time_s=spent_s,
                        **corpus,
                    )
