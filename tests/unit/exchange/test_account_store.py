"""The account in a bucket: brought back to the last digit, never behind an answer, never written over another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudrun.exchange.account_store import AccountStore, from_bytes, to_bytes
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.refusal import Refusal
from shared.adapters.local.bucket import FolderBucket
from shared.backtest.params import CostParams
from shared.domain.errors import ConfigError, Conflict, MalformedData, StorageError
from shared.ports import StoredObject

NAME = "exchange/account.json"


class Stormy:
    """A bucket that refuses, or that loses its answer after it has written, when told to."""

    def __init__(self, bucket: FolderBucket) -> None:
        self.bucket = bucket
        self.writes = 0
        self.refuses = self.loses_answers = False

    def read(self, name: str) -> StoredObject | None:
        if self.refuses:
            raise StorageError("the bucket does not answer")
        return self.bucket.read(name)

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        if self.refuses:
            raise StorageError("the bucket does not answer")
        self.writes += 1
        generation = self.bucket.write(name, content, if_generation=if_generation)
        if self.loses_answers:
            raise StorageError("the answer was lost")
        return generation

    def delete(self, name: str) -> None:
        self.bucket.delete(name)

    def list(self, prefix: str = "") -> list[str]:
        return self.bucket.list(prefix)


@pytest.fixture
def bucket(tmp_path: Path) -> Stormy:
    return Stormy(FolderBucket(tmp_path))


@pytest.fixture
def start(bench, bucket):
    """A desk on a market that is always the same, with the account of the bucket."""

    def started(seed: int = 4, symbols=("BTCUSDT", "ETHUSDT")) -> Desk:
        engine = bench.engine(bench.walk(seed, 200, symbols), CostParams())
        return Desk(engine, None, AccountStore(bucket, NAME, engine))

    return started


def trade(desk: Desk, bench, requests, hours: float = 0.0) -> None:
    """An hour of everything that an account can hold."""
    desk.advance(int(bench.at(hours + 1.25)["to_ms"]))
    desk.execute("order", requests.market("BUY", "0.01", newClientOrderId=f"in-{hours:g}"))
    price = float(desk.engine.core.price("BTCUSDT"))
    desk.execute("algo", requests.stop("SELL", f"{price * 0.9:.1f}", "0.01", clientAlgoId=f"stop-{hours:g}"))
    desk.execute("order", requests.limit("BUY", f"{price * 0.97:.1f}", "0.01", newClientOrderId=f"low-{hours:g}"))
    desk.execute("leverage", {"symbol": "ETHUSDT", "leverage": "3"})
    with pytest.raises(Refusal):
        desk.execute("order", requests.market("BUY", "999"))


def test_a_restart_brings_everything_back(bench, requests, start):
    desk = start()
    for hours in range(0, 60, 3):
        trade(desk, bench, requests, hours)
    again = start()
    assert again.engine.core.account == desk.engine.core.account
    assert again.engine.core.account.trades
    assert to_bytes(from_bytes(to_bytes(desk.engine.core.account), NAME)) == to_bytes(desk.engine.core.account)


def test_a_restart_at_any_hour_changes_nothing_of_what_happens_later(bench, requests, start, bucket):
    desk = start()
    trade(desk, bench, requests)
    bucket.bucket.write("copy", bucket.read(NAME).content)
    for hour in range(2, 150):
        desk.advance(int(bench.at(hour)["to_ms"]))
    expected = desk.engine.core.account
    assert len(expected.trades) > 2  # stop and limit
    bucket.bucket.write(NAME, bucket.read("copy").content)
    for hour in range(2, 150):
        start().advance(int(bench.at(hour)["to_ms"]))  # a new instance each hour
    final = start()
    final.advance(int(bench.at(149)["to_ms"]))
    assert final.engine.core.account == expected


def test_time_without_an_event_is_not_written(bench, start, bucket):
    desk = start()
    for hour in range(1, 100):
        desk.advance(int(bench.at(hour)["to_ms"]))
    assert bucket.writes == 1


def test_what_could_not_be_stored_was_not_done_and_can_be_done_again(bench, requests, start, bucket):
    desk = start()
    trade(desk, bench, requests)
    desk.advance(int(bench.at(2)["to_ms"]))
    before, told = desk.engine.state(), []
    desk.listener = lambda events, *_: told.extend(events)
    bucket.refuses = True
    with pytest.raises(StorageError, match="nothing was done"):
        desk.execute("order", requests.market("SELL", "0.01", newClientOrderId="out"))
    assert desk.engine.state() == before
    assert told == []
    bucket.refuses = False
    desk.execute("order", requests.market("SELL", "0.01", newClientOrderId="out"))
    assert start().engine.core.account == desk.engine.core.account


def test_an_order_whose_storing_was_not_answered_exists(bench, requests, start, bucket):
    desk = start()
    desk.advance(int(bench.at(1)["to_ms"]))
    bucket.loses_answers = True
    with pytest.raises(StorageError):
        desk.execute("order", requests.market("BUY", "0.01", newClientOrderId="in"))
    bucket.loses_answers = False
    assert "in" in desk.engine.core.account.by_client
    with pytest.raises(Refusal):  # sent again under its id it is refused as known
        desk.execute("order", requests.market("BUY", "0.01", newClientOrderId="in"))
    desk.execute("order", requests.market("SELL", "0.01"))
    assert start().engine.core.account == desk.engine.core.account


def test_an_instance_that_another_one_has_overtaken_takes_its_account_over(bench, requests, start):
    old, new = start(), start()
    trade(new, bench, requests)
    old.advance(int(bench.at(1)["to_ms"]))
    with pytest.raises(StorageError, match="generation") as refused:
        old.execute("order", requests.market("BUY", "0.02"))
    assert isinstance(refused.value.__cause__, Conflict)
    assert old.engine.core.account == new.engine.core.account
    old.execute("order", requests.market("BUY", "0.02"))
    assert start().engine.core.account == old.engine.core.account


def test_an_account_that_holds_what_the_market_lacks_is_refused(bench, requests, start):
    trade(start(), bench, requests)
    with pytest.raises(ConfigError, match="BTCUSDT, which the market lacks"):
        start(symbols=("ETHUSDT",))


def test_a_new_symbol_is_added_to_the_account(bench, requests, start):
    trade(start(), bench, requests)
    assert "ADAUSDT" in start(symbols=("BTCUSDT", "ETHUSDT", "ADAUSDT")).engine.core.account.positions


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"now_ms": 1}'])
def test_another_object_is_no_account(bucket, start, content):
    bucket.bucket.write(NAME, content)
    with pytest.raises(MalformedData, match="no account of this paper exchange"):
        start()
