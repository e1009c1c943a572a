"""What the chapter on chains of parts compares over seeds.

Three chains, on phrases of reels that the sound bank plays. The phrases are the same for every
seed, which draws initial weights, the order of training and what is sampled.

- ``notes``: recordings are transcribed, a model learns the notes that were heard, new ones are
  drawn and played. How well was heard, and what does each model know of held-out tunes *as they are
  written*?
- ``codes``: an auto-encoder with codes at two clocks, and models of both levels.
- ``translation``: one encoder and a decoder for each of two instruments, with and without a
  classifier that should be confused and a filter drawn at random before the encoder; beside answers
  that learn nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dl101.chapters.chains import parts
from dl101.nn.frames import Translator
from dl101.training import tunes
from dl101.training.comparison import Comparison, Measurement

N_PHRASES, N_RECORDINGS, N_TEST, N_HEARD, N_MADE = 300, 150, 60, 8, 16
N_STEPS = 200  # of each training
SOURCE, TARGET = "flute", "violin"
PLAYERS = {
    "written": None,
    "heard, flute": "flute",
    "heard, vibraphone": "vibraphone",
}
CODES: Mapping[str, Mapping[str, int]] = {
    "two clocks": {"coarse_stride": 8, "fine_stride": 2, "n_codes": 128},
}
TRANSLATIONS: Mapping[str, Mapping[str, float]] = {
    "plain": {"confusion": 0.0, "vary_db": 0.0},
    "confused": {"confusion": 0.5, "vary_db": 0.0},
    "confused, varied": {"confusion": 0.5, "vary_db": 8.0},
}


def rate_of(n_steps: int) -> float:
    """Return how many codes a second there are, with n of them for a phrase's frames."""
    return n_steps * parts.FRAME_RATE / parts.N_FRAMES


# ---- notes in between ----------------------------------------------------------------------------


def load_notes(*, n_tracks: int, seed: int = 0, progress: bool = True) -> dict[str, np.ndarray]:
    """Return the written tokens of each side."""
    return {
        "train": parts.reels("train", n_tracks),
        "validation": parts.reels("validation", N_TEST),
        "test": parts.reels("test", N_TEST),
    }


@cache
def heard_as(instrument: str, n_phrases: int) -> tuple[np.ndarray, float]:
    """Return what is heard of the training phrases, as tokens, and the F1 of the notes."""
    written = parts.reels("train", n_phrases)
    heard = parts.transcribe(parts.played(written, instrument), parts.BANK_RATE)
    return parts.on_grid(heard, n_phrases), parts.note_f1(written, heard)


