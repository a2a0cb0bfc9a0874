"""What the bot says in its log, which is what alerts read."""

from __future__ import annotations

import asyncio
import json

import pytest

from cloudrun.bot.log import _ToldBus
from shared.domain.errors import BusUnavailable
from shared.domain.events import Event, EventKind


class _NoBus:
    async def publish(self, event: Event) -> None:
        raise BusUnavailable(f"no way for {event.id}")


def test_a_drawdown_stands_in_the_log_though_the_bus_does_not_take_it(capsys: pytest.CaptureFixture[str]) -> None:
    event = Event("e-1", EventKind.DRAWDOWN_THRESHOLD, "paper", "BTCUSDT", 0, {})
    with pytest.raises(BusUnavailable):
        asyncio.run(_ToldBus(_NoBus()).publish(event))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["severity"]) for line in lines] == [("drawdown.threshold", "WARNING")]
