"""Failures of candles, marks and clocks: revised, late, frozen, stale, skewed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import FaultPlan, Part, Rates, Window
from cloudrun.simulation.market import MarketShape
from cloudrun.simulation.scenarios.base import Scenario, calm_world
from cloudrun.simulation.scenarios.checks import asked, halts, idle, is_flat, opened, struck, undecided, untold
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.records import HaltKind
from shared.risk.params import RiskParams

FROZEN_BARS = 3
"""flat bars without volume after which a symbol's bars are no data"""
TRIPPED_S = 6.0
"""from a breaker's level at the venue's prices to the halt, where one mark has to be asked for by REST"""


async def _revise(world: World) -> None:
    """Each closed bar comes again, altered."""
    while True:
        await asyncio.sleep(0.1)
        interval, now_ms = world.spec.interval, world.venue.now_ms
        if not 50 <= now_ms - interval.floor(now_ms) < 150:
            continue
        for link in world.venue.streams.market_links:
            for name in link.names:
                for event in world.venue.streams.events(name, now_ms - interval.ms, now_ms):
                    if event["e"] == "kline" and event["k"]["x"]:
                        link.push({**event, "k": {**event["k"], "c": event["k"]["h"], "v": "1.5"}})


def _first_word(world: World) -> Iterator[str]:
    """Decided at the price that the bar closed with, each bar once; the second word is noticed."""
    yield from untold(world, "was revised")
    yield from undecided(world)
    for decision in world.ledger.decisions(BOOK):
        market = world.venue.desk.market.symbols[decision.asset.symbol]
        open_ms = decision.bar_close_ms - world.spec.interval.ms
        bar = world.venue.desk.klines.bar(market, world.spec.interval, open_ms, world.venue.now_ms)
        if bar is not None and Decimal(repr(decision.price)) != Decimal(str(bar.close)):
            yield f"{decision.asset.symbol} was decided at {decision.price}, its bar closed at {bar.close}"


def _late(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(delay=0.5, drop=0.2), until_s=300.0))


def _fetched(world: World) -> Iterator[str]:
    yield from struck(world)
    yield from undecided(world)
    yield from idle(world, 240.0)


def _skewed(seed: int, rng: np.random.Generator) -> WorldSpec:
    """By so much that the venue refuses the next signed request: 1 s ahead, or more than any request lives behind."""
    by_ms = int(rng.choice([-9000, 1500, 4000, 9000]))
    return calm_world(seed, rng, FaultPlan(jumps=((float(rng.uniform(20.0, 200.0)), by_ms),)))


def _resynchronised(world: World) -> Iterator[str]:
    (at_s, by_ms), *_ = world.spec.plan.jumps
    if world.clock.error_ms != by_ms:
        yield "the clock never jumped"
    if not asked(world, "GET /fapi/v1/time", at_s):
        yield "the venue was not asked for its time after the jump"
    yield from undecided(world)
    yield from idle(world, at_s)


def _far_off(seed: int, rng: np.random.Generator) -> WorldSpec:
    by_ms = int(rng.choice([-60_000, 60_000, 3_600_000]))
    return calm_world(seed, rng, FaultPlan(jumps=((70.0, by_ms),)))


def _wrong_for_seconds(seed: int, rng: np.random.Generator) -> WorldSpec:
    at_s, by_ms = float(rng.uniform(65.0, 110.0)), int(rng.choice([-3_600_000, 3_600_000]))
    world = calm_world(seed, rng, FaultPlan(jumps=((at_s, by_ms), (at_s + 10.0, -by_ms))))
    return replace(world, habits=Habits(flat=0.3, hold_bars=1))


def _right_again(world: World) -> Iterator[str]:
    if world.clock.error_ms:
        yield "the clock was never set back"
    yield from undecided(world)
    yield from idle(world, 240.0)


def _nothing_placed(world: World) -> Iterator[str]:
    account, since_ms = world.venue.desk.engine.core.account, world.spec.start_ms + 75_000
    triggered = {algo.order_id for algo in account.algos.values()}
    late = [row.client_id for row in account.orders.values() if row.created_ms > since_ms and row.id not in triggered]
    late += [row.client_id for row in account.algos.values() if row.created_ms > since_ms]
    if late:
        yield f"{late[0]} was placed with a clock that is wrong by more than the limit"
    yield from untold(world, "clock is")


