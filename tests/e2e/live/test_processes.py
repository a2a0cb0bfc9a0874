"""The trader's process killed, frozen, told to end and relieved: one writer at a time, and whoever follows settles all."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request

import pytest

from tests.e2e.live.conftest import BOOK, LEASE_S, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def orders_sent(world: World) -> int:
    return len(world.proxy.orders)


def test_a_kill_in_the_middle_of_an_entry(world: World) -> None:
    for _ in range(2):
        trader = world.start()
        world.wait_until_trading()
        before = orders_sent(world)
        world.wait("an order is on its way", lambda before=before: orders_sent(world) > before)
        trader.kill()
        trader.communicate()
    world.start()
    world.wait_for_bars(1)
    world.assert_consistent()


def test_a_standby_relieves_a_frozen_trader_that_then_may_not_write(world: World) -> None:
    trader = world.processes[-1]
    standby = world.start("cloudrun.bot.trader", "--standby", name="standby")
    world.wait("the standby waits", lambda: world.state(f":{standby.pid}:") == "standby")
    trader.send_signal(signal.SIGSTOP)
    waited_s = world.wait("the standby trades", lambda: world.state(f":{standby.pid}:") == "trading")
    assert waited_s <= LEASE_S + 10
    trader.send_signal(signal.SIGCONT)
    _, _ = trader.communicate(timeout=15)
    assert trader.returncode == 1
    assert "taken over" in world.log()
    world.wait_for_bars(1)
    world.assert_consistent()


def test_sigterm_ends_it_within_ten_seconds_and_gives_the_book_away(world: World) -> None:
    trader = world.processes[-1]
    began_s = time.monotonic()
    trader.terminate()
    trader.communicate(timeout=10)
    assert time.monotonic() - began_s < 10
    assert trader.returncode == 0
    with world.ledger() as ledger:
        lease = ledger.acquire_lease(BOOK, "test", 1_000, int(time.time() * 1000))
    assert lease is not None
    world.assert_consistent()
    with world.ledger() as ledger:
        ledger.release_lease(lease)


def test_the_service_ends_with_its_trader(world: World) -> None:
    port, before = world.free_port(), world.newest_holder()
    service = world.start("cloudrun.bot", name="service", environment={"PORT": str(port)})
    world.wait("its trader trades", lambda: world.newest_holder() != before and world.state() == "trading")
    assert answer(port, "readyz") == 200
    assert answer(port, "healthz") == answer(port, "status") == answer(port, "metrics") == 200
    holder = world.newest_holder()
    world.kill(int(holder.split(":")[1]))
    service.communicate(timeout=15)
    assert service.returncode == 128 + signal.SIGKILL
    assert answer(port, "healthz") == 0
    assert any("the others are ended too" in json.loads(line)["message"] for line in world.log("service").splitlines())
    world.start()
    world.wait_until_trading()
    world.wait_for_bars(1)
    world.assert_consistent()


def answer(port: int, path: str) -> int:
    """The status; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
