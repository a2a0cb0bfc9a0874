"""One request to the venue: budget, signature time, the three outcomes, and retries of reads only.

`read` waits for the budget and repeats what failed on the way: a bounded number of times, with jittered, doubling pauses, and
never longer than `read_limit_s` in all. `change` is one request and nothing else: it never waits for a block, nothing is asked
between the caller's decision and the wire, and it is never repeated. Where its time is refused (or our clock is not believed)
the venue's clock is taken afterwards and `ClockRefused` says that nothing was done: whether it is sent anew is decided by the
caller, whose lease and bar may have ended meanwhile. Invariant: what leaves is of the `VenueError` tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from shared.adapters.exchange.budget import RequestBudget
from shared.adapters.exchange.ccxt_import import load_module
from shared.adapters.exchange.client import CURRENT_REPLY, Admission, HttpReply, make_client
from shared.adapters.exchange.endpoints import SERVER_TIME, Endpoint
from shared.adapters.exchange.errors import CLOCK_SKEW, TIME_REFUSED, AccessBlocked, WeightSpent, translate
from shared.adapters.exchange.params import ConnectionParams
from shared.adapters.exchange.pauses import HEED_MS, SharedPauses
from shared.adapters.exchange.payloads import well_formed
from shared.domain.errors import ClockRefused, OutcomeUnknown, RateLimited, VenueError, VenueRejected, VenueUnreachable
from shared.ports import Clock

Answer = TypeVar("Answer")


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
    pauses: SharedPauses | None = None,
    admission: Admission | None = None,
    keys: Callable[[], tuple[str, str]] | None = None,
) -> Connection:
    """A connection to `venue`, to another server that speaks like it (`base_url`) or to its test venue (`demo`).

    Nothing is sent yet. One connection serves `CcxtMarketData` and `CcxtExchange` alike, and so shares its budget; `pauses` are
    what other processes of this address were told to wait, and `admission` is what a private server asks of its callers.
    `keys` gives the key and secret that a request is signed with, where they may change while the connection lives.
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
    return Connection(client, clock, rng, params, pauses, admission, keys)


