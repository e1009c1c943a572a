"""The networks that ship, and files that only look like one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dl101 import config
from dl101.data import source
from dl101.errors import Dl101Error
from dl101.training import protocol, shipped

NAMES = shipped.names()
SAME_SOUND = json.loads((Path(__file__).parents[1] / "golden" / "same_sound.json").read_text())


def sound_of(corpus: str, version: str) -> str:
    """Return a later version of a corpus whose sounds are bit for bit the same, if there is one.

    The renderer became faster once; digests of what it renders were compared before and after.
    """
    return SAME_SOUND.get(corpus, {}).get(version, version)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_ships_says_how_it_came_about(name):
    """And still fits the code and the corpora of today."""
    found = shipped.load(name)
    assert not found.system.training
    record = found.record
    assert record["metrics"] and record["commit"] and "+changes" not in record["commit"]
    assert record["command"].startswith(f"dl101 train {record['experiment']} ")
    assert record["command"].endswith(f"checkpoints/{name}.safetensors")
    assert sound_of(record["data"]["dataset"], record["data"]["version"]) == source.version(
        found.settings.data
    )
    # an hour of one core beside others: six corpora, and inputs that are varied
    assert record["wall_time_s"] < (4500 if name == "transcription" else 1800)
    assert record["n_parameters"] == sum(p.numel() for p in found.system.parameters())


def test_all_together_are_small():
    assert sum(file.stat().st_size for file in shipped.folder().glob("*.safetensors")) < 16e6


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({}, "'config'"),
        ({"system": "multi_pitch", "config": "{", "record": "{}"}, "Expecting"),
        ({"system": "multi_pitch", "config": "[]", "record": '{"metrics": {}}'}, "no table"),
        ({"system": "os", "config": "{}", "record": '{"metrics": {}}'}, "one of"),
        (
            {"system": "multi_pitch", "config": '{"modle": 1}', "record": '{"metrics": {}}'},
            "did you mean 'model'",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, header, said):
    path = tmp_path / "network.safetensors"
    save_file({"weight": torch.zeros(1)}, path, metadata=header)
    with pytest.raises(Dl101Error, match=said):
        shipped.load(path)


def test_weights_of_another_network_are_refused(tmp_path):
    settings = protocol.load_config(protocol.find("multi_pitch").Config, "multi_pitch")
    header = {
        "system": "multi_pitch",
        "config": json.dumps(config.to_dict(settings)),
        "record": '{"metrics": {}}',
    }
    path = tmp_path / "network.safetensors"
    save_file({"weight": torch.zeros(1)}, path, metadata=header)
    with pytest.raises(Dl101Error, match="weights of a MultiPitchSystem"):
        shipped.load(path)


def test_an_unknown_name_is_refused():
    with pytest.raises(Dl101Error, match="dl101 train --weights"):
        shipped.load("chrods")
