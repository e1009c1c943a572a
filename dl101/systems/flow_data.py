"""The latents of notes that a flow learns from, and their batches.

Conventions: latents are (channel, frame), what a codec of real-valued latents makes of a note that
was cut, or padded with silence, to ``data.patch_frames`` frames. A note is on one side of the
split. The sides of :func:`load_notes` are those of a *generator*, which can only be asked for
instruments that it has heard: ``train`` is the corpus' own, ``validation`` and ``test`` are two
halves of the corpus' validation side, the same instruments in other bodies. The corpus' test side
has instruments that are heard nowhere else and serves other chapters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dl101.data.embedded.corpora import notes as corpus
from dl101.data.sounds import load_sounds
from dl101.data.source import DataConfig
from dl101.errors import ConfigError, DataError, did_you_mean
from dl101.evaluation import generation
from dl101.evaluation.listening import proportion_interval
from dl101.nn.codec import Codec
from dl101.nn.flow_unet import NoteCondition
from dl101.training import shipped
from dl101.training.batches import EpochShuffle
from dl101.training.protocol import Evaluation
from dl101.units import note_name

FAMILIES = tuple(corpus.FAMILIES)
ATTACK_S, RELEASE_S = (
    0.3,
    0.5,
)  # of a long note, which keep their pace; what is between is stretched
N_KNOWN = 480  # training notes among which a copied one is looked for
NEAR = generation.NEAR_SEMITONES


@dataclass(frozen=True, eq=False)
class LatentNote:
    """A note.

    Attributes
    ----------
    key, side
        Its corpus and ``filepath``, and its side of the split.
    audio
        (samples,) at the codec's rate.
    latents
        (variants, channel, frame): the note as it is, then a little later and turned over.
    pitch_midi, family
        What it is: a MIDI number, and the number of its family in :data:`FAMILIES`; 128 and 11
        where nobody says.
    """

    key: str
    side: str
    audio: NDArray[np.float32]
    latents: NDArray[np.float32]
    pitch_midi: int
    family: int


def load_notes(
    data: DataConfig,
    codec: Codec,
    *,
    n_variants: int = 1,
    accept_restricted: bool = False,
    progress: bool = True,
) -> dict[str, list[LatentNote]]:
    """Return the notes of each side with their latents.

    Parameters
    ----------
    data
        Which notes; ``patch_frames`` is the length of the latents.
    codec
        Makes the latents.
    n_variants
        Latents of each training note; the other sides have one.
    accept_restricted, progress
        As :func:`dl101.data.sounds.load_sounds` has them.
    """
    sounds = load_sounds(
        data, codec.sample_rate, accept_restricted=accept_restricted, progress=progress
    )
    n_samples = round(data.patch_frames * codec.sample_rate / codec.frame_rate)
    sides: dict[str, list[LatentNote]] = {"train": [], "validation": [], "test": []}
    rng = np.random.default_rng([data.seed, 1])
    held_out = 0
    for sound in sounds:
        if sound.side == "test":
            continue
        side = sound.side
        if side == "validation":
            side = ("validation", "test")[held_out % 2]
            held_out += 1
        variants = varied(sound.audio, n_samples, n_variants if side == "train" else 1, codec, rng)
        latents = codec.encode(torch.from_numpy(variants)).cpu().numpy()
        # a dataset may not say what it plays: then it is any pitch, any family
        pitch_midi = round(float(sound.labels.get("pitchmidi", NoteCondition.any_pitch)))
        family = (*FAMILIES, None).index(sound.labels.get("family"))
        latents = latents[..., : data.patch_frames]
        sides[side].append(LatentNote(sound.key, side, sound.audio, latents, pitch_midi, family))
    return sides


def varied(
    audio: NDArray[np.float32],
    n_samples: int,
    n_variants: int,
    codec: Codec,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return a sound and variants of it that nobody hears, (n_variants, n_samples).

    They start up to one frame later and have either sign, which changes every latent.
    """
    hop = round(codec.sample_rate / codec.frame_rate)
    made = np.zeros((n_variants, n_samples), dtype=np.float32)
    for number, row in enumerate(made):
        later, sign = (0, 1.0) if number == 0 else (rng.integers(hop), rng.choice([-1.0, 1.0]))
        part = audio[: n_samples - later]
        row[later : later + len(part)] = sign * part
    return made


