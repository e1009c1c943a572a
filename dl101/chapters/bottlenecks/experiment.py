"""How much of a note goes through a bottleneck? Rate against distortion, and latents that collapse.

Conventions: an item is one note of the corpus ``notes`` as a picture (96, 27): eight octaves from
C1, one bin to a semitone; a frame every 46 ms. Its values are levels below the loudest cell of the
note, down to -60 dB, in steps of 10 dB: 0 is silence, 6 the loudest (:func:`picture`). The test
side is played by instruments that are heard nowhere else. ``distortion_db`` is the root of the mean
squared difference over all cells of the test side, in dB.

*Frame coders* see each frame by itself, so that a frame is worth the bits of its codes:
``bits`` a frame as the codes are stored, ``entropy_bits`` as their shares on the test side allow.
Residual coders are also scored with their first k stages, ``distortion_db_k``. Beside them stand
k-means on the frames themselves, without a network, principal components in as many numbers as the
encoder has, and the mean frame.

*Note coders* are variational auto-encoders of whole notes with eight latents: ``kl_nats`` is what a
latent vector is worth on the test side, ``active`` how many of its numbers tell notes apart,
``swapped_db`` the distortion when every note is given the latents of another one. Their decoder
either sees the latents and the time alone, or the frame before as well: then it can do without.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from dl101.data import pyjama
from dl101.nn.autoencoder import (
    AutoEncoder,
    Coded,
    GaussianBottleneck,
    active_latents,
    free_bits,
    warm_up,
)
from dl101.nn.quantize import (
    FSQ,
    CodebookConfig,
    ResidualVQ,
    VectorQuantizer,
    code_shares,
    perplexity,
)
from dl101.signal import cqt
from dl101.signal.cqt import HcqtConfig
from dl101.training.comparison import Comparison, Measurement, Read, load_sides
from dl101.training.loop import minimise

CORPUS, N_TRACKS = "notes", 960
INPUT = HcqtConfig(
    harmonics=(1,), bins_per_semitone=1, n_octaves=8, f_min_hz=32.703, hop_samples=1024
)
N_BINS, N_FRAMES = INPUT.n_bins, 27
FRAME_RATE = INPUT.sample_rate / INPUT.hop_samples  # frames a second
FLOOR_DB, STEP_DB = -60.0, 10.0
CODER_LATENTS, NOTE_LATENTS = 16, 8
HIDDEN = 128
CODER_STEPS, CODER_BATCH, CODER_RATE = 1000, 256, 3e-3  # frames; the rate rises to twice as much
NOTE_STEPS, NOTE_BATCH, NOTE_RATE = 500, 32, 2e-3


# --- pictures and sounds ---


def picture(magnitudes: ArrayLike) -> NDArray[np.float32]:
    """Return the levels of magnitudes (bins, frames), in steps of 10 dB above -60 dB."""
    magnitudes = np.asarray(magnitudes, dtype=np.float64)
    relative = magnitudes / max(float(magnitudes.max()), 1e-12)
    levels_db = 20 * np.log10(np.maximum(relative, 1e-9))
    return ((np.maximum(levels_db, FLOOR_DB) - FLOOR_DB) / STEP_DB).astype(np.float32)


def to_db(values: ArrayLike) -> NDArray[np.float64]:
    """Return the values of pictures in dB below the loudest cell, at least the floor."""
    return np.maximum(np.asarray(values, dtype=np.float64) * STEP_DB + FLOOR_DB, FLOOR_DB)


def sound(values: ArrayLike, *, gate_db: float = 6.0) -> NDArray[np.float32]:
    """Return the sound of a picture (bins, frames) at 22,050 Hz: a sine for each ridge.

    A bin sounds in the frames in which it is louder than both its neighbours. Its frequency is the
    top of the parabola through the three levels, its amplitude goes in lines from frame to frame.
    In a constant-Q transform a sine counts 3 dB less for every octave; here that is given back.

    Parameters
    ----------
    values
        As :func:`picture` makes them.
    gate_db
        Ridges that are less than this above the floor are silent.
    """
    levels_db = to_db(values)
    below, above = np.zeros_like(levels_db) + FLOOR_DB, np.zeros_like(levels_db) + FLOOR_DB
    below[1:], above[:-1] = levels_db[:-1], levels_db[1:]
    is_ridge = (levels_db >= below) & (levels_db > above) & (levels_db > FLOOR_DB + gate_db)
    bend = np.minimum(below - 2 * levels_db + above, -1e-6)
    bins = np.arange(len(levels_db))[:, None] + np.clip(0.5 * (below - above) / bend, -0.5, 0.5)
    frequencies_hz = INPUT.f_min_hz * 2 ** (bins / 12)
    amplitudes = np.where(is_ridge, 10 ** (levels_db / 20) * 2 ** (bins / 24), 0.0)
    frames = np.arange(levels_db.shape[1])
    time = np.arange((frames.size - 1) * INPUT.hop_samples + 1) / INPUT.hop_samples
    phases = np.random.default_rng([7]).uniform(0, 2 * np.pi, len(levels_db))
    audio = np.zeros(time.size)
    for row in np.flatnonzero(is_ridge.any(axis=1)):
        known = np.flatnonzero(is_ridge[row])
        moving_hz = np.interp(frames, known, frequencies_hz[row, known])
        turns = np.cumsum(np.interp(time, frames, moving_hz)) / INPUT.sample_rate
        envelope = np.interp(time, frames, amplitudes[row])
        audio += envelope * np.sin(2 * np.pi * turns + phases[row])
    return audio.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Notes:
    """Pictures by side, (notes, 96, 27), and the MIDI pitch and the family of each note."""

    pictures: Mapping[str, Tensor]
    pitches_midi: Mapping[str, NDArray[np.float64]]
    families: Mapping[str, tuple[str, ...]]

    def only(self, *families: str) -> Notes:
        """Return the notes of some families."""
        chosen = {
            side: np.flatnonzero(np.isin(names, families)) for side, names in self.families.items()
        }
        return Notes(
            {side: self.pictures[side][torch.from_numpy(at)] for side, at in chosen.items()},
            {side: self.pitches_midi[side][at] for side, at in chosen.items()},
            {side: tuple(self.families[side][i] for i in at) for side, at in chosen.items()},
        )


def load(seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Notes:
    """Return the notes of the corpus."""

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[tuple[NDArray, float, str]]:
        audio, rate = read()
        values = picture(cqt.cqt(audio, INPUT, sample_rate=rate).values[0])
        return [(values[:, :N_FRAMES], float(entry.first("pitchmidi")), entry.first("family"))]

    sides = load_sides(CORPUS, to_items, n_tracks=n_tracks, seed=seed, progress=progress)
    return Notes(
        {side: torch.from_numpy(np.stack([i[0] for i in items])) for side, items in sides.items()},
        {side: np.array([item[1] for item in items]) for side, items in sides.items()},
        {side: tuple(item[2] for item in items) for side, items in sides.items()},
    )


def distortion_db(output: Tensor, pictures: Tensor) -> float:
    """Return the root of the mean squared difference over all cells, in dB."""
    return float(STEP_DB * (output - pictures).detach().square().mean().sqrt())


def _batches(n_items: int, size: int, n_steps: int, seed: int) -> list[Tensor]:
    order = torch.Generator().manual_seed(seed)
    return [torch.randint(n_items, (size,), generator=order) for _ in range(n_steps)]


def frames_of(pictures: Tensor) -> Tensor:
    """Return the frames of (note, 96, frame) as items, (frames, 96, 1)."""
    return pictures.transpose(1, 2).reshape(-1, N_BINS, 1)


# --- frame coders ---

CODEBOOK = CodebookConfig(decay=0.95)  # a thousand steps are few: averages over the last twenty


@dataclass(frozen=True)
class Coder:
    """One way to code frames.

    Attributes
    ----------
    codes, stages
        Size of a codebook and number of stages; no codes: no quantiser.
    levels
        Of finite scalar quantisation, instead of codebooks.
    dropout
        Of stages, for the items of a batch.
    codebook
        How codebooks begin and are kept.
    """

    codes: int = 0
    stages: int = 1
    levels: tuple[int, ...] = ()
    dropout: float = 0.0
    codebook: CodebookConfig = CODEBOOK

    @property
    def n_latents(self) -> int:
        """Return how many numbers come from the encoder for a frame."""
        return len(self.levels) or CODER_LATENTS

    def bottleneck(self) -> nn.Module | None:
        """Return the quantiser; None without one."""
        if self.levels:
            return FSQ(self.levels)
        if self.codes and self.stages > 1:
            return ResidualVQ(
                CODER_LATENTS, self.codes, self.stages, dropout=self.dropout, config=self.codebook
            )
        return VectorQuantizer(CODER_LATENTS, self.codes, self.codebook) if self.codes else None


CODERS: Mapping[str, Coder] = {
    "no quantiser": Coder(),
    **{f"VQ {codes}": Coder(codes) for codes in (16, 64, 256, 1024)},
    "VQ 256, random, no revival": Coder(
        256, codebook=replace(CODEBOOK, start="random", revive_below=0.0)
    ),
    "VQ 256, random, revival": Coder(256, codebook=replace(CODEBOOK, start="random")),
    "VQ 256, gradient": Coder(256, codebook=replace(CODEBOOK, update="gradient")),
    "RVQ 8 × 64": Coder(64, 8, dropout=0.5),
    "RVQ 8 × 64, no dropout": Coder(64, 8),
    **{
        f"FSQ {'·'.join(map(str, levels))}": Coder(levels=levels)
        for levels in ((5, 3), (8, 8), (8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5), (8, 8, 8, 5, 5, 5))
    },
}
KMEANS = (16, 64, 256)


def frame_coder(coder: Coder) -> AutoEncoder:
    """Return the network of a coder: (note, 96, frame) to the same."""
    return AutoEncoder(
        nn.Sequential(
            nn.Conv1d(N_BINS, HIDDEN, 1),
            nn.GELU(),
            nn.Conv1d(HIDDEN, HIDDEN, 1),
            nn.GELU(),
            nn.Conv1d(HIDDEN, coder.n_latents, 1),
        ),
        nn.Sequential(
            nn.Conv1d(coder.n_latents, HIDDEN, 1),
            nn.GELU(),
            nn.Conv1d(HIDDEN, HIDDEN, 1),
            nn.GELU(),
            nn.Conv1d(HIDDEN, N_BINS, 1),
        ),
        coder.bottleneck(),
    )


def train_coder(
    coder: Coder, notes: Notes, *, seed: int = 0, n_steps: int = CODER_STEPS
) -> AutoEncoder:
    """Train a frame coder: mean squared error and what its quantiser asks for."""
    torch.manual_seed(seed)
    network, frames = frame_coder(coder), frames_of(notes.pictures["train"])

    def loss(chosen: Tensor) -> Tensor:
        coded = network(frames[chosen])
        return F.mse_loss(coded.output, frames[chosen]) + getattr(coded.bottleneck, "loss", 0.0)

    optimiser = torch.optim.AdamW(network.parameters(), lr=CODER_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * CODER_RATE, total_steps=n_steps)
    batches = _batches(len(frames), CODER_BATCH, n_steps, seed)
    minimise(network, loss, lambda: batches, optimiser, epochs=1, schedule=schedule)
    return network


@torch.no_grad()
def score_coder(network: AutoEncoder, coder: Coder, notes: Notes) -> dict[str, float]:
    """Return distortion, bits and use of the codes on the test side."""
    pictures, quantiser = notes.pictures["test"], network.bottleneck
    scores = {"distortion_db": distortion_db(network(pictures).output, pictures)}
    if not coder.codes and not coder.levels:
        return scores
    codes = quantiser.encode(network.encoder(pictures))
    stages = codes if codes.ndim == 3 else codes[:, None]
    n_codes = coder.codes or quantiser.n_codes
    shares = [code_shares(stages[:, k], n_codes) for k in range(stages.shape[1])]
    scores |= {"bits": quantiser.n_bits, **_use(shares)}
    if coder.stages > 1:
        for k in range(1, coder.stages + 1):
            output = network.decoder(quantiser.decode(codes[:, :k]))
            scores[f"distortion_db_{k}"] = distortion_db(output, pictures)
    return scores


def _use(shares: Sequence[Tensor]) -> dict[str, float]:
    """Return how the codes of each stage are used, from their shares on the test side."""
    even = [float(perplexity(share)) for share in shares]
    return {
        "entropy_bits": float(np.log2(even).sum()),
        "perplexity": float(np.mean(even)),
        "used": float(np.mean([float((share > 0).double().mean()) for share in shares])),
    }


def mean_frame(notes: Notes) -> dict[str, float]:
    """Return the distortion of the mean frame of the training side: no bits at all."""
    mean = notes.pictures["train"].mean(dim=(0, 2))[:, None]
    return {"distortion_db": distortion_db(mean, notes.pictures["test"]), "bits": 0.0}


def principal_components(notes: Notes, n_latents: int = CODER_LATENTS) -> dict[str, float]:
    """Return the distortion behind the best linear encoder and decoder; nothing is quantised."""
    train, test = (frames_of(notes.pictures[side])[..., 0].double() for side in ("train", "test"))
    mean = train.mean(dim=0)
    *_, directions = torch.linalg.svd(train - mean, full_matrices=False)
    latents = (test - mean) @ directions[:n_latents].T
    return {"distortion_db": distortion_db(mean + latents @ directions[:n_latents], test)}


def kmeans(notes: Notes, n_codes: int, n_stages: int = 1) -> dict[str, float]:
    """Return what k-means finds on the frames themselves, without a network.

    With more stages, each codes what the ones before it left over.
    """
    train, test = (frames_of(notes.pictures[side])[..., 0].numpy() for side in ("train", "test"))
    output, used, scores = np.zeros_like(test), [], {"bits": n_stages * float(np.log2(n_codes))}
    for k in range(1, n_stages + 1):
        found = MiniBatchKMeans(n_codes, n_init=1, random_state=0, batch_size=2048).fit(train)
        train = train - found.cluster_centers_[found.predict(train)]
        codes = found.predict(test - output)
        output = output + found.cluster_centers_[codes]
        used.append(code_shares(torch.from_numpy(codes).long(), n_codes))
        left = torch.from_numpy(output - test)
        scores["distortion_db"] = distortion_db(left, torch.zeros_like(left))
        if n_stages > 1:
            scores[f"distortion_db_{k}"] = scores["distortion_db"]
    return scores | _use(used)


# --- note coders ---


@dataclass(frozen=True)
class NoteCoder:
    """One variational auto-encoder of whole notes.

    Attributes
    ----------
    beta
        Weight of the KL, beside half the *sum* of squared differences. ``1`` is a likelihood with a
        deviation of one step, 10 dB.
    sees_past
        Whether the decoder is given the frame before, of the true note.
    warm_up_steps
        Steps in which beta rises from 0.
    free_nats
        Floor of the KL of each latent.
    latents
        Numbers of the latent vector.
    """

    beta: float = 1.0
    sees_past: bool = False
    warm_up_steps: int = 0
    free_nats: float = 0.0
    latents: int = NOTE_LATENTS


MEAN = float(N_BINS * N_FRAMES)  # beta of those who take the mean of squares and not their sum
NOTE_CODERS: Mapping[str, NoteCoder] = {
    "beta 1": NoteCoder(),
    "beta 10": NoteCoder(beta=10.0),
    "mean of squares": NoteCoder(beta=MEAN),
    "mean of squares, warm-up": NoteCoder(beta=MEAN, warm_up_steps=NOTE_STEPS // 2),
    "mean of squares, free bits": NoteCoder(beta=MEAN, free_nats=0.5),
    "sees past": NoteCoder(beta=10.0, sees_past=True),
    "sees past, warm-up": NoteCoder(beta=10.0, sees_past=True, warm_up_steps=NOTE_STEPS // 2),
    "sees past, free bits": NoteCoder(beta=10.0, sees_past=True, free_nats=0.5),
}


class NoteDecoder(nn.Module):
    """Frames from a latent vector, the time, and perhaps the frame before: one for all frames."""

    def __init__(self, n_latents: int, *, sees_past: bool = False) -> None:
        super().__init__()
        self.latent = nn.Linear(n_latents, HIDDEN)
        self.time = nn.Parameter(0.1 * torch.randn(N_FRAMES, HIDDEN))
        self.past = nn.Linear(N_BINS, HIDDEN, bias=False) if sees_past else None
        self.frames = nn.Sequential(
            nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, N_BINS)
        )

    def forward(self, latent: Tensor, pictures: Tensor | None = None) -> Tensor:
        """Return (note, 96, 27) from (note, latent)."""
        hidden = self.latent(latent)[:, None] + self.time
        if self.past is not None:
            hidden = hidden + self.past(F.pad(pictures, (1, 0))[..., :-1].transpose(1, 2))
        return self.frames(hidden).transpose(1, 2)


class NoteVAE(nn.Module):
    """An encoder of whole notes, the Gaussian bottleneck, and a decoder of frames."""

    def __init__(self, coder: NoteCoder) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(N_BINS * N_FRAMES, HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, 2 * coder.latents),
        )
        self.bottleneck = GaussianBottleneck()
        self.decoder = NoteDecoder(coder.latents, sees_past=coder.sees_past)

    def forward(self, pictures: Tensor) -> Coded:
        """Return the output and the latents of (note, 96, 27)."""
        sampled = self.bottleneck(self.encoder(pictures))
        return Coded(self.decoder(sampled.latent, pictures), sampled)


def train_note_coder(
    coder: NoteCoder,
    notes: Notes,
    *,
    seed: int = 0,
    n_steps: int = NOTE_STEPS,
    learning_rate: float = NOTE_RATE,
    history: list[float] | None = None,
) -> NoteVAE:
    """Train a note coder; ``history`` is given the KL of every step, in nats a note."""
    torch.manual_seed(seed)
    network, pictures = NoteVAE(coder), notes.pictures["train"]
    batches = _batches(len(pictures), NOTE_BATCH, n_steps, seed)
    step = 0

    def loss(chosen: Tensor) -> Tensor:
        nonlocal step
        coded = network(pictures[chosen])
        errors = 0.5 * (coded.output - pictures[chosen]).square().sum(dim=(1, 2)).mean()
        kl = coded.bottleneck.kl
        if history is not None:
            history.append(float(kl.detach().sum(dim=1).mean()))
        step += 1
        weight = coder.beta * warm_up(step, coder.warm_up_steps)
        return errors + weight * free_bits(kl, coder.free_nats)

    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    minimise(network, loss, lambda: batches, optimiser, epochs=1)
    return network


@torch.no_grad()
def score_note_coder(network: NoteVAE, coder: NoteCoder, notes: Notes) -> dict[str, float]:
    """Return what the latents are worth on the test side."""
    pictures = notes.pictures["test"]
    output, sampled = network(pictures)
    others = network.decoder(sampled.mean.roll(1, dims=0), pictures)
    return {
        "distortion_db": distortion_db(output, pictures),
        "swapped_db": distortion_db(others, pictures),
        "kl_nats": float(sampled.kl.sum(dim=1).mean()),
        "active": float(active_latents(sampled.mean).sum()),
    }


# --- all of it ---


def _n_items(notes: Notes) -> int:
    return len(notes.pictures["test"])


def _described(coder: Coder) -> dict[str, Any]:
    settings = asdict(coder)
    return {**settings, "levels": list(coder.levels)}


FRAMES = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=_n_items,
    variants=CODERS,
    train=train_coder,
    score=score_coder,
    baselines={
        "mean frame": mean_frame,
        "PCA": principal_components,
        **{f"k-means {n}": partial(kmeans, n_codes=n) for n in KMEANS},
        "k-means 8 × 64": partial(kmeans, n_codes=64, n_stages=8),
    },
    describe=_described,
)
WHOLE = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=_n_items,
    variants=NOTE_CODERS,
    train=train_note_coder,
    score=score_note_coder,
    prefix="VAE, ",
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure the frame coders, then the note coders."""
    notes = load(seed=seed, n_tracks=n_tracks or N_TRACKS)
    yield from FRAMES.run(seed, n_tracks, data=notes, done=done)
    yield from WHOLE.run(seed, n_tracks, data=notes, done=done)
