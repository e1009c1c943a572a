"""The project's web address, for links from notebooks to the source.

``[project.urls]`` in pyproject.toml, ``_config.yml``, CITATION.cff and the notebooks' badges name
the same address; ``tests/test_repository.py`` holds them together.
"""

from __future__ import annotations

REPOSITORY_URL = "https://github.com/dl101-mir/dl101"
BRANCH = "main"
