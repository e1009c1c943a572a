"""Export networks that ship to the live panel of the book, where a browser computes them.

``python -m tools.panel export [NAME...]``
    writes ``book/_static/panel/NAME.json`` (what the network is fed, its layers, its answer) and
    ``NAME.bin`` (its weights) from ``checkpoints/NAME.safetensors``;
``python -m tools.panel speed [NAME...]``
    prints how many seconds of sound a browser computes in a second, for a file and a microphone;
``python -m tools.panel example [NAME...]``
    writes the recorded example, which readers meet whose browser cannot or may not listen:
    ``NAME.mp3``, a clip of an embedded corpus, and ``NAME.webp``, what the network says of it.

The scripts beside these files say how they are read. Frames are (bin, channel) there, channels of a
bin side by side, so weights are laid out anew here: those of a convolution as (frame, output, bin,
input). Numbers keep the precision that the checkpoint has: 2 bytes each, or 4.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.data import pair, source
from dl101.data.audiofile import resample
from dl101.data.pitch_curve import VOICED
from dl101.data.source import DataConfig
from dl101.lab import plots
from dl101.lab.pictures import PAGE_LEVEL, encode_picture
from dl101.lab.player import encode_mp3
from dl101.nn import factory
from dl101.nn.blocks import SameConv2d
from dl101.nn.inverse_synthesis import Bottleneck, midi_of
from dl101.signal.mel import mel_edges_hz
from dl101.systems import auto_tagging_data
from dl101.systems import inverse_synthesis as inverse_system
from dl101.systems import multi_pitch as multi_pitch_system
from dl101.training import pitch_tracks, shipped
from dl101.units import db_to_amplitude, hz_to_midi, note_name

PANEL = Path(__file__).resolve().parents[1] / "book" / "_static" / "panel"


class Weights:
    """A file of weights while it is written; :meth:`add` returns where an array begins."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, values: Tensor | NDArray) -> list[int]:
        """Append an array in its own precision; return [first byte, how many, bytes of each]."""
        array = np.ascontiguousarray(values.detach().numpy() if torch.is_tensor(values) else values)
        half = array.astype("<f2")
        exact = np.array_equal(half.astype(array.dtype), array)
        data = (half if exact else array.astype("<f4")).tobytes()
        place = [self.size, array.size, 2 if exact else 4]
        data += b"\0" * (-len(data) % 4)
        self.pieces.append(data)
        self.size += len(data)
        return place


def layer(module: nn.Module, weights: Weights) -> dict[str, Any] | None:
    """Return the entry of one layer; None for what does nothing once trained."""
    match module:
        case nn.Dropout() | nn.Identity():
            return None
        case nn.BatchNorm2d():
            scale = module.weight / torch.sqrt(module.running_var + module.eps)
            shift = module.bias - module.running_mean * scale
            return {"type": "affine", "scale": weights.add(scale), "shift": weights.add(shift)}
        case nn.Conv2d():
            return convolution(module, weights)
        case nn.MaxPool2d():
            return {
                "type": "pool",
                "kernel": _pair(module.kernel_size),
                "stride": _pair(module.stride),
                "pad": _pair(module.padding)[0],
            }
        case nn.Conv1d():  # along the bins of one frame
            (pad,) = module.padding
            return {
                **convolution_sizes(module, (*module.kernel_size, 1), (pad, 0)),
                "weight": weights.add(module.weight.permute(0, 2, 1)),
                "bias": weights.add(module.bias),
            }
        case nn.Linear():
            return linear(module.weight, module.bias, weights)
        case nn.LayerNorm():
            return {
                "type": "norm",
                "epsilon": module.eps,
                "scale": weights.add(module.weight),
                "shift": weights.add(module.bias),
            }
        case nn.GRU():
            parts = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
            names = ("input_weight", "input_bias", "state_weight", "state_bias")
            places = [weights.add(getattr(module, part)) for part in parts]
            return {
                "type": "recurrent",
                "hidden": module.hidden_size,
                **dict(zip(names, places, strict=True)),
            }
        case Bottleneck():
            around = [] if module.around is None else [module.around]
            return {
                "type": "residual",
                "before": chain(module.before, weights),
                "around": chain(around, weights),
                "through": chain(module.through, weights),
            }
        case nn.ReLU() | nn.ELU() | nn.LeakyReLU():  # of the usual leak, 0.01
            names = {nn.ReLU: "relu", nn.ELU: "elu", nn.LeakyReLU: "leaky_relu"}
            return {"type": "activation", "name": names[type(module)]}
    raise NotImplementedError(f"the panel has no layer for {module}")


