import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.exchange.budget import RequestBudget
from shared.adapters.exchange.errors import WeightSpent
from shared.domain.errors import RateLimited


class VirtualClock:
    """Time passes only while somebody waits."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def now_ms(self) -> int:
        return round(self.time_s * 1000)

    async def sleep(self, seconds: float) -> None:
        until = self.time_s + seconds
        await asyncio.sleep(0)
        self.time_s = max(self.time_s, until)


class StillClock:
    """Simulated time that stands still while one waits, as in lockstep."""

    def __init__(self) -> None:
        self.waited_s = 0.0

    def now_ms(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        self.waited_s += seconds


async def test_the_first_minutes_weight_is_free_and_then_it_flows():
    clock = VirtualClock()
    budget = RequestBudget(clock, 600, 90)
    for _ in range(60):
        await budget.spend(10)
    assert clock.time_s == 1000
    await budget.spend(10)
    assert clock.time_s == pytest.approx(1001, abs=0.01)


async def test_concurrent_calls_share_it():
    clock = VirtualClock()
    budget = RequestBudget(clock, 600, 90)
    await asyncio.gather(*(budget.spend(10) for _ in range(120)))
    assert clock.time_s - 1000 == pytest.approx(60, rel=0.02)


async def test_the_venues_own_count_lowers_it_and_never_raises_it():
    clock = VirtualClock()
    budget = RequestBudget(clock, 600, 90)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "590"})
    assert budget.available == 10
    budget.observe({"x-mbx-used-weight-1m": "3"})
    assert budget.available == 10
    budget.observe({"X-MBX-USED-WEIGHT-1M": "nonsense"})
    assert budget.available == 10


async def test_a_budget_that_is_short_says_so_and_blocks_no_order():
    budget = RequestBudget(VirtualClock(), 600, 3)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "700"})
    with pytest.raises(WeightSpent, match="used up for 10 s, more than the 3 s"):
        await budget.spend(5)
    assert budget.available == -100  # nothing was taken
    budget.refuse_while_blocked()


async def test_what_is_urgent_has_a_reserve_of_its_own_and_no_more_than_that():
    clock = VirtualClock()
    budget = RequestBudget(clock, 540, 3, reserve=60)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "590"})
    with pytest.raises(WeightSpent):
        await budget.spend(5)
    await budget.spend(5, urgent=True)
    await budget.spend(5, urgent=True)
    assert clock.time_s == 1000
    with pytest.raises(WeightSpent):
        await budget.spend(40, urgent=True)


async def test_a_block_holds_reads_back_and_refuses_sends():
    clock = VirtualClock()
    budget = RequestBudget(clock, 600, 90)
    budget.block(7)
    with pytest.raises(RateLimited) as refused:
        budget.refuse_while_blocked()
    assert refused.value.retry_after_s == pytest.approx(7)
    await budget.spend(1)
    assert clock.time_s == pytest.approx(1007)
    budget.refuse_while_blocked()


async def test_a_wait_that_is_too_long_is_said_instead():
    budget = RequestBudget(VirtualClock(), 600, 90)
    budget.block(3600)
    with pytest.raises(RateLimited, match="3600 s, more than the 90 s"):
        await budget.spend(1)


async def test_a_block_without_a_stated_time_still_waits():
    clock = VirtualClock()
    budget = RequestBudget(clock, 600, 90)
    budget.block(None)
    await budget.spend(1)
    assert clock.time_s == pytest.approx(1010)


async def test_a_clock_that_stands_still_is_credited_with_the_waits():
    clock = StillClock()
    budget = RequestBudget(clock, 600, 90)
    for _ in range(120):
        await budget.spend(10)
    assert clock.waited_s == pytest.approx(60)


async def test_without_a_limit_only_a_block_holds_requests_back():
    clock = VirtualClock()
    budget = RequestBudget(clock, None, 90)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "1000000"})
    for _ in range(1000):
        await budget.spend(1000)
    assert (clock.time_s, budget.available) == (1000, float("inf"))
    budget.block(2)
    await budget.spend(1)
    assert clock.time_s == pytest.approx(1002)


async def test_a_block_that_begins_during_a_wait_is_waited_for_too():
    clock = VirtualClock()
    budget = RequestBudget(clock, 60, 90)
    await budget.spend(60)
    waiting = asyncio.ensure_future(budget.spend(5))
    await asyncio.sleep(0)
    budget.block(30)
    await waiting
    assert clock.time_s == pytest.approx(1030)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.booleans())
def test_no_minute_is_ever_given_more_than_its_burst_and_its_refill(weights, together):
    async def run() -> None:
        clock = VirtualClock()
        budget = RequestBudget(clock, 100, 10_000)
        spent: list[tuple[float, int]] = []

        async def call(weight: int) -> None:
            await budget.spend(weight)
            spent.append((clock.time_s, weight))

        if together:
            await asyncio.gather(*map(call, weights))
        else:
            for weight in weights:
                await call(weight)
        start = 1000.0
        for time_s, _ in spent:
            total = sum(weight for at, weight in spent if at <= time_s)
            # the millisecond clock may round a wait
            assert total <= 100 + (time_s - start) * 100 / 60 + 0.1

    asyncio.run(run())
