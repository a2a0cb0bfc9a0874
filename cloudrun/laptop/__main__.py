"""`python -m cloudrun.laptop`, `make up`: the cloud on this computer, from the scheduler to the fill, until Ctrl-C.

A paper exchange replays a generated market in quickened time; the functions, the bot (profile schedule), Pub/Sub, the object
store and PostgreSQL are processes with logs of their own. What this computer lacks is named and replaced by what is built in.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cloudrun.laptop import components, delivery
from cloudrun.laptop.process import ROOT, Interrupted, Part, answers, free_port
from cloudrun.laptop.schedule import Running, jobs
from shared.domain.asset import Universe
from shared.domain.errors import OstError, UsageError
from shared.domain.interval import HOUR_MS, format_ms

FUNCTIONS = ("ingest", "curate", "classify", "signal", "monitor", "recalibrate", "maintain")
_SAY_LOCK = threading.Lock()


def say(text: str) -> None:
    """A line for the person who looks on."""
    with _SAY_LOCK:
        print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C; the exit code."""
    parser = argparse.ArgumentParser(prog="make up", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT", help="generated assets (default BTCUSDT,ETHUSDT)")
    parser.add_argument("--speed", type=float, default=120.0, help="simulated seconds in a real one (default 120)")
    parser.add_argument("--folder", type=Path, default=ROOT / "var", help="logs and embedded stores go below it (default var)")
    parser.add_argument("--seconds", type=float, help="end by itself after so long")
    given = parser.parse_args(arguments)
    over = threading.Event()
    try:
        symbols = Universe.of("generated", tuple(given.symbols.split(",")))
        folder = _folder(given.folder)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        with ExitStack() as stack:
            return _Laptop(folder, tuple(asset.symbol for asset in symbols), given.speed, over, stack).run(given.seconds)
    except Interrupted as error:
        say(f"{error}; all parts have ended")
        return 0
    except OstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _folder(below: Path) -> Path:
    """A new folder. Raises `UsageError` where none can be made."""
    try:
        below.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="up-", dir=below.resolve()))
    except OSError as error:
        raise UsageError(f"--folder {below}: {error.strerror}; name a folder that can be written") from None


