"""A language model of codec tokens: notes that nobody played, one code after the other.

A codec (:mod:`dl101.systems.codec`, or EnCodec) turns notes into codes; a decoder-only Transformer
(:mod:`dl101.nn.code_model`) learns to predict each code from those told before, from the pitch and
from the family of the instrument. To generate is to draw the predicted codes one after the other,
and to let the codec turn them into sound.

A trained system holds the number of the codec that its codes belong to, and refuses any other.
One file because what is scored is what is generated.

The functions of this file are the chapter in order; those that every system has are listed in
:class:`dl101.training.protocol.SystemModule`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dl101 import config
from dl101.config import OneOf, Positive, Probability, Range, Seed, Settings, checked
from dl101.data.source import DataConfig
from dl101.errors import ConfigError, DataError
from dl101.evaluation import generation as judge
from dl101.evaluation.language import NGram, repetition
from dl101.evaluation.listening import proportion_interval
from dl101.nn.code_model import CodeModel
from dl101.nn.code_patterns import PATTERNS
from dl101.nn.codec import Codec
from dl101.nn.decoder_transformer import DecoderConfig
from dl101.nn.sampling import SamplingConfig
from dl101.systems import autoregressive_data
from dl101.systems.autoregressive_data import N_CONDITIONS, CodeTrack, conditions_of, stacked
from dl101.training import fit, protocol, shipped
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

ENCODEC = "encodec"
CODECS = ("codec", ENCODEC)
N_HEARD = 200  # generated notes that are measured
# Contexts of the n-grams: how far back, in codes told frame by frame; the last is kept longest.
CONTEXTS = {
    "unigram": lambda n_stages: (),
    "bigram": lambda n_stages: (1,),
    "trigram": lambda n_stages: (2, 1),
    # the same stage of the frame before, and the stage before of the same frame
    "trigram-neighbours": lambda n_stages: (n_stages, 1) if n_stages > 1 else (2, 1),
}


@dataclass(frozen=True)
class AutoregressiveConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data
        The corpus; ``patch_frames`` is how many frames of each note are learned.
    codec
        The codec that ships, or ``encodec``.
    n_stages, n_codes
        How many of its stages are told, and how many codes each has.
    pattern
        In which order, see :mod:`dl101.nn.code_patterns`.
    conditioned
        Say pitch and family; False learns notes of any kind.
    forget
        How often in training pitch, and family, are left out, so that the model can do without.
    model
        Sizes of the Transformer.
    sampling, guidance
        How new notes are drawn, unless one asks for something else.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="notes", patch_frames=63))
    codec: Annotated[str, OneOf(CODECS)] = "codec"
    n_stages: Annotated[int, Range(at_least=1, at_most=32)] = 4
    n_codes: Annotated[int, Range(at_least=2, at_most=65_536)] = 256
    pattern: Annotated[str, OneOf(PATTERNS)] = "delayed"
    conditioned: bool = True
    forget: Probability = 0.1
    model: DecoderConfig = field(default_factory=DecoderConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    guidance: Positive = 1.0
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``delayed``."""
        return self.pattern if self.conditioned else f"{self.pattern}-unconditioned"


Config = AutoregressiveConfig


def load_config(
    file: str | Path = "autoregressive", *, scale: str = "lab", settings: Sequence[str] = ()
) -> AutoregressiveConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(AutoregressiveConfig, file, scale=scale, settings=settings)


@lru_cache(maxsize=2)
def _codec(name: str, n_stages: int) -> Codec:
    if name == ENCODEC:
        from dl101.nn.pretrained_codecs import EnCodec

        return EnCodec.load(n_stages)
    return shipped.load(name).system


def codec_of(settings: AutoregressiveConfig) -> Codec:
    """Return the codec of a configuration.

    Raises
    ------
    ConfigError
        If its stages or codes are not those of the configuration.
    """
    codec = _codec(settings.codec, settings.n_stages)
    found = codec.codebooks[: settings.n_stages]
    if found != (settings.n_codes,) * settings.n_stages:
        raise ConfigError(
            f"codec {settings.codec}",
            got=f"stages of {', '.join(map(str, codec.codebooks)) or 'real numbers'}",
            expected=f"{settings.n_stages} stages of {settings.n_codes} codes",
            hint="set n_stages and n_codes to those of the codec",
        )
    return codec


