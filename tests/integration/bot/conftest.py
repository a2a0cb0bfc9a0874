"""A paper exchange whose time is the present, and a server in front of it that answers some requests itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import SystemClock
from shared.cli.main import app
from shared.data.generated import generate_market, write_market
from shared.domain.interval import HOUR_MS, Interval, format_ms

SYMBOLS = ("BTCUSDT", "ETHUSDT")
REPOSITORY = Path(__file__).resolve().parents[3]
NOBODY = "http://127.0.0.1:9"
Edit = Callable[[int, Any], tuple[int, Any]]
"""(status, body) that the venue has answered -> what is told instead"""


@dataclass
class Imposter:
    """A reverse proxy that answers for the venue where it is told to."""

    target: str
    edits: dict[tuple[str, str], Edit] = field(default_factory=dict)
    url: str = ""

    def answer(self, method: str, path: str, status: int, body: Any) -> None:
        """Tell `status` and `body` instead of asking the venue."""
        self.edits[method, path] = lambda *_: (status, body)

    def edit(self, method: str, path: str, change: Callable[[Any], Any]) -> None:
        """Tell what the venue has answered, changed."""
        self.edits[method, path] = lambda status, body: (status, change(body))

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        if request.headers.get("Upgrade"):
            self._tunnel(request)
            return
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length) if length else None
        key = (request.command, request.path.partition("?")[0])
        headers = {name: value for name, value in request.headers.items() if name.lower() in ("x-mbx-apikey", "content-type")}
        asked = urllib.request.Request(self.target + request.path, body, headers, method=request.command)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                status, content = answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read()
            status, content = error.code, json.loads(text) if text.startswith(b"{") else {}
        if key in self.edits:
            status, content = self.edits[key](status, content)
        text = json.dumps(content).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _tunnel(self, request: BaseHTTPRequestHandler) -> None:
        """A WebSocket goes through as it is."""
        host, port = self.target.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as venue:
            lines = [request.requestline, *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
            venue.sendall("\r\n".join(lines).encode())
            threading.Thread(target=_pump, args=(venue, request.connection), daemon=True).start()
            _pump(request.connection, venue)
        request.close_connection = True


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            sink.sendall(content)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def serving(imposter: Imposter) -> Iterator[Imposter]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            imposter.handle(self)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    imposter.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield imposter
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def market_now(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Hourly bars of two assets that end in the future, and the present."""
    now_ms = SystemClock().now_ms()
    folder, bars = tmp_path_factory.mktemp("now"), 1_400
    start_ms = Interval.H1.floor(now_ms) + 100 * HOUR_MS - bars * HOUR_MS
    write_market(generate_market(np.random.default_rng(3), SYMBOLS, Interval.H1, start_ms, bars), FolderBucket(folder))
    return folder, now_ms


@contextmanager
def paper_exchange(market: Path, *arguments: str) -> Iterator[str]:
    """A paper exchange process; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cloudrun.exchange", "--market", str(market), "--port", "0", "--exit-with-parent", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("OST_")},
    )
    try:
        yield process.stdout.readline().split()[1]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def exchange_now(market_now: tuple[Path, int]) -> Iterator[str]:
    """A paper exchange at the speed of real time, in the present."""
    folder, now_ms = market_now
    with paper_exchange(folder, "--speed", "1", "--start", format_ms(now_ms).replace(" ", "T")) as url:
        yield url


@pytest.fixture
def imposter(exchange_now: str) -> Iterator[Imposter]:
    """A server in front of it."""
    with serving(Imposter(exchange_now)) as made:
        yield made


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`ost` in this process, in a folder of its own; the environment holds only what is given."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OST_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, environment: Mapping[str, str] = {}) -> Result:
        quick = {"OST_UNIVERSE__SYMBOLS": ",".join(SYMBOLS), "OST_BOT__LEASE_S": "2", "OST_EXCHANGE__READ_ATTEMPTS": "1"}
        quick["OST_EXCHANGE__CLOCK_SKEW_LIMIT_MS"] = "60000"  # `exchange_now` is as late as its process was to start
        quick |= {"OST_STREAM__TIMEOUT_S": "1", "COLUMNS": "300", "NO_COLOR": "1", "OST_REGIME__TRAIN_BARS": "500"}
        return CliRunner().invoke(app, list(arguments), env={**quick, **environment})

    return run
