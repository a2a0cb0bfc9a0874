"""A process between trader and exchange that notes when closed bars and orders pass, and moves the exchange's time.

Its clock is the machine's monotonic one. What it measures is what the venue would see: bar out, order in.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import multiprocessing
import socket
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlencode

BAR, ORDER = "bar", "order"
_CLOSED_BAR = b'"x":true'
_ORDER = b"POST /fapi/v1/order"


class Wire:
    """The process, seen from the benchmark."""

    def __init__(self, exchange_port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, exchange_port), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{self._pipe.recv()}"

    def advance(self, to_ms: int) -> None:
        """Ask for simulated time to move; does not wait."""
        self._pipe.send(to_ms)

    def stamps(self) -> list[tuple[str, float, int]]:
        """(bar or order, seconds, how many) since the last call, in order."""
        self._pipe.send("stamps")
        found: list[tuple[str, float, int]] = self._pipe.recv()
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, exchange_port: int) -> None:
    stamps: list[tuple[str, float, int]] = []
    server = socket.create_server(("127.0.0.1", 0))
    pipe.send(server.getsockname()[1])

    def accept() -> None:
        while True:
            client, _ = server.accept()
            venue = socket.create_connection(("127.0.0.1", exchange_port))
            for source, sink, kind, mark in ((client, venue, ORDER, _ORDER), (venue, client, BAR, _CLOSED_BAR)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pass, args=(source, sink, kind, mark, stamps), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    control = http.client.HTTPConnection("127.0.0.1", exchange_port)
    while True:
        told: Any = pipe.recv()
        if told == "stamps":
            found, stamps[:] = list(stamps), []
            pipe.send(found)
            continue
        query = urlencode({"to_ms": told, "timestamp": int(time.time() * 1000)})
        signature = hmac.new(b"paper", query.encode(), hashlib.sha256).hexdigest()
        control.request("POST", f"/paper/v1/advance?{query}&signature={signature}", headers={"X-MBX-APIKEY": "paper"})
        answer = control.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(content.decode())


def _pass(source: socket.socket, sink: socket.socket, kind: str, mark: bytes, stamps: list[tuple[str, float, int]]) -> None:
    with suppress(OSError):
        while content := source.recv(1 << 18):
            if mark in content:
                stamps.append((kind, time.monotonic(), content.count(mark)))
            sink.sendall(content)
    for end in (source, sink):
        end.close()
