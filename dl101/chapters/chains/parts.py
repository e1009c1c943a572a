"""The links of three chains: reels to sound and back, codes at two clocks, other instruments.

Conventions: a phrase is four bars of a reel, as in :mod:`dl101.training.tunes`. Its *frames* are
(bin, frame) levels of an STFT at 11 025 Hz: 1 is full, 0 is 70 dB below; 192 frames are a phrase.
Batches of them are (phrase, bin, frame). *Written* is what the tune says, *heard* what the
transcription network found in a sound of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from dl101.data import sounds
from dl101.data.audiofile import resample
from dl101.data.embedded.renderer import SAMPLE_RATE as BANK_RATE
from dl101.evaluation import transcription as scores
from dl101.evaluation.language import NGram
from dl101.nn.frames import CodePrior, Translator, TwoClockVQ
from dl101.signal.stft import griffin_lim, stft
from dl101.systems import transcription
from dl101.training import pitch_tracks, shipped, tunes
from dl101.training.loop import minimise

SAMPLE_RATE, WINDOW, HOP = 11025, 1024, 256
N_BINS, N_FRAMES = 1 + WINDOW // 2, 192
FRAME_RATE = SAMPLE_RATE / HOP
RANGE_DB, FULL = 70.0, 64.0
PHRASE_S = tunes.LENGTH * tunes.STEP_S
D_MAJOR = (2, 4, 6, 7, 9, 11, 1)
BATCH, CROP, RATE = 24, 64, 3e-3


# ---- reels, as tokens, sounds and frames ---------------------------------------------------------


def reels(side: str, n: int, *, seed: int = 0, skip: int = 0) -> NDArray[np.int64]:
    """Return the tokens of n phrases of a side, (n, 32), drawn at random after some others."""
    tokens = tunes.load().tokens[side]
    return tokens[np.random.default_rng([19, seed]).permutation(len(tokens))[skip : skip + n]]


def played(tokens: ArrayLike, instrument: str) -> list[NDArray[np.float32]]:
    """Return the sounds of phrases at 22 050 Hz, all of one level."""
    return [sounds.at_level(tunes.play(each, instrument)) for each in np.asarray(tokens)]


def levels(audio: ArrayLike, sample_rate: int = BANK_RATE) -> NDArray[np.float32]:
    """Return the frames of a sound, (bin, frame), as many whole eights as there are."""
    samples = resample(np.asarray(audio, dtype=np.float32), sample_rate, SAMPLE_RATE)
    magnitude = np.abs(stft(sounds.at_level(samples), window_samples=WINDOW, hop_samples=HOP))
    n = min(magnitude.shape[1] // 8 * 8, N_FRAMES)
    level = 1 + 20 * np.log10(np.maximum(magnitude[:, :n], 1e-9) / FULL) / RANGE_DB
    return np.clip(level, 0, 1).astype(np.float32)


def sound(frames: ArrayLike, *, n_iterations: int = 32) -> NDArray[np.float32]:
    """Return the sound of frames (bin, frame), with phases by Griffin and Lim."""
    level = np.clip(np.asarray(frames, dtype=np.float32), 0, 1.1)
    magnitude = FULL * 10 ** ((level - 1) * RANGE_DB / 20) * (level > 0.02)
    found = griffin_lim(
        magnitude.astype(np.float32),
        hop_samples=HOP,
        n_samples=(level.shape[1] - 1) * HOP,
        n_iterations=n_iterations,
    )
    return sounds.at_level(found.audio)


def frames_of(tokens: ArrayLike, instrument: str) -> Tensor:
    """Return the frames of phrases played by an instrument, (phrase, bin, frame)."""
    return torch.from_numpy(np.stack([levels(each) for each in played(tokens, instrument)]))


def distance_db(a: Tensor, b: Tensor) -> float:
    """Return how far frames are from others: the root of the mean square, in dB."""
    return RANGE_DB * float((a.clamp(0, 1) - b).square().mean().sqrt())


# ---- sound to notes ------------------------------------------------------------------------------


@cache
def transcriber() -> Any:
    """Return the transcription network that ships."""
    return shipped.load("transcription")


def transcribe(phrases: Sequence[NDArray], sample_rate: int) -> scores.Notes:
    """Return the notes of phrases that are played one after the other."""
    network, feature = transcriber().system, transcriber().system.settings.feature
    n = round(PHRASE_S * feature.sample_rate)
    parts = [resample(np.float32(each), sample_rate, feature.sample_rate) for each in phrases]
    audio = np.concatenate([np.pad(each[:n], (0, max(0, n - len(each)))) for each in parts])
    heard = pitch_tracks.network_input(audio, feature, sample_rate=feature.sample_rate)
    said = transcription.predict(network, heard.values)
    limits = {k: transcriber().metrics[k] for k in ("threshold", "onset_threshold")}
    return transcription.decode(network, said, **limits)


def on_grid(notes: scores.Notes, n_phrases: int) -> NDArray[np.int64]:
    """Return tokens (phrase, 32): each note at the nearest eighth note, of two the surer one."""
    tokens = np.full(n_phrases * tunes.LENGTH, tunes.HELD)
    places = np.round(notes.onsets_s / tunes.STEP_S).astype(int)
    pitches = np.round(notes.pitches_midi).astype(int) - tunes.LOWEST_MIDI
    for i in np.argsort(notes.confidence):
        if places[i] < len(tokens) and 0 <= pitches[i] < tunes.N_PITCHES:
            tokens[places[i]] = pitches[i]
    return tokens.reshape(n_phrases, tunes.LENGTH)


def note_scores(written: ArrayLike, heard: scores.Notes) -> dict[str, float]:
    """Return precision, recall and F1 of heard notes (50 ms, half a semitone) against tokens."""
    onsets, durations, pitches = tunes.notes_of(np.asarray(written).ravel())
    true = onsets * tunes.STEP_S, durations * tunes.STEP_S, pitches.astype(float)
    return scores.score(true, (heard.onsets_s, heard.durations_s, heard.pitches_midi))


def note_f1(written: ArrayLike, heard: scores.Notes) -> float:
    """Return the F1 of heard notes against written tokens, see :func:`note_scores`."""
    return note_scores(written, heard)["note_f1"]


def kept_notes(written: ArrayLike, frames: Tensor) -> float:
    """Return the F1 of the notes that are heard in frames, once they are sound."""
    return note_f1(written, transcribe([sound(each) for each in frames], SAMPLE_RATE))


# ---- notes to more notes -------------------------------------------------------------------------


def note_model(tokens: ArrayLike, *, seed: int = 0, n_steps: int = 400) -> tunes.NoteModel:
    """Return an LSTM that was trained to go on with tokens (phrase, 32)."""
    torch.manual_seed(seed)
    network = tunes.NoteModel()
    tunes.train(network, torch.from_numpy(np.asarray(tokens)), seed=seed, n_steps=n_steps)
    return network


def per_note(bits: ArrayLike, tokens: ArrayLike) -> float:
    """Return bits of each token (phrase, 32) as bits for each note that begins."""
    return float(np.sum(np.asarray(bits)) / np.sum(np.asarray(tokens) != tunes.HELD))


@torch.no_grad()
def bits_per_note(model: NGram | tunes.NoteModel, tokens: NDArray[np.int64]) -> float:
    """Return how many bits a note of tokens (phrase, 32) costs under a model."""
    if isinstance(model, NGram):
        return per_note(model.bits(tokens), tokens)
    return per_note(tunes.bits(model, torch.from_numpy(tokens)), tokens)


def bigram(tokens: ArrayLike, validation: ArrayLike) -> NGram:
    """Return a bigram of tokens."""
    return NGram(tunes.N_TOKENS, (1,)).fit(tokens, validation)


def in_scale(tokens: ArrayLike) -> float:
    """Return the share of notes that belong to D major."""
    tokens = np.asarray(tokens)
    pitches = tokens[tokens != tunes.HELD] + tunes.LOWEST_MIDI
    return float(np.mean(np.isin(pitches % 12, D_MAJOR))) if pitches.size else 0.0


# ---- sound to codes ------------------------------------------------------------------------------


def _fit(network: nn.Module, loss: Any, batches: list, rate: float) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=len(batches))
    minimise(network, loss, lambda: batches, optimiser, epochs=1, schedule=schedule)


def _crops(n: int, n_steps: int, seed: int, size: int = BATCH) -> list[tuple[Tensor, int]]:
    """Return which phrases, and from which frame, each step of training sees."""
    order = torch.Generator().manual_seed(seed)
    starts = torch.randint((N_FRAMES - CROP) // 8 + 1, (n_steps,), generator=order)
    return [(torch.randint(n, (size,), generator=order), 8 * int(s)) for s in starts]


def train_codes(
    frames: Tensor,
    *,
    coarse_stride: int = 8,
    fine_stride: int = 2,
    n_codes: int = 128,
    seed: int = 0,
    n_steps: int = 300,
) -> TwoClockVQ:
    """Return an auto-encoder of frames with codes at two clocks, or at one (``fine_stride`` 0)."""
    torch.manual_seed(seed)
    strides = {"coarse_stride": coarse_stride, "fine_stride": fine_stride}
    network = TwoClockVQ(N_BINS, n_codes, channels=64, **strides)

    def loss(batch: tuple[Tensor, int]) -> Tensor:
        x = frames[batch[0], :, batch[1] : batch[1] + CROP]
        made = network(x)
        return 100 * F.mse_loss(made.frames, x) + made.loss

    _fit(network, loss, _crops(len(frames), n_steps, seed), RATE)
    return network


def code_bits(prior: CodePrior, codes: Tensor, told: Tensor | None = None) -> Tensor:
    """Return the bits of each code, (phrase, step)."""
    nats = F.cross_entropy(prior(codes, told).transpose(1, 2), codes, reduction="none")
    return nats / np.log(2)


def train_prior(
    codes: Tensor,
    n_codes: int,
    told: Tensor | None = None,
    *,
    held_out: tuple[Tensor, Tensor | None] | None = None,
    seed: int = 0,
    n_steps: int = 300,
) -> CodePrior:
    """Return a model of codes (phrase, step), told those of a slower level if there are.

    Of the states after each tenth of the steps, that where ``held_out`` codes cost least is kept.
    """
    torch.manual_seed(seed)
    prior = CodePrior(n_codes, 0 if told is None else n_codes)
    order = torch.Generator().manual_seed(seed)
    size = min(32, len(codes))
    optimiser = torch.optim.Adam(prior.parameters(), lr=4e-3)
    epochs = 10
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 4e-3, total_steps=n_steps // epochs * epochs
    )

    def batches() -> list[Tensor]:
        return [
            torch.randint(len(codes), (size,), generator=order) for _ in range(n_steps // epochs)
        ]

    minimise(
        prior,
        lambda chosen: code_bits(
            prior, codes[chosen], None if told is None else told[chosen]
        ).mean(),
        batches,
        optimiser,
        epochs=epochs,
        schedule=schedule,
        validation_loss=None if held_out is None else lambda: code_bits(prior, *held_out).mean(),
    )
    return prior


@dataclass(frozen=True, eq=False)
class CodeChain:
    """A codec with its priors: one for each level."""

    network: TwoClockVQ
    coarse: CodePrior
    fine: CodePrior | None

    @torch.no_grad()
    def made(self, n: int, *, temperature: float = 1.0, seed: int = 0) -> Tensor:
        """Return the frames of n phrases that nobody played, (n, bin, frame)."""
        stride = self.network.coarse_stride
        options = {"temperature": temperature, "seed": seed}
        coarse = self.coarse.sample(n, N_FRAMES // stride, **options)
        if self.fine is None:
            return self.network.decode(coarse)
        n_fine = N_FRAMES // self.network.fine_stride
        return self.network.decode(coarse, self.fine.sample(n, n_fine, coarse, **options))


@torch.no_grad()
def codes_of(network: TwoClockVQ, frames: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the codes of frames at both clocks."""
    found = network(frames)
    return found.coarse, found.fine


