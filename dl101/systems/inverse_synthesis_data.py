"""The sounds of pitch detection: tones with all parameters as truth, and voices, players, notes.

A :class:`PitchTrack` is a sound with the pitch that is to be found; of a tone it also holds what
the synthesiser was told. :class:`PieceData` cuts both into batches, :func:`varied` changes tones on
the way: at another level, through a random filter, with noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from dl101.data import fetch, pair, source, splits
from dl101.data.audiofile import resample
from dl101.data.embedded import export
from dl101.data.embedded.corpora import tones
from dl101.data.embedded.recipe import track_split
from dl101.data.pyjama import Entry
from dl101.data.source import DataConfig
from dl101.data.splits import SIDES
from dl101.errors import DataError
from dl101.progress import progress as show_progress
from dl101.training.batches import EpochShuffle
from dl101.units import midi_to_hz

SAMPLE_RATE, HOP_SAMPLES = tones.SAMPLE_RATE, tones.HOP_SAMPLES  # 16 kHz, 32 ms
UNIFORM = 3**-0.5  # RMS of the noise that the tones' filters shape; ours has 1
SILENT = 1e-4  # amplitude below which a frame has no pitch


@dataclass(frozen=True, eq=False)
class PitchTrack:
    """One sound.

    Attributes
    ----------
    key
        Its corpus and ``filepath``.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    audio
        (samples,) float32 at 16 kHz.
    times_s, f0_midi
        (n,) the truth: NaN where nothing sounds.
    parameters
        Of a tone, else empty: ``f0_midi``, ``amplitude`` (frames,), ``distribution`` (frames,
        harmonic), ``noise`` (frames, band), at 32 ms.
    """

    key: str
    side: str
    audio: NDArray[np.float32]
    times_s: NDArray[np.float64]
    f0_midi: NDArray[np.float64]
    parameters: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def corpus(self) -> str:
        """Return the name of its corpus."""
        return self.key.partition("/")[0]


def load_tones(data: DataConfig, n_harmonics: int, *, progress: bool = True) -> list[PitchTrack]:
    """Return the tones of the corpus, made here with all parameters of their synthesis.

    The same tones as in the files of the corpus, which are not needed. Harmonics above
    ``n_harmonics`` are in the sound, but not in the truth.
    """
    recipe = export.recipe("tones")
    n_frames = round(recipe.duration_s * SAMPLE_RATE / HOP_SAMPLES)
    times_s = np.arange(n_frames) * HOP_SAMPLES / SAMPLE_RATE
    tracks = []
    numbers = range(data.n_tracks or recipe.default_tracks)
    for index in show_progress(numbers, "making tones", enabled=progress):
        side, number = track_split(index)
        made = tones.restore(f"{n_frames} {data.seed} {SIDES.index(side)} {number}")
        tone, harmonics, noise = made
        shares = tone.harmonic_distribution[:n_harmonics].T
        kept = shares.sum(axis=1)
        found = {
            "f0_midi": np.nan_to_num(tone.f0_midi, nan=0.0),
            "amplitude": np.where(np.isnan(tone.f0_midi), 0.0, tone.amplitude * kept),
            "distribution": shares / np.maximum(kept, 1e-9)[:, None],
            "noise": tone.noise_magnitudes.T * UNIFORM,
        }
        parameters = {name: value.astype(np.float32) for name, value in found.items()}
        key = f"tones/{index:05d}-tone.wav"
        tracks.append(PitchTrack(key, side, harmonics + noise, times_s, tone.f0_midi, parameters))
    return tracks


def load_recordings(
    data: DataConfig,
    range_midi: tuple[float, float],
    *,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[PitchTrack]:
    """Return sounds of one pitch at a time: of ``chorales`` each voice, else the tracks themselves.

    Pitches outside the range count as none; tracks without any are left out.

    Raises
    ------
    DataError
        If the data hold no track with f0.
    """
    embedded = data.dataset in export.CORPORA
    if embedded:
        files: export.CorpusFiles | fetch.DatasetFiles = export.cached_corpus(
            data.dataset,
            n_tracks=data.n_tracks,
            seed=data.seed,
            stems=data.dataset == "chorales",
            progress=progress,
        )
    else:
        files = source.locate(
            data, fields=("f0",), accept_restricted=accept_restricted, progress=progress
        )
    tracks = []
    with pair.opened(files.audio, files.annotations) as (collection, store):
        entries = [entry for entry in collection if "f0" in entry.fields]
        if not embedded:
            entries = entries[: data.n_tracks]
        sides = splits.sides_of(data.dataset, entries, stated=embedded, seed=data.seed)
        for entry in show_progress(entries, f"reading {data.dataset}", enabled=progress):
            if entry.filepath not in sides:
                continue
            times_s, f0_midi = curve_of(entry)
            low, high = range_midi
            f0_midi = np.where((f0_midi >= low) & (f0_midi <= high), f0_midi, np.nan)
            if not np.isfinite(f0_midi).any():
                continue
            samples, rate = store.read(entry.filepath)
            key = f"{data.dataset}/{entry.filepath}"
            audio = resample(samples, rate, SAMPLE_RATE)
            tracks.append(PitchTrack(key, sides[entry.filepath], audio, times_s, f0_midi))
    if not tracks:
        raise DataError(
            f"pitches of {data.dataset}",
            got="no track with f0 in the range",
            expected="curves of one pitch at a time",
            hint="use voice, notes, chorales, tones or mdb-stem-synth",
        )
    return tracks


def curve_of(entry: Entry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the times and the pitch of a track, NaN where nothing sounds."""
    (atom,) = entry.fields["f0"]
    values = np.atleast_2d(np.asarray(atom.value, dtype=np.float64))[0]
    return np.asarray(atom.time, dtype=np.float64), np.where(values > 0, values, np.nan)