class _Laptop:
    def __init__(self, folder: Path, symbols: tuple[str, ...], speed: float, over: threading.Event, stack: ExitStack) -> None:
        self._folder, self._symbols, self._speed, self._over, self._stack = folder, symbols, speed, over, stack
        self._parts: list[Part] = []
        self._ready: set[str] = set()
        self._exchange = ""

    def run(self, seconds: float | None) -> int:
        """Start all, keep the schedules until it is over, end all; 1 where a part ended by itself."""
        say(f"logs: {self._folder}")
        environment, pubsub = self._stores()
        self._start_exchange()
        environment |= self._settings()
        endpoints = self._start_services(environment)
        if pubsub:
            delivery.subscribe(pubsub, endpoints)
        else:
            delivery.FileRelay(self._folder / "events.jsonl", endpoints, self._over, say).start()
        since_ms = self._now_ms() - HOUR_MS  # the last hour is asked for at once
        for job in jobs(endpoints, "1h"):
            Running(job, since_ms, self._now_ms, self._over, self._told).start()
        status = endpoints["bot"].removesuffix("/step") + "/status"
        say(f"up: an hour of the market in {3600 / self._speed:g} s; the bot's book: {status}; Ctrl-C ends all")
        return self._watch(seconds)

    def _stores(self) -> tuple[dict[str, str], str | None]:
        """Start what stores and delivers; its settings, and the address of Pub/Sub."""
        environment = {"OST_STORAGE__ROOT": str(self._folder), "TMPDIR": str(self._folder)}
        pubsub = components.pubsub(self._folder, say)
        # The file through which events go without Pub/Sub is in the folder that is the lake then.
        store = components.object_store(self._folder, say) if pubsub is not None else None
        ledger = components.postgres(self._folder, say, self._stack, self._over)
        ledger_url = ledger[1] if ledger else f"sqlite:///{self._folder / 'ledger.sqlite'}"
        for made in (pubsub, store, ledger):
            if made is not None:
                self._begin(made[0])
        self._await()
        if pubsub is not None:
            environment |= {"PUBSUB_EMULATOR_HOST": pubsub[1], "OST_BUS__URL": f"pubsub://{components.PROJECT}"}
            environment["GOOGLE_CLOUD_PROJECT"] = components.PROJECT
        if store is not None:
            components.make_lake(store[1])
            environment |= {"STORAGE_EMULATOR_HOST": store[1], "OST_STORAGE__ROOT": f"gs://{components.LAKE}"}
        from shared.adapters.sql import open_ledger

        open_ledger(ledger_url).close()
        return {**environment, "OST_LEDGER__URL": ledger_url}, pubsub[1] if pubsub else None

    def _start_exchange(self) -> None:
        from cloudrun.laptop.market import begin_of, market_around
        from shared.adapters.local.bucket import FolderBucket
        from shared.data.generated import write_market

        begin, market = begin_of(datetime.now(UTC)), self._folder / "market"
        write_market(market_around(begin, self._symbols), FolderBucket(market))
        port = free_port()
        self._exchange = f"http://127.0.0.1:{port}"
        options = ["--market", str(market), "--port", str(port), "--start", begin.isoformat(), "--speed", str(self._speed)]
        ready = partial(answers, f"{self._exchange}/fapi/v1/time")
        self._begin(Part("exchange", [sys.executable, "-m", "cloudrun.exchange", *options], self._log("exchange"), ready))
        self._await()

    def _settings(self) -> dict[str, str]:
        """Of all components."""
        from cloudrun.laptop.market import SETTINGS

        return {
            **SETTINGS,
            "OST_VENUE__BASE_URL": self._exchange,
            "OST_UNIVERSE__SYMBOLS": ",".join(self._symbols),
            "OST_EXCHANGE__WEIGHT_PER_MINUTE": "null",  # a minute of the exchange is none of this computer
            "OST_BOT__MODE": "schedule",
            "OST_BOT__BOOK": "up",
        }

    def _start_services(self, environment: dict[str, str]) -> dict[str, str]:
        """Start the functions and the bot; where they are called."""
        endpoints = {}
        for name in FUNCTIONS:
            port = free_port()
            endpoints[name] = f"http://127.0.0.1:{port}"
            source = str(ROOT / "functions" / name / "main.py")
            command = [sys.executable, "-m", "functions_framework", f"--source={source}", "--target=handle", "--host=127.0.0.1"]
            ready = partial(answers, endpoints[name], 405)
            self._begin(Part(name, [*command, f"--port={port}"], self._log(name), ready, environment))
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "cloudrun.bot"]
        ready = partial(answers, f"{url}/healthz")
        self._begin(Part("bot", command, self._log("bot"), ready, {**environment, "PORT": str(port)}))
        self._await()
        return {**endpoints, "bot": f"{url}/step"}

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _begin(self, part: Part) -> None:
        if self._over.is_set():
            raise Interrupted(f"{part.name} was not begun yet")
        self._parts.append(part)
        self._stack.callback(part.stop)
        part.start()

    def _await(self) -> None:
        """Wait for the parts that were begun since the last time. They end together, and before those on which they rest."""
        begun = [part for part in self._parts if part.name not in self._ready]
        for part in begun:
            self._stack.callback(part.tell)
        for part in begun:
            seconds = part.wait(self._over)
            self._ready.add(part.name)
            say(f"ready: {part.name} ({seconds:.1f} s more)")

    def _now_ms(self) -> int:
        """The time of the exchange."""
        with urllib.request.urlopen(f"{self._exchange}/fapi/v1/time", timeout=10) as answer:  # noqa: S310 - loopback
            return int(json.loads(answer.read())["serverTime"])

    def _told(self, name: str, slot_ms: int, status: int, text: str) -> None:
        if name == "bot-tend" and status in (200, 202):  # done, or a step is at work on the book
            return
        if name.startswith("bot-step") and status == 200:
            found = json.loads(text)
            moves = [f"{row['symbol']} {row['action']}" for row in found["decisions"]]
            text = f"equity {found['equity']}, {found['fills']} fills: {', '.join((*moves, *found['problems']))}"
        say(f"{format_ms(slot_ms)}  scheduler  {name}: {status} {' '.join(text.split())[:200]}")

    def _watch(self, seconds: float | None) -> int:
        end = None if seconds is None else time.monotonic() + seconds
        places = {part.name: 0 for part in self._parts}
        while not self._over.wait(0.3) and (end is None or time.monotonic() < end):
            for part in self._parts:
                places[part.name] = self._show(part, places[part.name])
                if part.ended() is not None:
                    say(f"{part.name} has ended with {part.ended()}; its log is {part.log}")
                    self._over.set()
                    return 1
        self._over.set()
        say("ending all parts")
        return 0

    def _show(self, part: Part, place: int) -> int:
        """What the log of a part says has happened; the place up to which it was read."""
        with part.log.open("rb") as log:
            log.seek(place)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        for line in whole.splitlines():
            if line.startswith(b"{") and b'"event"' in line and b'"heartbeat"' not in line:
                found = json.loads(line)
                say(f"{'':16}  {part.name}  {found['event']}: {found.get('message', '')[:200]}")
        return place + len(whole)


if __name__ == "__main__":
    sys.exit(main())
