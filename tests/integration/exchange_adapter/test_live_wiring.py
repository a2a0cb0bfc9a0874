"""A trader's ports as they are wired: hurried questions, changes that die soon, and pauses that every process heeds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.sql.ledger import open_ledger
from shared.cli import wiring
from shared.config.load import load
from shared.domain.errors import OutcomeUnknown, RateLimited, VenueUnreachable
from shared.trading.session_types import LivePorts


@pytest.fixture
async def process(venue: Any, tmp_path: Path) -> AsyncIterator[Callable[..., LivePorts]]:
    environment = {"OST_STORAGE__ROOT": str(tmp_path), "OST_EXCHANGE__ORDER_WINDOW_MS": "1700"}
    settings = load(environment=environment, folder=tmp_path).settings
    ledger, made = open_ledger(settings.ledger_url), []

    def start(**exchange: float) -> LivePorts:
        chosen = settings.model_copy(update={"exchange": replace(settings.exchange, **exchange)})
        made.append(wiring.live_ports(chosen, ledger, "b", base_url=venue.base_url))
        return made[-1]

    yield start
    for ports in made:
        await ports.exchange.close()
    ledger.close()


async def test_a_question_in_a_trader_is_answered_soon_or_fails_soon(venue: Any, process: Callable[..., LivePorts]) -> None:
    venue.replies["GET /fapi/v3/account"] = venue.replies["GET /fapi/v1/time"] = "hang"
    ports, before = process(trader_read_s=0.2), time.monotonic()
    for ask in (ports.exchange.account, ports.exchange.server_time_ms):
        with pytest.raises(VenueUnreachable, match=r"no answer within 0\.2 s"):
            await ask()
    assert time.monotonic() - before < 5


async def test_a_ban_of_one_process_binds_the_next_one(venue: Any, process: Callable[..., LivePorts]) -> None:
    venue.replies["GET /fapi/v3/account"] = (418, {"code": -1003, "msg": "banned"}, {"Retry-After": "60"})
    for _ in range(2):
        with pytest.raises(RateLimited):
            await process().exchange.account()
    assert venue.paths() == ["GET /fapi/v3/account"]


async def test_what_a_trader_changes_carries_the_short_window(venue: Any, process: Callable[..., LivePorts]) -> None:
    venue.replies["GET /fapi/v1/feeBurn"] = {"feeBurn": False}
    venue.replies["GET /fapi/v1/accountConfig"] = {"dualSidePosition": True}
    venue.replies["POST /fapi/v1/positionSide/dual"] = "drop"
    with pytest.raises(OutcomeUnknown, match="one-way mode"):
        await process().exchange.prepare([], 3)
    windows = {request.path: request.parameters.get("recvWindow") for request in venue.asked}
    assert (windows["/fapi/v1/positionSide/dual"], windows["/fapi/v1/accountConfig"]) == ("1700", "5000")
