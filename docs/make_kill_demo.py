"""Records docs/kill.svg and docs/kill.txt: `ost live` killed with -9 in the middle of an entry, and started again.

    python docs/make_kill_demo.py          (make kill-demo)

Everything is real: the paper exchange, the trader and the commands are processes of their own. A proxy between trader and
exchange holds answers back for half a second, so that there is a middle to hit: the order has reached the venue, its answer has
not reached the trader.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from shared.adapters.local.bucket import FolderBucket  # noqa: E402 - after the path
from shared.adapters.local.paper_control import PaperControl  # noqa: E402
from shared.adapters.sql import open_ledger  # noqa: E402
from shared.data.generated import generate_market, write_market  # noqa: E402
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms  # noqa: E402
from tests.e2e.live.proxy import FaultProxy  # noqa: E402

SYMBOL, BARS, END_MS, BOOK = "BTCUSDT", 2_200, parse_date_ms("2025-01-01"), "paper-1h"
WAIT_S = 240
SETTINGS = {
    "OST_REGIME__TRAIN_BARS": "500",
    "OST_REGIME__RESTARTS": "1",
    "OST_STRATEGY__ENTRY_THRESHOLD": "0.05",
    "OST_STRATEGY__EXIT_THRESHOLD": "0.02",
    "OST_BOT__LEASE_S": "4",
    "OST_BOT__BOOK": BOOK,
    "OST_UNIVERSE__SYMBOLS": SYMBOL,
    "NO_COLOR": "1",
    "COLUMNS": "110",
}
LIVE = ("live", "--mode", "paper")
COUNTS = {"orders": "order", "trades": "trade", "open_algo_orders": "stop resting"}


class Recording:
    """The terminal session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.console = Console(record=True, width=112, force_terminal=True, highlight=False)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("OST_")} | SETTINGS
        self.environment |= {"PYTHONPATH": str(REPOSITORY), "OST_STORAGE__ROOT": str(folder / "var")}

    def prompt(self, command: str) -> None:
        """A command as it was typed."""
        self.console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))

    def comment(self, words: str) -> None:
        """What a person would say about it."""
        self.console.print(Text(f"# {words}", style="cyan"))

    def run(self, *arguments: str) -> None:
        """A command to its end, with what it prints."""
        self.prompt(" ".join(("ost", *arguments)))
        options: dict[str, Any] = {"cwd": self.folder, "env": self.environment, "text": True}
        ended = subprocess.run(self.command(*arguments), capture_output=True, **options)  # noqa: S603
        self.console.print(Text((ended.stdout + ended.stderr).rstrip()))

    def live(self) -> subprocess.Popen[str]:
        """`ost live`, whose lines are shown as they come."""
        self.prompt(" ".join(("ost", *LIVE)))
        process = subprocess.Popen(  # noqa: S603
            self.command(*LIVE), cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._show, args=(process,), daemon=True).start()
        return process

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """`ost` with this interpreter."""
        return [sys.executable, "-m", "shared.cli.main", *arguments]

    def _show(self, process: subprocess.Popen[str]) -> None:
        for line in process.stderr or ():
            self.console.print(Text(line.rstrip()))

    def orders(self) -> list[str]:
        """The orders of the ledger, one line each."""
        with closing(open_ledger(f"sqlite:///{self.folder / 'var' / 'ledger.sqlite'}", migrate=False)) as ledger:
            fills = ledger.fills(BOOK)
            return [
                f"{order.intent.client_id}  {order.intent.kind.value:<6} {order.intent.side.value:<4} {order.intent.quantity}  "
                f"{order.state.value:<8} {sum(fill.client_id == order.intent.client_id for fill in fills)} fills"
                for order in ledger.orders(BOOK)
            ]

    def show_orders(self, exchange: str) -> None:
        """Both memories: the ledger's orders, and what the exchange says of the account."""
        self.comment("the ledger's orders, and the exchange's word")
        state = asyncio.run(_state(exchange))
        held = ", ".join(f"{symbol} {quantity}" for symbol, quantity in state["positions"].items()) or "nothing"
        counts = ", ".join(f"{state[key]} {what}" for key, what in COUNTS.items())
        for line in (*self.orders(), f"exchange: {counts}; it holds {held}"):
            self.console.print(Text(line))


async def _state(exchange: str) -> dict[str, Any]:
    control = PaperControl(exchange, "paper", "paper")
    try:
        return await control.state()
    finally:
        await control.close()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for `condition`."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"within {WAIT_S} s not: {what}")
        time.sleep(0.02)


def record(folder: Path) -> Recording:
    """Play the session."""
    session = Recording(folder)
    market = folder / "market"
    write_market(
        generate_market(np.random.default_rng(20), [SYMBOL], Interval.H1, END_MS - BARS * HOUR_MS, BARS), FolderBucket(market)
    )
    options = ["--market", str(market), "--start", "2024-12-12", "--speed", "180", "--port", "0"]
    exchange = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "cloudrun.exchange", *options, "--exit-with-parent"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    port = int((exchange.stdout.readline() if exchange.stdout else "").rsplit(":", 1)[1])
    proxy = FaultProxy(("127.0.0.1", port))
    session.environment["OST_VENUE__BASE_URL"] = proxy.url
    trader = session.live()
    try:
        proxy.delay_s = 0.5
        until(lambda: proxy.orders, "an order is sent")
        time.sleep(0.1)  # it is at the venue by now; its answer is held back
        trader.send_signal(signal.SIGKILL)
        trader.wait()
        proxy.delay_s = 0.0
        session.prompt(f"kill -9 {trader.pid}")
        session.comment("killed in the middle of an entry: the order is at the exchange, its answer never came back")
        session.show_orders(f"http://127.0.0.1:{port}")
        session.comment("the same command goes on: the order is looked up by its id, booked once, and put under its stop")
        trader = session.live()
        until(lambda: sum("filled" in line for line in session.orders()) >= 1, "the order is settled")
        until(lambda: any("stop" in line and "open" in line for line in session.orders()), "the stop rests")
        time.sleep(22)
        trader.send_signal(signal.SIGINT)
        trader.wait(timeout=15)
        time.sleep(0.5)
        session.show_orders(f"http://127.0.0.1:{port}")
        session.run("status", "--book", BOOK)
        session.run("db", "check")
    finally:
        for process in (trader, exchange):
            if process.poll() is None:
                process.kill()
                process.wait()
        proxy.close()
    return session


def main() -> None:
    """Record, and write both files."""
    with tempfile.TemporaryDirectory() as folder:
        session = record(Path(folder))
    here = Path(__file__).parent
    (here / "kill.txt").write_text(session.console.export_text(clear=False), encoding="utf-8")
    svg = session.console.export_svg(title="ost live: kill -9 in the middle of an entry", unique_id="kill")
    (here / "kill.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
