"""The catalogue: every record is complete and consistent."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from dl101.data.catalog import DATASETS, lookup
from dl101.errors import ConfigError


def test_first_datasets_are_there():
    assert {"bach10", "maps"} <= set(DATASETS)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_record_is_complete(name):
    dataset = lookup(name)
    assert dataset.name == name and re.fullmatch(r"[a-z0-9_-]+", name)
    for text in (dataset.title, dataset.contents, dataset.licence, dataset.citation):
        assert text.strip() == text and text
    assert dataset.tasks and all(isinstance(task, str) for task in dataset.tasks)
    assert dataset.restricted == bool(dataset.permission)
    assert dataset.homepage.startswith("https://")
    for file in (dataset.audio, dataset.annotations):
        assert file.urls and file.about_bytes > 0
        for name_of_file in (file.name, file.final_name):
            assert re.fullmatch(r"[\w.+-]+", name_of_file) and not name_of_file.startswith(".")
        for url in file.urls:
            assert urlsplit(url).scheme == "https" and url.endswith("/" + file.name)
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size_bytes is None or file.size_bytes > 0
        assert (file.member is not None) == file.name.endswith(".zip")
    assert dataset.audio.final_name.endswith(".hdf5")
    assert dataset.annotations.final_name.endswith(".pyjama")
    assert dataset.audio.final_name != dataset.annotations.final_name


def test_maps_is_restricted_and_says_by_whom():
    assert lookup("maps").restricted and "Emiya" in lookup("maps").permission


def test_unknown_name_suggests_a_near_one():
    with pytest.raises(ConfigError, match="did you mean 'bach10'"):
        lookup("bach-10")
    with pytest.raises(ConfigError, match="one of"):
        lookup("unheard of")


def test_catalogue_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        DATASETS["mine"] = lookup("maps")
