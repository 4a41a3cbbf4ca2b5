"""A web server on this machine, for the tests of downloads: no network is needed."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

ADDRESS = ("127.0.0.1", 0)  # any free port


@contextmanager
def serving(answer):
    """A server on this machine; yields the address and the Range headers it was asked with."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers.get("Range"))
            answer(self)

        def log_message(self, *words):
            pass

    direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    with mock.patch.dict(os.environ, direct), ThreadingHTTPServer(ADDRESS, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/toy.bin", asked
        finally:
            server.shutdown()
            thread.join()


def send(handler, content, promised=None, honour_range=True):
    """Answer like a web server: from the byte asked for, if it can."""
    wanted = handler.headers.get("Range")
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and honour_range else 0
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str((promised or len(content)) - start))
    handler.end_headers()
    handler.wfile.write(content[start:])