def _frozen_bars(seed: int, rng: np.random.Generator) -> WorldSpec:
    shape = MarketShape(sigma=0.001, jump_rate=0.0, gap_rate=0.0, frozen_rate=0.15)
    return replace(calm_world(seed, rng), symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"), shape=shape, bars=12)


def _no_data(world: World) -> Iterator[str]:
    """Nothing is opened on frozen bars; the other symbols are decided and traded."""
    yield from undecided(world)
    frozen = {(symbol, close_ms) for symbol in world.spec.symbols for close_ms in _frozen_closes(world, symbol)}
    for sent in opened(world, 0.0):
        record = world.ledger.order(sent.client_id)
        decision = world.ledger.decision(record.intent.decision_id) if record else None
        if decision is not None and (decision.asset.symbol, decision.bar_close_ms) in frozen:
            yield f"{sent.client_id} was sent on frozen bars of {decision.asset.symbol}"
    if not opened(world, 0.0):
        yield "nothing was traded at all"


def _frozen_closes(world: World, symbol: str) -> Iterator[int]:
    interval, klines = world.spec.interval, world.venue.desk.klines
    market = world.venue.desk.market.symbols[symbol]
    for bar in range(1, world.spec.bars + world.spec.quiet_bars):
        close_ms = world.spec.start_ms + bar * interval.ms
        rows = [klines.bar(market, interval, close_ms - n * interval.ms, close_ms) for n in range(1, FROZEN_BARS + 1)]
        if all(row is not None and row.volume == 0 and row.high == row.low for row in rows):
            yield close_ms


def _falling_without_marks(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Held long while the market falls by steps, and the mark prices of the stream have fallen silent."""
    shape = MarketShape(sigma=0.0005, jump_rate=0.0, gap_rate=0.0, frozen_rate=0.0, trend=-0.03)
    risk = RiskParams(pause_drawdowns=(0.00499,), pause_hours=(1.0,), max_drawdown=0.005)
    spec = calm_world(seed, rng, FaultPlan(windows=(Window(Part.MARKS, 5.0, 200.0),)))
    trader = replace(spec.trader, tick_s=1.0, quote_fresh_s=5.0)
    return replace(spec, shape=shape, habits=Habits(always=1.0, size=0.8), risk=risk, bars=3, tick_s=1.0, trader=trader)


async def _falls(world: World) -> None:
    """The breaker trips at the venue's prices between two bars, not at the next close."""
    core, limit = world.venue.desk.engine.core, Decimal("0.0055")
    peak = core.account.wallet

    def is_beyond() -> bool:
        return not is_flat(world) and core.account.wallet + core.unrealised() < peak * (1 - limit)

    def has_tripped() -> bool:
        return bool(halts(world, HaltKind.DRAWDOWN))

    await world.until(lambda: is_beyond() or has_tripped(), 400.0)
    beyond_s = world.loop.time()
    if not await world.until(lambda: has_tripped() or is_flat(world), TRIPPED_S):
        world.story.violate(f"the breaker has not tripped {TRIPPED_S:.0f} s after {beyond_s:.0f} s")


def _latched(world: World) -> Iterator[str]:
    yield from untold(world, "marks")
    if not halts(world, HaltKind.DRAWDOWN):
        yield "the maximum drawdown has not latched the book"


SCENARIOS = (
    Scenario(
        "revised-candle",
        "A closed candle comes again with other prices",
        "one decision for each bar, at its first prices; the revision is written down",
        lambda seed, rng: calm_world(seed, rng),
        _first_word,
        (_revise,),
    ),
    Scenario(
        "late-candle",
        "Candles come late or not at all",
        "fetched by REST after a short patience: every bar is decided; too old is recorded and not traded",
        _late,
        _fetched,
    ),
    Scenario(
        "frozen-bars",
        "A symbol's bars freeze",
        "nothing is opened on frozen bars; one dead symbol does not block the others",
        _frozen_bars,
        _no_data,
    ),
    Scenario(
        "one-stale-mark",
        "The mark prices of the stream fall silent while a position is held",
        "the breakers go on with marks by REST: maximum drawdown trips between bars, within 6 s; a person is told",
        _falling_without_marks,
        _latched,
        (_falls,),
    ),
    Scenario(
        "clock-skew",
        "The machine's clock jumps by seconds (-1021)",
        "the venue's time is taken over, what was refused is signed again; every bar is decided, trading goes on",
        _skewed,
        _resynchronised,
    ),
    Scenario(
        "clock-far-off",
        "The machine's clock is wrong by more than the limit",
        "the venue refuses the first request, nothing is placed any more, a person is told",
        _far_off,
        _nothing_placed,
    ),
    Scenario(
        "clock-wrong-for-seconds",
        "The machine's clock is an hour wrong, and right again ten seconds later",
        "no bar that is yet to come is taken for a gap, no pause lasts until the hour is over: every bar is decided",
        _wrong_for_seconds,
        _right_again,
    ),
)
