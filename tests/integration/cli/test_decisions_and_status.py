"""`ost decisions` and `ost status` through the real command line, on a real ledger in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.clock import SystemClock
from shared.adapters.sql import SqlLedger, open_ledger
from shared.cli.main import app
from shared.domain.decision import Action, Decision
from shared.domain.interval import HOUR_MS
from shared.domain.orders import OrderReport, OrderState
from shared.domain.records import EquityPoint, Halt, Heartbeat, RegimeState
from shared.domain.regime import Regime, RegimeProbabilities

PLAN = {
    "symbols": ["BTCUSDT"],
    "venue": "binanceusdm",
    "interval": "1h",
    "market": "seed 7",
    "market_hash": "market-1",
    "generated": True,
}


def ost(*arguments: str) -> Result:
    """`ost` in this process, on a wide terminal."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def answer(*arguments: str, exit_code: int = 0) -> Any:
    """What `ost … --json` prints."""
    result = ost(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def refused(*arguments: str) -> str:
    """The one line with which `ost` refuses what it cannot understand."""
    result = ost(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlLedger]:
    """The ledger that the command line reads, empty."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    monkeypatch.setenv("OST_LEDGER__URL", url)
    opened = open_ledger(url)
    yield opened
    opened.close()


class Book:
    """Writes a run by small steps: decisions at bars 0, 1, 2 …, each with its orders and fills."""

    def __init__(self, ledger: SqlLedger, make: Any) -> None:
        self.ledger, self.make = ledger, make
        ledger.register_book(make.book, make.start_ms, PLAN)
        lease = ledger.acquire_lease(make.book, "test", 60_000, make.start_ms)
        assert lease is not None
        self.lease = lease

    def decide(self, bar: int, legs: dict[str, OrderState], **changes: Any) -> Decision:
        """A committed decision with an order for each leg in the given state."""
        decision: Decision = self.make.decision(bar, **changes)
        intents = [self.make.intent(decision, leg) for leg in legs]
        decision = replace(decision, order_ids=tuple(intent.client_id for intent in intents))
        assert self.ledger.commit_decision(decision, intents, self.lease)
        for intent, state in zip(intents, legs.values(), strict=True):
            filled = intent.quantity if state is OrderState.FILLED else Decimal(0)
            self.ledger.advance_order(
                OrderReport(
                    intent.client_id, intent.symbol, state, filled, venue_id=f"9{bar}", fill_client_id=f"x-{leg_of(intent)}"
                )
            )
        return decision

    def fill(self, decision: Decision, leg: int, number: int, quantity: str, price: str, *, venue_id: bool = False) -> None:
        """A fill of one of the decision's orders; `venue_id`: booked under the venue's id for the triggered stop."""
        client_id = "x-stop" if venue_id else decision.order_ids[leg]
        self.ledger.add_fills(self.make.book, [self.make.fill(number, quantity, price, client_id=client_id)])


def leg_of(intent: Any) -> str:
    """The role of an order."""
    return str(intent.leg)


@pytest.fixture
def book(ledger: SqlLedger, make: Any) -> Book:
    """A registered book."""
    return Book(ledger, make)


@pytest.fixture
def traded(book: Book) -> Decision:
    """A decision that bought 0.010 at 106010.7 and was stopped out at 103948.0."""
    decision = book.decide(0, {"market": OrderState.FILLED, "stop": OrderState.FILLED})
    book.fill(decision, 0, 1, "0.010", "106010.70")
    book.fill(decision, 1, 2, "-0.010", "103948.0", venue_id=True)
    return decision


# ---------------------------------------------------------------- decisions show


def test_a_trade_is_explained_from_candle_to_fill(traded: Decision) -> None:
    shown = answer("decisions", "show", traded.id)
    assert (shown["kind"], shown["id"]) == ("decision", traded.id)
    (found,) = shown["decisions"]
    assert found["window"]["data_hash"] == "c-abc"
    assert found["regime"]["model_id"] == "m-1"
    assert [vote["reason"] for vote in found["votes"]] == ["ADX 31", "stress only"]
    assert found["approvals"] == [{"rule": "exposure", "passed": True, "detail": "0.1 <= 0.3"}]
    entry, stop = found["orders"]
    assert (entry["state"], entry["quantity"]) == ("filled", "0.010")
    assert entry["fills"][0]["slippage_bps"] == pytest.approx(1.0, abs=0.001)  # 106010.70 for 106000.10
    assert (stop["stop_price"], stop["fills"][0]["reference"]) == ("104000.0", "stop price")
    assert stop["fills"][0]["slippage_bps"] == pytest.approx(5.0)  # 103948 for 104000
    (trip,) = found["round_trips"]
    assert trip["role"] == "opened and closed"
    assert Decimal(trip["profit"]) == Decimal("-20.627") - Decimal(trip["fees"])


def test_the_tree_shows_every_step_in_its_order(traded: Decision) -> None:
    text = ost("decisions", "show", traded.id).stdout
    steps = (
        "candles",
        "features",
        "regime: calm",
        "alphas",
        "votes",
        "consensus",
        "policy target",
        "risk control",
        "orders",
        "trade:",
    )
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    for expected in ("c-abc", "trend_hunter", "ADX 31", "+1.00 bps", "+5.00 bps", "opened and closed a long"):
        assert expected in text


@pytest.mark.parametrize("which", ["prefix", "order", "stop order", "trade", "start of the trade"])
def test_every_id_at_hand_leads_to_the_decision(which: str, traded: Decision, book: Book) -> None:
    trade = book.ledger.trades("b")[0].id
    texts = {
        "prefix": traded.id[:8],
        "order": traded.order_ids[0],
        "stop order": traded.order_ids[1],
        "trade": trade,
        "start of the trade": trade[:8],
    }
    found = answer("decisions", "show", texts[which])
    assert [decision["decision"] for decision in found["decisions"]] == [traded.id]


def test_a_trade_leads_to_the_decision_that_opened_it_and_the_one_that_closed_it(book: Book) -> None:
    opened = book.decide(0, {"market": OrderState.FILLED})
    book.fill(opened, 0, 1, "0.010", "106000")
    closed = book.decide(1, {"market": OrderState.FILLED}, action=Action.CLOSE)
    book.fill(closed, 0, 3700, "-0.010", "107000")
    found = answer("decisions", "show", book.ledger.trades("b")[0].id)
    assert [decision["decision"] for decision in found["decisions"]] == [opened.id, closed.id]
    assert [decision["round_trips"][0]["role"] for decision in found["decisions"]] == ["opened", "closed"]


def test_a_position_that_is_still_held_is_called_open(book: Book) -> None:
    decision = book.decide(0, {"market": OrderState.FILLED})
    book.fill(decision, 0, 1, "0.010", "106000")
    assert answer("decisions", "show", decision.id)["decisions"][0]["open_trip"]["quantity"] == "0.010"
    assert "still open, long 0.010" in ost("decisions", "show", decision.id).stdout


def test_a_decision_without_orders_is_explained_as_well(book: Book) -> None:
    decision = book.decide(0, {}, action=Action.HOLD)
    text = ost("decisions", "show", decision.id).stdout
    assert "orders: none" in text
    assert "trade: none" in text


def test_text_that_looks_like_markup_is_shown_as_it_is(book: Book) -> None:
    decision = book.decide(0, {}, reasons=("momentum [red]up[/red] [/nonsense]",))
    assert "momentum [red]up[/red] [/nonsense]" in ost("decisions", "show", decision.id).stdout


def test_an_unknown_id_says_what_to_do(book: Book) -> None:
    assert "no decision, order or closed trade has the id 'd-none'" in refused("decisions", "show", "d-none")
    assert "ost decisions list --traded" in refused("decisions", "show", "t-none")
    assert "the id is empty" in refused("decisions", "show", "")


def test_an_ambiguous_prefix_names_the_candidates(book: Book) -> None:
    ids = [book.decide(bar, {}).id for bar in range(2)]
    line = refused("decisions", "show", "d-")
    assert all(identity in line for identity in ids)


# ---------------------------------------------------------------- decisions list


def test_the_newest_decisions_are_listed_oldest_first(book: Book) -> None:
    ids = [book.decide(bar, {"market": OrderState.FILLED} if bar == 0 else {}).id for bar in range(4)]
    listed = answer("decisions", "list", "--limit", "3")
    assert (listed["book"], [row["id"] for row in listed["decisions"]]) == ("b", ids[1:])
    assert [row["id"] for row in answer("decisions", "list", "--traded")["decisions"]] == ids[:1]
    assert [row["id"] for row in answer("decisions", "list", "--symbol", "btcusdt", "--limit", "1")["decisions"]] == ids[3:]
    text = ost("decisions", "list").stdout
    assert all(identity[:10] in text for identity in ids)
    narrow = CliRunner().invoke(app, ["decisions", "list"], env={"COLUMNS": "80"}).stdout
    rows = [line.split() for line in narrow.splitlines() if line.startswith("│")]
    assert [row[1] for row in rows] == [identity[:10] for identity in ids]  # whole, as `decisions show` needs it
    assert all("BTCUSDT" in row for row in rows)


def test_a_symbol_or_book_that_is_not_there_is_refused(book: Book) -> None:
    book.decide(0, {})
    assert "has no decision on DOGEUSDT" in refused("decisions", "list", "--symbol", "DOGEUSDT")
    assert "there is no book 'x' in the ledger; there is b" in refused("decisions", "list", "--book", "x")


# ---------------------------------------------------------------- status


@pytest.mark.usefixtures("ledger")
def test_an_empty_ledger_says_how_to_fill_it() -> None:
    for arguments in (("status",), ("decisions", "list")):
        assert "the ledger holds no book yet; make one with: ost run" in refused(*arguments)
    assert "ost decisions list" in refused("decisions", "show", "d-1")


def test_status_shows_account_positions_stops_regimes_and_warnings(book: Book) -> None:
    decision = book.decide(0, {"market": OrderState.FILLED, "stop": OrderState.OPEN})
    book.fill(decision, 0, 1, "0.010", "106000")
    book.decide(1, {"market": OrderState.UNKNOWN})
    ledger, make = book.ledger, book.make
    ledger.record_equity("b", EquityPoint(make.start_ms, Decimal(9200), Decimal(9200), Decimal(10000), Decimal(1060)))
    probabilities = RegimeProbabilities(0.2, 0.7, 0.1)
    ledger.record_regimes(
        "b", [RegimeState(make.asset, make.start_ms, probabilities, Regime.BALANCED, "m-1", (0.2, 0.7, 0.1), 5, 0)]
    )
    ledger.log("b", "regime", "info", "fitted", make.start_ms)
    ledger.log("b", "breaker", "warning", "drawdown 8.0% [beyond] 5%", make.start_ms)
    found = answer("status")["status"]
    assert (found["equity"], found["drawdown"]) == ("9200", pytest.approx(0.08))
    assert [level["beyond"] for level in found["breakers"]] == [True, False, False, False]
    assert [(p["quantity"], p["entry_price"], p["stops"]) for p in found["positions"]] == [("0.010", "106000", ["104000.0"])]
    assert [(order["kind"], order["state"]) for order in found["unfinished_orders"]] == [("market", "unknown")]
    assert [state["regime"] for state in found["regimes"]] == ["balanced"]
    assert [entry["message"] for entry in found["warnings"]] == ["drawdown 8.0% [beyond] 5%"]
    assert found["problems"] == []
    text = ost("status").stdout
    for expected in ("GENERATED market, not real prices: seed 7", "8.00%", "104000.0", "drawdown 8.0% [beyond] 5%", "unknown"):
        assert expected in text


def test_the_state_of_a_live_book_is_that_of_its_process(ledger: SqlLedger) -> None:
    ledger.register_book("live", 1, {"symbols": ["BTCUSDT"], "interval": "1h", "mode": "testnet", "live": True})
    now_ms = SystemClock().now_ms()
    assert answer("status")["status"]["state"] == "stopped"
    ledger.beat(Heartbeat("live", "trader", "a", now_ms, {"state": "degraded"}))
    ledger.beat(Heartbeat("live", "standby", "b", now_ms, {"state": "standby"}))
    assert answer("status")["status"]["state"] == "degraded"
    ledger.beat(Heartbeat("live", "trader", "a", now_ms + 1, {"state": "stopping"}))
    assert answer("status")["status"]["state"] == "standby"
    ledger.beat(Heartbeat("live", "standby", "b", now_ms, {"state": "stopping"}))
    ledger.beat(Heartbeat("live", "standby", "d", now_ms, {"state": "standby"}))
    ledger.beat(Heartbeat("live", "trader", "d", now_ms + 2, {"state": "stopping"}))  # it had taken over, and ended
    assert "stopped, testnet" in ost("status").stdout
    ledger.beat(Heartbeat("live", "schedule", "c", now_ms - HOUR_MS, {"state": "trading"}))
    assert answer("status")["status"]["state"] == "scheduled"


def test_generated_prices_are_called_so_once(ledger: SqlLedger) -> None:
    ledger.register_book("b", 1, {**PLAN, "market": "GENERATED market (seed 7)"})
    line = next(line for line in ost("status").stdout.splitlines() if "market" in line)
    assert "GENERATED market (seed 7), not real prices" in line
    assert line.count("GENERATED") == 1


def test_old_data_are_dated_in_days(ledger: SqlLedger) -> None:
    ledger.register_book("live", 1, {"symbols": ["BTCUSDT"], "interval": "1h", "mode": "testnet", "live": True})
    bar_ms = SystemClock().now_ms() - 70 * 24 * HOUR_MS
    ledger.record_equity("live", EquityPoint(bar_ms, Decimal(10), Decimal(10), Decimal(10)))
    assert "(70 days ago)" in ost("status").stdout


def test_a_latched_book_and_a_position_without_stop_need_a_person(book: Book) -> None:
    decision = book.decide(0, {"market": OrderState.FILLED})
    book.fill(decision, 0, 1, "0.010", "106000")
    book.ledger.set_halt(Halt("b", "max drawdown", book.make.start_ms, None))
    found = answer("status", exit_code=1)["status"]
    assert found["state"] == "latched"
    latch, stop = found["problems"]
    assert "the book is latched until a person resumes: max drawdown" in latch
    assert "BTCUSDT: no stop rests at the venue" in stop
    assert "error: BTCUSDT: no stop rests at the venue" in ost("status").stderr


def test_a_pause_of_a_run_over_history_is_judged_at_its_last_bar(book: Book) -> None:
    start_ms = book.make.start_ms
    book.ledger.record_equity("b", EquityPoint(start_ms, Decimal(9400), Decimal(9400), Decimal(10000)))
    book.ledger.set_halt(Halt("b", "drawdown 6%", start_ms, start_ms + HOUR_MS))
    found = answer("status")["status"]
    assert [halt["reason"] for halt in found["halts"]] == ["drawdown 6%"]
    assert found["data_age_s"] is None


def test_a_live_book_whose_data_are_old_needs_a_person(book: Book) -> None:
    ledger, start_ms = book.ledger, book.make.start_ms
    ledger.register_book("live", start_ms + HOUR_MS, {"symbols": ["BTCUSDT"], "venue": "binanceusdm", "interval": "1h"})
    ledger.record_equity("live", EquityPoint(start_ms, Decimal(10), Decimal(10), Decimal(10)))
    found = answer("status", "--book", "live", exit_code=1)
    assert (found["status"]["book"], found["other_books"]) == ("live", ["b"])
    assert "is the session running?" in found["status"]["problems"][0]


def test_the_book_that_is_not_finished_comes_first_and_another_can_be_asked_for(book: Book) -> None:
    ledger, start_ms = book.ledger, book.make.start_ms
    ledger.register_book("later", start_ms + HOUR_MS, PLAN)
    ledger.finish_book("later", {}, start_ms + 2 * HOUR_MS)
    assert answer("status")["status"]["book"] == "b"
    assert answer("status", "--book", "later")["status"]["state"] == "finished"
    ledger.finish_book("b", {}, start_ms + 3 * HOUR_MS)
    assert answer("status")["status"]["book"] == "b"
    assert "there is no book 'x' in the ledger; there is b, later" in refused("status", "--book", "x")