def load_tracks(
    settings: AutoregressiveConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[CodeTrack]]:
    """Return the codes of the notes of each side of the split."""
    tracks = autoregressive_data.load_code_tracks(
        settings.data,
        codec_of(settings),
        n_stages=settings.n_stages,
        accept_restricted=accept_restricted,
        progress=progress,
    )
    return by_side(tracks)


class AutoregressiveSystem(fit.System):
    """The language model and its loss."""

    shipped_dtype = torch.float16

    def __init__(self, settings: AutoregressiveConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.network = CodeModel(
            settings.model,
            settings.n_stages,
            settings.n_codes,
            settings.pattern,
            N_CONDITIONS if settings.conditioned else (),
        )
        self.register_buffer("codec_digest", torch.zeros((), dtype=torch.int64))

    @property
    def codec(self) -> Codec:
        """The codec whose codes are told.

        Raises
        ------
        DataError
            If it is not the one that the codes were learned from.
        """
        codec = codec_of(self.settings)
        if self.codec_digest not in (0, autoregressive_data.digest_of(codec)):
            raise DataError(
                f"codec {self.settings.codec}",
                got="other weights than those whose codes this network has learned",
                expected="the same codec: to another one its codes mean something else",
                hint="train it again: dl101 train autoregressive",
            )
        return codec

    @property
    def sample_rate(self) -> int:
        """Of the sounds that are generated, in Hz."""
        return self.codec.sample_rate

    def on_fit_start(self) -> None:
        """Remember which codec the codes are of."""
        self.codec_digest.fill_(autoregressive_data.digest_of(codec_of(self.settings)))

    def forward(self, codes: Tensor, conditions: Tensor) -> Tensor:
        """Return the logits of each code, (batch, stage, frame, code)."""
        return self.network(codes, conditions)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the cross-entropy, in nats a code; training leaves out some conditions."""
        conditions = batch["conditions"]
        if self.training and self.settings.forget > 0:
            forgotten = torch.rand(conditions.shape, device=conditions.device)
            conditions = conditions.masked_fill(forgotten < self.settings.forget, 0)
        logits = self(batch["codes"], conditions)
        return functional.cross_entropy(logits.flatten(0, 2), batch["codes"].flatten())


def build(settings: AutoregressiveConfig, *, seed: int = 0) -> AutoregressiveSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(checked(Seed, seed, "seed"), workers=True, verbose=False)
    return AutoregressiveSystem(settings)


def batches(
    settings: AutoregressiveConfig, tracks: Mapping[str, Sequence[CodeTrack]], *, seed: int = 0
) -> autoregressive_data.CodeData:
    """Return notes of the training side, shuffled, and of the validation side, in order."""
    return autoregressive_data.CodeData(tracks, settings.training.batch_size, seed=seed)


# ---- what it says of notes -----------------------------------------------------------------------


@torch.no_grad()
def predict(
    system: AutoregressiveSystem, track: CodeTrack, *, told: bool = True
) -> NDArray[np.float64]:
    """Return the bits of each code of a note, (stage, frame); ``told`` what it is, or not."""
    return bits_of(system, [track], told=told)[0]


@torch.no_grad()
def bits_of(
    system: AutoregressiveSystem, tracks: Sequence[CodeTrack], *, told: bool = True
) -> NDArray[np.float64]:
    """Return minus log2 of the probability of each code, (track, stage, frame)."""
    system.eval()
    codes, conditions = stacked(tracks)
    if not told:
        conditions = torch.zeros_like(conditions)
    found = []
    for part, said in zip(codes.split(64), conditions.split(64), strict=True):
        logits = system(part.to(system.device), said.to(system.device)).float()
        nats = functional.cross_entropy(
            logits.movedim(-1, 1), part.to(system.device), reduction="none"
        )
        found.append(nats.cpu())
    return torch.cat(found).double().numpy() / math.log(2)


# ---- new notes -----------------------------------------------------------------------------------


def generate_codes(
    system: AutoregressiveSystem,
    conditions: Sequence[tuple[int, int]],
    n_frames: int,
    *,
    seed: int = 0,
    sampling: SamplingConfig | None = None,
    guidance: float | None = None,
    cached: bool = True,
    batch_size: int = 64,
) -> NDArray[np.int64]:
    """Return new codes, (note, stage, frame).

    Each note has random numbers of its own: what it becomes does not depend on the others, on the
    size of the batch, or on the cache.

    Parameters
    ----------
    conditions
        For each note, see :func:`dl101.systems.autoregressive_data.conditions_of`.
    n_frames
        Length of all.
    seed
        Another one gives other notes.
    sampling, guidance
        See :meth:`dl101.nn.code_model.CodeModel.generate`; by default as configured.
    cached
        See there, too.
    batch_size
        Notes at a time.
    """
    system.eval()
    settings = system.settings
    sampling = settings.sampling if sampling is None else sampling
    guidance = settings.guidance if guidance is None else guidance
    shape = (settings.n_stages, n_frames)
    uniform = np.stack(
        [np.random.default_rng([seed, i]).random(shape) for i in range(len(conditions))]
    )
    said = torch.tensor(conditions, device=system.device)
    parts = [
        system.network.generate(
            said[i : i + batch_size],
            n_frames,
            torch.from_numpy(uniform[i : i + batch_size]).to(system.device),
            sampling,
            guidance=guidance if settings.conditioned else 1.0,
            cached=cached,
        )
        for i in range(0, len(said), batch_size)
    ]
    return torch.cat(parts).cpu().numpy()


def decode(system: AutoregressiveSystem, codes: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the sounds of codes (note, stage, frame): (note, samples)."""
    parts = torch.from_numpy(np.asarray(codes, dtype=np.int64)).split(32)
    return torch.cat([system.codec.decode(part) for part in parts]).float().numpy()


def generate(
    system: AutoregressiveSystem,
    *,
    pitches_midi: Sequence[float | None],
    families: Sequence[str | None],
    seconds: float = 1.25,
    seed: int = 0,
    guidance: float | None = None,
    **sampling: Any,
) -> NDArray[np.float32]:
    """Return new notes, (note, samples), at ``system.sample_rate``.

    Parameters
    ----------
    pitches_midi
        For each note, rounded to semitones; None leaves it open.
    families
        For each note; None leaves it open.
    seconds
        Length of all. The model has learned notes of 1.25 s: longer ones go on in silence.
    seed
        Another one gives other notes.
    guidance
        Above 1, pitch and family count for more; by default as configured.
    **sampling
        ``temperature``, ``top_k``, ``top_p`` (:class:`dl101.nn.sampling.SamplingConfig`); those
        that are not given are as configured.

    Raises
    ------
    DataError
        If a pitch is on no piano, or there is no such family.
    ConfigError
        If pitches and families are not equally many, or an option is out of its range.
    """
    checked(Annotated[float, Range(above=0, at_most=60)], seconds, "seconds")
    checked(Positive | None, guidance, "guidance")
    if len(pitches_midi) != len(families) or not families:
        raise ConfigError(
            "notes to generate",
            got=f"{len(pitches_midi)} pitches and {len(families)} families",
            expected="one of each for every note, and at least one note",
            hint="repeat the family: ['guitar'] * 3",
        )
    asked = [conditions_of(p, f) for p, f in zip(pitches_midi, families, strict=True)]
    given = {**config.to_dict(system.settings.sampling), **sampling}
    options = config.build(SamplingConfig, given, where="generate")
    codec = system.codec
    codes = generate_codes(
        system,
        asked,
        max(1, math.ceil(seconds * codec.frame_rate - 1e-6)),
        seed=checked(Seed, seed, "seed"),
        sampling=options,
        guidance=guidance,
    )
    return decode(system, codes)[:, : round(seconds * codec.sample_rate)]


# ---- scores --------------------------------------------------------------------------------------


def heard_scores(system: AutoregressiveSystem, tracks: Sequence[CodeTrack]) -> dict[str, float]:
    """Return what is heard of generated notes, beside real ones of the same pitches and families.

    The notes of ``tracks`` are taken by turns. For one half of them, new notes of the same pitch
    and family are generated, drawn as configured and (``plain``) from the probabilities as they
    are; ``real`` scores are those of this half itself, encoded and decoded: what the codec leaves.
    The other half, encoded and decoded, is what the Fréchet distance is to.

    ``pitch`` is the share within a third of a semitone of what was asked for, with the ends of its
    95 % interval; ``family`` the share whose family the judge of notes names; ``repetition`` the
    share of four codes of the first stage in a row that the note has had before.
    """
    asked, reference = tracks[0::2][:N_HEARD], tracks[1::2][:N_HEARD]
    rate, n_frames = system.codec.sample_rate, asked[0].codes.shape[-1]
    told = [track.conditions for track in asked]
    notes = {
        "": generate_codes(system, told, n_frames),
        "_plain": generate_codes(system, told, n_frames, sampling=SamplingConfig(), guidance=1.0),
        "_real": np.stack([track.codes for track in asked]),
    }
    tagger = shipped.load("notes_tagger").system
    real = tagger.embed_sounds(decode(system, np.stack([t.codes for t in reference])), rate)
    families = [autoregressive_data.FAMILIES.index(track.family) for track in asked]
    scores: dict[str, float] = {}
    for tail, codes in notes.items():
        sounds = decode(system, codes)
        right = judge.plays_as_asked(sounds, rate, [track.pitch_midi for track in asked])
        low, high = proportion_interval(int(right.sum()), len(right))
        named = tagger.families_of(sounds, rate).argmax(axis=1)
        found = {
            "pitch": float(right.mean()),
            "pitch_low": low,
            "pitch_high": high,
            "frechet": judge.frechet_distance(real, tagger.embed_sounds(sounds, rate)),
            "family": float(np.mean(named == families)),
            "repetition": float(repetition(codes[:, 0], n=min(4, n_frames)).mean()),
        }
        scores |= {f"{name}{tail}": value for name, value in found.items()}
    return scores


def evaluate(system: AutoregressiveSystem, tracks: Mapping[str, Sequence[CodeTrack]]) -> Evaluation:
    """Return the bits of a code, of each note of the test side, and what is heard of new notes.

    ``bits`` are with pitch and family told, ``bits_untold`` without, ``bits_stage_1`` ... those of
    each stage.
    """
    test = tracks["test"]
    told, untold = (bits_of(system, test, told=told) for told in (True, False))
    scores = {
        track.key: {
            "bits": float(bits.mean()),
            "bits_untold": float(without.mean()),
            **{f"bits_stage_{k}": float(row.mean()) for k, row in enumerate(bits, start=1)},
        }
        for track, bits, without in zip(test, told, untold, strict=True)
    }
    return Evaluation(scores, overall=heard_scores(system, test))


def baselines(
    settings: AutoregressiveConfig, tracks: Mapping[str, Sequence[CodeTrack]]
) -> dict[str, Evaluation]:
    """Return the bits of n-grams that have counted the training side; see :data:`CONTEXTS`.

    Each stage has its own numbers; the strength of the mixture is chosen on the validation side.
    """

    def rows(side: str) -> NDArray[np.int64]:
        codes, _ = stacked(tracks[side])
        return codes.transpose(1, 2).flatten(1).numpy()  # frame by frame

    n = settings.n_stages
    found = {}
    for name, context in CONTEXTS.items():
        model = NGram(settings.n_codes, context(n), n_phases=n).fit(
            rows("train"), rows("validation")
        )
        each = model.bits(rows("test"))
        scores = {
            track.key: {
                "bits": float(bits.mean()),
                **{f"bits_stage_{k + 1}": float(bits[k::n].mean()) for k in range(n)},
            }
            for track, bits in zip(tracks["test"], each, strict=True)
        }
        found[name] = Evaluation(scores, {"strength": model.strength})
    return found
