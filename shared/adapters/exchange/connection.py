"""One request to the venue: budget, signature time, the three outcomes, and retries of reads only.

`read` waits for the budget and repeats what failed on the way, a bounded number of times with jittered, doubling pauses.
`change` is sent once; it never waits for a block and is never repeated, except after -1021: a request refused for its
timestamp was not executed, so it is sent once more with the venue's time. Invariant: what leaves is of the `VenueError` tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from shared.adapters.exchange.budget import RequestBudget
from shared.adapters.exchange.ccxt_import import load_module
from shared.adapters.exchange.client import CURRENT_REPLY, HttpReply, make_client
from shared.adapters.exchange.endpoints import SERVER_TIME, Endpoint
from shared.adapters.exchange.errors import CLOCK_SKEW, AccessBlocked, translate
from shared.adapters.exchange.params import ConnectionParams
from shared.adapters.exchange.payloads import well_formed
from shared.domain.errors import OutcomeUnknown, RateLimited, VenueError, VenueRejected, VenueUnreachable
from shared.ports import Clock


def connect(
    venue: str,
    clock: Clock,
    rng: np.random.Generator,
    params: ConnectionParams | None = None,
    *,
    base_url: str | None = None,
    demo: bool = False,
    api_key: str | None = None,
    secret: str | None = None,
) -> Connection:
    """A connection to `venue`, to another server that speaks like it (`base_url`) or to its test venue (`demo`).

    Nothing is sent yet. One connection serves `CcxtMarketData` and `CcxtExchange` alike, and so shares its budget.
    Raises `ConfigError` for an unsupported venue.
    """
    params = params or ConnectionParams()
    client = make_client(
        venue,
        base_url=base_url,
        demo=demo,
        api_key=api_key,
        secret=secret,
        timeout_s=params.timeout_s,
        receive_window_ms=params.receive_window_ms,
    )
    return Connection(client, clock, rng, params)


class Connection:
    """A ccxt client with a budget, a clock and manners."""

    def __init__(self, client: Any, clock: Clock, rng: np.random.Generator, params: ConnectionParams) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._params = params
        self._offset_ms = 0
        self._seen_ms = 0
        granted = params.weight_per_minute
        self.budget = RequestBudget(clock, granted and granted * params.weight_share, params.wait_limit_s)
        self._ccxt_error: type[Exception] = load_module("ccxt.base.errors").BaseError
        client.nonce = self._signing_time_ms

    async def read(self, endpoint: Endpoint, parameters: Mapping[str, Any] | None = None) -> Any:
        """The decoded answer (dict or list). Raises `VenueUnreachable` or `VenueRejected`."""
        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(self._params.read_attempts),
            wait=self._pause_s,
            retry=retry_if_exception(self._worth_repeating),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                await self.budget.spend(endpoint.weight_of(parameters or {}))
                return await self._exchange(endpoint, parameters or {}, changes=False)
        raise AssertionError("unreachable: the last attempt either returns or raises")

    async def change(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> Any:
        """Send once. Raises `VenueUnreachable` (not sent), `OutcomeUnknown` or `VenueRejected`."""
        self.budget.refuse_while_blocked()
        return await self._exchange(endpoint, parameters, changes=True)

    async def now_ms(self) -> int:
        """The venue's clock, which also corrects the time that requests are signed with."""
        before_ms = self._clock.now_ms()
        server_ms = _server_ms(await self.read(SERVER_TIME))
        # A venue with simulated time jumps: what was measured now says nothing about the next request.
        if self._params.clock_skew_limit_ms is not None:
            self._measure(before_ms, server_ms)
        self._seen_ms = max(self._seen_ms, server_ms)
        return server_ms

    async def now_up_to_ms(self, time_ms: int) -> int:
        """The venue's clock if it has not reached `time_ms`, else any instant from there on.

        Asked only where it matters: the venue's clock never goes back, so what it has shown before is enough for the past.
        """
        return self._seen_ms if self._seen_ms >= time_ms else await self.now_ms()

    def estimated_now_ms(self) -> int:
        """The venue's clock as far as known, without asking it."""
        return self._clock.now_ms() + self._offset_ms

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()

    async def _exchange(self, endpoint: Endpoint, parameters: Mapping[str, Any], *, changes: bool) -> Any:
        """Send; where the venue refuses the timestamp, take its time and send once more."""
        if endpoint.signed and self._skew_excess():
            await self._resynchronise()
        try:
            return await self._request(endpoint, parameters, changes=changes)
        except VenueRejected as error:
            if error.code != CLOCK_SKEW:
                raise
        await self._resynchronise()
        return await self._request(endpoint, parameters, changes=changes)

    async def _resynchronise(self) -> None:
        """Measure the venue's clock. Raises `VenueRejected` where ours is too far from it to trade."""
        before_ms = self._clock.now_ms()
        self._measure(before_ms, _server_ms(await self._request(SERVER_TIME, {}, changes=False)))
        if self._skew_excess():
            raise VenueRejected(
                f"this machine's clock is {-self._offset_ms / 1000:+.1f} s off the venue's, more than "
                f"{(self._params.clock_skew_limit_ms or 0) / 1000:g} s: nothing was sent; set the clock (NTP)",
                CLOCK_SKEW,
            )

    def _measure(self, before_ms: int, server_ms: int) -> None:
        """The answer was made, at best knowledge, in the middle between question and now."""
        self._offset_ms = server_ms - (before_ms + self._clock.now_ms()) // 2

    def _skew_excess(self) -> bool:
        limit_ms = self._params.clock_skew_limit_ms
        return limit_ms is not None and abs(self._offset_ms) > limit_ms

    async def _request(self, endpoint: Endpoint, parameters: Mapping[str, Any], *, changes: bool) -> Any:
        """One HTTP request."""
        reply = HttpReply()
        token = CURRENT_REPLY.set(reply)
        try:
            answer = await getattr(self._client, endpoint.method)(dict(parameters))
        except self._ccxt_error as error:
            failure: VenueError = translate(error, reply, endpoint.action, changes=changes, now_ms=self._clock.now_ms())
            if isinstance(failure, RateLimited):
                self.budget.block(failure.retry_after_s)
            # The cause names the signed URL; it stays out of tracebacks and logs.
            raise failure from None
        finally:
            CURRENT_REPLY.reset(token)
            self.budget.observe(reply.headers)
        if not isinstance(answer, dict | list):
            message = f"{endpoint.action}: the answer is no JSON (HTTP {reply.status}); is something between us and the venue?"
            raise OutcomeUnknown(message) if changes else VenueUnreachable(message)
        return answer

    def _signing_time_ms(self) -> int:
        return self._clock.now_ms() + self._offset_ms

    def _pause_s(self, state: RetryCallState) -> float:
        """Doubling pause with jitter; a block is waited for by the budget instead."""
        pause_s = min(self._params.backoff_limit_s, self._params.backoff_s * 2 ** (state.attempt_number - 1))
        return float(pause_s * self._rng.uniform(0.5, 1.0))

    def _worth_repeating(self, error: BaseException) -> bool:
        """Whether a read that failed so may succeed in a moment."""
        if isinstance(error, RateLimited):
            return (error.retry_after_s or 0.0) <= self._params.wait_limit_s
        return isinstance(error, VenueUnreachable) and not isinstance(error, AccessBlocked)


def _server_ms(answer: Any) -> int:
    with well_formed(SERVER_TIME.action):
        return int(answer["serverTime"])
