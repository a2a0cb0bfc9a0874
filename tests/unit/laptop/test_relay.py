"""The file through which events go without Pub/Sub: pushed until taken, and nobody is blamed for the end."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloudrun.laptop import delivery
from cloudrun.laptop.delivery import FileRelay


class Consumer:
    """Answers with the given statuses one after the other; the last one stays."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.asked, self.last = list(statuses), threading.Semaphore(0), threading.Event()
        consumer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status = consumer.statuses.pop(0) if len(consumer.statuses) > 1 else consumer.statuses[0]
                self.send_response(status)
                self.end_headers()
                if len(consumer.statuses) == 1:
                    consumer.last.set()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_RETRY_S", 0.01)


def relayed(tmp_path: Path, consumer: Consumer) -> tuple[FileRelay, threading.Event, list[str]]:
    path, over, said = tmp_path / "events.jsonl", threading.Event(), list[str]()
    path.write_text(json.dumps({"type": "one-smart-trade.regime.classified.v1", "id": "e-1"}) + "\n")
    endpoints = {"bot": f"http://127.0.0.1:{consumer.server.server_port}/step"}
    relay = FileRelay(path, endpoints, over, said.append)
    relay.start()
    return relay, over, said


def test_an_event_that_must_wait_comes_again(tmp_path: Path) -> None:
    consumer = Consumer(503, 503, 202)
    relay, over, said = relayed(tmp_path, consumer)
    assert consumer.last.wait(10)
    over.set()
    relay.join(10)
    assert said == []


def test_what_is_given_up_is_told_with_its_answer(tmp_path: Path) -> None:
    told = threading.Event()
    consumer = Consumer(422)
    relay, over, said = relayed(tmp_path, consumer)
    while not said and relay.is_alive():
        told.wait(0.02)
    over.set()
    relay.join(10)
    assert len(said) == 1
    assert said[0].startswith("bot did not take regime.classified e-1: 422")


def test_what_is_under_way_at_the_end_is_not_complained_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_RETRY_S", 60.0)
    consumer = Consumer(503)
    relay, over, said = relayed(tmp_path, consumer)
    assert consumer.last.wait(10)
    over.set()
    relay.join(10)
    assert (relay.is_alive(), said) == (False, [])
