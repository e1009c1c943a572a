"""torchaudio imports here, and a healthy torchaudio is left alone.

Each case runs in a fresh interpreter, because an import happens once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

HEALTHY = "_IS_TORCHAUDIO_EXT_AVAILABLE = False\n_IS_ALIGN_AVAILABLE = False\n"
FAKE_INIT = "from . import _extension\nfrom . import transforms\nfake = True\n"


def run(code: str, *paths: Path) -> str:
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [*paths, REPOSITORY]))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fake_torchaudio(folder: Path, extension: str) -> Path:
    package = folder / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE_INIT)
    (package / "transforms.py").write_text(
        "from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE\n"
    )
    (package / "_extension" / "utils.py").write_text("half = 'imported'\n")
    (package / "_extension" / "__init__.py").write_text(extension)
    return folder


def test_torchaudio_works_here() -> None:
    code = """
import torch
from dl101.nn.torchaudio_compat import torchaudio
mel = torchaudio.transforms.MelSpectrogram(22050)(torch.zeros(1, 4000))
print(tuple(mel.shape), torchaudio is __import__("torchaudio"))
"""
    assert run(code) == "(1, 128, 21) True"


STATE = """
import sys
from dl101.nn.torchaudio_compat import torchaudio
extension = sys.modules["torchaudio._extension"]
print(torchaudio.fake, extension.__file__ is not None if hasattr(extension, "__file__") else False,
      "torchaudio._extension.utils" in sys.modules)
"""


def test_a_healthy_extension_is_left_alone(tmp_path: Path) -> None:
    folder = fake_torchaudio(tmp_path, "from . import utils\n" + HEALTHY)
    assert run(STATE, folder) == "True True True"


@pytest.mark.parametrize(
    "failure",
    [
        "raise OSError('Could not load this library')",
        "raise ImportError('Failed to load libtorchaudio')",
        "raise RuntimeError('compiled with different CUDA versions')",
    ],
)
def test_a_broken_extension_is_replaced_without_remains(tmp_path: Path, failure: str) -> None:
    folder = fake_torchaudio(tmp_path, f"from . import utils\n{HEALTHY}{failure}\n")
    assert run(STATE, folder) == "True False False"


def test_a_missing_torchaudio_is_reported_as_missing(tmp_path: Path) -> None:
    code = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "torchaudio":
            raise ModuleNotFoundError("No module named 'torchaudio'", name=name)
sys.meta_path.insert(0, Hide())
try:
    import dl101.nn.torchaudio_compat
except ModuleNotFoundError as error:
    print(error.name, [n for n in sys.modules if n.startswith("torchaudio")])
"""
    assert run(code) == "torchaudio []"


def test_another_defect_of_torchaudio_is_not_hidden(tmp_path: Path) -> None:
    folder = fake_torchaudio(tmp_path, HEALTHY)
    (folder / "torchaudio" / "transforms.py").write_text("raise OSError('another defect')\n")
    code = """
import sys
try:
    import dl101.nn.torchaudio_compat
except OSError as error:
    print(error, [n for n in sys.modules if n.startswith("torchaudio")])
"""
    assert run(code, folder) == "another defect []"
