"""Fetch the scripts that the book serves to its readers, so that pages read without a network.

Files come from npm packages at exact versions and go to ``book/_static/vendor``; what they are,
their licence and their SHA-256 stand in ``manifest.json`` beside them. Needs ``npm``; run it only
to change a version::

    python tools/vendor_web_assets.py            # verify what is there, offline
    python tools/vendor_web_assets.py --fetch    # fetch again and rewrite the manifest
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[1] / "book" / "_static" / "vendor"
MANIFEST = VENDOR / "manifest.json"

# folder: package, version, licence, {pattern inside the package: folder below ours}
PACKAGES = {
    "mathjax": {
        "package": "mathjax",
        "version": "3.2.2",
        "licence": "Apache-2.0",
        "members": {
            "LICENSE": "",
            "es5/tex-chtml-full.js": "",
            "es5/output/chtml/fonts/woff-v2/*.woff": "output/chtml/fonts/woff-v2",
        },
    },
    "html-manager": {
        "package": "@jupyter-widgets/html-manager",
        "version": "1.0.15",
        "licence": "BSD-3-Clause",
        "members": {
            "dist/embed.js": "",
            "dist/embed.js.LICENSE.txt": "",
            "dist/*.woff2": "",  # icons of widgets; embed.js looks for them beside itself
        },
    },
}

# The npm package of the widgets carries no licence file of its own: this is the project's.
WIDGETS_LICENCE = """\
Copyright (c) 2015 Project Jupyter Contributors
All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

3. Neither the name of the copyright holder nor the names of its
   contributors may be used to endorse or promote products derived from
   this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shipped() -> dict[str, str]:
    """Return the SHA-256 of every vendored file, by its path below the vendor folder."""
    files = (path for path in sorted(VENDOR.rglob("*")) if path.is_file() and path != MANIFEST)
    return {path.relative_to(VENDOR).as_posix(): sha256(path) for path in files}


def problems() -> list[str]:
    """Return what differs between the vendored files and their manifest."""
    recorded = json.loads(MANIFEST.read_text())["files"]
    found = shipped()
    missing = [f"{name}: missing" for name in recorded.keys() - found.keys()]
    unknown = [f"{name}: not in the manifest" for name in found.keys() - recorded.keys()]
    changed = [
        f"{name}: SHA-256 differs"
        for name in recorded.keys() & found.keys()
        if recorded[name] != found[name]
    ]
    return sorted(missing + unknown + changed)


def fetch() -> None:
    """Fetch every package with npm, copy what is listed and rewrite the manifest."""
    for folder, entry in PACKAGES.items():
        with tempfile.TemporaryDirectory() as scratch:
            name = f"{entry['package']}@{entry['version']}"
            packed = subprocess.run(
                ["npm", "pack", "--silent", name],
                cwd=scratch,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()[-1]
            with tarfile.open(Path(scratch) / packed) as archive:
                archive.extractall(scratch, filter="data")
            source = Path(scratch) / "package"
            for pattern, below in entry["members"].items():
                target = VENDOR / folder / below
                target.mkdir(parents=True, exist_ok=True)
                matches = sorted(source.glob(pattern))
                if not matches:
                    raise SystemExit(f"{name} holds no {pattern}")
                for path in matches:
                    (target / path.name).write_bytes(path.read_bytes())
    (VENDOR / "html-manager" / "LICENSE").write_text(WIDGETS_LICENCE)
    manifest = {
        "packages": [
            {"folder": folder, **{key: entry[key] for key in ("package", "version", "licence")}}
            for folder, entry in PACKAGES.items()
        ],
        "files": shipped(),
    }
    MANIFEST.write_text(json.dumps(manifest, indent=1) + "\n")


def main() -> int:
    """Verify, or with ``--fetch`` fetch and then verify; return the exit status."""
    parser = argparse.ArgumentParser(description="Vendor the book's scripts.")
    parser.add_argument("--fetch", action="store_true", help="fetch from npm first")
    if parser.parse_args().fetch:
        fetch()
    found = problems()
    print("\n".join(found) if found else f"{len(shipped())} vendored files agree with the manifest")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
