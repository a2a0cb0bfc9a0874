"""How the account must be set before anything is traded: fees in quote currency, one-way mode, cross margin, leverage.

The settings are read first and changed only where they differ, so that an account that is ready is only read; "no need to
change" is success. Then they are read back: a venue that still says otherwise raises `ReconciliationError`. Fees in BNB are
left to a person to switch off: the discount is the account's, for everything that is traded on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.adapters.exchange import payloads
from shared.adapters.exchange.connection import Connection
from shared.adapters.exchange.endpoints import (
    ACCOUNT_CONFIG,
    FEE_BURN,
    SET_LEVERAGE,
    SET_MARGIN_TYPE,
    SET_POSITION_MODE,
    SYMBOL_CONFIG,
    Endpoint,
)
from shared.adapters.exchange.errors import NO_CHANGE
from shared.domain.errors import ReconciliationError, VenueRejected

CROSS = "CROSSED"


async def prepare_account(connection: Connection, symbols: Sequence[str], leverage: int) -> None:
    """Bring the account and `symbols` to one-way mode, cross margin and `leverage`. Raises `ReconciliationError`."""
    await _check_fees(connection)
    if await _hedge_mode(connection):
        await _set(connection, SET_POSITION_MODE, {"dualSidePosition": "false"})
    wrong = await _differing(connection, symbols, leverage)
    for symbol, (margin_type, current) in wrong.items():
        if margin_type != CROSS:
            await _set(connection, SET_MARGIN_TYPE, {"symbol": symbol, "marginType": CROSS})
        if current != leverage:
            await _set(connection, SET_LEVERAGE, {"symbol": symbol, "leverage": leverage})

    if await _hedge_mode(connection):
        raise ReconciliationError("the account is still in hedge mode; close all positions and orders, switch it to one-way")
    still_wrong = await _differing(connection, list(wrong), leverage)
    if still_wrong:
        found = ", ".join(f"{symbol} {margin} {current}x" for symbol, (margin, current) in still_wrong.items())
        raise ReconciliationError(
            f"the venue still says {found}; expected {CROSS} margin and {leverage}x leverage: set it there"
        )


async def _check_fees(connection: Connection) -> None:
    """Raise `ReconciliationError` where fees would be paid in another currency than the wallet is told in."""
    answer = await connection.read(FEE_BURN)
    with payloads.well_formed(FEE_BURN.action):
        burns = str(answer["feeBurn"]).lower() == "true"
    if burns:
        raise ReconciliationError(
            "the account pays its futures fees in BNB, and the books are kept in the quote currency; switch the BNB fee "
            'discount of USD-M futures off at the venue ("Using BNB for fees", or POST /fapi/v1/feeBurn with feeBurn=false)'
        )


async def _hedge_mode(connection: Connection) -> bool:
    answer = await connection.read(ACCOUNT_CONFIG)
    with payloads.well_formed(ACCOUNT_CONFIG.action):
        return str(answer["dualSidePosition"]).lower() == "true"


async def _differing(connection: Connection, symbols: Sequence[str], leverage: int) -> dict[str, tuple[str, int]]:
    """Symbols whose (margin type, leverage) is not as wanted."""
    if not symbols:
        return {}
    entries = await connection.read(SYMBOL_CONFIG)
    settings = {symbol: payloads.read_settings(entries, symbol) for symbol in symbols}
    return {symbol: found for symbol, found in settings.items() if found != (CROSS, leverage)}


async def _set(connection: Connection, endpoint: Endpoint, parameters: Mapping[str, Any]) -> None:
    try:
        await connection.change(endpoint, parameters)
    except VenueRejected as error:
        if error.code not in NO_CHANGE:
            raise
