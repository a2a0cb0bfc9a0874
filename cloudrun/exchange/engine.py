"""The paper exchange as a state machine: a command and the state give the next state, a reply and events.

No clock, no disk, no network, no randomness: the same market, configuration and commands give the same account, to the last
digit and identifier. That is what makes the journal (`journal.py`) enough to survive a kill. Commands that are refused
change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from cloudrun.exchange import orders, payloads
from cloudrun.exchange.core import Core, Event
from cloudrun.exchange.depth import Depth
from cloudrun.exchange.filters import Params, flag, integer
from cloudrun.exchange.market import Market
from cloudrun.exchange.passage import advance
from cloudrun.exchange.refusal import Refusal, missing, refusal
from cloudrun.exchange.state import Account, PositionState
from shared.backtest.params import CostParams
from shared.domain.errors import ConfigError
from shared.domain.interval import format_ms

DONE = {"code": 200, "msg": "success"}
ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
DEFAULT_LEVERAGE = 20


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What an account starts with; part of the journal's header."""

    start_ms: int
    """simulated time at the start, ms UTC"""
    capital: Decimal = Decimal(10_000)
    """starting wallet, quote currency"""
    costs: CostParams = field(default_factory=CostParams)
    """the cost model's parameters"""
    depth: Depth | None = None
    """how much a market order can take at once; `None`: everything"""

    def __post_init__(self) -> None:
        if not self.capital.is_finite() or self.capital <= 0:
            raise ConfigError(f"the capital is {self.capital}; expected a positive amount")

    def as_json(self) -> dict[str, Any]:
        """For the journal's header."""
        header: dict[str, Any] = {"start_ms": self.start_ms, "capital": str(self.capital), "costs": asdict(self.costs)}
        if self.depth is not None:
            header["depth"] = {"notional": str(self.depth.notional), "life_ms": self.depth.life_ms}
        return header


class Engine:
    """One account on one market."""

    def __init__(self, market: Market, config: EngineConfig) -> None:
        if not market.start_ms <= config.start_ms <= market.end_ms:
            raise ConfigError(
                f"the start {format_ms(config.start_ms)} lies outside the candles "
                f"({format_ms(market.start_ms)} to {format_ms(market.end_ms)}); choose a start between them"
            )
        positions = {name: PositionState(name, DEFAULT_LEVERAGE) for name in market.symbols}
        self.config = config
        self.core = Core(
            market, config.costs, Account(config.start_ms, config.capital, config.capital, positions), depth=config.depth
        )
        self._commands: Mapping[str, Callable[[Params], Any]] = {
            "advance": self._advance,
            "order": lambda params: payloads.order(orders.place(self.core, params)),
            "cancel": lambda params: payloads.order(orders.cancel(self.core, params)),
            "cancel_all": lambda params: self._cancel_all(params, algos=False),
            "algo": lambda params: payloads.algo_order(self.core, orders.place_algo(self.core, params)),
            "cancel_algo": self._cancel_algo,
            "cancel_all_algos": lambda params: self._cancel_all(params, algos=True),
            "leverage": self._leverage,
            "fee_burn": self._fee_burn,
        }

    @property
    def now_ms(self) -> int:
        """Simulated time."""
        return self.core.now_ms

    def knows(self, command: str) -> bool:
        """Whether there is such a command."""
        return command in self._commands

    def execute(self, command: str, params: Params) -> Any:
        """Apply a command and return the reply's JSON value. Raises `Refusal`, and then nothing has changed."""
        return self._commands[command](params)

    def take_events(self) -> list[Event]:
        """User-data events since the last call, oldest first."""
        events, self.core.events = self.core.events, []
        return events

    def state(self) -> dict[str, Any]:
        """A summary for the control endpoint and for comparing two engines."""
        account = self.core.account
        return {
            "now_ms": account.now_ms,
            "start_ms": self.config.start_ms,
            "end_ms": self.core.market.end_ms,
            "interval": self.core.market.interval.value,
            "symbols": list(self.core.market.symbols),
            "capital": str(account.capital),
            "wallet": str(account.wallet),
            "equity": str(account.wallet + self.core.unrealised()),
            "positions": {p.symbol: str(p.quantity) for p in self.core.held()},
            "orders": len(account.orders),
            "open_orders": len(account.open_orders),
            "open_algo_orders": len(account.open_algos),
            "trades": len(account.trades),
            "income": len(account.income),
            "next_id": account.next_id,
        }

    def _advance(self, params: Params) -> dict[str, Any]:
        to_ms = integer(params, "to_ms")
        if to_ms > self.core.market.end_ms:
            end = format_ms(self.core.market.end_ms)
            raise Refusal(-1130, f"cannot advance to {format_ms(to_ms)}: the market ends at {end}")
        advance(self.core, to_ms)
        return {"now_ms": self.now_ms}

    def _cancel_all(self, params: Params, *, algos: bool) -> dict[str, Any]:
        orders.cancel_all(self.core, params, algos=algos)
        return ALL_CANCELLED

    def _cancel_algo(self, params: Params) -> dict[str, Any]:
        algo = orders.cancel_algo(self.core, params)
        return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}

    def _fee_burn(self, params: Params) -> dict[str, Any]:
        if not params.get("feeBurn"):
            raise missing("feeBurn")
        self.core.account.fee_burn = flag(params, "feeBurn")
        return DONE

    def _leverage(self, params: Params) -> dict[str, Any]:
        market = self.core.symbol(params)
        leverage = integer(params, "leverage")
        if not 1 <= leverage <= market.spec.max_leverage:
            raise refusal(-4028, leverage)
        position = self.core.account.positions[market.symbol]
        largest = market.spec.max_notional(leverage)
        if abs(position.quantity) * self.core.price(market.symbol) > largest:
            raise refusal(-2027)
        before, position.leverage = position.leverage, leverage
        if self.core.initial_margin() > self.core.account.wallet + self.core.unrealised():
            position.leverage = before
            raise refusal(-2019)
        return {"leverage": leverage, "maxNotionalValue": str(largest), "symbol": market.symbol}
