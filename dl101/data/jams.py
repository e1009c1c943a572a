"""Annotations in JAMS: JSON that holds annotations of a recording of any kind.

E. Humphrey et al., "JAMS: a JSON annotated music specification for reproducible MIR research",
ISMIR 2014. Times are in seconds; the content is by the schema of version 0.3.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dl101 import __version__
from dl101.data.cache import write_text


def document(
    namespace: str,
    observations: Iterable[tuple[float, float, Any, float | None]],
    *,
    title: str,
    duration_s: float,
) -> dict[str, Any]:
    """Return the content of a file with one annotation.

    Parameters
    ----------
    namespace
        What the values are: ``chord``, ``note_midi``, ``pitch_contour``.
    observations
        Time, duration, value and confidence (or None) of each.
    title, duration_s
        Of the recording.
    """
    source = {
        "curator": {"name": "", "email": ""},
        "annotator": {},
        "version": __version__,
        "corpus": "",
        "annotation_tools": f"dl101 {__version__}",
        "annotation_rules": "",
        "validation": "",
        "data_source": "program",
    }
    data = [
        {
            "time": round(float(time_s), 6),
            "duration": round(float(length_s), 6),
            "value": value,
            "confidence": None if confidence is None else round(float(confidence), 4),
        }
        for time_s, length_s, value, confidence in observations
    ]
    annotation = {
        "namespace": namespace,
        "data": data,
        "annotation_metadata": source,
        "sandbox": {},
        "time": 0,
        "duration": float(duration_s),
    }
    about = {
        "title": title,
        "artist": "",
        "release": "",
        "duration": float(duration_s),
        "identifiers": {},
        "jams_version": "0.3.4",
    }
    return {"annotations": [annotation], "file_metadata": about, "sandbox": {}}


def write(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write the content of a file, such as :func:`document` gives it."""
    write_text(path, json.dumps(content, indent=1) + "\n")
