"""One trader through the faults of networks and servers: nothing lost, nothing doubled, every position under its stop.

The tests follow one another in one world; each ends with the ledger and the exchange's own journal in agreement.
"""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.live.conftest import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", autouse=True)
def _trader(world: World) -> None:
    world.start()
    world.wait_until_trading()


def test_it_trades(world: World) -> None:
    world.wait_for_fills(2)
    world.assert_consistent()


def test_an_answer_that_is_lost_after_the_order_has_passed(world: World) -> None:
    for request in (b"POST /fapi/v1/order", b"POST /fapi/v1/algoOrder", b"POST /fapi/v1/order"):
        before = world.proxy.swallowed
        world.proxy.swallow(request)
        world.wait(f"the answer to {request!r} is lost", lambda before=before: world.proxy.swallowed > before)
    world.assert_consistent()


def test_connections_that_are_cut(world: World) -> None:
    for _ in range(3):
        world.proxy.cut()
        time.sleep(0.3)
    world.wait_until_trading()
    world.wait_for_bars(1)
    world.assert_consistent()


def test_half_open_connections(world: World) -> None:
    world.proxy.freeze()
    world.wait("the trader no longer trusts the streams", lambda: world.state() == "degraded")
    world.proxy.thaw()
    world.wait_until_trading()
    world.wait_for_bars(1)
    world.assert_consistent()


def test_answers_that_come_late(world: World) -> None:
    world.proxy.delay_s = 0.15
    world.wait_for_bars(2)
    world.proxy.delay_s = 0.0
    world.assert_consistent()


def test_the_exchange_is_killed_and_comes_back(world: World) -> None:
    world.exchange.send_signal(signal.SIGKILL)
    world.exchange.communicate()
    world.wait("the trader notices", lambda: world.state() == "degraded")
    world.start_exchange()
    world.wait_until_trading()
    world.wait_for_bars(1)
    world.assert_consistent()


def test_the_database_is_stopped_and_comes_back(world: World) -> None:
    world.server.stop()
    time.sleep(1.0)
    world.server.start()
    world.wait_until_trading()
    world.wait_for_bars(1)
    world.assert_consistent()


def test_it_still_trades(world: World) -> None:
    world.wait_for_fills(2)
    world.assert_consistent()
