"""The chain of functions as in the cloud: each under functions-framework, pushed to by Pub/Sub, on object store and PostgreSQL.

A paper exchange in lockstep is the venue. The universe is two assets of one generated market.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from functions.dist import build
from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import SqlLedger, open_ledger
from shared.data.generated import generate_market, write_market
from shared.domain.asset import Asset
from shared.domain.events import Event
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from tests.integration.gcp.components import absent, free_port

ROOT = Path(__file__).parents[3]
START_MS = parse_date_ms("2025-07-01")
VENUE, SYMBOLS = "binanceusdm", ("BTCUSDT", "ETHUSDT")
BARS = 1600
OPEN_BARS = 1500
"""Bars that are closed when the exchange starts."""
START_S, ANSWER_S = 60.0, 60.0

PUSHES = {
    "candles-requested-ingest": ("candles-requested", "ingest"),
    "candles-ingested-curate": ("candles-ingested", "curate"),
    "candles-curated-classify": ("candles-curated", "classify"),
}
TOPICS = (
    "candles-requested",
    "candles-ingested",
    "candles-curated",
    "regimes-classified",
    "recalibration-triggered",
    "dead-letters",
)


def slot(bars: int) -> int:
    """Close of the bar after so many."""
    return START_MS + bars * HOUR_MS


@dataclass
class PubSub:
    """A project in the emulator, over its REST interface."""

    url: str
    project: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/v1/projects/{self.project}/{path}",
            method=method,
            data=json.dumps(body or {}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def publish(self, topic: str, data: bytes, **attributes: str) -> None:
        message = {"data": base64.b64encode(data).decode(), "attributes": attributes}
        self.call("POST", f"topics/{topic}:publish", {"messages": [message]})

    def held(self, subscription: str, count: int, timeout_s: float = ANSWER_S) -> list[dict[str, Any]]:
        """The next `count` messages of a pull subscription, as events; fewer where no more come in time."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout_s
        while len(found) < count and time.monotonic() < deadline:
            answer = self.call("POST", f"subscriptions/{subscription}:pull", {"maxMessages": 100, "returnImmediately": True})
            received = answer.get("receivedMessages", [])
            if not received:
                time.sleep(0.05)
                continue
            self.call("POST", f"subscriptions/{subscription}:acknowledge", {"ackIds": [one["ackId"] for one in received]})
            found += [json.loads(base64.b64decode(one["message"]["data"])) for one in received]
        return found


@dataclass
class Function:
    """One function as a process."""

    name: str
    archive: Path
    """the unpacked archive: what is not in it is not there in the cloud"""
    port: int
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "functions_framework", "--source=main.py", "--target=handle"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--host=127.0.0.1", f"--port={self.port}"],
                cwd=self.archive,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while self.status("GET") != 405:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{self.name} does not answer: {self.log.read_text()}"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, with the workers that it has started."""
        if self.process is not None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self.process.kill()
            for child in children:
                os.kill(int(child), 9)
            self.process.wait()
            self.process = None

    def status(self, method: str, body: Any = None, headers: dict[str, str] | None = None) -> int:
        """What a request is answered with; 0 where nobody answers."""
        request = urllib.request.Request(
            self.url,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def tick(self, slot_ms: int, **body: Any) -> int:
        """A call of the scheduler."""
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(slot_ms / 1000))
        return self.status("POST", body, {"X-CloudScheduler-ScheduleTime": text})

    def push(self, envelope: dict[str, Any] | Event) -> int:
        """A delivery of Pub/Sub."""
        content = envelope.as_cloud_event() if isinstance(envelope, Event) else envelope
        data = base64.b64encode(json.dumps(content).encode()).decode()
        return self.status("POST", {"message": {"data": data, "messageId": "1"}, "subscription": "s"})

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@dataclass
class Cloud:
    """Everything that the functions see, and they."""

    bucket: Any
    pubsub: PubSub
    ledger: SqlLedger
    exchange: Any
    environment: dict[str, str]
    archives: Path
    folder: Path
    functions: dict[str, Function] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        for name in names:
            log = self.folder / f"{name}.log"
            self.functions[name] = Function(name, self.archives / name, free_port(), self.environment, log)
            self.functions[name].start()

    def connect(self) -> None:
        """Topics, push subscriptions to the functions that run, and a pull subscription to each topic.

        What a pull takes that is given up at the same moment comes again after the deadline: a short one.
        """
        for topic in TOPICS:
            self.pubsub.call("PUT", f"topics/{topic}")
            hold = {"topic": f"projects/{self.pubsub.project}/topics/{topic}", "ackDeadlineSeconds": 10}
            self.pubsub.call("PUT", f"subscriptions/{topic}-hold", hold)
        for name, (topic, function) in PUSHES.items():
            if function in self.functions:
                self.pubsub.call("PUT", f"subscriptions/{name}", self._push(topic, self.functions[function].url))

    def _push(self, topic: str, url: str) -> dict[str, Any]:
        return {
            "topic": f"projects/{self.pubsub.project}/topics/{topic}",
            "pushConfig": {"pushEndpoint": url},
            "ackDeadlineSeconds": 60,
            "retryPolicy": {"minimumBackoff": "0.1s", "maximumBackoff": "0.5s"},
            "deadLetterPolicy": {
                "deadLetterTopic": f"projects/{self.pubsub.project}/topics/dead-letters",
                "maxDeliveryAttempts": 5,
            },
        }

    def state(self) -> dict[str, Any]:
        """All that the functions have stored: generation of each object, regimes by asset."""
        objects = {name: self.bucket.read(name).generation for name in self.bucket.list()}
        regimes = {symbol: self.ledger.regimes("signal", Asset(VENUE, symbol)) for symbol in SYMBOLS}
        return {"objects": objects, "regimes": regimes}

    def content(self) -> dict[str, bytes]:
        """The bytes of each object, and the regimes."""
        regimes = {symbol: repr(self.ledger.regimes("signal", Asset(VENUE, symbol))).encode() for symbol in SYMBOLS}
        return {name: self.bucket.read(name).content for name in self.bucket.list()} | regimes

    def stop(self) -> None:
        for function in self.functions.values():
            function.kill()


