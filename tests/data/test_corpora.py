"""What every corpus promises: the same bytes however it is made, valid files, sides kept apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dl101.data import pyjama
from dl101.data.audiostore import AudioStore
from dl101.data.embedded import export
from dl101.data.embedded.recipe import track_split

pytestmark = pytest.mark.slow

N_TRACKS = 6


@pytest.fixture(scope="module", params=export.CORPORA)
def pair(request, tmp_path_factory) -> tuple[str, export.CorpusFiles, export.CorpusFiles]:
    """A corpus exported by this process in one go, and by two processes in three blocks."""
    name = request.param
    folders = tmp_path_factory.mktemp(f"{name}-one"), tmp_path_factory.mktemp(f"{name}-two")
    one = export.export_corpus(name, folders[0], n_tracks=N_TRACKS, n_jobs=1, progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "BLOCK_S", 2 * export.recipe(name).duration_s)
        patch.setattr(export, "FEATURE_BLOCK_S", 2 * export.recipe(name).duration_s)
        two = export.export_corpus(name, folders[1], n_tracks=N_TRACKS, n_jobs=2, progress=False)
    return name, one, two


def test_the_bytes_do_not_depend_on_processes_or_blocks(pair):
    _, one, two = pair
    assert one.audio.name == two.audio.name
    assert one.audio.read_bytes() == two.audio.read_bytes()
    assert one.annotations.read_bytes() == two.annotations.read_bytes()


def test_every_entry_has_every_field_if_only_empty(pair):
    """As in the files published in 2024, whose readers look up a field in every entry."""
    _, files, _ = pair
    collection = json.loads(files.annotations.read_text(encoding="utf-8"))["collection"]
    for entry in collection["entry"]:
        assert set(entry) == set(collection["descriptiondefinition"])


def test_the_pair_is_complete_and_valid(pair):
    name, files, _ = pair
    found = export.recipe(name)
    collection = pyjama.read(files.annotations)
    roles = set(found.definitions["role"].dictionary or ())
    with AudioStore(files.audio) as store:
        assert sorted(entry.filepath for entry in collection) == store.keys()
        for entry in collection:
            assert entry.first("split") in ("train", "validation", "test")
            assert entry.first("role") in roles if roles else entry.first("role")
            assert entry.first(found.unit), f"{entry.filepath} does not say its {found.unit}"
            if found.holds == "features":
                values, rate_hz = store.read_feature(entry.filepath)
                assert values.shape[0] == 12 and 5.0 < rate_hz < 50.0
                continue
            info = store.info(entry.filepath)
            assert info.duration_s == pytest.approx(found.duration_s, abs=1e-3)
            for field, known in found.definitions.items():
                if known.extent == "segment" and field in entry.fields:
                    onsets_s, durations_s, _ = entry.segments(field)
                    assert np.all(onsets_s + durations_s <= info.duration_s + 1e-5), field
                if field == "chord":
                    assert onsets_s[0] == 0.0 and durations_s.min() > 0.04
                    np.testing.assert_allclose(
                        (onsets_s + durations_s)[:-1], onsets_s[1:], atol=2e-6
                    )
                    assert onsets_s[-1] + durations_s[-1] == pytest.approx(
                        info.duration_s, abs=1e-3
                    )
            audio, _ = store.read(entry.filepath)
            assert np.abs(audio).max() < 1.0
            if entry.first("role") == "mixture":
                assert np.sqrt(np.mean(audio**2)) > 0.002


def test_sides_follow_the_order_and_share_nothing(pair):
    name, files, _ = pair
    found = export.recipe(name)
    groups: dict[str, set] = {}
    firsts: dict[str, str] = {}
    for entry in pyjama.read(files.annotations):
        groups.setdefault(entry.first("split"), set()).add(entry.first(found.unit))
        firsts.setdefault(entry.filepath.split("-")[0].split(".")[0], entry.first("split"))
    assert [firsts[key] for key in sorted(firsts)] == [track_split(i)[0] for i in range(N_TRACKS)]
    names = list(groups.values())
    assert sum(map(len, names)) == len(set.union(*names))


def test_there_are_the_corpora_that_the_tasks_need():
    needed = "chorales covers dances instruments tags genres chords stems notes voice tones piano"
    assert set(export.CORPORA) == set(needed.split())
    for name in export.CORPORA:
        found = export.recipe(name)
        assert found.name == name
        assert found.default_tracks >= 18 and found.title and found.stands_for and found.provenance
        assert export.expected_bytes(name) < 250e6
