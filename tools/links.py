"""Check the external links of the book: ``python -m tools.links``, run once a month by a workflow.

Collects the addresses in README, pages, bibliography, notebooks (sources and outputs) and library,
asks for each once, and prints those that do not answer well, with the files that hold them. The
exit status is 1 if a link is *dead*: there is no such page or no such machine. Sites that refuse
programs (401, 403, 405, 429, 5xx) are listed, to be looked at by a human, but are no failure.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests

from dl101.repository import REPOSITORY_URL

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("README.md", "CONTRIBUTING.md", "book/**/*.md", "book/*.bib", "notebooks/**/*.ipynb")
PLACES += ("dl101/**/*.py",)
ADDRESS = re.compile(r"https?://[^\s<>\"'`\\{}|^]+")
NOT_PAGES = ("http://www.w3.org/", "http://127.", "http://localhost", "https://example.")
GONE = {404, 410}
TIMEOUT_S = 30
AGENT = "Mozilla/5.0 (compatible; dl101 link check)"


@dataclass(frozen=True)
class Answer:
    """What came of asking for an address: the status, or why there was none."""

    address: str
    status: int | None
    reason: str

    @property
    def is_dead(self) -> bool:
        """Return whether there is nothing at the address, as opposed to a refusal."""
        return self.status in GONE or self.status is None

    @property
    def is_good(self) -> bool:
        """Return whether the page was served."""
        return self.status is not None and self.status < 400


def addresses(text: str) -> Iterator[str]:
    """Yield the addresses in a text, without the punctuation that follows them."""
    text = text.replace("](", " ")  # between the parts of a Markdown link
    for match in ADDRESS.finditer(text):
        is_template = text[match.end() : match.end() + 1] == "{"
        if is_template or "..." in match[0] or "…" in match[0]:
            continue
        address = match[0].rstrip(".,;:!?*_")
        while address.endswith((")", "]")):
            opening = {")": "(", "]": "["}[address[-1]]
            if address.count(opening) >= address.count(address[-1]):
                break
            address = address[:-1].rstrip(".,;:!?*_")
        yield address.partition("#")[0]


def collect(root: Path = ROOT) -> dict[str, list[str]]:
    """Return the files that hold each address, in which our own repository does not count."""
    found: dict[str, list[str]] = {}
    for pattern in PLACES:
        for path in sorted(root.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".ipynb":
                text = "\n".join(_strings(json.loads(text)))
            for address in addresses(text):
                if not address.startswith((*NOT_PAGES, REPOSITORY_URL)):
                    files = found.setdefault(address, [])
                    name = path.relative_to(root).as_posix()
                    if name not in files:
                        files.append(name)
    return found


def _strings(value: object) -> Iterator[str]:
    """Yield the texts in a notebook; a list of lines as one text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in _strings(item))
    elif isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            yield "".join(value)
        else:
            yield from (text for item in value for text in _strings(item))


def ask(address: str) -> Answer:
    """Ask for an address, without its body, twice if there is no answer at all."""
    reason = ""
    for _ in range(2):
        try:
            with requests.get(
                address, headers={"User-Agent": AGENT}, timeout=TIMEOUT_S, stream=True
            ) as response:
                return Answer(address, response.status_code, response.reason or "")
        except requests.RequestException as error:
            reason = f"{type(error).__name__}: {error}"[:200]
    return Answer(address, None, reason)


def check(found: Iterable[str]) -> list[Answer]:
    """Return the answers of all addresses, in their order."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, found))


def main() -> int:
    """Print what is wrong; return 1 if a link is dead."""
    found = collect()
    answers = check(found)
    for answer in answers:
        if not answer.is_good:
            kind = "dead   " if answer.is_dead else "refused"
            print(f"{kind}  {answer.address}  {answer.status or ''} {answer.reason}")
            print(f"         in {', '.join(found[answer.address])}")
    n_dead = sum(answer.is_dead for answer in answers)
    n_refused = sum(not answer.is_good for answer in answers) - n_dead
    print(f"{len(answers)} links, {n_dead} dead, {n_refused} refused to answer a program")
    return 1 if n_dead else 0


if __name__ == "__main__":
    sys.exit(main())
