"""A TCP proxy between the bot and the venue that breaks connections in the ways networks do.

cut: every connection is reset.   freeze: nothing passes, nobody is told (half-open).   delay: everything comes late.
swallow: a request passes, its answer does not.   All of it at the level of bytes: neither side knows that it is there.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)


class FaultProxy:
    """Listens on a port of its own and forwards to `target`, which may come and go."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.delay_s = 0.0
        self.swallowed = 0
        self.orders: list[float] = []
        """when requests that place an order passed, `time.monotonic`"""
        self._swallow: bytes | None = None
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                _reset(end)

    def freeze(self) -> None:
        """From now on nothing passes, on old connections and on new ones."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Everything passes again; what was frozen is lost with its connection."""
        self.cut()
        self._flowing.set()

    def swallow(self, request: bytes) -> None:
        """Let the next request that holds `request` through, and lose its answer with the connection."""
        self._swallow = request

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._flowing.set()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            venue = socket.create_connection(self.target, timeout=5)
        except OSError:
            _reset(client)
            return
        venue.settimeout(None)
        for end in (client, venue):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.add((client, venue))
        lost = threading.Event()
        threading.Thread(target=self._answers, args=(venue, client, lost), daemon=True).start()
        self._requests(client, venue, lost)

    def _requests(self, client: socket.socket, venue: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while content := client.recv(65_536):
                self._flowing.wait()
                if b"POST /fapi/v1/order" in content or b"POST /fapi/v1/algoOrder" in content:
                    self.orders.append(time.monotonic())
                if self._swallow is not None and self._swallow in content:
                    self._swallow = None
                    self.swallowed += 1
                    lost.set()
                venue.sendall(content)
        _reset(venue)

    def _answers(self, venue: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while content := venue.recv(65_536):
                self._flowing.wait()
                if lost.is_set():
                    break
                if self.delay_s:
                    time.sleep(self.delay_s)
                client.sendall(content)
        _reset(client)


def _reset(end: socket.socket) -> None:
    """Close with RST: the other side learns it at once."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
