"""The tracks of transcription: inputs of multi-pitch estimation, with targets of onsets too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dl101 import targets
from dl101.data import feature_cache, pair, pyjama
from dl101.data.audiofile import resample
from dl101.data.embedded import export
from dl101.data.source import DataConfig, locate
from dl101.evaluation import multi_pitch
from dl101.progress import progress as show_progress
from dl101.signal.cqt import HcqtConfig
from dl101.training import pitch_tracks
from dl101.training.pitch_tracks import COMPRESSION, PitchTrack

FIELDS = ("f0multi", "pitchmidi")
DRUMS = "drums"  # the stem that has no pitch
ONSET_FRAMES = 2  # the frame at which a note begins and the next


@dataclass(frozen=True)
class NoteTrack(PitchTrack):
    """One track; its target (2 x bins, frames) holds pitches, and below them onsets.

    ``notes`` are onsets (s), durations (s) and MIDI pitches; ``corpus`` is where it comes from.
    """

    notes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    corpus: str


def load_tracks(
    data: DataConfig,
    also: Mapping[str, int],
    feature: HcqtConfig,
    *,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[NoteTrack]:
    """Return the tracks of the data, and training and validation tracks of other corpora."""
    files = locate(data, fields=FIELDS, accept_restricted=accept_restricted, progress=progress)
    tracks = _annotated(files, data, feature, progress)
    for corpus, n_tracks in also.items():
        more = replace(data, dataset=corpus, n_tracks=n_tracks)
        if corpus == "stems":
            found = _drums(more, feature, progress)
        else:
            found = _annotated(
                locate(more, fields=FIELDS, progress=progress), more, feature, progress
            )
        tracks += [track for track in found if track.side != "test"]
    return tracks


def onset_target(
    notes: tuple[NDArray, NDArray, NDArray], axis: targets.PitchAxis, times_s: NDArray
) -> NDArray[np.uint8]:
    """Return 1 where a note begins, (bins, frames): its bin and the two beside it, two frames.

    A performer's tuning moves a pitch by less than a bin, hence the bins beside it.
    """
    onsets_s, _, pitches = notes
    target = np.zeros((axis.n_bins, len(times_s)), dtype=np.uint8)
    if not len(times_s):
        return target
    first = np.abs(times_s[:, None] - onsets_s[None]).argmin(axis=0)
    bins = axis.bins(pitches)
    for beside in (-1, 0, 1):
        for later in range(ONSET_FRAMES):
            row, column = bins + beside, first + later
            inside = (bins >= 0) & (row >= 0) & (row < axis.n_bins) & (column < len(times_s))
            target[row[inside], column[inside]] = 1
    return target


def mix(batch: Mapping[str, Tensor], share: float, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return a batch in which a share of the patches has another one added, targets included.

    Magnitudes are added with a phase between them that is drawn for each bin and frame. The other
    one comes at a level of -12 to 3 dB.
    """
    x = torch.expm1(batch["input"] * math.log1p(COMPRESSION)) / COMPRESSION
    n = len(x)
    mixed = rng.random(n) < share
    other = torch.as_tensor(rng.permutation(n), device=x.device)
    gain = np.where(mixed, 10 ** (rng.uniform(-12, 3, n) / 20), 0.0)
    gain = torch.as_tensor(gain, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
    source = torch.Generator(x.device).manual_seed(int(rng.integers(2**62)))
    phase = 2 * math.pi * torch.rand(x.shape, generator=source, device=x.device, dtype=x.dtype)
    added = gain * x[other]
    x = torch.hypot(x + added * torch.cos(phase), added * torch.sin(phase))
    on = torch.as_tensor(mixed, dtype=x.dtype, device=x.device)  # 0 or 1, times what is added
    target, mask = (
        torch.maximum(batch[name], batch[name][other] * on.view(-1, *(1,) * (batch[name].ndim - 1)))
        for name in ("target", "mask")
    )
    return {
        **batch,
        "input": torch.log1p(COMPRESSION * x) / math.log1p(COMPRESSION),
        "target": target,
        "mask": mask,
    }


def transpose(
    batch: Mapping[str, Tensor], largest_bins: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return inputs and targets moved along the pitch axis, each item by bins of its own.

    All harmonics of an HCQT move alike. What comes in at an edge is silent.
    """
    bins = rng.integers(-largest_bins, largest_bins + 1, len(batch["input"]))

    def moved(values: Tensor) -> Tensor:  # (..., bin, frame)
        shifted = torch.zeros_like(values)
        n_bins = values.shape[-2]
        for item, by in enumerate(bins.tolist()):
            kept = slice(max(by, 0), n_bins + min(by, 0))
            taken = slice(max(-by, 0), n_bins - max(by, 0))
            shifted[item, ..., kept, :] = values[item, ..., taken, :]
        return shifted

    target = batch["target"]
    parts = moved(target.unflatten(-2, (2, -1))).flatten(-3, -2)  # pitches, then onsets
    return {**batch, "input": moved(batch["input"]), "target": parts}


def _annotated(
    files: export.CorpusFiles, data: DataConfig, feature: HcqtConfig, progress: bool
) -> list[NoteTrack]:
    """Return the tracks of a pair, with their notes."""
    tracks = pitch_tracks.load_pitch_tracks(
        files.audio,
        files.annotations,
        feature,
        dataset=data.dataset,
        seed=data.seed,
        n_tracks=data.n_tracks,
        progress=progress,
    )
    axis = targets.PitchAxis.of(feature)
    collection = pyjama.read(files.annotations)
    notes = {
        entry.filepath: targets.checked_notes(*entry.segments("pitchmidi"))
        for entry in collection
        if "pitchmidi" in entry.fields
    }
    nothing = (np.zeros(0), np.zeros(0), np.zeros(0))
    return [
        _with_onsets(track, notes.get(track.key, nothing), axis, data.dataset) for track in tracks
    ]


def _with_onsets(
    track: PitchTrack,
    notes: tuple[NDArray, NDArray, NDArray],
    axis: targets.PitchAxis,
    corpus: str,
) -> NoteTrack:
    target = np.concatenate([track.target, onset_target(notes, axis, track.times_s)])
    return NoteTrack(
        track.key, track.side, track.input, target, track.times_s, track.reference, notes, corpus
    )


def _drums(data: DataConfig, feature: HcqtConfig, progress: bool) -> list[NoteTrack]:
    """Return the drums of songs: tracks in which nothing is to be found."""
    files = export.cached_corpus(
        data.dataset, n_tracks=data.n_tracks, seed=data.seed, stems=True, progress=progress
    )
    axis = targets.PitchAxis.of(feature)
    nothing = (np.zeros(0), np.zeros(0), np.zeros(0))
    tracks = []
    with pair.opened(files.audio, files.annotations) as (collection, store):
        entries = [entry for entry in collection if entry.first("stem") == DRUMS]
        for entry in show_progress(entries, "features", enabled=progress):
            samples, sample_rate = store.read(entry.filepath)
            samples = resample(samples, sample_rate, feature.sample_rate)
            made = feature_cache.cached(
                pitch_tracks.network_input, samples, feature, sample_rate=feature.sample_rate
            )
            silence = multi_pitch.from_notes(*nothing, made.times)
            target = np.zeros((axis.n_bins, len(made.times)), dtype=np.uint8)
            track = PitchTrack(
                entry.filepath, entry.first("split"), made.values, target, made.times, silence
            )
            tracks.append(_with_onsets(track, nothing, axis, data.dataset))
    return tracks