# ---- batches -------------------------------------------------------------------------------------


class Pieces(Dataset):
    """Pieces of tones, each with a piece of a recording: item ``i`` is a dictionary.

    ``audio`` (frames * hop,) and the parameters of a tone; ``real`` (real frames * hop,).
    """

    def __init__(
        self, tones: Sequence[PitchTrack], real: Sequence[PitchTrack], n_frames: int, n_real: int
    ) -> None:
        self.tones, self.real, self.n_frames = tones, real, n_frames
        self.n_samples = n_real * HOP_SAMPLES
        self.places = [
            (number, start)
            for number, tone in enumerate(tones)
            for start in range(0, len(tone.f0_midi) - n_frames + 1, n_frames)
        ]
        heard = [
            (number, start)
            for number, track in enumerate(real)
            for start in range(0, max(1, len(track.audio) - self.n_samples // 2), self.n_samples)
        ]
        # neighbours in training are of different sounds
        order = np.random.default_rng(0).permutation(len(heard))
        self.heard = [heard[k] for k in order]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, start = self.places[index]
        tone, frames = self.tones[number], slice(start, start + self.n_frames)
        piece = tone.audio[start * HOP_SAMPLES : (start + self.n_frames) * HOP_SAMPLES]
        item = {name: torch.from_numpy(x[frames]) for name, x in tone.parameters.items()}
        item["audio"] = torch.from_numpy(piece)
        if self.heard:
            number, start = self.heard[index % len(self.heard)]
            real = self.real[number].audio[start : start + self.n_samples]
            item["real"] = torch.from_numpy(np.pad(real, (0, self.n_samples - len(real))))
        return item


class PieceData(L.LightningDataModule):
    """Batches of the training side, shuffled, and of the validation side, in order.

    Parameters
    ----------
    tracks
        Tones and recordings by side.
    n_frames, n_real
        Length of a piece of a tone and of a recording, in frames.
    batch_size, seed
        Pieces a step, and the seed of their order.
    n_validation
        Most pieces of the validation side.
    """

    def __init__(
        self,
        tracks: Mapping[str, Sequence[PitchTrack]],
        n_frames: int,
        n_real: int,
        batch_size: int,
        *,
        seed: int = 0,
        n_validation: int = 64,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed

        def pieces(side: str) -> Pieces:
            tones = [track for track in tracks[side] if track.parameters]
            real = [track for track in tracks[side] if track.corpus != "tones"]
            return Pieces(tones, real, n_frames, n_real)

        self.train, held = pieces("train"), pieces("validation")
        self.validation = Subset(held, range(min(n_validation, len(held))))

    def train_dataloader(self) -> DataLoader:
        """Return the training side in an order that depends on the seed and the epoch alone."""
        order = EpochShuffle(len(self.train), self.seed)
        n_batch = min(self.batch_size, len(self.train))
        return DataLoader(self.train, batch_size=n_batch, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        return DataLoader(self.validation, batch_size=self.batch_size)


def varied(batch: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Return tones at other levels, through random filters, with noise; truth moves along.

    Levels fall by up to 30 dB. A filter is a slope of up to 6 dB an octave and a wave of up to
    9 dB along the octaves: it changes the amplitude of each harmonic and each band of noise by what
    it is there. White or brownish noise 10 to 60 dB below is *added*, and not told.
    """
    audio, f0 = batch["audio"], batch["f0_midi"]
    n = len(audio)

    def draw(low: float, high: float) -> Tensor:
        return torch.as_tensor(rng.uniform(low, high, (n, 1)), dtype=audio.dtype).to(audio.device)

    level, slope, depth = draw(-30, 0), draw(-6, 6), draw(0, 9)
    turns, shift, snr, tilt = draw(0.1, 0.7), draw(0, 2 * np.pi), draw(10, 60), draw(0, 1)

    def gain(frequency_hz: Tensor) -> Tensor:
        octaves = torch.log2(frequency_hz.clamp_min(30.0) / 500.0)
        decibels = slope * octaves + depth * torch.cos(2 * np.pi * turns * octaves + shift)
        return 10 ** ((level + decibels.clamp(-24, 12)) / 20)

    spectrum = torch.fft.rfft(audio)
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[-1], device=audio.device)
    spectrum = spectrum * gain(frequencies[None])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    white = torch.randn(audio.shape, generator=generator).to(audio)
    noise = torch.fft.rfft(white) * frequencies.clamp_min(50.0)[None] ** -tilt
    power = spectrum.abs().square().mean(-1, keepdim=True)
    scale = (power / noise.abs().square().mean(-1, keepdim=True)).sqrt() * 10 ** (-snr / 20)
    heard = torch.fft.irfft(spectrum + scale * noise, n=audio.shape[-1])

    numbers = torch.arange(1, batch["distribution"].shape[-1] + 1, device=audio.device)
    f0_hz = 440 * 2 ** ((f0 - 69) / 12)
    partials = f0_hz[..., None] * numbers
    amplitudes = (batch["amplitude"][..., None] * batch["distribution"]).flatten(1)
    amplitudes = (amplitudes * gain(partials.flatten(1))).view_as(partials)
    total = amplitudes.sum(-1)
    bands = torch.linspace(0, SAMPLE_RATE / 2, batch["noise"].shape[-1], device=audio.device)
    silent = total < 1e-9
    shares = torch.where(silent[..., None], batch["distribution"], amplitudes)
    return {
        **batch,
        "audio": heard,
        "amplitude": total,
        "distribution": shares / shares.sum(-1, keepdim=True).clamp_min(1e-9),
        "noise": batch["noise"] * gain(bands[None])[:, None],
    }


def partials_of(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the true sines of tones, frequencies in Hz and amplitudes (batch, frame, harmonic).

    Those above half the sample rate have amplitude 0 (and a frequency below it).
    """
    numbers = torch.arange(1, batch["distribution"].shape[-1] + 1, device=batch["f0_midi"].device)
    frequencies = (440 * 2 ** ((batch["f0_midi"] - 69) / 12))[..., None] * numbers
    amplitudes = batch["amplitude"][..., None] * batch["distribution"]
    inside = frequencies < SAMPLE_RATE / 2
    return frequencies.clamp_max(SAMPLE_RATE / 2), amplitudes * inside


def lowest_and_highest_hz(range_midi: tuple[float, float]) -> tuple[float, float]:
    """Return a range of pitches in Hz."""
    return float(midi_to_hz(range_midi[0])), float(midi_to_hz(range_midi[1]))
