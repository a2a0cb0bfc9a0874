"""What the bot says in its log, which is what alerts read."""

from __future__ import annotations

import asyncio
import json

import pytest

from cloudrun.bot.log import _ToldBus
from shared.domain.errors import BusUnavailable
from shared.domain.events import Event, EventKind, halted
from shared.domain.records import Halt, HaltKind


class _NoBus:
    async def publish(self, event: Event) -> None:
        raise BusUnavailable(f"no way for {event.id}")


def test_a_drawdown_stands_in_the_log_though_the_bus_does_not_take_it(capsys: pytest.CaptureFixture[str]) -> None:
    event = Event("e-1", EventKind.DRAWDOWN_THRESHOLD, "paper", "BTCUSDT", 0, {})
    with pytest.raises(BusUnavailable):
        asyncio.run(_ToldBus(_NoBus()).publish(event))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["severity"]) for line in lines] == [("drawdown.threshold", "WARNING")]


@pytest.mark.parametrize("kind", [HaltKind.OPERATIONAL, HaltKind.MANUAL, HaltKind.FROZEN])
def test_a_halt_is_an_error_that_says_why(capsys: pytest.CaptureFixture[str], kind: HaltKind) -> None:
    halt = Halt("paper", "ledger and venue differ by 0.1 BTCUSDT", 0, None, "BTCUSDT", kind)
    with pytest.raises(BusUnavailable):
        asyncio.run(_ToldBus(_NoBus()).publish(halted(EventKind.ERROR, halt)))
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["severity"]) == ("error", "ERROR")
    assert halt.reason in line["message"]