def code_chain(
    network: TwoClockVQ, train: Tensor, validation: Tensor, *, seed: int = 0, n_steps: int = 300
) -> CodeChain:
    """Return a codec with priors of the codes of training frames."""
    coarse, fine = codes_of(network, train)
    held_coarse, held_fine = codes_of(network, validation)
    options = {"seed": seed, "n_steps": n_steps}
    n = network.n_codes
    slow = train_prior(coarse, n, held_out=(held_coarse, None), **options)
    if fine is None:
        return CodeChain(network, slow, None)
    quick = train_prior(fine, n, coarse, held_out=(held_fine, held_coarse), **options)
    return CodeChain(network, slow, quick)


# ---- one instrument to another -------------------------------------------------------------------


def varied(frames: Tensor, size_db: float, generator: torch.Generator) -> Tensor:
    """Return frames behind a smooth filter that is drawn for each phrase; silence stays silent.

    The filter is a sum of six cosines over the root of frequency, each of about ``size_db``.
    """
    bins = torch.linspace(0, 1, frames.shape[1]).sqrt()
    cosines = torch.cos(torch.pi * torch.arange(1, 7)[:, None] * bins)
    weights = size_db / RANGE_DB * torch.randn(len(frames), 6, generator=generator)
    return (frames + (weights @ cosines)[:, :, None]) * (frames > 0)


