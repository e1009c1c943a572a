"""Make what the data pages show of each corpus: a card, examples to look at and to hear, scores.

Run by maintainers after a corpus or ``results/corpora.json`` has changed:
``python -m tools.build_corpus_pages [CORPUS ...]``. For each corpus, two fragments are written
into ``book/data/generated``, which the pages include: ``NAME.md`` (card, picture, sounds) and
``NAME-scores.md`` (the probes). The book's tests compare them with the code and with the results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dl101.data.catalog import DATASETS
from dl101.data.embedded import export
from dl101.data.embedded.recipe import Item, track_split
from dl101.evaluation import results
from dl101.lab import plots
from dl101.lab.player import audio_elements
from dl101.lab.show import picture
from dl101.signal import mel
from tools.chapters import share

OUTPUT = Path(__file__).parents[1] / "book/data/generated"
NOTICE = "<!-- Made by tools/build_corpus_pages.py: change the corpus, not this file. -->\n"
SHOWN_S = 5.0  # of each example

PAGES = {
    "chorales": "pitch",
    "piano": "pitch",
    "covers": "versions",
    "dances": "labels",
    "instruments": "labels",
    "tags": "labels",
    "genres": "labels",
    "chords": "harmony",
    "stems": "sources",
    "notes": "sources",
    "voice": "pitch",
    "tones": "pitch",
}
# Which tracks are shown (one of the test split among them), and which fields name them.
EXAMPLES: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "chorales": ((0, 3, 2), ("title", "instrument")),
    "piano": ((0, 2), ("title", "instrument")),
    "covers": ((0, 2), ("title", "work-id")),
    "dances": ((0, 3, 4, 2), ("rhythm", "title", "tempo")),
    "instruments": ((0, 3, 4, 2), ("instrument",)),
    "tags": ((0, 3, 2), ("tag",)),
    "genres": ((0, 3, 4, 2), ("genre",)),
    "chords": ((0, 3, 2), ("title", "tempo")),
    "stems": ((0, 2), ("style", "tempo")),
    "notes": ((0, 3, 4, 5, 2), ("family", "instrument", "style")),
    "voice": ((0, 3, 2), ("style", "title")),
    "tones": ((0, 3, 4), ()),
}


# What the probes of results/corpora.json are, in words.
PROBES = {
    "majority": "always the most frequent answer",
    "nearest-mfcc": "the nearest training track in timbre (mean and deviation of MFCC)",
    "linear-log-mel": "linear model of the mean of each mel band",
    "linear-timbre": "linear model of timbre (mean and deviation of MFCC)",
    "linear-rhythm": "linear model of rhythm (how onsets repeat)",
    "tempo-only": "the tempo, as annotated, and nothing else",
    "chance": "a random order",
    "mean-profile": "similarity of mean profiles, in the best of 12 keys",
    "alignment": "profiles aligned in time, in the best key",
    "templates": "the best match of a chroma with each chord's notes",
    "mixture": "the mixture itself as every stem",
    "ratio-mask": "the best mask of the mixture's spectrogram (knows the truth)",
    "yin": "YIN, a classic method without training",
    "silence": "nothing ever sounds",
    "salience": "sum of harmonics in the HCQT, above a threshold",
    "leakage": "what should say nothing",
    "leakage-length": "what should say nothing: the length",
}
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "frame_accuracy": "accuracy by time",
    "si_sdr_db": "SI-SDR (dB)",
    "precision_at_1": "P@1",
    "mean_average_precision": "mAP",
    "raw_pitch_accuracy": "within half a semitone",
    "raw_chroma_accuracy": "the same, any octave",
    "precision": "precision",
    "recall": "recall",
    "chance": "same answers, shuffled tracks",
    "chance_99": "exceeded by 1 % of shuffles",
}


def main(names: Sequence[str]) -> None:
    """Write the fragments of the named corpora, or of all."""
    mpl.use("Agg")
    plots.use_style()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "overview.md").write_text(NOTICE + overview(), encoding="utf-8")
    (OUTPUT / "catalogue.md").write_text(NOTICE + catalogue(), encoding="utf-8")
    (OUTPUT / "difficulty.md").write_text(NOTICE + difficulty(), encoding="utf-8")
    for name in names or export.CORPORA:
        (OUTPUT / f"{name}.md").write_text(NOTICE + fragment(name), encoding="utf-8")
        (OUTPUT / f"{name}-scores.md").write_text(NOTICE + scores(name), encoding="utf-8")
        print(name)


def overview() -> str:
    """Return a table of all corpora, as Markdown."""
    lines = ["| corpus | holds | stands for | lab size |", "|---|---|---|---|"]
    for name in export.CORPORA:
        found = export.recipe(name)
        size = f"{found.default_tracks} × {found.length}"
        link = f"{{doc}}`{name} </book/data/{PAGES[name]}>`"
        lines.append(f"| {link} | {found.title} | {found.stands_for} | {size} |")
    return "\n".join(lines) + "\n"


def catalogue() -> str:
    """Return a table of the real datasets, as Markdown."""
    lines = ["| dataset | holds | how | terms | known faults |", "|---|---|---|---|---:|"]
    for name, dataset in DATASETS.items():
        title = f"[{dataset.title}]({dataset.homepage})"
        terms = dataset.licence.rstrip(".") + (
            "; **permission needed**" if dataset.restricted else ""
        )
        row = (f"{title}<br>`{name}`", dataset.contents, dataset.access, terms)
        lines.append(f"| {' | '.join(row)} | {len(dataset.faults) or ''} |".replace("\n", " "))
    return "\n".join(lines) + "\n"


def fragment(name: str) -> str:
    """Return the card, the picture and the sounds of a corpus, as Markdown."""
    seen: set[str] = set()
    return "\n".join([card(name), *(html(share(part, seen)) for part in examples(name))])


def card(name: str) -> str:
    """Return a table of what a corpus is, read from its recipe."""
    found = export.recipe(name)
    rows = {
        "holds": found.title,
        "stands for": found.stands_for,
        "lab size": f"{found.default_tracks} tracks of {found.length}"
        f" ({export.expected_minutes(name):.0f} minutes, about {export.describe_size(name)})",
        "splits": export.describe_split(name),
        "with stems": found.extras or "nothing more",
        "fields": ", ".join(
            f"`{field}` ({known.extent})" for field, known in found.definitions.items()
        ),
        "made from": found.provenance,
    }
    lines = [f"| `{name}` | |", "|---|---|", *(f"| {key} | {rows[key]} |" for key in rows)]
    return "\n".join(lines) + "\n"


def scores(name: str) -> str:
    """Return the tables of what probes reach on a corpus, from ``results/corpora.json``."""
    records = [r for r in results.load(results.find("corpora")) if r.data["dataset"] == name]
    tables = []
    for task, field in sorted({(r.config["task"], r.config["field"]) for r in records}):
        runs = [r for r in records if (r.config["task"], r.config["field"]) == (task, field)]
        metrics = [m for m in METRICS if any(m in r.metrics for r in runs)]
        if all(r.metrics.get("accuracy") == r.metrics.get("balanced_accuracy", -1) for r in runs):
            metrics.remove("balanced_accuracy")  # classes are equally frequent
        seeds = len({r.seed for r in runs})
        caption = f"What simple methods reach on `{name}`, field `{field}`: means over {seeds} "
        caption += f"seeds and their spread, {runs[0].n_items} test tracks each."
        lines = [
            caption,
            "",
            f"| method | {' | '.join(METRICS[m] for m in metrics)} |",
            f"|---|{'---:|' * len(metrics)}",
        ]
        for probe in [p for p in PROBES if any(r.variant == p for r in runs)]:
            cells = [_cell([r.metrics.get(m) for r in runs if r.variant == probe]) for m in metrics]
            (inputs,) = {r.config["inputs"] for r in runs if r.variant == probe}
            words = f"{PROBES[probe]}: {inputs}" if probe == "leakage" else PROBES[probe]
            lines.append(f"| {words} | {' | '.join(cells)} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"


MAIN_METRIC = {
    "classes": "balanced_accuracy",
    "tags": "macro_auc",
    "versions": "mean_average_precision",
    "chords": "frame_accuracy",
    "stems": "si_sdr_db",
    "multi-pitch": "accuracy",
    "pitch": "raw_pitch_accuracy",
}
BLIND = ("majority", "chance", "mixture", "silence")  # probes that do not listen
ORACLES = ("ratio-mask",)  # probes that know the truth


def difficulty() -> str:
    """Return one row a task: blind answers, the best simple method, what should say nothing."""
    records = results.load(results.find("corpora"))
    lines = [
        "| corpus, field | measure | without listening | best simple method | which | nuisance |",
        "|---|---|---:|---:|---|---:|",
    ]
    for name in export.CORPORA:
        mine = [r for r in records if r.data["dataset"] == name]
        for task, field in sorted({(r.config["task"], r.config["field"]) for r in mine}):
            runs = [r for r in mine if (r.config["task"], r.config["field"]) == (task, field)]
            metric = MAIN_METRIC[task]
            values = {
                probe: [
                    r.metrics[metric] for r in runs if r.variant == probe and metric in r.metrics
                ]
                for probe in PROBES
            }
            values = {probe: found for probe, found in values.items() if found}
            blind = next((_cell(values[probe]) for probe in BLIND if probe in values), "")
            simple = [
                probe
                for probe in values
                if probe not in BLIND + ORACLES and not probe.startswith("leakage")
            ]
            best = max(simple, key=lambda probe: float(np.mean(values[probe])), default=None)
            said = (_cell(values[best]), PROBES[best]) if best else ("", "")
            nothing = _cell(values["leakage"]) if "leakage" in values else ""
            row = (f"`{name}` `{field}`", METRICS[metric], blind, *said, nothing)
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float | None]) -> str:
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return ""
    spread = f"&nbsp;±&nbsp;{known.std(ddof=1):.2f}" if known.size > 1 else ""
    return f"{known.mean():.2f}{spread}".replace("-", "−")


def examples(name: str) -> Iterator[str]:
    """Yield a picture of the first example and a player with all of them, as HTML."""
    indices, fields = EXAMPLES[name]
    found = export.recipe(name)
    items = {
        index: list(found.render(index, seed=0, duration_s=found.duration_s, extras=True))
        for index in indices
    }
    yield _picture(name, items[indices[0]])
    sounds, rate = {}, 22050
    for index in indices:
        for label, audio, rate in _sounds(name, index, items[index], fields):
            sounds[label] = audio[: int(SHOWN_S * rate)]
    caption = f"From the corpus {name}: what its fields say stands beside each sound."
    yield audio_elements(sounds, int(rate), caption=caption).html


def describe(index: int, item: Item, fields: Sequence[str]) -> str:
    """Return the label of an example: its split and what the named fields say."""
    said = []
    for field in fields:
        values = [atom.value for atom in item.fields.get(field, ())]
        values = [v if isinstance(v, str) else f"{v:g}" for v in values]
        if values:
            prefix = f"{field} " if field in ("tempo", "work-id") else ""
            said.append(prefix + ", ".join(dict.fromkeys(values)))
    return f"{track_split(index)[0]} {index}: {'; '.join(said)}" if said else f"track {index}"


def _sounds(
    name: str, index: int, items: Sequence[Item], fields: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, float]]:
    if export.recipe(name).holds == "features":
        from dl101.data.embedded.corpora import covers

        audio, rate = covers.render_audio(index, seed=0)
        yield describe(index, items[0], fields), audio, rate
        return
    shown = items if name == "stems" and index == EXAMPLES[name][0][0] else items[:1]
    for item in shown:
        label = describe(index, item, fields)
        if item is not items[0]:
            label = f"track {index}, {item.key.removesuffix('.wav').rpartition('-')[2]} alone"
        yield label, np.atleast_2d(item.values).mean(axis=0), item.rate


def _picture(name: str, items: Sequence[Item]) -> str:
    item = items[0]
    if export.recipe(name).holds == "features":
        figure = Figure(figsize=(7.5, 3.6), layout="constrained")
        axes = figure.subplots(len(items), 1, sharex=True)
        for axis, shown in zip(np.atleast_1d(axes), items, strict=True):
            role = shown.fields["role"][0].value
            _profile(axis, shown, f"{name}: {role}")
        np.atleast_1d(axes)[-1].set_xlabel("time (s)")
        alt = f"Pitch-class profiles over time of one performance, {len(items)} versions."
        return picture(figure, alt, "Twelve rows, one for each pitch class; dark is strong.").html
    overlaid = [f for f in ("beat", "chord", "phoneme") if f in item.fields]
    pitched = [f for f in ("f0multi", "f0", "pitchmidi") if f in item.fields]
    figure = Figure(figsize=(7.5, 4.4 if pitched else 2.6), layout="constrained")
    rows = figure.subplots(2 if pitched else 1, 1, sharex=True)
    first, *rest = np.atleast_1d(rows)
    audio = np.atleast_2d(item.values).mean(axis=0)[: int(SHOWN_S * item.rate)]
    _spectrogram(first, audio, int(item.rate))
    first.set_title(describe(EXAMPLES[name][0][0], item, EXAMPLES[name][1]))
    for field in overlaid:
        _overlay(first, item, field)
    for axis in rest:
        _pitches(axis, item, pitched)
    np.atleast_1d(rows)[-1].set_xlabel("time (s)")
    np.atleast_1d(rows)[-1].set_xlim(0, audio.size / item.rate)
    truth = [*overlaid, *pitched] or ["labels of the whole track"]
    caption = f"A track of {name}: its log-mel spectrogram, and the truth: {', '.join(truth)}."
    alt = f"Log-mel spectrogram of a track of the corpus {name} with its annotation"
    return picture(figure, f"{alt} ({', '.join(truth)}).", caption).html


def _spectrogram(axis: Axes, audio: np.ndarray, rate: int) -> None:
    feature = mel.log_mel(audio, rate, n_bands=96)
    values = feature.values[0]
    top = float(values.max())
    axis.imshow(
        values,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        vmin=top - 0.75 * (top - float(np.median(values))) - 2.0,
        vmax=top,
        extent=(0.0, audio.size / rate, 0, values.shape[0]),
    )
    wanted = [f for f in (100, 500, 1000, 2000, 5000, 10000) if f < feature.frequencies[-1]]
    places = np.interp(wanted, feature.frequencies, np.arange(len(feature.frequencies)))
    axis.set_yticks(places, [f"{f:g}" for f in wanted])
    axis.set_ylabel("frequency (Hz)")


def _overlay(axis: Axes, item: Item, field: str) -> None:
    top = axis.get_ylim()[1]
    for atom in item.fields[field]:
        if atom.time >= SHOWN_S:
            continue
        if field == "beat":
            strong = atom.value == 1
            axis.axvline(atom.time, color=plots.PALETTE["main"], lw=1.6 if strong else 0.6)
        else:
            axis.axvline(atom.time, color=plots.PALETTE["other"], lw=0.6)
            place = 0.97 if field == "chord" else 0.03
            middle = atom.time + min(atom.duration, SHOWN_S - atom.time) / 2
            style = {"ha": "center", "fontsize": 7, "color": "#7a2d00", "clip_on": True}
            align = "top" if field == "chord" else "bottom"
            box = {"facecolor": "white", "alpha": 0.75, "pad": 0.6, "lw": 0}
            axis.text(middle, place * top, str(atom.value), va=align, bbox=box, **style)


def _pitches(axis: Axes, item: Item, pitched: Sequence[str]) -> None:
    shown = []
    if "pitchmidi" in pitched:
        for atom in item.fields["pitchmidi"]:
            if atom.time < SHOWN_S:
                axis.plot([atom.time, atom.time + atom.duration], [atom.value] * 2, "#e69f00", lw=5)
                shown.append(atom.value)
    for field in ("f0multi", "f0"):
        if field in pitched:
            (curves,) = item.fields[field]
            seen = curves.time < SHOWN_S
            for row in np.where(curves.value > 0, curves.value, np.nan):  # 0: silent
                axis.plot(curves.time[seen], row[seen], color="#003a5c", lw=0.9)
                shown += list(row[seen][np.isfinite(row[seen])])
            break
    low, high = (min(shown), max(shown)) if shown else (60.0, 72.0)
    axis.set_ylim(low - 3, high + 3)
    ticks = [pitch for pitch in range(0, 128, 12) if low - 3 <= pitch <= high + 3]
    axis.set_yticks(ticks, [plots.note_name(pitch) for pitch in ticks])
    axis.set_ylabel("pitch")


def _profile(axis: Axes, item: Item, title: str) -> None:
    axis.imshow(
        item.values,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        extent=(0.0, item.values.shape[1] / item.rate, -0.5, 11.5),
    )
    axis.set_yticks(range(0, 12, 2), plots.NOTE_NAMES[::2])
    axis.set_title(title)


def html(part: str) -> str:
    """Return HTML as a block that MyST passes through."""
    return f"```{{raw}} html\n{part}\n```\n"


if __name__ == "__main__":
    main(sys.argv[1:])
