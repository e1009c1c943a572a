"""Everything about the package stands in pyproject.toml; this leaves outputs out of the wheel.

The notebooks that ship with dl101 are there to make packs for teaching (``dl101 lab-pack``) and to
be run; their outputs would be most of the wheel.
"""

from __future__ import annotations

import json
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithoutOutputs(build_py):
    """Copies notebooks without outputs."""

    def copy_file(self, infile: str, outfile: str, **options: object) -> tuple[str, bool]:
        """Copy one file."""
        if not infile.endswith(".ipynb"):
            return super().copy_file(infile, outfile, **options)
        notebook = json.loads(Path(infile).read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell |= {"execution_count": None, "outputs": []}
        notebook["metadata"].pop("widgets", None)  # the state of outputs
        text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
        Path(outfile).write_text(text + "\n", encoding="utf-8")
        return outfile, True


setup(cmdclass={"build_py": BuildWithoutOutputs})
