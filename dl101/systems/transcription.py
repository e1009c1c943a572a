"""Transcription: the notes of a recording, from a network trained for more than its renderings.

The network is that of multi-pitch estimation with two outputs, pitches and onsets (Hawthorne et
al., ISMIR 2018; Bittner et al., ICASSP 2022). What makes it sturdier is its training: several
corpora, drums underneath, two tracks at once, and inputs whose level, colour, noise and ringing are
drawn anew for each patch. One file because the choice of thresholds, the scores and the command
that listens to a recording all decode the same probabilities in the same way.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101 import config
from dl101.config import Count, KeysOf, Positive, Probability, Range, Seed, Settings, YamlFile
from dl101.data import audiofile
from dl101.data.source import DataConfig
from dl101.errors import DataError
from dl101.evaluation import multi_pitch, transcription
from dl101.nn import factory, losses
from dl101.progress import progress as show_progress
from dl101.signal import streams
from dl101.signal.cqt import HcqtConfig
from dl101.systems import transcription_data
from dl101.systems.transcription_data import NoteTrack
from dl101.targets import PitchAxis
from dl101.training import fit, pitch_tracks, protocol
from dl101.training.batches import PatchData, by_side
from dl101.training.fit import FitResult, TrainingConfig
from dl101.training.pitch_tracks import AugmentationConfig
from dl101.training.protocol import CONFIGS, Evaluation

THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.05), 2)
SINGLE = ("notes", "tones", "stems")
BLOCK_S, AROUND_S = 30, 4


def _more() -> tuple[str, ...]:
    return ("piano", "voice", "notes", "tones", "stems")


@dataclass(frozen=True)
class TranscriptionConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    also
        Further embedded corpora and their numbers of tracks; their test sides are not used.
    positive_weight, onset_weight
        How much more a bin counts that is to be lit: pitches, onsets.
    mix_share
        Share of training patches to which another one of the batch is added.
    transpose_bins
        Largest number of bins by which a training patch is moved up or down.
    """

    model: Annotated[str, YamlFile(CONFIGS / "transcription")] = "conv2d"
    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=DataConfig)
    also: Annotated[Mapping[str, Count], KeysOf(_more)] = field(default_factory=dict)
    feature: HcqtConfig = field(default_factory=HcqtConfig)
    positive_weight: Positive = 2.0
    onset_weight: Positive = 4.0
    mix_share: Probability = 0.4
    transpose_bins: Annotated[int, Range(at_least=0, at_most=1000)] = 0
    augmentation: AugmentationConfig | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables: what it was trained on, and how."""
        varied = "" if self.augmentation is None else ", varied"
        rings = self.augmentation is not None and self.augmentation.tail_share
        return f"{self.model}, {len(self.also) + 1} corpora{varied}{', ringing' if rings else ''}"


Config = TranscriptionConfig


def load_config(
    file: str | Path = "transcription", *, scale: str = "lab", settings: Sequence[str] = ()
) -> TranscriptionConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(TranscriptionConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: TranscriptionConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[NoteTrack]]:
    """Return the tracks of each side of the split."""
    return by_side(
        transcription_data.load_tracks(
            settings.data,
            settings.also,
            settings.feature,
            accept_restricted=accept_restricted,
            progress=progress,
        )
    )


class TranscriptionSystem(fit.System):
    """Network and loss. Input (batch, harmonic, bin, frame), output logits (batch, 2, bin, frame).

    The first output is the pitch, the second the onset.
    """

    shipped_dtype = torch.float16

    def __init__(self, settings: TranscriptionConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.axis = PitchAxis.of(settings.feature)
        image = (settings.feature.n_bins, settings.data.patch_frames)
        harmonics = np.asarray(settings.feature.harmonics)
        self.frequencies_hz = harmonics[:, None] * settings.feature.frequencies_hz
        self.network = factory.read_model(
            CONFIGS / "transcription" / f"{settings.model}.yaml",
            (len(harmonics), *image),
            size=settings.scale,
            output_shape=(2, *image),
        )
        self.network.to(memory_format=torch.channels_last)
        _, last = self.network.layers()[-1]
        nn.init.constant_(last.bias, math.log(0.01 / 0.99))  # almost nothing sounds

    def forward(self, hcqt: Tensor) -> Tensor:
        """Return logits of pitches and onsets, (batch, 2, bin, frame)."""
        return self.network(hcqt.contiguous(memory_format=torch.channels_last))

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the cross-entropies of pitches and onsets over the real frames."""
        logits = self(batch["input"])
        wanted = batch["target"].unflatten(2, (2, self.axis.n_bins))[:, 0]
        weights = (self.settings.positive_weight, self.settings.onset_weight)
        return sum(
            losses.masked_binary_cross_entropy(
                logits[:, i, None], wanted[:, i, None], batch["mask"], positive_weight=weight
            )
            for i, weight in enumerate(weights)
        )

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of inputs that are mixed and varied as the configuration says."""
        # of the seed and the step alone, so that a resumed run draws what it would have drawn
        rng = np.random.default_rng([torch.initial_seed(), self.global_step])
        if self.settings.transpose_bins:
            batch = transcription_data.transpose(batch, self.settings.transpose_bins, rng)
        batch = transcription_data.mix(batch, self.settings.mix_share, rng)
        if self.settings.augmentation is not None:
            varied = pitch_tracks.augment(
                batch["input"], self.settings.augmentation, rng, self.frequencies_hz
            )
            batch = {**batch, "input": varied}
        return super().training_step(batch, batch_idx)


def build(settings: TranscriptionConfig, *, seed: int = 0) -> TranscriptionSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return TranscriptionSystem(settings)


def batches(
    settings: TranscriptionConfig, tracks: Mapping[str, Sequence[NoteTrack]], *, seed: int = 0
) -> PatchData:
    """Return patches of the training side, shuffled, and of the validation side, in order."""
    return PatchData(
        tracks,
        patch_frames=settings.data.patch_frames,
        batch_size=settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


def train(
    system: TranscriptionSystem,
    tracks: Mapping[str, Sequence[NoteTrack]],
    run_dir: Path | str,
    *,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train on the training side, watch the validation side, keep the best weights."""
    return protocol.train(
        sys.modules[__name__],
        system,
        system.settings,
        tracks,
        run_dir,
        seed=seed,
        resume=resume,
        progress=progress,
    )


