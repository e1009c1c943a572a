"""A web server on this machine that keeps to a script: correct once, wrong in a chosen way once.

Each path has a list of manners; each request uses up the first, and the last one stays.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Manner = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers GET by the manner that is next for the path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server: MisbehavingServer = self.server.owner
        with server.lock:
            server.requests.append((self.path, dict(self.headers)))
            content, manners = server.routes.get(self.path, (b"", [missing]))
            manner = manners.pop(0) if len(manners) > 1 else manners[0]
        self.close_connection = True
        manner(self, content)

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content_Length": len(body), "Connection": "close", **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class MisbehavingServer:
    """The server, running in a thread of its own inside a ``with`` block."""

    def __init__(self):
        self.routes: dict[str, tuple[bytes, list[Manner]]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.owner = self
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, path: str, content: bytes, *manners: Manner) -> str:
        """Serve ``content`` at ``path``, once by each manner; return the address."""
        self.routes[path] = (content, list(manners) or [correct])
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def asked(self, path: str) -> list[dict[str, str]]:
        """Return the headers of the requests for a path."""
        return [headers for asked, headers in self.requests if asked == path]


def tag(content: bytes) -> str:
    return f'"{len(content)}-{sum(content)}"'


def correct(handler: Handler, content: bytes, tag_of=tag) -> None:
    """Serve the file, or the part of it that is asked for, as a good server does."""
    wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    condition = handler.headers.get("If-Range", tag_of(content))
    if wanted is None or condition != tag_of(content):
        handler.answer(200, content, ETag=tag_of(content))
        return
    start = int(wanted[1])
    if start >= len(content):
        handler.answer(416, b"", Content_Range=f"bytes */{len(content)}")
        return
    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.answer(206, content[start:], Content_Range=span, ETag=tag_of(content))


def without_tag(handler: Handler, content: bytes) -> None:
    """Serve parts, but say nothing by which a changed file could be told."""
    correct(handler, content, tag_of=lambda _: None)


def truncating(n_bytes: int, *, tagged: bool = True) -> Manner:
    """Return a manner that promises the whole file and hangs up after ``n_bytes``."""

    def manner(handler: Handler, content: bytes) -> None:
        length = {"Content_Length": len(content), "ETag": tag(content) if tagged else None}
        handler.answer(200, content[:n_bytes], **length)

    return manner


def ignoring_range(handler: Handler, content: bytes) -> None:
    """Serve the whole file, whatever part is asked for."""
    handler.answer(200, content, ETag=tag(content))


def another_part(handler: Handler, content: bytes) -> None:
    """Serve a part that begins elsewhere than asked."""
    span = f"bytes 0-{len(content) - 1}/{len(content)}"
    handler.answer(206, content, Content_Range=span, ETag=tag(content))


def without_length(handler: Handler, content: bytes) -> None:
    """Serve the file without telling its length, and hang up at its end."""
    handler.answer(200, content, Content_Length=None)


def slow_start(handler: Handler, content: bytes) -> None:
    """Send the headers, then wait a moment before the first byte."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.flush()
    threading.Event().wait(0.1)
    handler.wfile.write(content)


def silent(handler: Handler, content: bytes) -> None:
    """Accept the request and say nothing for longer than a test waits."""
    threading.Event().wait(0.2)


def missing(handler: Handler, content: bytes) -> None:
    handler.answer(404, b"not here")


def broken(handler: Handler, content: bytes) -> None:
    handler.answer(503, b"later")


def saying(body: bytes) -> Manner:
    """Return a manner that serves something else than the file."""
    return lambda handler, content: handler.answer(200, body)


def endless(handler: Handler, content: bytes) -> None:
    """Send zeros until the client hangs up."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(2**16))
    except OSError:
        pass
