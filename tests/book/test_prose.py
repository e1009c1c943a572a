"""The book's pages keep their word: code runs, printed outputs are true, examples load.

A page is a session: its ``python`` blocks run in order in one namespace, in an empty folder that
holds the page's ``json`` example under the name it is read by. A ``text`` block right after a
``python`` block is what that block prints. A comment line ``% no-test`` before a block skips it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import tomllib
from pathlib import Path

import mir_eval
import numpy as np
import pytest

import dl101
from dl101 import units

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("data/*.md")])
FENCE = re.compile(r"^(% no-test\n)?```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYJAMA_NAME = "two-voices.pyjama"


def blocks(page: str) -> list[tuple[str, str, bool, str | None]]:
    """Return (language, code, is tested, expected output) of the plain code blocks of a page."""
    text = (BOOK / page).read_text(encoding="utf-8")
    found = []
    previous = None
    for match in FENCE.finditer(text):
        skip, language, _, code = match.groups()
        follows = previous is not None and not text[previous : match.start()].strip()
        if language == "text" and follows and found and found[-1][0] == "python":
            found[-1] = (*found[-1][:3], code)
        elif not language.startswith("{"):
            found.append((language, code, skip is None, None))
        previous = match.end()
    return found


def namesakes(directive: str) -> list[tuple[Path, str, dict[str, str], str]]:
    """Return (page, argument, options, content) of every use of a directive in the book."""
    uses = []
    for page in PAGES:
        for match in FENCE.finditer(page.read_text(encoding="utf-8")):
            _, name, argument, body = match.groups()
            if name == "{" + directive + "}":
                options = dict(re.findall(r"^:([\w-]+):[ \t]*(.*)$", body, re.MULTILINE))
                content = re.sub(r"^:[\w-]+:.*\n", "", body, flags=re.MULTILINE).strip()
                uses.append((page, argument.strip(), options, content))
    return uses


@pytest.fixture(scope="module")
def diagrams():
    spec = importlib.util.spec_from_file_location(
        "build_diagrams", ROOT / "tools" / "build_diagrams.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------- the code


@pytest.mark.parametrize(
    "page",
    [
        "data.md",
        "data/versions.md",
        "data/harmony.md",
        "pytorch.md",
        "lightning.md",
        "evaluation.md",
    ],
)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.setenv("DL101_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"book.{page}"}
    n_run = 0
    for language, code, is_tested, expected in blocks(page):
        if language == "json":
            Path(PYJAMA_NAME).write_text(code, encoding="utf-8")
        if language != "python" or not is_tested:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page}, block {n_run}", "exec"), namespace)
        n_run += 1
        if expected is not None:
            assert printed.getvalue().split() == expected.split(), code
    assert n_run, f"{page} has no code to run"


def test_the_commands_that_pages_name_exist():
    from dl101 import cli

    parser = cli._parser()
    named = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [
            line
            for kind, code, *_ in blocks(page.relative_to(BOOK).as_posix())
            if kind == "sh"
            for line in code.splitlines()
        ]
        lines += re.findall(r"`(dl101 [^`\n]+)`", text)
        for line in lines:
            words = line.split("#")[0].split()
            if words[:1] == ["dl101"] and not re.search(r"[A-Z]{3}|\.\.\.", line):
                parser.parse_args(words[1:])
                named.add(words[1])
    assert {"export", "fetch", "corpora", "probe"} <= named
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set()
    for page in PAGES:
        targets |= set(re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8")))
    assert {"run", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_addresses_and_version_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project["urls"]["Repository"]
    found = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found |= set(re.findall(r"https://github\.com/[\w-]+/dl101\b", text))
    assert found == {repository}
    assert f"Version {dl101.__version__}" in (BOOK / "index.md").read_text(encoding="utf-8")


def test_names_of_the_library_in_prose_exist():
    names = set()
    for page in PAGES:
        names |= set(re.findall(r"`(dl101(?:\.\w+)+)`", page.read_text(encoding="utf-8")))
    assert names
    for name in sorted(names):
        parts = name.split(".")
        for n in range(len(parts), 0, -1):
            with contextlib.suppress(ModuleNotFoundError):
                found = importlib.import_module(".".join(parts[:n]))
                break
        for part in parts[n:]:
            found = getattr(found, part)


# ------------------------------------------------------------------------- the pyjama example


def test_the_pyjama_example_has_each_extent_and_says_what_the_text_says(tmp_path):
    from dl101.data import pyjama

    (example,) = [code for language, code, *_ in blocks("data.md") if language == "json"]
    path = tmp_path / PYJAMA_NAME
    path.write_text(example, encoding="utf-8")
    collection = pyjama.read(path)
    extents = {definition.extent for definition in collection.definitions.values()}
    assert extents == {"global", "marker", "segment", "breakpoint"}
    (entry,) = collection.entries
    onsets, durations, pitches = entry.segments("pitchmidi")
    assert pitches.tolist() == [60, 67, 64]
    (curve,) = entry.fields["f0multi"]
    sung = np.round(curve.value)
    for voice, frame, time in ((0, 0, 0.0), (0, 4, 1.0), (1, 0, 0.0), (1, 3, 0.75)):
        written = pitches[(onsets <= time) & (time <= onsets + durations)]
        assert curve.time[frame] == time and sung[voice, frame] in written
    assert np.isnan(curve.value[1, 2])  # the breath between two notes

    again = tmp_path / "again.pyjama"
    pyjama.write(again, collection)
    assert pyjama.read(again).entries == collection.entries


# -------------------------------------------------------------------------------- the corpus


def test_what_the_page_says_of_the_chorales_is_what_the_code_does():
    from dl101.data.embedded import performer
    from dl101.data.embedded.corpora import chorales
    from dl101.data.embedded.scores import load_chorales

    text = (BOOK / "data/pitch.md").read_text(encoding="utf-8")
    scores = load_chorales()
    assert f"are {len(scores)} four-part chorales" in text
    assert f"there are {len({chorale.tune for chorale in scores})} tunes" in text
    heard, unheard = (chorales.PLAYERS[side] for side in ("training", "test"))
    assert f"notes of {len(heard) + len(unheard)} instruments" in text
    assert f"excerpt of {chorales.DURATION_S:.0f} seconds" in text
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+ \| [^|]+) \|$", text, re.MULTILINE))

    def said(row: str) -> list[float]:
        return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", rows[row])]

    sides = (performer.TRAINING, performer.TEST)
    assert said("instruments") == [len(heard), len(unheard)]
    for row, name in (
        ("reverberation time", "rt60_s"),
        ("direct sound over reverberation", "direct_to_reverb_db"),
        ("signal over noise", "noise_snr_db"),
    ):
        assert said(row) == [limit for side in sides for limit in getattr(side, name)], row
    for row, name in (
        ("tuning (whole ensemble)", "tuning_cents"),
        ("softest voice under loudest", "voice_level_db"),
    ):
        assert said(row) == [-getattr(side, name)[0] for side in sides], row


# ------------------------------------------------------------------------- the worked example


def worked_example() -> tuple[list[list[float]], list[list[float]], np.ndarray]:
    """Return reference, estimate and counts (frames, 3) as the table of the page has them."""
    text = (BOOK / "evaluation.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\d) \| ([^|]+) \| ([^|]+) \| (\d) \| (\d) \| (\d) \|", text, re.MULTILINE
    )

    def pitches(cell: str) -> list[float]:
        return [] if cell.strip() == "none" else [float(word) for word in cell.split(",")]

    counts = np.array([[int(value) for value in row[3:]] for row in rows])
    return [pitches(row[1]) for row in rows], [pitches(row[2]) for row in rows], counts


def test_the_numbers_of_the_worked_example_are_those_of_mir_eval():
    text = (BOOK / "evaluation.md").read_text(encoding="utf-8")
    reference, estimate, counts = worked_example()
    assert len(reference) == 5

    def hz(frames):
        return [units.midi_to_hz(np.array(frame)) for frame in frames]

    true_positives = mir_eval.multipitch.compute_num_true_positives(
        [np.array(frame) for frame in reference], [np.array(frame) for frame in estimate]
    )
    assert counts[:, 0].tolist() == true_positives.tolist()
    assert (counts[:, 0] + counts[:, 1]).tolist() == [len(frame) for frame in estimate]
    assert (counts[:, 0] + counts[:, 2]).tolist() == [len(frame) for frame in reference]
    assert "| sum | | | {} | {} | {} | |".format(*counts.sum(axis=0)) in text

    times = 0.01 * np.arange(5)
    scores = mir_eval.multipitch.evaluate(times, hz(reference), times, hz(estimate))
    fractions = re.findall(r"\{math\}`(\d+)/(\d+) = (0\.\d+)`", text)
    printed = {f"{int(a) / int(b):.3f}" for a, b, value in fractions}
    assert printed == {value for *_, value in fractions}
    names = (
        "Precision",
        "Recall",
        "Accuracy",
        "Chroma Precision",
        "Chroma Recall",
        "Chroma Accuracy",
    )
    assert printed == {f"{scores[name]:.3f}" for name in names}


def test_the_diagram_counts_the_same_example(diagrams):
    reference, estimate, counts = worked_example()
    assert [list(frame) for frame in diagrams.REFERENCE] == reference
    assert [sorted(frame) for frame in diagrams.ESTIMATE] == [sorted(frame) for frame in estimate]
    for frame, expected in enumerate(counts):
        drawn = diagrams.classify(diagrams.REFERENCE[frame], diagrams.ESTIMATE[frame])
        assert [len(group) for group in drawn] == expected.tolist()


# ------------------------------------------------------------------------------------ pictures


def test_every_picture_has_alternative_text_and_a_twin_for_the_other_theme():
    images, figures = namesakes("image"), namesakes("figure")
    assert figures
    for page, path, options, _ in images + figures:
        assert (page.parent / path).is_file(), f"{page.name}: {path}"
        assert len(options.get("alt", "")) > 40, f"{page.name}: {path} needs alternative text"
    for page, path, _, caption in figures:
        assert len(caption) > 20, f"{page.name}: {path} needs a caption"
    dark = {(page, path): options for page, path, options, _ in images}
    for page, path, options, _ in figures:
        assert options["class"] == "only-light"
        twin = dark[page, path.replace("-light.svg", "-dark.svg")]
        assert twin["class"] == "only-dark"
        assert twin["alt"] == options["alt"] and twin["width"] == options["width"]
    for page in PAGES:  # no picture comes in by another way
        assert not re.search(r"!\[|<img", page.read_text(encoding="utf-8")), page.name


def test_every_diagram_is_what_the_script_draws_and_is_used(diagrams):
    folder = BOOK / "_static" / "diagrams"
    names = {f"{name}-{theme}.svg" for name in diagrams.DIAGRAMS for theme in diagrams.PALETTES}
    assert {path.name for path in folder.iterdir()} == names
    shown = {Path(path).name for _, path, *_ in namesakes("image") + namesakes("figure")}
    assert shown == names
    for name in diagrams.DIAGRAMS:
        for theme in diagrams.PALETTES:
            drawn = diagrams.build(name, theme)
            stored = (folder / f"{name}-{theme}.svg").read_text(encoding="utf-8")
            version = re.compile(r"Matplotlib v[\d.]+")
            if version.search(drawn)[0] == version.search(stored)[0]:
                same_drawing(drawn, stored)
            else:  # another Matplotlib may draw other curves, but the same words
                words = re.compile(r"<!-- .* -->")
                assert words.findall(drawn) == words.findall(stored)


def same_drawing(one: str, other: str) -> None:
    """Compare two SVGs: the same text, and numbers equal to a twentieth of a point."""
    number = re.compile(r"(?<![\w#.])-?\d+(?:\.\d+)?")
    assert number.sub("0", one) == number.sub("0", other)
    a, b = (np.array([float(x) for x in number.findall(text)]) for text in (one, other))
    np.testing.assert_allclose(a, b, atol=0.05)


def test_a_diagram_whose_text_does_not_fit_is_refused(diagrams):
    canvas = diagrams.Canvas(100, 40, "light")
    canvas.box(10, 10, 30, 20, "far too long for this box")
    with pytest.raises(ValueError, match="leaves its room"):
        canvas.check("test")
    canvas = diagrams.Canvas(200, 40, "light")
    canvas.text(60, 20, "one upon")
    canvas.text(70, 20, "another")
    with pytest.raises(ValueError, match="touches"):
        canvas.check("test")


# --------------------------------------------------------------------------------- references


def test_every_citation_is_in_the_bibliography_and_every_entry_is_complete():
    bibliography = (BOOK / "references.bib").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", bibliography, re.MULTILINE | re.DOTALL))
    for key, fields in entries.items():
        for name in ("author", "title", "year"):
            assert re.search(rf"^\s*{name}\s*=", fields, re.MULTILINE), f"{key} lacks {name}"
        assert re.search(r"(\d{4})", key)[1] == re.search(r"year\s*=\s*\{(\d{4})\}", fields)[1]
    cited = set()
    for page in PAGES:
        for keys in re.findall(r"\{cite:\w\}`([^`]+)`", page.read_text(encoding="utf-8")):
            cited |= set(re.split(r",\s*", keys))
    assert cited <= set(entries)
    assert len(cited) > 15


def test_the_glossary_is_used_and_has_no_term_twice():
    text = (BOOK / "glossary.md").read_text(encoding="utf-8")
    body = re.search(r"```\{glossary\}\n:sorted:\n(.*)```", text, re.DOTALL)[1]
    terms = re.findall(r"^(\S.*)$", body, re.MULTILINE)
    assert len(terms) >= 50 and len(set(terms)) == len(terms)
    assert all(re.findall(r"^  \S", body, re.MULTILINE))
    used = set()
    for page in PAGES:
        for target in re.findall(r"\{term\}`([^`]+)`", page.read_text(encoding="utf-8")):
            inner = re.search(r"<(.+)>", target, re.DOTALL)
            used.add(" ".join((inner[1] if inner else target).split()).lower())
    assert used <= {term.lower() for term in terms}
    assert len(used) > 40
