"""The JSON form of Google's APIs over HTTP on loopback: bodies are read into the API's own messages, so that a wrong field is
refused as it would be there."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf import json_format


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str = "said the test") -> None:
        super().__init__(message)
        self.status, self.message = status, message


class FakeHttpApi:
    """Runs within a `with`. `asked` are the requests that came; `refusals` are answered first; the next answer may be lost."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusals: list[Refusal] = []
        self.loses_answer = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """The API's message for a request. Raises `Refusal`."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answered(self, method: str, path: str, body: bytes) -> tuple[int, str] | None:
        """Status and text of the answer; `None` where it is lost."""
        self.asked.append(f"{method} {path.rpartition('/')[2]}")
        try:
            if self.refusals:
                raise self.refusals.pop(0)
            found = 200, json_format.MessageToJson(self.answer(method, path, body))
        except Refusal as refusal:
            return refusal.status, json.dumps({"error": {"code": refusal.status, "message": refusal.message}})
        except json_format.ParseError as error:
            return 400, json.dumps({"error": {"code": 400, "message": str(error)}})
        if self.loses_answer:
            self.loses_answer = False
            return None
        return found


def _handler(api: FakeHttpApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers["Content-Length"])))

        def _serve(self, body: bytes) -> None:
            answered = api.answered(self.command, self.path.partition("?")[0].split("/", 2)[2], body)
            if answered is None:
                self.close_connection = True
                return
            status, text = answered
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            return

    return Handler