class Connection:
    """A ccxt client with a budget, a clock and manners."""

    def __init__(
        self,
        client: Any,
        clock: Clock,
        rng: np.random.Generator,
        params: ConnectionParams,
        pauses: SharedPauses | None = None,
        admission: Admission | None = None,
        keys: Callable[[], tuple[str, str]] | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._params = params
        self._pauses = pauses
        self._admission = admission
        self._keys = keys
        self._heeded_ms: int | None = None
        self._offset_ms = 0
        self._seen_ms = 0
        granted, share = params.weight_per_minute, params.weight_share
        reserve = (granted or 0) * (1 - share)
        self.budget = RequestBudget(clock, granted and granted * share, params.wait_limit_s, reserve)
        self._ccxt_error: type[Exception] = load_module("ccxt.base.errors").BaseError
        client.nonce = self.estimated_now_ms

    async def read(self, endpoint: Endpoint, parameters: Mapping[str, Any] | None = None) -> Any:
        """The decoded answer (dict or list). Raises `VenueUnreachable` or `VenueRejected`."""
        asked = parameters or {}
        return await self._patiently(endpoint, asked, lambda: self._exchange(endpoint, asked))

    async def change(self, endpoint: Endpoint, parameters: Mapping[str, Any], *, may_be_late: bool = False) -> Any:
        """Send once. Raises `VenueUnreachable` (not sent), `ClockRefused` (not taken), `OutcomeUnknown` or `VenueRejected`.

        `may_be_late`: it does no harm however late it is taken, so a slow venue may take its time as with a question.
        """
        self.budget.refuse_while_blocked()
        if endpoint.signed and self._skew_excess():
            await self._resynchronise()
            raise ClockRefused(f"{endpoint.action}: not sent: our clock was not to be believed and was set by the venue's")
        window_ms = self._params.receive_window_ms if may_be_late else self._params.order_window_ms
        windowed = {"recvWindow": window_ms, **parameters}
        try:
            async with asyncio.timeout(self._params.order_answer_s):
                return await self._request(endpoint, windowed, changes=True)
        except TimeoutError:
            raise OutcomeUnknown(f"{endpoint.action}: without an answer for {self._params.order_answer_s:g} s") from None
        except VenueRejected as error:
            if error.code not in TIME_REFUSED:
                raise
            refusal = str(error)
        with suppress(RateLimited):  # while it wants to be left alone, its time has to wait too
            await self._resynchronise()
        raise ClockRefused(f"{refusal}; nothing was done")

    async def now_ms(self) -> int:
        """The venue's clock, which also corrects the time that requests are signed with."""
        return await self._patiently(SERVER_TIME, {}, self._take_time)

    async def now_up_to_ms(self, time_ms: int) -> int:
        """The venue's clock if it has not reached `time_ms`, else any instant from there on.

        Asked only where it matters: the venue's clock never goes back, so what it has shown before is enough for the past.
        """
        return self._seen_ms if self._seen_ms >= time_ms else await self.now_ms()

    def estimated_now_ms(self) -> int:
        """The venue's clock as far as known, without asking it."""
        return self.venue_ms(self._clock.now_ms())

    def venue_ms(self, own_ms: int) -> int:
        """What the venue's clock showed, as far as known, when ours showed `own_ms`."""
        return own_ms + self._offset_ms

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()

    async def _patiently(
        self, endpoint: Endpoint, parameters: Mapping[str, Any], ask: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """What `ask` answers in the end; no longer than `read_limit_s`, then the last failure is raised."""
        self._heed_pauses()
        failures: list[BaseException | None] = []
        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(self._params.read_attempts),
            wait=self._pause_s,
            retry=retry_if_exception(self._worth_repeating),
            before_sleep=lambda state: failures.append(state.outcome.exception() if state.outcome else None),
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._params.read_limit_s):
                async for attempt in retrying:
                    with attempt:
                        # What protects and closes asks about the account; market data leave the reserve to that.
                        await self.budget.spend(endpoint.weight_of(parameters), urgent=endpoint.signed)
                        return await ask()
        except TimeoutError:
            told = f"{endpoint.action}: no answer within {self._params.read_limit_s:g} s"
            raise (failures[-1] if failures else None) or VenueUnreachable(told) from None
        raise AssertionError("unreachable: the last attempt either returns or raises")

    def _heed_pauses(self) -> None:
        """Wait for what others were told to wait for. Only questions look: an order is not kept waiting by the ledger."""
        now_ms = self._clock.now_ms()
        if self._pauses is None or (self._heeded_ms is not None and now_ms - self._heeded_ms < HEED_MS):
            return
        self._heeded_ms = now_ms
        if (wait_ms := self._pauses.until_ms() - self.estimated_now_ms()) > 0:
            self.budget.block(wait_ms / 1000)

    async def _exchange(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> Any:
        """Read; where the venue refuses the timestamp, take its time and read once more."""
        if endpoint.signed and self._skew_excess():
            await self._resynchronise()
            self.budget.refuse_while_blocked()  # another request may have been told to wait meanwhile
        try:
            return await self._request(endpoint, parameters, changes=False)
        except VenueRejected as error:
            if error.code != CLOCK_SKEW:
                raise
        await self._resynchronise()
        self.budget.refuse_while_blocked()
        return await self._request(endpoint, parameters, changes=False)

    async def _resynchronise(self) -> None:
        """Measure the venue's clock. Raises `VenueRejected` where ours is too far off to trade, `RateLimited` in a block."""
        self.budget.refuse_while_blocked()
        try:
            async with asyncio.timeout(self._params.read_limit_s):
                await self._take_time()
        except TimeoutError:
            raise VenueUnreachable(f"{SERVER_TIME.action}: no answer within {self._params.read_limit_s:g} s") from None
        if self._skew_excess():
            raise VenueRejected(
                f"this machine's clock is {-self._offset_ms / 1000:+.1f} s off the venue's, more than "
                f"{(self._params.clock_skew_limit_ms or 0) / 1000:g} s: nothing was sent; set the clock (NTP)",
                CLOCK_SKEW,
            )

    async def _take_time(self) -> int:
        """Ask for the venue's clock, once, and measure ours by it."""
        before_ms = self._clock.now_ms()
        server_ms = _server_ms(await self._request(SERVER_TIME, {}, changes=False))
        # A venue with simulated time jumps: what was measured now says nothing about the next request.
        if self._params.clock_skew_limit_ms is not None:
            self._measure(before_ms, server_ms)
        self._seen_ms = max(self._seen_ms, server_ms)
        return server_ms

    def _measure(self, before_ms: int, server_ms: int) -> None:
        """The answer was made, at best knowledge, in the middle between question and now."""
        self._offset_ms = server_ms - (before_ms + self._clock.now_ms()) // 2

    def _skew_excess(self) -> bool:
        limit_ms = self._params.clock_skew_limit_ms
        return limit_ms is not None and abs(self._offset_ms) > limit_ms

    async def _request(self, endpoint: Endpoint, parameters: Mapping[str, Any], *, changes: bool) -> Any:
        """One HTTP request."""
        if self._admission is not None:
            self._client.headers = dict(await self._admission())
        if self._keys is not None:
            self._client.apiKey, self._client.secret = self._keys()
        reply = HttpReply()
        token = CURRENT_REPLY.set(reply)
        try:
            answer = await getattr(self._client, endpoint.method)(dict(parameters))
        except self._ccxt_error as error:
            failure: VenueError = translate(error, reply, endpoint.action, changes=changes, now_ms=self._clock.now_ms())
            if isinstance(failure, RateLimited):
                self.budget.block(failure.retry_after_s)
                if self._pauses is not None:
                    self._pauses.note(self.estimated_now_ms() + round(1000 * self.budget.blocked_s))
            # The cause names the signed URL; it stays out of tracebacks and logs.
            raise failure from None
        finally:
            CURRENT_REPLY.reset(token)
            self.budget.observe(reply.headers)
        if not isinstance(answer, dict | list):
            message = f"{endpoint.action}: the answer is no JSON (HTTP {reply.status}); is something between us and the venue?"
            raise OutcomeUnknown(message) if changes else VenueUnreachable(message)
        return answer

    def _pause_s(self, state: RetryCallState) -> float:
        """Doubling pause with jitter; a block is waited for by the budget instead."""
        pause_s = min(self._params.backoff_limit_s, self._params.backoff_s * 2 ** (state.attempt_number - 1))
        return float(pause_s * self._rng.uniform(0.5, 1.0))

    def _worth_repeating(self, error: BaseException) -> bool:
        """Whether a read that failed so may succeed in a moment."""
        if isinstance(error, RateLimited):
            return (error.retry_after_s or 0.0) <= self._params.wait_limit_s
        return isinstance(error, VenueUnreachable) and not isinstance(error, AccessBlocked | WeightSpent)


def _server_ms(answer: Any) -> int:
    with well_formed(SERVER_TIME.action):
        return int(answer["serverTime"])
