"""tools/links.py: finding addresses in texts, and telling dead links from refusals."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools import links


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See [a](https://a.org/x_(y).html), and", ["https://a.org/x_(y).html"]),
        ("(https://a.org/b).", ["https://a.org/b"]),
        (
            "[![c](https://a.org/c.svg)](https://a.org/d)",
            ["https://a.org/c.svg", "https://a.org/d"],
        ),
        ('<a href="https://a.org/?q=1#part">', ["https://a.org/?q=1"]),
        ("url = {https://a.org/e},", ["https://a.org/e"]),
        ("https://a.org/... and ftp://a.org", []),
        ("f'https://a.org/{number}'", []),
    ],
)
def test_addresses_are_cut_out_of_their_text(text, found):
    assert list(links.addresses(text)) == found


def test_links_are_collected_with_their_files(tmp_path):
    (tmp_path / "notebooks" / "tasks").mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"https://a.org/1 {links.REPOSITORY_URL}/blob http://127.1")
    cell = {"source": ["[a](https://a.org/1)\n", "b https://a.org/2"], "outputs": []}
    notebook = tmp_path / "notebooks" / "tasks" / "a.ipynb"
    notebook.write_text(json.dumps({"cells": [cell]}))
    assert links.collect(tmp_path) == {
        "https://a.org/1": ["README.md", "notebooks/tasks/a.ipynb"],
        "https://a.org/2": ["notebooks/tasks/a.ipynb"],
    }


class _Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *args):
        pass


def test_dead_links_fail_and_refusals_do_not(monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        found = {f"{base}/{status}": ["a.md"] for status in (200, 403, 404, 503)}
        answers = links.check([*found, nobody])
        assert [answer.is_dead for answer in answers] == [False, False, True, False, True]
        assert [answer.is_good for answer in answers] == [True, False, False, False, False]
        monkeypatch.setattr(links, "collect", lambda: found)
        assert links.main() == 1
        del found[f"{base}/404"]
        assert links.main() == 0
        server.shutdown()
    out = capsys.readouterr().out
    assert f"dead     {base}/404" in out and f"refused  {base}/403" in out
    assert "3 links, 0 dead, 2 refused" in out
