"""What refuses a start, before a lease is taken or a stream is opened: clock, region, symbols, keys, balance, models.

Each refusal names what was found, what was expected and what to do. Position mode, margin type and leverage are verified by the
session itself, which sets them under its lease (`Exchange.prepare`).
"""

from __future__ import annotations

from decimal import Decimal

from shared.domain.errors import ModelError, ReconciliationError, UsageError
from shared.domain.interval import HOUR_MS, format_ms
from shared.domain.orders import Account
from shared.regime.store import model_valid_at
from shared.trading.rl_models import policies_of
from shared.trading.session_types import LivePorts, SessionSpec


async def check_start(ports: LivePorts, spec: SessionSpec) -> None:
    """Raise what a start is refused with: the `VenueError` tree, `UsageError`, `ReconciliationError`, `ModelError`."""
    policies_of(ports.models, spec.universe, spec.interval, spec.params)
    _check_regime_models(ports, spec)
    await ports.exchange.server_time_ms()
    symbols = [asset.symbol for asset in spec.universe]
    rules = await ports.exchange.rules(symbols)
    account = await ports.exchange.account()
    held = {position.symbol for position in account.positions if position.quantity}
    horizon_ms = ports.clock.now_ms() + round(spec.params.execution.delisting_hours * HOUR_MS)
    problems = []
    for symbol in symbols:
        rule = rules[symbol]
        if symbol in held:
            continue  # what is held must be tended, and may be closed
        if not rule.trading:
            problems.append(f"{symbol} is not traded at the venue now (halted or delisted)")
        elif rule.delivery_ms is not None and rule.delivery_ms <= horizon_ms:
            problems.append(f"{symbol} is delisted at {format_ms(rule.delivery_ms)}")
    if problems:
        raise UsageError(f"{'; '.join(problems)}; leave it out (--symbols or universe.symbols)")
    dearest = max(rules.values(), key=lambda rule: rule.min_notional)
    if not held:
        _check_balance(account, dearest.min_notional, dearest.symbol, spec)


def _check_regime_models(ports: LivePorts, spec: SessionSpec) -> None:
    """Refuse a stored model that would be in force and cannot be read."""
    for asset in spec.universe:
        try:
            model_valid_at(ports.models, asset, spec.interval, ports.clock.now_ms(), spec.params.regime.fit_version)
        except ModelError as error:
            raise ModelError(
                f"a regime model cannot be used: {error}; delete that file and the bot fits the model anew"
            ) from error


def _check_balance(account: Account, least: Decimal, symbol: str, spec: SessionSpec) -> None:
    """Refuse a wallet with which not even the smallest order of each symbol could be sent."""
    largest = account.equity * Decimal(repr(spec.params.risk.max_asset_exposure))
    if largest >= least:
        return
    needed = least / Decimal(repr(spec.params.risk.max_asset_exposure))
    raise ReconciliationError(
        f"the account holds {account.equity:.2f}, of which one position may be {largest:.2f}, and the smallest order of "
        f"{symbol} is {least:.2f}; pay in up to {needed:.2f} or more, or leave {symbol} out (--symbols)"
    )
