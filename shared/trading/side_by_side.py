"""Work for several symbols at once: none waits for another one's answers, and the failure of one ends no other.

Of several failures the gravest one is raised: it decides what happens next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence

from shared.domain.errors import LeaseLost, LedgerError, OstError, VenueError


async def side_by_side(works: Iterable[Awaitable[object]]) -> None:
    """Bring all of them to their end, then raise the gravest of their failures."""
    if failures := failures_of(await asyncio.gather(*works, return_exceptions=True)):
        raise gravest(failures)


def failures_of(ended: Sequence[object]) -> list[BaseException]:
    """The failures among outcomes of `asyncio.gather`."""
    return [outcome for outcome in ended if isinstance(outcome, BaseException)]


def gravest(errors: Sequence[BaseException]) -> BaseException:
    """The error that decides what happens next, with the others as its notes.

    An end from outside and what nobody expected come before the loss of the lease, that before any trouble of the ledger, and
    trouble of the venue, which is simply waited out, comes last.
    """
    ranked = sorted(errors, key=_rank)
    for other in ranked[1:]:
        ranked[0].add_note(f"and at the same time: {type(other).__name__}: {other}")
    return ranked[0]


def _rank(error: BaseException) -> int:
    if not isinstance(error, Exception):
        return 0
    if not isinstance(error, OstError):
        return 1
    if isinstance(error, LeaseLost):
        return 2
    if isinstance(error, LedgerError):
        return 3
    return 5 if isinstance(error, VenueError) else 4