class Latents(Dataset):
    """Notes as items: ``latents`` (channel, frame), ``pitch`` and ``family`` (whole numbers).

    With ``vary`` an item is any variant of its note, drawn by PyTorch; else the first.
    """

    def __init__(self, notes: Sequence[LatentNote], *, vary: bool = False) -> None:
        self.notes, self.vary = notes, vary

    def __len__(self) -> int:
        return len(self.notes)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        note = self.notes[index]
        which = int(torch.randint(len(note.latents), ())) if self.vary else 0
        return {
            "latents": torch.from_numpy(note.latents[which]),
            "pitch": torch.tensor(note.pitch_midi),
            "family": torch.tensor(note.family),
        }


class LatentData(L.LightningDataModule):
    """Batches of the training side, shuffled, and of the validation side, in order."""

    def __init__(
        self, notes: Mapping[str, Sequence[LatentNote]], batch_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed
        self.train = Latents(notes["train"], vary=True)
        self.validation = Latents(notes["validation"])

    def train_dataloader(self) -> DataLoader:
        """Return the training side in an order that depends on the seed and the epoch alone."""
        order = EpochShuffle(len(self.train), self.seed)
        n_batch = min(self.batch_size, len(self.train))
        return DataLoader(self.train, batch_size=n_batch, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        return DataLoader(self.validation, batch_size=self.batch_size)


def statistics(notes: Sequence[LatentNote]) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each channel over notes and frames, (channel,) each."""
    values = np.stack([note.latents[0] for note in notes])
    mean, deviation = values.mean(axis=(0, 2)), values.std(axis=(0, 2))
    return torch.from_numpy(mean), torch.from_numpy(deviation + 1e-6)


def pitch_ranges(notes: Sequence[LatentNote]) -> Tensor:
    """Return the lowest and the highest pitch of each family, (families, 2); 1, 0 for none."""
    ranges = torch.tensor([[1.0, 0.0]]).repeat(len(FAMILIES), 1)
    for family in {note.family for note in notes} - {len(FAMILIES)}:
        pitches = [note.pitch_midi for note in notes if note.family == family]
        ranges[family] = torch.tensor([min(pitches), max(pitches)], dtype=torch.float32)
    return ranges


# ---- what is asked for ---


def numbers_of(
    pitches_midi: Sequence[float], families: Sequence[str], known: Tensor
) -> tuple[Tensor, Tensor]:
    """Return pitches and numbers of families as tensors, (batch,), on the device of ``known``.

    Parameters
    ----------
    pitches_midi, families
        A MIDI number and a name for each note.
    known
        What :func:`pitch_ranges` found in the training side.

    Raises
    ------
    ConfigError
        For an unknown family, or a pitch that the family has not in the training side.
    DataError
        If there are not as many families as pitches, or none.
    """
    if len(pitches_midi) != len(families) or not len(families):
        raise DataError(
            "notes to generate",
            got=f"{len(pitches_midi)} pitches and {len(families)} families",
            expected="one family for each pitch, at least one",
            hint="repeat the family: ['guitar'] * len(pitches)",
        )
    for pitch, family in zip(pitches_midi, families, strict=True):
        if family not in FAMILIES:
            raise ConfigError(
                "instrument",
                got=repr(family),
                expected=f"one of {', '.join(FAMILIES)}",
                hint=did_you_mean(family, FAMILIES),
            )
        low, high = (int(end) for end in known[FAMILIES.index(family)])
        if low > high:
            raise ConfigError(
                "instrument",
                got=family,
                expected="another family, this network has heard no note of it",
                hint="use guitar",
            )
        if not low <= pitch <= high:
            name = note_name(pitch) if math.isfinite(pitch) else "no note"
            raise ConfigError(
                f"pitch of a {family}",
                got=f"MIDI {pitch:g} ({name})",
                expected=f"from {low} ({note_name(low)}) to {high} ({note_name(high)}), as heard",
                hint=f"use {note_name(low if pitch < low else high)}",
            )
    pitch = torch.tensor([float(p) for p in pitches_midi], device=known.device)
    numbers = [FAMILIES.index(family) for family in families]
    return pitch, torch.tensor(numbers, device=known.device)


def places(n_frames: int, usual: int, frame_rate: float) -> Tensor:
    """Return for each frame of a note where it is in a note, (n_frames,), from 0 to 1.

    Up to the ``usual`` length, that of the training notes, the clock runs as there. In a longer
    note the attack and the release keep their pace, and the clock runs slower between.
    """
    if n_frames <= usual:
        return torch.arange(usual) / usual
    attack, release = round(ATTACK_S * frame_rate), round(RELEASE_S * frame_rate)
    knots = [0, attack, n_frames - release, n_frames]
    place = np.interp(np.arange(n_frames), knots, [0, attack, usual - release, usual])
    return torch.from_numpy((place / usual).astype(np.float32))


# ---- scores ---


def judged(
    sounds: ArrayLike,
    sample_rate: int,
    tracks: Mapping[str, Sequence[LatentNote]],
    network: str = "notes_tagger",
) -> Evaluation:
    """Return what is measured of sounds, one for each of ``asked_of(tracks)``.

    By note: whether an independent tracker hears the pitch that was asked for (``pitch``), or that
    in another octave (``pitch_class``), and whether the judge (``network``) hears its family.
    Overall: distances of the set to the notes of the test side in the judge's embedding, and the
    95 % interval of ``pitch``.
    """
    asked, reference = asked_of(tracks), [note.audio for note in tracks["test"]]
    tagger = shipped.load(network).system
    found, real = (tagger.embed_sounds(each, sample_rate) for each in (list(sounds), reference))
    known = tagger.embed_sounds([note.audio for note in tracks["train"][:N_KNOWN]], sample_rate)
    named = tagger.families_of(list(sounds), sample_rate).argmax(axis=1)
    scores = {}
    for note, sound, family in zip(asked, sounds, named, strict=True):
        off = generation.heard_midi(sound, sample_rate) - note.pitch_midi
        scores[note.key] = {
            "pitch": float(abs(off) < NEAR),
            "pitch_class": float(abs((off + 6.0) % 12.0 - 6.0) < NEAR),
            "family": float(family == note.family),
        }
    right = int(sum(score["pitch"] for score in scores.values()))
    low, high = proportion_interval(right, len(scores))
    overall = {
        "frechet": generation.frechet_distance(real, found),
        "coverage": generation.density_coverage(real, found, k=min(5, len(real) - 1))[1],
        "memorisation": generation.memorisation(found, known, real),
        "pitch_low": low,
        "pitch_high": high,
    }
    return Evaluation(scores, {}, overall)


def asked_of(tracks: Mapping[str, Sequence[LatentNote]]) -> Sequence[LatentNote]:
    """Return the notes whose pitch and family are asked for: as many as the test side has."""
    return tracks["validation"][: len(tracks["test"])]


def gaussian_latents(
    notes: Sequence[LatentNote], n_items: int, *, generator: torch.Generator
) -> Tensor:
    """Return draws (n_items, channel, frame), each frame from a Gaussian fitted to that frame."""
    values = torch.from_numpy(np.stack([note.latents[0] for note in notes])).permute(2, 0, 1)
    mean = values.mean(dim=1, keepdim=True)
    roots = ((values - mean) / (len(notes) - 1) ** 0.5).double()
    left, singular, right = torch.linalg.svd(roots, full_matrices=False)
    z = torch.randn(len(values), n_items, singular.shape[1], generator=generator, dtype=left.dtype)
    return (mean + (z * singular[:, None]) @ right).float().permute(1, 2, 0)
