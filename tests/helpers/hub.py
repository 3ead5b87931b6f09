"""A file server on this machine that answers as the Hugging Face hub and as torchvision's store."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def serving(files: dict[str, bytes]) -> Generator[str]:
    """Serve files by path, such as "/me/mine/resolve/main/config.json"; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self.wfile.write(self._answer())

        def _answer(self) -> bytes:
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            if content is None:
                known = any(path.startswith(self.path.partition("/resolve/")[0]) for path in files)
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                content = b""
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content if self.command == "GET" else b""

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
