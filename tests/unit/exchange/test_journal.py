"""A restart brings the account back: replay, a torn last line, another market, a full disk."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal

import pytest

from cloudrun.exchange.desk import Desk
from cloudrun.exchange.engine import Engine
from cloudrun.exchange.journal import Journal, open_journal
from cloudrun.exchange.refusal import Refusal
from shared.backtest.params import CostParams
from shared.domain.errors import ConfigError, MalformedData, StorageError


@pytest.fixture
def market(bench):
    return bench.walk(7, bars=400)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "paper.journal"


def traded(bench, requests, market, path, rounds=20):
    desk = Desk(bench.engine(market, CostParams()), None)
    desk = Desk(desk.engine, open_journal(path, desk.engine))
    for number in range(rounds):
        desk.execute("order", requests.market("BUY" if number % 3 else "SELL", "0.010", newClientOrderId=f"o{number}"))
        desk.execute("algo", requests.stop("SELL", "20000", "0.010", clientAlgoId=f"s{number}"))
        with pytest.raises(Refusal):
            desk.execute("order", requests.market("BUY", "0.010", newClientOrderId=f"o{number}"))
        desk.advance(desk.now_ms + bench.hour_ms)
    desk.close()
    return desk.engine


def test_replay_equals_the_live_state_to_the_last_identifier(bench, requests, market, path):
    live = traded(bench, requests, market, path)
    again = bench.engine(market, CostParams())
    journal = open_journal(path, again)
    assert again.core.account == live.core.account
    assert again.take_events() == []
    assert (journal.replayed, journal.note) == (80, None)


def test_a_torn_last_line_is_cut_off_and_said(bench, requests, market, path):
    live = traded(bench, requests, market, path)
    with path.open("ab") as file:
        file.write(b'["order",{"symbol":"BTCU')
    again = bench.engine(market, CostParams())
    journal = open_journal(path, again)
    assert "cut off an incomplete last line of 24 bytes" in (journal.note or "")
    assert again.core.account == live.core.account
    journal.append("advance", bench.at(21))
    journal.close()
    third = bench.engine(market, CostParams())
    open_journal(path, third)
    assert third.now_ms == bench.start_ms + 21 * bench.hour_ms


def test_a_torn_header_starts_the_account_anew(bench, market, path):
    path.parent.mkdir()
    path.write_bytes(b'{"format":1,"mar')
    open_journal(path, bench.engine(market)).close()
    assert open_journal(path, bench.engine(market)).replayed == 0


@pytest.mark.parametrize("change", ["market", "capital", "costs"])
def test_another_market_or_configuration_is_refused(bench, requests, market, path, change):
    traded(bench, requests, market, path, rounds=1)
    config = bench.engine(market, CostParams()).config
    if change == "market":
        market = bench.walk(8, bars=400)
    elif change == "capital":
        config = replace(config, capital=Decimal(9_999))
    else:
        config = replace(config, costs=CostParams(taker_fee_bps=4.0))
    with pytest.raises(ConfigError, match="belongs to another account"):
        open_journal(path, Engine(market, config))


def test_an_unreadable_line_in_the_middle_is_named(bench, requests, market, path):
    traded(bench, requests, market, path, rounds=1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"nonsense\n", *lines[1:]]))
    with pytest.raises(MalformedData, match="line 2"):
        open_journal(path, bench.engine(market, CostParams()))


def test_a_command_that_cannot_be_written_down_is_not_applied(bench, requests, market, path):
    with open("/dev/full", "ab", buffering=0) as full:  # noqa: PTH123 - a device that is always full
        desk = Desk(bench.engine(market), Journal(full, path, None, 0))
        with pytest.raises(StorageError, match="free space"):
            desk.execute("order", requests.market("BUY", "0.010"))
    assert desk.engine.core.account.orders == {}


def test_replay_is_fast_enough_for_a_hundred_thousand_commands_in_seconds(bench, market, path):
    open_journal(path, bench.engine(market, CostParams())).close()
    order = '"symbol":"BTCUSDT","type":"MARKET","quantity":"0.010"'
    with path.open("a") as file:
        for number in range(5_000):
            side = "BUY" if number % 2 else "SELL"
            file.write(f'["order",{{{order},"side":"{side}","newClientOrderId":"o{number}"}}]\n')
            file.write(f'["advance",{{"to_ms":"{bench.start_ms + number * 60_000}"}}]\n')
    began = time.perf_counter()
    assert open_journal(path, bench.engine(market, CostParams())).replayed == 10_000
    assert time.perf_counter() - began < 5  # a tenth of the commands, and slow machines exist
