"""Programs that do wrong on purpose: each invariant must be able to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.process import Process
from cloudrun.simulation.scenarios.base import CALM
from cloudrun.simulation.sessions import live_ports
from cloudrun.simulation.spec import BOOK, Outcome, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision
from shared.domain.ids import client_order_id, decision_id
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, Side
from shared.domain.records import Lease
from shared.domain.regime import Regime, RegimeProbabilities
from shared.risk.approval import ApprovedOrder, OrderContext, approve
from shared.trading.session import LivePorts

ASSET = Asset("binanceusdm", "BTCUSDT")
RULES = SymbolRules("BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(5))
SPEC = WorldSpec(1, bars=0, quiet_bars=2, shape=CALM, habits=Habits())


@dataclass
class Saboteur:
    """One process's hands: the real ports, and orders made by hand."""

    world: World
    process: Process
    ports: LivePorts

    def lease(self) -> Lease:
        lease = self.ports.ledger.acquire_lease(BOOK, self.process.name, 600_000, self.world.clock.now_ms())
        assert lease is not None
        return lease

    def decision(self, bar: int = 0) -> Decision:
        close_ms = self.world.spec.start_ms + bar * self.world.spec.interval.ms
        return Decision(
            id=decision_id(BOOK, ASSET, close_ms, "p-1"),
            book=BOOK,
            asset=ASSET,
            interval=self.world.spec.interval,
            bar_close_ms=close_ms,
            params_version="p-1",
            code_version="0",
            data_hash="c-1",
            window_start_ms=close_ms,
            regime_model_id="m-1",
            probabilities=RegimeProbabilities(0.7, 0.2, 0.1),
            regime=Regime.CALM,
            alphas={},
            votes=(),
            score=0.5,
            price=60_000.0,
            target_fraction=0.1,
            approved_fraction=0.1,
            action=Action.OPEN,
        )

    def intent(self, leg: str = "market", bar: int = 0, side: Side = Side.BUY, **changes: Any) -> OrderIntent:
        decision, stop = self.decision(bar), leg == "stop"
        made = OrderIntent(
            client_id=client_order_id(BOOK, decision.id, leg),
            book=BOOK,
            decision_id=decision.id,
            leg=leg,
            symbol="BTCUSDT",
            side=Side.SELL if stop else side,
            kind=OrderKind.STOP if stop else OrderKind.MARKET,
            quantity=Decimal("0.01"),
            created_ms=decision.bar_close_ms,
            stop_price=Decimal(50_000) if stop else None,
            reduce_only=stop,
        )
        return replace(made, **changes)

    def approved(self, intent: OrderIntent, held: str = "0") -> ApprovedOrder:
        return approve(intent, OrderContext(RULES, Decimal(held), Decimal(60_000), Decimal(10_000), Decimal(5)))

    async def send(self, intent: OrderIntent, held: str = "0") -> None:
        self.ports.ledger.advance_order(await self.ports.exchange.send(self.approved(intent, held)))

    async def book_fills(self) -> None:
        self.ports.ledger.add_fills(BOOK, await self.ports.exchange.fills("BTCUSDT", self.world.spec.start_ms))

    async def opened(self) -> None:
        """A position as it should be: intents, order, fills, stop."""
        market, stop = self.intent(), self.intent("stop")
        self.ports.ledger.commit_decision(self.decision(), [market, stop], self.lease())
        await self.send(market)
        await self.book_fills()
        await self.send(stop, held="0.01")


Deed = Callable[[Saboteur], Awaitable[None]]


@pytest.fixture
def outcome_of() -> Callable[..., Outcome]:
    """How a world ends in which a process does `deed` and then waits."""

    def run(deed: Deed, spec: WorldSpec = SPEC, *, prepare: Callable[[World], None] = lambda _: None) -> Outcome:
        async def program(world: World, process: Process) -> None:
            await asyncio.sleep(0.5)
            await deed(Saboteur(world, process, live_ports(world, process)))
            await world.until(lambda: world.closing, 1_000.0)

        world = World(spec, program)
        prepare(world)
        return world.run()

    return run