def tokens_for(instrument: str | None, data: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a model learns from: tokens as written, or as heard from an instrument."""
    return data["train"] if instrument is None else heard_as(instrument, len(data["train"]))[0]


def train_notes(
    instrument: str | None, data: Mapping[str, np.ndarray], *, seed: int
) -> tunes.NoteModel:
    """Return a model of notes."""
    return parts.note_model(tokens_for(instrument, data), seed=seed, n_steps=N_STEPS)


def score_notes(
    network: tunes.NoteModel, instrument: str | None, data: Mapping[str, np.ndarray], *, seed: int
) -> dict[str, float]:
    """Return the scores of each link."""
    learned, test = tokens_for(instrument, data), data["test"]
    made = np.stack([tunes.sample(network, seed=100 * seed + i) for i in range(N_MADE)])
    found = {
        "bits_bigram": parts.bits_per_note(parts.bigram(learned, data["validation"]), test),
        "bits_lstm": parts.bits_per_note(network, test),
        "in_scale": parts.in_scale(made),
        "token_accuracy": float(np.mean(learned == data["train"])),
    }
    if instrument is not None:
        found["f1_heard"] = heard_as(instrument, len(learned))[1]
        again = parts.transcribe(parts.played(made, instrument), parts.BANK_RATE)
        found["f1_again"] = parts.note_f1(made, again)
    return found


def notes(seed: int) -> Comparison:
    """Return the comparison of what a model of notes has learned from."""
    return Comparison(
        corpus="",
        n_tracks=N_RECORDINGS,
        load=load_notes,
        n_items=lambda data: len(data["test"]),
        variants=PLAYERS,
        train=train_notes,
        score=partial(score_notes, seed=seed),
        baselines={"in D major, evenly": lambda data: {"in_scale": float(in_scale_by_chance())}},
        describe=lambda instrument: {"instrument": instrument or "none"},
        prefix="notes, ",
    )


def in_scale_by_chance() -> float:
    """Return the share of the range's notes that belong to D major."""
    return parts.in_scale(np.arange(tunes.N_PITCHES))


# ---- codes ---------------------------------------------------------------------------------------


@cache
def reels_in_frames(instrument: str, side: str, n: int, skip: int = 0) -> Tensor:
    """Return the frames of phrases, as :func:`parts.reels` draws them."""
    return parts.frames_of(parts.reels(side, n, skip=skip), instrument)


def load_codes(*, n_tracks: int, seed: int = 0, progress: bool = True) -> dict[str, Any]:
    """Return frames by side."""
    sides = {"train": n_tracks, "validation": N_TEST, "test": N_TEST}
    return {side: reels_in_frames(SOURCE, side, n) for side, n in sides.items()}


def train_codes(
    variant: Mapping[str, int], data: Mapping[str, Tensor], *, seed: int
) -> parts.CodeChain:
    """Return an auto-encoder with models of its codes."""
    network = parts.train_codes(data["train"], seed=seed, n_steps=N_STEPS, **variant)
    sides = data["train"], data["validation"]
    return parts.code_chain(network, *sides, seed=seed, n_steps=N_STEPS // 2)


@torch.no_grad()
def score_codes(
    chain: parts.CodeChain, variant: Mapping[str, int], data: Mapping[str, Tensor], *, seed: int
) -> dict[str, float]:
    """Return how near frames come back, what codes cost, and how new tunes are heard."""
    network, test, written = chain.network, data["test"], parts.reels("test", N_HEARD)
    again = network(test)
    made = chain.made(N_MADE, seed=seed)
    heard = parts.transcribe([parts.sound(each) for each in made], parts.SAMPLE_RATE)
    tokens = parts.on_grid(heard, N_MADE)
    found = {
        "db": parts.distance_db(again.frames, test),
        "f1": parts.kept_notes(written, again.frames[:N_HEARD]),
        "in_scale": parts.in_scale(tokens),
        "notes_made": float(np.mean(np.sum(tokens != tunes.HELD, axis=1))),
    }
    levels = {"coarse": (chain.coarse, again.coarse, None)}
    if chain.fine is not None:
        levels["fine"] = (chain.fine, again.fine, again.coarse)
        alone = network.decode(again.coarse)
        found["db_coarse"] = parts.distance_db(alone, test)
        found["f1_coarse"] = parts.kept_notes(written, alone[:N_HEARD])
    heard_before = [parts.codes_of(network, data[side]) for side in ("train", "validation")]
    for name, (prior, codes, told) in levels.items():
        rate = rate_of(codes.shape[1])
        found[f"bits_s_{name}"] = rate * float(np.log2(network.n_codes))
        found[f"prior_{name}"] = rate * float(parts.code_bits(prior, codes, told).mean())
        known = (side[name == "fine"].numpy() for side in heard_before)
        pairs = parts.NGram(network.n_codes, (1,)).fit(*known)
        found[f"bigram_{name}"] = rate * float(pairs.bits(codes.numpy()).mean())
    return found


def codes(seed: int) -> Comparison:
    """Return what codes at two clocks keep and cost, beside simple answers."""
    return Comparison(
        corpus="",
        n_tracks=N_PHRASES,
        load=load_codes,
        n_items=lambda data: len(data["test"]),
        variants=CODES,
        train=train_codes,
        score=partial(score_codes, seed=seed),
        baselines={
            "silence": lambda data: {
                "db": parts.distance_db(torch.zeros_like(data["test"]), data["test"])
            },
            "mean frame": lambda data: {
                "db": parts.distance_db(data["train"].mean((0, 2))[None, :, None], data["test"])
            },
            "the sound itself": lambda data: {
                "f1": parts.kept_notes(parts.reels("test", N_HEARD), data["test"][:N_HEARD])
            },
        },
        describe=dict,
        prefix="codes, ",
    )


# ---- translation ---------------------------------------------------------------------------------

Domains = Mapping[str, tuple[Tensor, Tensor]]


def load_domains(*, n_tracks: int, seed: int = 0, progress: bool = True) -> Domains:
    """Return frames of both instruments: of other phrases in training, of the same ones in test."""
    half = n_tracks // 2
    return {
        "train": (
            reels_in_frames(SOURCE, "train", half),
            reels_in_frames(TARGET, "train", half, half),
        ),
        "test": tuple(reels_in_frames(name, "test", N_TEST) for name in (SOURCE, TARGET)),
    }


def translated(frames: Mapping[int, Tensor], data: Domains, *, seed: int = 0) -> dict[str, float]:
    """Return the scores of frames by the domain that they should be in, means over domains."""
    judge = parts.timbre_judge(data["train"], seed=seed)
    written = parts.reels("test", N_HEARD)
    found: dict[str, list[float]] = {"db": [], "f1": [], "taken": []}
    for domain, made in frames.items():
        found["db"].append(parts.distance_db(made, data["test"][domain]))
        found["f1"].append(parts.kept_notes(written, made[:N_HEARD]))
        found["taken"].append(parts.taken_for(judge, made, domain))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _filtered(data: Domains, domain: int) -> Tensor:
    """Return the test frames of the other instrument, with the mean spectrum of a domain."""
    known, heard = data["train"], data["test"][1 - domain]
    return (heard + parts.tone_filter(known[1 - domain], known[domain])).clamp(0, 1)


def _concatenated(data: Domains, domain: int) -> Tensor:
    return parts.nearest_frames(_filtered(data, domain), data["train"][domain])


def score_translation(
    network: Translator, variant: Mapping[str, float], data: Domains, *, seed: int
) -> dict[str, float]:
    """Return the scores of both directions, and what latents tell of the instrument."""
    with torch.no_grad():
        made = {domain: network(data["test"][1 - domain], domain) for domain in (0, 1)}
        latents = {
            side: [
                parts.sounding(frames, network.encode(frames), 3000, seed) for frames in data[side]
            ]
            for side in ("train", "test")
        }
        same = [parts.distance_db(network(data["test"][d], d), data["test"][d]) for d in (0, 1)]
    return translated(made, data, seed=seed) | {
        "probe": parts.probe(latents["train"], latents["test"], seed=seed),
        "db_same": float(np.mean(same)),
    }


def translation(seed: int) -> Comparison:
    """Return the comparison of translators, and of answers that learn nothing."""
    score = partial(translated, seed=seed)
    return Comparison(
        corpus="",
        n_tracks=N_PHRASES,
        load=load_domains,
        n_items=lambda data: 2 * len(data["test"][0]),
        variants=TRANSLATIONS,
        train=lambda variant, data, *, seed: parts.train_translator(
            data["train"], seed=seed, n_steps=N_STEPS, **variant
        ),
        score=partial(score_translation, seed=seed),
        baselines={
            "copy": lambda data: score({d: data["test"][1 - d] for d in (0, 1)}, data),
            "filter": lambda data: score({d: _filtered(data, d) for d in (0, 1)}, data),
            "concatenation": lambda data: score({d: _concatenated(data, d) for d in (0, 1)}, data),
            "played": lambda data: score(dict(enumerate(data["test"])), data),
        },
        describe=dict,
        prefix="translation, ",
    )


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure the three chains with one seed; with seed 0 also answers that learn nothing."""
    for chain in (translation, notes, codes):
        comparison = chain(seed)
        if seed:  # what learns nothing has no seed, and is measured once
            comparison = replace(comparison, baselines={})
        yield from comparison.run(seed, n_tracks, done=done)