@torch.no_grad()
def predict(
    system: TranscriptionSystem, hcqt: NDArray[np.float32], *, chunk_frames: int = 1024
) -> NDArray[np.float32]:
    """Return probabilities (2, bins, frames) of pitches and onsets of a whole track.

    The track is cut into chunks with context on both sides, so that memory is bounded and a cut
    leaves no seam.

    Parameters
    ----------
    hcqt
        (harmonics, bins, frames) compressed input of any length.
    chunk_frames
        Frames per forward pass.
    """
    system.eval()
    margin, n_frames = 32, hcqt.shape[2]
    padded = np.pad(hcqt, [(0, 0), (0, 0), (margin, margin)])
    pieces = []
    for start in range(0, n_frames, chunk_frames):
        stop = min(start + chunk_frames, n_frames)
        piece = torch.from_numpy(padded[None, :, :, start : stop + 2 * margin])
        logits = system(piece.to(system.device))[0, :, :, margin:-margin]
        pieces.append(torch.sigmoid(logits.float()).cpu().numpy())
    return np.concatenate(pieces, axis=2)


def decode(
    system: TranscriptionSystem,
    said: NDArray[np.float32],
    *,
    threshold: float,
    onset_threshold: float,
) -> transcription.Notes:
    """Return the notes of the probabilities of a whole track."""
    feature = system.settings.feature
    return transcription.decode(
        transcription.relative(said[0]),
        said[1],
        system.axis,
        frame_s=feature.hop_samples / feature.sample_rate,
        threshold=threshold,
        onset_threshold=onset_threshold,
    )


def evaluate(system: TranscriptionSystem, tracks: Mapping[str, Sequence[NoteTrack]]) -> Evaluation:
    """Choose both thresholds on the validation side; score frames and notes of the test side.

    Single tones and notes are left out of the choice: thresholds are for music. If the inputs of
    training are varied, those of the choice are, too, since recordings are not clean either; those
    of the test side are as they were rendered.
    """
    music = [track for track in tracks["validation"] if track.corpus not in SINGLE]
    said = [predict(system, _varied(system, track.input, i)) for i, track in enumerate(music)]
    pairs = [
        (track.reference, transcription.relative(values[0]))
        for track, values in zip(music, said, strict=True)
    ]
    times = [track.times_s for track in music]
    curve = multi_pitch.threshold_curve(pairs, system.axis, times, THRESHOLDS)
    threshold = multi_pitch.best_threshold(curve)

    def note_f1(onset_threshold: float) -> float:
        found = [
            _note_scores(system, track, values, threshold, onset_threshold)["note_f1"]
            for track, values in zip(music, said, strict=True)
            if len(track.notes[0])
        ]
        return float(np.mean(found))

    onset_threshold = float(max(THRESHOLDS[::2], key=note_f1))
    scores = {}
    for track in tracks["test"]:
        values = predict(system, track.input)
        pitch = transcription.relative(values[0])
        estimate = multi_pitch.from_probabilities(pitch, system.axis, track.times_s, threshold)
        scores[track.key] = multi_pitch.score_track(track.reference, estimate) | _note_scores(
            system, track, values, threshold, onset_threshold
        )
    return Evaluation(scores, {"threshold": threshold, "onset_threshold": onset_threshold})