@pytest.fixture(scope="session")
def market_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    write_market(generate_market(np.random.default_rng(11), SYMBOLS, Interval.H1, START_MS, BARS), FolderBucket(folder))
    return folder


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` makes, unpacked: a folder for each function."""
    folder = tmp_path_factory.mktemp("archives")
    for path in build(ROOT, folder / "dist"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder / path.name.partition("-")[0])
    return folder


class Exchange:
    """A paper exchange in lockstep as a process."""

    def __init__(self, folder: Path) -> None:
        start = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(slot(OPEN_BARS) / 1000))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "cloudrun.exchange", "--market", str(folder), "--port", "0"),
                *("--start", start, "--exit-with-parent"),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().split()[1]

    def advance(self, bars: int) -> None:
        """Move its time to the close of the bar after so many."""
        import asyncio

        from shared.adapters.local.paper_control import PaperControl

        async def move() -> None:
            control = PaperControl(self.url, "paper", "paper")
            await control.advance(slot(bars) + 1000)
            await control.close()

        asyncio.run(move())


@pytest.fixture
def new_cloud(
    new_gcs_bucket: Callable[[], str],
    object_store: str,
    pubsub_emulator: str,
    pubsub_project: str,
    postgres: Any,
    _migrated_postgres: str,
    market_folder: Path,
    archives: Path,
    tmp_path: Path,
) -> Iterator[Callable[..., Cloud]]:
    if find_spec("functions_framework") is None:
        absent("functions-framework", "pip install functions-framework")
    clouds: list[Cloud] = []
    names: list[str] = []

    def make(**settings: str) -> Cloud:
        from shared.adapters.gcp.bucket import GcsBucket

        number, lake = len(clouds), new_gcs_bucket()
        names.append(postgres.create(_migrated_postgres))
        ledger_url = postgres.url(names[-1])
        exchange = Exchange(market_folder)
        project = f"{pubsub_project}-{number}"
        folder = tmp_path / f"cloud-{number}"
        folder.mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "STORAGE_EMULATOR_HOST": object_store,
            "PUBSUB_EMULATOR_HOST": pubsub_emulator,
            "GOOGLE_CLOUD_PROJECT": project,
            "OST_STORAGE__ROOT": f"gs://{lake}",
            "OST_BUS__URL": f"pubsub://{project}",
            "OST_LEDGER__URL": ledger_url,
            "OST_VENUE__BASE_URL": exchange.url,
            "OST_UNIVERSE__SYMBOLS": ",".join(SYMBOLS),
            "OST_INTERVALS": "1h",
            "OST_INGEST__DEFAULT_DAYS": "700",
            "OST_REGIME__TRAIN_BARS": "700",
            "OST_REGIME__BURN_IN_BARS": "200",
            "OST_LEDGER__CONNECTIONS": "1",
            **settings,
        }
        pubsub = PubSub(f"http://{pubsub_emulator}", project)
        ledger = open_ledger(ledger_url, migrate=False)
        cloud = Cloud(GcsBucket(lake), pubsub, ledger, exchange, environment, archives, folder)
        clouds.append(cloud)
        return cloud

    yield make
    for cloud in clouds:
        cloud.stop()
        cloud.ledger.close()
        cloud.exchange.process.kill()
        cloud.exchange.process.communicate()
    for name in names:
        postgres.drop(name)
    shutil.rmtree(tmp_path, ignore_errors=True)
