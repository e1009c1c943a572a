"""The catalogue: every record is complete and consistent, and what cannot be fetched says so."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from dl101.data import readers, source, splits
from dl101.data.catalog import DATASETS, lookup
from dl101.data.catalog_entries import ENTRIES
from dl101.data.fetch import describe, fetch
from dl101.errors import ConfigError, FetchError

NOT_DIRECT = sorted(name for name, entry in DATASETS.items() if entry.access != "direct")
TUTORIAL_PAIRS = {
    "bach10",
    "maps",
    "gtzan-genre",
    "mtt",
    "rwc-pop_chord",
    "cover1000",
    "datacos-benchmark",
}
CONVERTED = {
    "nsynth-guitar": "nsynth",
    "mtt-ssl": "mtt_ssl",
    "musdb18": "musdb18",
    "cover1000": "crema",
    "datacos-benchmark": "crema",
}
CHECKSUM = {"md5": 32, "sha1": 40}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DL101_OFFLINE", "1")
    return tmp_path / "cache"


def test_names_are_unique():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) == len(DATASETS)


def test_what_is_direct_and_by_which_reader():
    direct = {name: entry.reader for name, entry in DATASETS.items() if entry.access == "direct"}
    assert set(direct) == TUTORIAL_PAIRS | set(CONVERTED)
    assert {name: reader for name, reader in direct.items() if reader} == CONVERTED
    assert set(CONVERTED.values()) == set(readers.READERS)
    features = {name for name, entry in DATASETS.items() if entry.holds == "features"}
    assert features == {"cover1000", "datacos-benchmark"}


def test_datasets_of_the_field_are_there():
    named = (
        "gtzan magnatagatune ballroom extended-ballroom irmas urbansound8k medleydb mdb-stem-synth "
        "mir-1k urmp fma million-song-tags billboard musdb18 nsynth nsynth-guitar mtt-ssl maestro "
        "da-tacos tut-acoustic-scenes-2017"
    )
    assert set(named.split()) <= set(DATASETS)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_record_is_complete(name):
    dataset = lookup(name)
    assert dataset.name == name and re.fullmatch(r"[a-z0-9_-]+", name)
    texts = (dataset.title, dataset.contents, dataset.licence, dataset.citation, *dataset.faults)
    for text in texts:
        assert text.strip() == text and text
        assert "  " not in text  # a seam between two lines of source
    assert isinstance(dataset.tasks, tuple) and isinstance(dataset.faults, tuple)
    assert dataset.tasks and all(isinstance(task, str) for task in dataset.tasks)
    assert dataset.restricted == bool(dataset.permission)
    home = urlsplit(dataset.homepage)
    assert home.scheme in ("https", "http") and home.netloc


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_access_agrees_with_files(name):
    dataset = lookup(name)
    assert dataset.access in ("direct", "mirdata", "described")
    assert (dataset.access == "mirdata") == bool(dataset.mirdata_name)
    assert not dataset.reader or dataset.access == "direct"
    assert bool(dataset.reader) == bool(dataset.unpacked_bytes)
    if dataset.access == "direct":
        audio_name, annotations_name = dataset.pair_names
        assert audio_name.endswith(("_audio.hdf5", "_feat.hdf5"))
        assert annotations_name.endswith(".pyjama")
    if dataset.reader:
        assert dataset.audio is dataset.annotations is None
        for file in dataset.files:
            assert file.about_bytes and file.member is None
            assert urlsplit(file.urls[0]).scheme == "https"
    elif dataset.access == "direct":
        assert not dataset.files
        assert dataset.audio.final_name.endswith(".hdf5")
        assert dataset.annotations.final_name.endswith(".pyjama")
        for file in (dataset.audio, dataset.annotations):
            assert file.about_bytes  # limits a download of unknown size
            assert (file.member is not None) == file.name.endswith(".zip")
            assert urlsplit(file.urls[0]).scheme == "https"
    else:
        assert dataset.audio is dataset.annotations is None


@pytest.mark.parametrize("name", [n for n, entry in DATASETS.items() if entry.all_files])
def test_files_are_well_formed(name):
    files = lookup(name).all_files
    assert len({file.final_name for file in files}) == len(files)
    for file in files:
        for name_of_file in (file.name, file.final_name):
            assert re.fullmatch(r"[\w.+-]+", name_of_file) and not name_of_file.startswith(".")
        assert file.urls
        for url in file.urls:
            parts = urlsplit(url)
            assert parts.scheme in ("https", "http") and parts.netloc
            assert url.endswith("/" + file.name) and "//" not in parts.path
        for size in (file.about_bytes, file.size_bytes):
            assert size is None or (isinstance(size, int) and size > 0)
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        if file.checksum is not None:
            algorithm, _, digest = file.checksum.partition(":")
            assert re.fullmatch(rf"[0-9a-f]{{{CHECKSUM[algorithm]}}}", digest)


def test_no_checksum_is_given_twice():
    """A slip of copying would repeat one."""
    stated = {}
    for entry in ENTRIES:
        for file in entry.all_files:
            for checksum in filter(None, (file.sha256, file.checksum)):
                stated.setdefault(checksum, set()).update(file.urls)
    assert not [c for c, urls in stated.items() if len(urls) > 1]


@pytest.mark.parametrize("name", ["maps", "rwc-pop_chord"])
def test_restricted_pairs_say_by_whom(name):
    holder = {"maps": "Emiya", "rwc-pop_chord": "Goto"}[name]
    assert lookup(name).restricted and holder in lookup(name).permission


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("gtzan-genre", "copies"),
        ("gtzan", "fault-filtered"),
        ("mtt", "weak"),
        ("magnatagatune", "Two versions"),
        ("mtt-ssl", "weak"),
        ("maps", "several pianos"),
    ],
)
def test_known_faults_are_told(name, word):
    assert any(word in fault for fault in lookup(name).faults)
    assert word in " ".join(describe(lookup(name)).split())


# ---- What dl101 does not read itself ----


@pytest.mark.parametrize("name", NOT_DIRECT)
def test_fetch_describes_refuses_and_says_what_to_do(name, cache):
    dataset, shown = lookup(name), []
    with pytest.raises(FetchError) as caught:
        fetch(name, accept_restricted=True, show=shown.append)
    assert shown == [describe(dataset)]
    error = caught.value
    assert dataset.homepage in error.hint and "OFFLINE" not in str(error)
    if dataset.access == "mirdata":
        assert f"mirdata.initialize({dataset.mirdata_name!r})" in error.hint
        assert f"dl101 convert --from mirdata {dataset.mirdata_name} " in error.hint
    assert not dataset.restricted or "permission" in error.expected
    assert ".." not in str(error)
    assert not list(cache.rglob("*"))


@pytest.mark.parametrize("name", ["urmp", "gtzan"])
def test_training_on_it_meets_the_same_refusal(name, capsys):
    with pytest.raises(FetchError, match="fetches itself"):
        source.locate(source.DataConfig(dataset=name))
    assert lookup(name).title in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_description_shows_access_and_terms(name):
    dataset, text = lookup(name), describe(lookup(name))
    words = {"direct": "dl101 fetches it", "mirdata": "through the library mirdata"}
    assert words.get(dataset.access, "described only") in text
    assert text.count("\n  fault ") == len(dataset.faults)
    assert dataset.licence.split()[0] in text
    assert max(len(line) for line in text.splitlines() if "://" not in line) <= 92


def test_description_adds_up_the_sizes_that_are_known():
    text = " ".join(describe(lookup("mtt-ssl")).split())
    assert "about 3.0 GB to download, about 24.0 GB once converted" in text
    assert "not stated" in describe(lookup("mir-1k"))
    assert "1075.4 GB to download in 5 files" in " ".join(describe(lookup("fma")).split())


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_description_tells_the_safe_split(name):
    text = " ".join(describe(lookup(name)).split())
    assert ("safe_split" in text) == bool(splits.advice(name))


@pytest.mark.parametrize(
    "name", ["gtzan", "gtzan-genre", "mtt", "mtt-ssl", "maps", "nsynth-guitar"]
)
def test_datasets_with_faulty_splits_have_a_safe_one(name):
    assert splits.advice(name)


def test_unknown_name_suggests_a_near_one():
    with pytest.raises(ConfigError, match="did you mean 'bach10'"):
        lookup("bach-10")
    with pytest.raises(ConfigError, match="one of"):
        lookup("unheard of")


def test_catalogue_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        DATASETS["mine"] = lookup("maps")
