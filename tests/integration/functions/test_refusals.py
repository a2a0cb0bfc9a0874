"""Whatever refuses a function: the status says whether to come again, the log names the event, and nothing is half written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared.domain.asset import Asset, Universe
from shared.domain.data_events import CandlesCurated, CandlesIngested, CandlesRequested
from shared.domain.interval import Interval
from tests.integration.functions.conftest import OPEN_BARS, SYMBOLS, VENUE, Cloud, slot

BTC = Asset(VENUE, "BTCUSDT")
REQUESTED = CandlesRequested(Universe.of(VENUE, SYMBOLS), Interval.H1, slot(OPEN_BARS), 0, 1).made()
INGESTED = CandlesIngested(BTC, Interval.H1, slot(OPEN_BARS), "c-1").made()
CURATED = CandlesCurated(BTC, Interval.H1, slot(OPEN_BARS), "f-1").made()
NewCloud = Callable[..., Cloud]


class Forbidding(BaseHTTPRequestHandler):
    """A service in which we have no permission."""

    def do_GET(self) -> None:
        content = b'{"error": {"code": 403, "message": "fn-curate does not have storage.objects.get access"}}'
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def forbidding() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forbidding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def refusal(cloud: Cloud, name: str) -> dict[str, Any]:
    return [line for line in cloud.functions[name].lines() if line.get("event") == "call.refused"][-1]


def test_another_version_of_an_event_is_refused_for_good(new_cloud: NewCloud) -> None:
    cloud = new_cloud()
    cloud.start("curate")
    later = {**INGESTED.as_cloud_event(), "type": "one-smart-trade.candles.ingested.v2"}
    assert cloud.functions["curate"].push(later) == 422
    assert "has version '2', this program reads 1" in refusal(cloud, "curate")["message"]
    assert cloud.functions["curate"].push(CURATED) == 422
    assert "is candles.curated, expected candles.ingested" in refusal(cloud, "curate")["message"]
    assert cloud.bucket.list() == []


def test_a_permission_that_is_missing_is_asked_for_again_and_named(new_cloud: NewCloud, forbidding: str) -> None:
    cloud = new_cloud(STORAGE_EMULATOR_HOST=f"http://{forbidding}")
    cloud.start("curate")
    assert cloud.functions["curate"].push(INGESTED) == 503
    told = refusal(cloud, "curate")
    assert "permission denied; grant the service account the role for it" in told["message"]
    assert (told["error"], told["status"]) == ("StorageForbidden", 503)
    assert told["logging.googleapis.com/labels"]["event_id"] == INGESTED.id
    (failed,) = [line for line in cloud.functions["curate"].lines() if line.get("event") == "ingestion.failed"]
    assert failed["severity"] == "ERROR"  # the alert counts it, though it is tried again


def test_a_venue_that_is_gone_leaves_the_lake_as_it_was(new_cloud: NewCloud) -> None:
    cloud = new_cloud(OST_VENUE__BASE_URL="http://127.0.0.1:9")
    cloud.start("ingest")
    cloud.connect()
    assert cloud.functions["ingest"].push(REQUESTED) == 503
    failed = [line for line in cloud.functions["ingest"].lines() if line.get("event") == "ingestion.failed"]
    assert {line["asset"] for line in failed} == {f"{VENUE}:{symbol}" for symbol in SYMBOLS}
    assert cloud.bucket.list() == []
    assert cloud.pubsub.held("candles-ingested-hold", 1, timeout_s=1) == []


def test_what_a_bus_did_not_take_is_told_by_the_next_attempt(new_cloud: NewCloud) -> None:
    cloud = new_cloud(PUBSUB_EMULATOR_HOST="127.0.0.1:9")
    cloud.start("ingest", "curate")
    assert cloud.functions["ingest"].push(REQUESTED) == 503
    assert refusal(cloud, "ingest")["error"] == "BusUnavailable"
    stored = cloud.state()["objects"]
    assert f"raw/{VENUE}/BTCUSDT/1h/data.parquet" in stored
    assert cloud.functions["curate"].push(INGESTED) == 503
    curated = cloud.state()["objects"]
    assert f"curated/{VENUE}/BTCUSDT/1h/data.parquet" in curated

    back = new_cloud(**{name: cloud.environment[name] for name in ("OST_STORAGE__ROOT", "OST_VENUE__BASE_URL")})
    back.start("ingest", "curate")
    back.connect()
    assert back.functions["ingest"].push(REQUESTED) == 204
    assert {event["data"]["symbol"] for event in back.pubsub.held("candles-ingested-hold", 2)} == set(SYMBOLS)
    assert {event["data"]["symbol"] for event in back.pubsub.held("candles-curated-hold", 2)} == set(SYMBOLS)
    raw = {name: generation for name, generation in curated.items() if name.endswith("data.parquet")}
    assert raw.items() <= cloud.state()["objects"].items()


def test_settings_that_cannot_be_used_are_one_line_and_no_retry(new_cloud: NewCloud) -> None:
    cloud = new_cloud(OST_RISK__MAX_LEVRAGE="1")
    cloud.start("curate")
    assert cloud.functions["curate"].push(INGESTED) == 422
    told = refusal(cloud, "curate")
    assert (told["error"], told["severity"]) == ("ConfigError", "ERROR")
    assert "did you mean risk.max_leverage?" in told["message"]
