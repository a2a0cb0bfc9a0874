"""A book belongs to one place: it is begun when its start was not refused, and every command acts where it was begun."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import Result

from cloudrun.bot.trader import is_looked_after
from shared.adapters.local.clock import SystemClock
from shared.adapters.sql import SqlLedger, open_ledger
from shared.config.settings import LIVE_CONFIRMATION
from shared.domain.orders import Fill, Side
from shared.domain.records import EquityPoint, Halt, Heartbeat
from tests.integration.bot.conftest import NOBODY, Imposter
from tests.integration.bot.test_refusals import KEYS, refused, testnet

Run = Callable[..., Result]
BOOK = "testnet-1h"
NOT_ON_PAPER = {**KEYS, "OST_PAPER_KEY": "of nobody"}
"""Keys with which the venue is reached in mode testnet only"""
EAGER = {
    "OST_STRATEGY__ENTRY_THRESHOLD": "0.02",
    "OST_STRATEGY__EXIT_THRESHOLD": "0.01",
    "OST_STRATEGY__REBALANCE_BAND": "0.01",
    "OST_RUN__MAX_DECISION_AGE": "1",
}


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[[], closing[SqlLedger]]:
    (tmp_path / "var").mkdir()
    return lambda: closing(open_ledger(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}"))


Open = Callable[[], closing[SqlLedger]]


def begun(opened: SqlLedger, book: str = BOOK, url: str | None = None, **changes: object) -> None:
    """A book of a testnet whose venue is at `url`."""
    place = {"mode": "testnet", "venue": "binanceusdm", "base_url": url, "interval": "1h", "symbols": ["BTCUSDT"]}
    opened.register_book(book, SystemClock().now_ms(), {**place, "live": True, **changes})


def hold(opened: SqlLedger, book: str = BOOK, symbol: str = "BTCUSDT") -> None:
    fill = Fill(symbol, "1", None, "1", Side.BUY, Decimal("0.5"), Decimal(100), Decimal(0), SystemClock().now_ms())
    opened.add_fills(book, [fill])


def test_a_start_that_is_refused_begins_no_book(ost: Run, exchange_now: str, ledger: Open) -> None:
    refused(ost("live", environment=testnet(exchange_now, OST_BINANCE_API_KEY="revoked")), "-2015")
    with closing(open_ledger("sqlite:///var/ledger.sqlite")) as opened:
        assert opened.books() == []


def test_a_book_that_was_refused_at_the_venue_is_not_taken_for_the_one_that_trades(
    ost: Run, imposter: Imposter, ledger: Open
) -> None:
    with ledger() as opened:
        begun(opened, "traded", url=NOBODY)
        opened.record_equity("traded", EquityPoint(SystemClock().now_ms(), Decimal(99), Decimal(99), Decimal(99)))
    imposter.answer("POST", "/fapi/v1/leverage", 400, {"code": -4028, "msg": "Leverage 7 is not valid"})
    refused(ost("live", environment=testnet(imposter.url, OST_RUN__LEVERAGE="7")), "-4028")
    assert "traded" in ost("status").stdout.splitlines()[1]


def test_a_start_that_is_refused_begins_no_book_on_an_exchange_of_its_own(
    ost: Run, market_now: tuple[Path, int], ledger: Open
) -> None:
    result = ost("live", "--data", str(market_now[0]), "--days", "2", environment={"OST_RUN__CAPITAL": "3"})
    refused(result, "smallest order")
    with ledger() as opened:
        assert opened.books() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "live"}, ("mode live", "now testnet")),
        ({"venue": "other"}, ("venue other",)),
        ({"interval": "4h"}, ("interval 4h", "now 1h")),
        ({"base_url": "http://127.0.0.1:1"}, ("venue.base_url http://127.0.0.1:1",)),
        ({"base_url": None}, ("venue.base_url null",)),
        ({"market_hash": "market-1"}, ("paper exchange of its own",)),
    ],
)
def test_a_book_does_not_go_on_at_another_place(
    ost: Run, ledger: Open, changes: dict[str, object], words: tuple[str, ...]
) -> None:
    with ledger() as opened:
        begun(opened, **({"url": NOBODY} | changes if "base_url" not in changes else changes))  # type: ignore[arg-type]
    refused(ost("live", environment=testnet(NOBODY)), *words, "another name", code=2)


def test_a_testnet_book_is_not_traded_on_paper_by_its_name(ost: Run, exchange_now: str, ledger: Open) -> None:
    with ledger() as opened:
        begun(opened, url=None)
    result = ost("live", "--book", BOOK, environment={"OST_VENUE__BASE_URL": exchange_now})
    refused(result, "mode testnet", "now paper", "another name", code=2)


def test_a_symbol_that_is_held_cannot_be_left_out(ost: Run, ledger: Open) -> None:
    with ledger() as opened:
        begun(opened, url=NOBODY)
        hold(opened, symbol="ETHUSDT")
    refused(ost("live", "--symbols", "BTCUSDT", environment=testnet(NOBODY)), "0.5 ETHUSDT", "ost emergency", code=2)


def test_real_money_is_not_kept_in_a_file(ost: Run) -> None:
    settings = {"OST_MODE": "live", "OST_CONFIRM_LIVE": LIVE_CONFIRMATION, **KEYS}
    refused(ost("live", "--mode", "live", environment=settings), "PostgreSQL", "OST_LEDGER__URL", code=2)


def test_a_name_on_an_exchange_of_its_own_is_refused(ost: Run) -> None:
    refused(ost("live", "--book", "mine"), "--book", "--fresh", code=2)


def test_an_emergency_is_carried_out_where_the_book_trades(ost: Run, exchange_now: str, ledger: Open) -> None:
    """The trader was started with flags and is dead; the settings of whoever gives the command say paper."""
    traded = ost("live", "--once", "--symbols", "BTCUSDT", environment=testnet(exchange_now, **EAGER))
    assert traded.exit_code == 0, traded.output
    with ledger() as opened:
        assert opened.positions(BOOK)["BTCUSDT"].quantity != 0
    ended = ost("emergency", "--reason", "enough", "--yes", environment=NOT_ON_PAPER)
    assert ended.exit_code == 0, ended.output
    assert "BTCUSDT" in ended.stdout
    with ledger() as opened:
        assert opened.positions(BOOK)["BTCUSDT"].quantity == 0
        assert opened.emergencies(BOOK)[0].closed == ("BTCUSDT",)
        assert [record.book for record in opened.books()] == [BOOK]


def test_an_emergency_of_real_money_needs_the_settings_of_its_trader(ost: Run, ledger: Open) -> None:
    with ledger() as opened:
        begun(opened, "main", mode="live")
    refused(
        ost("emergency", "--reason", "enough", "--yes", environment=KEYS), "real money", "confirm_live", "halt stays", code=2
    )
    elsewhere = testnet(NOBODY, OST_MODE="live", OST_CONFIRM_LIVE=LIVE_CONFIRMATION)
    refused(ost("emergency", "--reason", "enough", "--yes", environment=elsewhere), "venue.base_url null", "halt stays", code=2)


def test_a_freeze_is_not_lifted_while_ledger_and_venue_differ(ost: Run, exchange_now: str, ledger: Open) -> None:
    now_ms = SystemClock().now_ms()
    with ledger() as opened:
        begun(opened, url=exchange_now)
        hold(opened)
        opened.set_halt(Halt(BOOK, "position differs by 0.5", now_ms, None, symbol="BTCUSDT"))
    result = ost("resume", "--symbol", "BTCUSDT", "--reason", "looked", environment=KEYS)
    refused(result, "BTCUSDT: the ledger holds 0.5, the venue 0", "nothing was lifted")
    with ledger() as opened:
        assert len(opened.halts(BOOK, now_ms)) == 1


def test_a_freeze_is_not_lifted_unseen(ost: Run, ledger: Open) -> None:
    now_ms = SystemClock().now_ms()
    with ledger() as opened:
        begun(opened, url=NOBODY)
        opened.set_halt(Halt(BOOK, "position differs by 0.5", now_ms, None, symbol="BTCUSDT"))
    refused(ost("resume", "--reason", "looked", environment=KEYS), "nothing was lifted", NOBODY)
    with ledger() as opened:
        assert len(opened.halts(BOOK, now_ms)) == 1


def test_a_freeze_is_lifted_where_ledger_and_venue_agree(ost: Run, exchange_now: str, ledger: Open) -> None:
    now_ms = SystemClock().now_ms()
    with ledger() as opened:
        begun(opened, url=exchange_now, symbols=["ETHUSDT"])
        opened.set_halt(Halt(BOOK, "a foreign order", now_ms, None, symbol="ETHUSDT"))
    result = ost("resume", "--reason", "looked", environment=NOT_ON_PAPER)
    assert result.exit_code == 0, result.output
    with ledger() as opened:
        assert opened.halts(BOOK, now_ms) == []


def test_the_book_that_is_traded_now_comes_first_then_one_that_holds(ost: Run, ledger: Open) -> None:
    with ledger() as opened:
        for name in ("a", "b", "c"):
            begun(opened, name, url=NOBODY)
    several = ost("status")
    refused(several, "3 books could be meant", "c; b; a.", "--book", code=2)
    with ledger() as opened:
        hold(opened, "b")
    assert "b" in ost("slippage").stdout.split()
    with ledger() as opened:
        opened.beat(Heartbeat("a", "trader", "h", SystemClock().now_ms(), {"state": "trading"}))
    assert "trading, testnet" in ost("status").stdout
    refused(ost("export"), "the book a has decided nothing yet")
    stopped = {"state": "stopping"}
    with ledger() as opened:
        opened.beat(Heartbeat("a", "trader", "h", SystemClock().now_ms(), stopped))
    assert "b" in ost("slippage").stdout.split()


def test_an_emergency_never_guesses(ost: Run, ledger: Open) -> None:
    with ledger() as opened:
        begun(opened, "a", url=NOBODY)
        begun(opened, "b", url=NOBODY)
        opened.record_equity("a", EquityPoint(SystemClock().now_ms(), Decimal(99), Decimal(99), Decimal(99)))
        hold(opened, "b")
    refused(ost("emergency", "--reason", "panic", "--yes"), "2 books could be meant", "b (holds 0.5 BTCUSDT)", "--book", code=2)
    with ledger() as opened:
        assert not [halt for name in ("a", "b") for halt in opened.halts(name, SystemClock().now_ms())]


@pytest.mark.parametrize(
    ("role", "state", "age_ms", "expected"),
    [
        ("trader", "trading", 0, True),
        ("trader", "degraded", 59_000, True),
        ("trader", "halted", 0, True),
        ("trader", "trading", 61_000, False),  # it hangs, or is gone
        ("trader", "starting", 0, False),
        ("standby", "standby", 0, False),
    ],
)
def test_only_a_loop_that_trades_is_a_heartbeat(tmp_path: Path, role: str, state: str, age_ms: int, expected: bool) -> None:
    now_ms = SystemClock().now_ms()
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    opened.beat(Heartbeat("a", role, "h", now_ms - age_ms, {"state": state}))
    assert is_looked_after(opened, "a", now_ms) is expected
    assert not is_looked_after(opened, "b", now_ms)
    opened.close()