def convolution(module: nn.Conv2d, weights: Weights) -> dict[str, Any]:
    """Return the entry of a convolution."""
    odd = not isinstance(module, SameConv2d) or not any(module.surplus)
    if module.groups != 1 or _pair(module.dilation) != [1, 1] or not odd:
        raise NotImplementedError(f"the panel has no layer for {module}")
    if _pair(module.stride)[1] != 1:
        raise NotImplementedError("a stride over frames")
    return {
        **convolution_sizes(module, module.kernel_size, module.padding),
        "stride": _pair(module.stride)[0],
        "weight": weights.add(module.weight.permute(3, 0, 2, 1)),
        "bias": weights.add(module.bias),
    }


def convolution_sizes(
    module: nn.Module, kernel: Sequence[int], padding: Sequence[int]
) -> dict[str, Any]:
    """Return what an entry says of a convolution over (bin, frame), without its weights."""
    return {
        "type": "convolution",
        "inputs": module.in_channels,
        "outputs": module.out_channels,
        "kernel": list(kernel),
        "pad": list(padding),
    }


def linear(weight: Tensor, bias: Tensor, weights: Weights) -> dict[str, Any]:
    """Return the entry of a layer that reads a whole frame."""
    return {"type": "linear", "weight": weights.add(weight), "bias": weights.add(bias)}


def chain(modules: Iterable[nn.Module], weights: Weights) -> list[dict[str, Any]]:
    """Return the entries of layers one after the other; an activation joins its convolution."""
    entries: list[dict[str, Any]] = []
    for module in modules:
        entry = layer(module, weights)
        if entry is None:
            continue
        if entry["type"] == "pool":
            entry["channels"] = [e["outputs"] for e in entries if "outputs" in e][-1]
        joins = entries and entries[-1]["type"] in ("convolution", "linear", "norm")
        if entry["type"] == "activation" and joins and "activation" not in entries[-1]:
            entries[-1]["activation"] = entry["name"]
            continue
        entries.append(entry)
    return entries