def _varied(
    system: TranscriptionSystem, hcqt: NDArray[np.float32], seed: int
) -> NDArray[np.float32]:
    how = system.settings.augmentation
    if how is None:
        return hcqt
    rng = np.random.default_rng(seed)
    return pitch_tracks.augment(
        torch.from_numpy(np.array(hcqt))[None], how, rng, system.frequencies_hz
    )[0].numpy()


def _note_scores(
    system: TranscriptionSystem,
    track: NoteTrack,
    said: NDArray[np.float32],
    threshold: float,
    onset_threshold: float,
) -> dict[str, float]:
    notes = decode(system, said, threshold=threshold, onset_threshold=onset_threshold)
    return transcription.score(track.notes, (notes.onsets_s, notes.durations_s, notes.pitches_midi))


def baselines(
    settings: TranscriptionConfig, tracks: Mapping[str, Sequence[NoteTrack]]
) -> dict[str, Evaluation]:
    """Return the frames' scores of salience and of silence; see multi-pitch estimation."""
    harmonics, axis = settings.feature.harmonics, PitchAxis.of(settings.feature)
    said = {
        side: [multi_pitch.harmonic_sum(track.input, harmonics) for track in tracks[side]]
        for side in ("validation", "test")
    }
    pairs = [
        (track.reference, values)
        for track, values in zip(tracks["validation"], said["validation"], strict=True)
    ]
    times = [track.times_s for track in tracks["validation"]]
    level = multi_pitch.best_threshold(multi_pitch.threshold_curve(pairs, axis, times, THRESHOLDS))
    found = {}
    for name, threshold in (("salience", level), ("silence", math.inf)):
        scores = {
            track.key: multi_pitch.score_track(
                track.reference,
                multi_pitch.from_probabilities(values, axis, track.times_s, threshold),
            )
            for track, values in zip(tracks["test"], said["test"], strict=True)
        }
        found[name] = Evaluation(scores, {"threshold": threshold})
    return found


@dataclass(frozen=True, eq=False)
class Heard:
    """What was found in a recording: its notes, and how long it is in seconds."""

    notes: transcription.Notes
    duration_s: float


def listen(
    system: TranscriptionSystem,
    path: Path | str,
    *,
    threshold: float,
    onset_threshold: float,
    progress: bool = True,
) -> Heard:
    """Return the notes of a recording of any length and rate.

    It is read in blocks of half a minute; what grows with its length are the probabilities, 130 MB
    an hour.

    Raises
    ------
    DataError
        If the file cannot be read (see :func:`dl101.data.audiofile.opened`), or holds no sound.
    """
    said, n_samples = [np.zeros((2, system.axis.n_bins, 0), dtype=np.float16)], 0
    rate = system.settings.feature.sample_rate
    loudest = 0.0
    with audiofile.opened(path) as recording:
        blocks = show_progress(
            recording.blocks, "transcribing", total=recording.n_blocks, enabled=progress
        )
        for block, values in stream(system, streams.mono(blocks, recording.sample_rate, rate)):
            said.append(values.astype(np.float16))
            n_samples += len(block)
            loudest = max(loudest, float(np.abs(block).max(initial=0.0)))
    if loudest < audiofile.SILENCE:
        raise DataError(
            f"audio file {Path(path).name}",
            got=f"silence ({n_samples / rate:.2f} s without a sample that is heard)",
            expected="something to hear",
            hint="choose another file",
        )
    found = np.concatenate(said, axis=2).astype(np.float32)
    notes = decode(system, found, threshold=threshold, onset_threshold=onset_threshold)
    return Heard(notes, n_samples / rate)


def stream(
    system: TranscriptionSystem, pieces: Iterable[NDArray[np.float32]]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield blocks of a recording, and the probabilities (2, bins, frames) of each.

    ``pieces`` are mono samples of any lengths at the configuration's rate. Each block is analysed
    with the seconds around it, so that a cut leaves no seam and memory holds little more.
    """
    feature = system.settings.feature
    hop = feature.hop_samples
    size, around = (seconds * feature.sample_rate // hop * hop for seconds in (BLOCK_S, AROUND_S))
    held, before, last = np.zeros(0, dtype=np.float32), 0, False
    incoming = iter(pieces)
    while not last:
        while len(held) < before + size + around:
            piece = next(incoming, None)
            if piece is None:
                last = True
                break
            held = np.concatenate([held, piece])
        n = len(held) - before if last else size
        if last and n <= 0:
            return
        heard = held[: before + n + around]
        values = pitch_tracks.network_input(heard, feature, sample_rate=feature.sample_rate)
        stop = None if last else (before + n) // hop
        yield held[before : before + n], predict(system, values.values)[:, :, before // hop : stop]
        start = max(before + n - around, 0)
        held, before = held[start:], before + n - start
