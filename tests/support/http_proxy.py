"""A proxy on loopback in front of an S3-compatible server: counts requests, fails them or holds them back."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Rule = Callable[
    [str, str], str | None
]  # (method, path with query) → None to pass it on, "503", "reset", "lost", "held"


class Proxy:
    """What a running proxy saw. `rule` may be replaced at any time; "lost" requests arrive, their answers do not."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.rule: Rule = lambda method, path: None
        self.released = threading.Event()  # lets go of what is held
        self._lock = threading.Lock()
        self._requests: list[tuple[str, str]] = []

    def note(self, method: str, path: str) -> str | None:
        with self._lock:
            self._requests.append((method, path))
            return self.rule(method, path)

    @property
    def requests(self) -> list[tuple[str, str]]:
        """(method, path) of all requests, in order of their coming."""
        with self._lock:
            return list(self._requests)

    def kinds(self) -> Counter[str]:
        """How many requests of each kind came, by the names of storage.object_requests."""
        return Counter(kind_of(method, path) for method, path in self.requests)


def kind_of(method: str, path: str) -> str:
    """What S3 charges a request as."""
    if method == "POST" and path.endswith("?delete"):
        return "delete"
    if method == "GET" and "list-type=2" in path:
        return "list"
    return {"POST": "put"}.get(method, method.lower())


@contextlib.contextmanager
def proxy_to(endpoint: str) -> Iterator[Proxy]:
    """A proxy to the server at `endpoint`, until the context ends."""
    proxy = Proxy()
    upstream = urlsplit(endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and content are two writes

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.note(self.command, self.path)
            if fault == "held":
                proxy.released.wait(60)
            if fault == "503":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault != "reset":
                self._pass_on(body, answered=fault != "lost")
            if fault in ("reset", "lost"):
                self.close_connection = True

        def _pass_on(self, body: bytes, *, answered: bool) -> None:
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
            try:
                # The host is signed: it stays the proxy's.
                connection.request(self.command, self.path, body, dict(self.headers))
                response = connection.getresponse()
                content = response.read()
            finally:
                connection.close()
            if not answered:
                return
            with contextlib.suppress(OSError):  # who asked may have gone
                self.send_response_only(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = response.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