def reach_frames(network: factory.Network) -> int:
    """Return how many frames before and after one the network sees, of convolutions alone."""
    kernels = [m.kernel_size for _, m in network.layers() if isinstance(m, nn.Conv2d)]
    return sum(_pair(kernel)[1] // 2 for kernel in kernels)


def _pair(value: int | tuple[int, int]) -> list[int]:
    return list(value) if isinstance(value, tuple) else [value, value]


def multi_pitch(found: shipped.Shipped, weights: Weights) -> dict[str, Any]:
    """Return the entry of a network from an HCQT to the probability of each pitch."""
    feature = found.settings.feature
    layers = chain((module for _, module in found.system.network.layers()), weights)
    layers[-1]["activation"] = "sigmoid"
    return {
        "input": {
            "kind": "hcqt",
            "name": "constant-Q transform",
            **asdict(feature),
            "compression": pitch_tracks.COMPRESSION,
            "n": feature.n_bins,
            "shown": list(feature.harmonics).index(1),
            "low_midi": float(hz_to_midi(feature.f_min_hz)),
            "span": 0.3,
        },
        "context": reach_frames(found.system.network),
        "layers": layers,
        "output": {
            "kind": "pitches",
            "name": "probability of each pitch",
            "n": feature.n_bins,
            "low_midi": float(hz_to_midi(feature.f_min_hz)),
            "bins_per_semitone": feature.bins_per_semitone,
            "threshold": found.metrics["threshold"],
        },
    }


def multi_pitch_answer(
    found: shipped.Shipped, audio: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return in Python what the panel shows: (frame, bin, channel) and (frame, bin)."""
    feature = found.settings.feature
    heard = pitch_tracks.network_input(audio, feature, sample_rate=feature.sample_rate).values
    return heard.transpose(2, 1, 0), multi_pitch_system.predict(found.system, heard).T


def inverse_synthesis(found: shipped.Shipped, weights: Weights) -> dict[str, Any]:
    """Return the entry of the encoders from a log-mel spectrum to one pitch; noise is left out."""
    system, encoder = found.system, found.system.harmonics
    sines, series, n_harmonics = system.sines, encoder.series, encoder.config.n_harmonics
    settings = (sines.config.head, sines.config.norm, encoder.config.mean)
    if settings != ("zones", "none", "semitones") or series is None:
        raise NotImplementedError(f"the panel has no layers for {settings}")
    places = {"lowest": weights.add(encoder.lowest), "octaves": weights.add(encoder.octaves)}
    pitches = encoder.pitches_midi
    step = float(pitches[1] - pitches[0])
    kept = [0, *range(1 + n_harmonics, 1 + n_harmonics + len(pitches))]  # amplitude and pitches
    layers = [
        {
            "type": "look_again",
            "inside": sines.n_inside,
            "layers": chain(sines.body.layers, weights),
        },
        layer(sines.head, weights),
        {"type": "sines", "bins": sines.config.n_bins, **places},
        {
            "type": "pitch",
            "bins": len(pitches),
            "step": step,
            "first_midi": float(pitches[0]),
            "low_midi": series.low_midi,
            "starts": series.starts,
            **places,
            "layers": [
                *chain([*encoder.before, encoder.memory, *encoder.after], weights),
                linear(encoder.head.weight[kept], encoder.head.bias[kept], weights),
            ],
            "series": chain(series.layers, weights),
        },
    ]
    n_bands, rate = sines.config.n_bands, inverse_system.SAMPLE_RATE
    return {
        "input": log_mel(
            rate, n_bands, inverse_system.WINDOW_SAMPLES, inverse_system.HOP_SAMPLES, 0.1, -1.0
        ),
        "layers": layers,
        "output": {
            "kind": "pitch",
            "name": "how likely each pitch is",
            "n": len(pitches),
            "low_midi": float(pitches[0]),
            "bins_per_semitone": 1 / step,
            "threshold": VOICED,
        },
    }


def inverse_synthesis_answer(
    found: shipped.Shipped, audio: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return in Python what the panel shows: shares of pitches, the pitch (MIDI), how sure."""
    system, pieces = found.system, []
    heard = (system.spectrum(torch.from_numpy(audio)[None]) / 10 - 1)[0, 0].T
    for _, said in inverse_system.follow(system, [audio]):
        midi = midi_of(inverse_system.pitch_of(system, said))
        sure = inverse_system.confidence_of(system, said)
        pieces.append(torch.cat([said.pitch_logits.softmax(-1)[0], midi.T, sure.T], dim=-1))
    return heard.numpy()[..., None], torch.cat(pieces).numpy()


def log_mel(
    rate: int, n_bands: int, window_samples: int, hop_samples: int, scale: float, shift: float
) -> dict[str, Any]:
    """Return the entry of a log-mel spectrum: ``scale * log(1 + 10000 power) + shift``."""
    centres_hz = mel_edges_hz(rate, n_bands=n_bands)[1:-1]
    labels = {500: "500 Hz", 1000: "1 kHz", 2000: "2 kHz", 4000: "4 kHz", 8000: "8 kHz"}
    axis = [
        [text, (float(np.interp(hz, centres_hz, np.arange(n_bands))) + 0.5) / n_bands]
        for hz, text in labels.items()
        if hz < centres_hz[-1]
    ]
    return {
        "kind": "log_mel",
        "name": "log-mel spectrum",
        "sample_rate": rate,
        "n": n_bands,
        "n_bands": n_bands,
        "window_samples": window_samples,
        "hop_samples": hop_samples,
        "compression": 10_000,
        "scale": scale,
        "shift": shift,
        "span": 3 * scale,
        "axis": axis,
    }


def auto_tagging(found: shipped.Shipped, weights: Weights) -> dict[str, Any]:
    """Return the entry of a network from some seconds of a log-mel spectrum to tags."""
    settings, network = found.settings, found.system.network
    feature, classes = settings.feature, settings.task.classes
    if settings.input != "log-mel" or feature.centred or not settings.task.several:
        raise NotImplementedError(f"the panel has no layers for {settings}")
    modules = [module for _, module in network.layers() if not isinstance(module, nn.Dropout)]
    flat = next(i for i, module in enumerate(modules) if isinstance(module, nn.Flatten))
    layers = chain(modules[:flat], weights)
    image = (1, *settings.input_shape)
    _, channels, bins, frames = nn.Sequential(*modules[:flat])(torch.zeros(image)).shape
    (last,) = modules[flat + 1 :]
    short = [i for i, name in enumerate(classes) if len(name) <= 9]
    labelled = [min(short, key=lambda i: abs(i - at)) for at in range(3, len(classes), 8)]
    weight = last.weight.unflatten(1, (channels, bins, frames)).permute(0, 3, 2, 1).flatten(1)
    layers += [{"type": "flatten"}, linear(weight, last.bias, weights) | {"activation": "sigmoid"}]
    return {
        "input": log_mel(
            feature.sample_rate,
            feature.n_bands,
            feature.window_samples,
            feature.hop_samples,
            1.0,
            0.0,
        ),
        "patch": {
            "frames": settings.data.patch_frames,
            "hop": TAG_HOP_FRAMES,
            "level_db": feature.level_db,
        },
        "layers": layers,
        "output": {
            "kind": "tags",
            "name": "probability of each tag",
            "n": len(classes),
            "classes": classes,
            "threshold": found.metrics["threshold"],
            "axis": [[classes[i], (i + 0.5) / len(classes)] for i in labelled],
        },
    }


def auto_tagging_answer(
    found: shipped.Shipped, audio: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return in Python what the panel shows: of each frame the tags of the seconds before it.

    Each patch is brought to the level by itself, because a microphone has no end whose level could
    be known. Before the first patch is complete there is no answer: 0.
    """
    feature, length = found.settings.feature, found.settings.data.patch_frames
    heard = auto_tagging_data.log_mel(audio, replace(feature, level_db=None)).values[0].T
    said = np.zeros((len(heard), len(found.settings.task.classes)), np.float32)
    for stop in range(length, len(heard) + 1, TAG_HOP_FRAMES):
        start = stop - length
        stretch = audio[start * feature.hop_samples : stop * feature.hop_samples]
        gain = db_to_amplitude(feature.level_db) / np.sqrt(np.mean(stretch.astype(float) ** 2))
        patch = np.log1p(gain**2 * np.expm1(heard[start:stop].T.astype(float)))
        with torch.no_grad():
            logits = found.system(torch.from_numpy(patch[None, None].astype(np.float32)))
        said[stop - 1 :] = torch.sigmoid(logits)[0].numpy()
    return heard[..., None], said


TAG_HOP_FRAMES = 22  # half a second
NETWORKS = {
    "multi_pitch": multi_pitch,
    "inverse_synthesis": inverse_synthesis,
    "auto_tagging": auto_tagging,
}
ANSWERS = {
    "multi_pitch": multi_pitch_answer,
    "inverse_synthesis": inverse_synthesis_answer,
    "auto_tagging": auto_tagging_answer,
}


# ---- the recorded example ------------------------------------------------------------------------


@dataclass(frozen=True)
class Clip:
    """A stretch of a recording from the test side of an embedded corpus."""

    data: DataConfig
    track: int
    start_s: float
    duration_s: float = 6.0


CLIPS = {
    "multi_pitch": Clip(DataConfig("chorales", n_tracks=120, seed=1), 0, 2.0),
    "inverse_synthesis": Clip(DataConfig("voice", n_tracks=120, seed=0), 0, 1.0),
    "auto_tagging": Clip(DataConfig("tags", n_tracks=40, seed=0), 0, 0.0),
}
PEAK, FADE_S = 0.8, 0.02  # with room for the overshoot of an MP3 decoder


def clip_of(clip: Clip, sample_rate: int) -> NDArray[np.float32]:
    """Return the samples of a clip; the corpus is rendered first if it has to be."""
    files = source.locate(clip.data)
    with pair.opened(files.audio, files.annotations) as (collection, store):
        tracks = [e.filepath for e in collection if e.first("split") == "test"]
        audio, rate = store.read(tracks[clip.track])
    start, n = (round(x * rate) for x in (clip.start_s, clip.duration_s))
    sound = resample(audio.reshape(-1)[start : start + n], rate, sample_rate)
    ramp = np.minimum(1, np.arange(sound.size) / (FADE_S * sample_rate))
    sound = sound * ramp * ramp[::-1]
    return (sound * (PEAK / np.abs(sound).max())).astype(np.float32)


def draw(entry: dict[str, Any], heard: NDArray, said: NDArray) -> Figure:
    """Draw what a network is fed and what it says of a clip, each (bin, frame)."""
    fig, axes = plt.subplots(2, figsize=(7, 5.2), sharex=True, layout="constrained")
    frame_s = entry["input"]["hop_samples"] / entry["input"]["sample_rate"]
    blues = LinearSegmentedColormap.from_list("panel", ["#ffffff", "#56a0ce", "#002a46"])
    for ax, values, part, word in zip(
        axes, (heard, said), (entry["input"], entry["output"]), ("In", "Out"), strict=True
    ):
        n_bins, n_frames = values.shape
        low, high = -0.5, n_bins - 0.5
        if "low_midi" in part:
            low, high = (part["low_midi"] + x / part["bins_per_semitone"] for x in (low, high))
            ax.yaxis.set_major_locator(MultipleLocator(12))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda pitch, _: note_name(pitch)))
        else:
            texts, places = zip(*part["axis"], strict=True)
            ax.set_yticks([place * n_bins - 0.5 for place in places], texts)
        ax.imshow(
            values,
            origin="lower",
            aspect="auto",
            extent=(-frame_s / 2, (n_frames - 0.5) * frame_s, low, high),
            cmap=blues,
            vmin=values.mean() if word == "In" else 0.0,
        )
        ax.set(title=f"{word}: {part['name']}")
    axes[1].set(xlabel="time (s)")
    return fig


def example(name: str) -> tuple[bytes, bytes]:
    """Return the recorded example of one network: its sound, MP3, and its picture, WebP."""
    found, entry = shipped.load(name), json.loads(export(name)[0])
    rate = entry["input"]["sample_rate"]
    sound = clip_of(CLIPS[name], rate)
    heard, said = ANSWERS[name](found, sound)
    with plt.style.context(["default", plots.STYLE]):
        shown = heard[..., entry["input"].get("shown", 0)], said[:, : entry["output"]["n"]]
        fig = draw(entry, *(values.T for values in shown))
        picture, _ = encode_picture(fig, PAGE_LEVEL)
        plt.close(fig)
    return encode_mp3(sound, rate), picture


def export(name: str) -> tuple[bytes, bytes]:
    """Return the JSON and the weights of one network."""
    weights = Weights()
    found = shipped.load(name)
    with torch.no_grad():
        entry = {"network": name, **NETWORKS[name](found, weights)}
    text = json.dumps(entry, separators=(",", ":")) + "\n"
    return text.encode(), b"".join(weights.pieces)


# ---- how fast it is ------------------------------------------------------------------------------

# Samples in pieces as they come, 0.1 s at 48 kHz of a microphone, 0.5 s at the network's rate of a
# file; what comes back is the sound in seconds over the work in seconds.
SPEED = """async ([name, live]) => {
  const network = await (await fetch(name + '.json')).json();
  const weights = await (await fetch(name + '.bin')).arrayBuffer();
  const rate = live ? 48000 : network.input.sample_rate;
  const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(
    await (await fetch(name + '.mp3')).arrayBuffer());
  const samples = sound.getChannelData(0), size = Math.round((live ? 0.1 : 0.5) * rate);
  const worker = new Worker('worker.js');
  worker.postMessage({open: network, weights, rate, live});
  return new Promise((resolve, reject) => {
    worker.onmessage = ({data}) => {
      if (data.error) reject(new Error(data.error));
      if (data.last) resolve(data.heardS / data.spentS);
    };
    for (let at = 0; at < 2 * samples.length; at += size) {
      const from = at % samples.length;
      const last = at + size >= 2 * samples.length;
      worker.postMessage({samples: samples.slice(from, from + size), last});
    }
  });
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the requests out of the output."""


def speed(name: str, chromium: str | None) -> tuple[float, float]:
    """Return seconds of sound over seconds of work in a browser, of a file and of a microphone."""
    from playwright.sync_api import sync_playwright

    handler = functools.partial(_Quiet, directory=str(PANEL))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/{name}.json")
        found = tuple(page.evaluate(SPEED, [name, live]) for live in (False, True))
        browser.close()
        server.shutdown()
    return found


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description="Export networks to the book's live panel.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, suffixes in (("export", ("json", "bin")), ("example", ("mp3", "webp"))):
        added = commands.add_parser(command)
        added.add_argument("names", nargs="*", metavar="NAME")
        added.set_defaults(suffixes=suffixes, make={"export": export, "example": example}[command])
    commands.add_parser("speed").add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    for name in arguments.names or NETWORKS:
        if arguments.command == "speed":
            file, microphone = speed(
                name, os.environ.get("DL101_CHROMIUM", shutil.which("chromium"))
            )
            print(f"{name}: {file:.1f} times real time for a file, {microphone:.1f} live")
            continue
        for suffix, data in zip(arguments.suffixes, arguments.make(name), strict=True):
            (PANEL / f"{name}.{suffix}").write_bytes(data)
            print(f"{name}.{suffix}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