def train_translator(
    domains: Sequence[Tensor],
    *,
    confusion: float = 0.5,
    vary_db: float = 8.0,
    seed: int = 0,
    n_steps: int = 300,
) -> Translator:
    """Return one encoder and a decoder for each domain, trained without any pair.

    Parameters
    ----------
    domains
        Frames of each kind of sound, (phrase, bin, frame).
    confusion
        Weight of the reversed gradient, reached halfway; with 0 the classifier learns, and the
        encoder does not hear of it.
    vary_db
        How far the encoder's input is filtered at random (see :func:`varied`); what has to come
        back is the phrase as it was.
    """
    torch.manual_seed(seed)
    network = Translator(N_BINS, len(domains), channels=64, dim=8)
    orders = [
        _crops(len(each), n_steps, seed + 100 * i, BATCH // len(domains))
        for i, each in enumerate(domains)
    ]
    chance = torch.Generator().manual_seed(seed)
    # rivals oscillate less with a short memory of gradients
    optimiser = torch.optim.Adam(network.parameters(), RATE, betas=(0.5, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=n_steps)

    def loss(batch: tuple[int, tuple]) -> Tensor:
        weight = confusion * min(1.0, 2 * batch[0] / n_steps)
        total = torch.zeros(())
        for domain, (chosen, start) in enumerate(batch[1]):
            x = domains[domain][chosen, :, start : start + CROP]
            latents = network.encode(varied(x, vary_db, chance))
            total = total + 100 * F.mse_loss(network.decoders[domain](latents), x)
            total = total + network.confusion(latents, domain, weight)
        return total

    batches = list(enumerate(zip(*orders, strict=True)))
    minimise(network, loss, lambda: batches, optimiser, epochs=1, schedule=schedule)
    return network


def tone_filter(source: Tensor, target: Tensor) -> Tensor:
    """Return what to add to each bin, (bin, 1), so that the mean spectra agree."""
    return (target.mean((0, 2)) - source.mean((0, 2)))[:, None]


def nearest_frames(frames: Tensor, bank: Tensor, *, n: int = 8000, seed: int = 0) -> Tensor:
    """Return frames made of those of another instrument: each the nearest of n of its frames."""
    order = np.random.default_rng(seed).permutation(bank.shape[0] * bank.shape[2])[:n]
    known = bank.transpose(1, 2).reshape(-1, bank.shape[1])[order]
    asked = frames.transpose(1, 2)
    near = torch.cdist(asked.reshape(-1, bank.shape[1]), known).argmin(dim=1)
    return known[near].view(asked.shape).transpose(1, 2)


def sounding(frames: Tensor, values: Tensor, n: int, seed: int) -> NDArray[np.float32]:
    """Return n of the columns of values (phrase, dim, frame) where something sounds, (n, dim)."""
    loud = frames.amax(dim=1).flatten() > 0.6
    columns = values.transpose(1, 2).reshape(-1, values.shape[1])[loud]
    return columns[np.random.default_rng(seed).permutation(len(columns))[:n]].numpy()


def probe(train: Sequence[NDArray], test: Sequence[NDArray], *, seed: int = 0) -> float:
    """Return how often a small network, trained anew, tells the domain of latents (n, dim).

    It is trained for 40 passes at most. They are its budget, whether it has converged or not.
    """
    labels = [np.repeat(np.arange(len(side)), [len(x) for x in side]) for side in (train, test)]
    judge = MLPClassifier((64,), max_iter=40, early_stopping=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        judge.fit(np.concatenate(train), labels[0])
    return float(judge.score(np.concatenate(test), labels[1]))


def timbre_judge(domains: Sequence[Tensor], *, n: int = 2000, seed: int = 0) -> LogisticRegression:
    """Return a classifier of frames, each of them less its mean level."""
    columns = [_shape_of(sounding(each, each, n, seed)) for each in domains]
    labels = np.repeat(np.arange(len(domains)), [len(each) for each in columns])
    return LogisticRegression(C=0.1, max_iter=300).fit(np.concatenate(columns), labels)


def taken_for(judge: LogisticRegression, frames: Tensor, domain: int) -> float:
    """Return which share of the frames where something sounds a judge takes for a domain."""
    columns = sounding(frames, frames.clamp(0, 1), 10**6, 0)
    return float(np.mean(judge.predict(_shape_of(columns)) == domain)) if len(columns) else 0.0


def _shape_of(columns: NDArray) -> NDArray:
    return columns - columns.mean(axis=1, keepdims=True)
