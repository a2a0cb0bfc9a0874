"""Every error that this project raises on purpose, drawn as one tree.

A message says what was found, what was expected and what to do. The command line prints the message of an
`OstError` as one line and turns it into an exit code; anything else is a bug and keeps its traceback.

    OstError
    ├── ConfigError              a setting is unknown, malformed or contradictory
    ├── UsageError               an argument of a command cannot be used
    ├── DataError                market data cannot be trusted
    │   ├── MalformedData        wrong schema, order, grid, type or range
    │   ├── NotEnoughData        fewer bars than the method needs
    │   └── DataNotFound         nothing is stored under that name
    ├── ModelError
    │   └── FitRejected          a fitted model failed its acceptance rules
    ├── Conflict                 a compare-and-swap lost against another writer
    ├── StorageError             disk or bucket refuses (full, read-only, unreachable)
    │   └── StorageForbidden     the bucket answered no, and will until somebody grants a right or makes it
    ├── JobError                 a worker process was lost more often than chance explains
    ├── TasksFailed              tasks failed for good where nobody watched: to be looked into
    ├── LedgerError
    │   ├── LedgerUnavailable    cannot be reached: no new orders
    │   └── LeaseLost            another process writes this book now
    ├── ClockSetBack             the process that sees it ends and is started again: its pauses lie too far ahead
    ├── BusUnavailable           an event could not be handed over; it stays in the outbox
    ├── SecretsUnavailable       the store of the keys does not answer: safe to try again
    ├── RiskError
    │   ├── NotApproved          an order that risk control did not let through
    │   │   └── NotNow           for a trouble of the moment: the order may go out once it is over, while it is fresh
    │   └── NotAtRest            a request has ended before all was protected or closed: to be repeated at once
    ├── ReconciliationError      ledger and exchange differ in a way that nothing explains
    └── VenueError               the three outcomes of a request to an exchange
        ├── VenueUnreachable     not taken: safe to try again
        │   └── ClockRefused     refused for the time that it was signed with; to be approved and signed anew
        ├── OutcomeUnknown       maybe reached: never retried blindly, queried by client id
        └── VenueRejected        answered: a definitive no
            ├── RateLimited      answered: slow down; nothing was done
            ├── NoMargin         the account cannot carry the order
            ├── RulesBroken      off the venue's grid or limits: its rules are to be asked for again
            ├── NothingToReduce  reduce-only, and there is nothing to reduce: the position is to be read again
            └── WouldTrigger     a stop whose price is crossed already
"""

from __future__ import annotations


class OstError(Exception):
    """Base of every deliberate error of One Smart Trade."""


class ConfigError(OstError):
    """A setting is unknown, malformed or contradicts another one."""


class UsageError(OstError):
    """An argument given by the user cannot be used."""


class DataError(OstError):
    """Market data that cannot be trusted or found."""


class MalformedData(DataError):
    """Data with the wrong schema, order, grid, type or range."""


class NotEnoughData(DataError):
    """Fewer bars than the method needs."""


class DataNotFound(DataError):
    """Nothing is stored under that name."""


class ModelError(OstError):
    """A model cannot be made, read or used."""


class FitRejected(ModelError):
    """A fitted model failed its acceptance rules; the previous one stays."""


class Conflict(OstError):
    """A compare-and-swap lost against another writer; read again and merge."""


class StorageError(OstError):
    """The disk or the bucket refuses: full, read-only or unreachable."""


class StorageForbidden(StorageError):
    """The bucket answered: no right, no identity, no such bucket. Asked again all the same: it may be mended meanwhile."""


class JobError(OstError):
    """A worker process died again and again on the same task; finished tasks are kept."""


class TasksFailed(OstError):
    """Tasks that ran elsewhere failed for good; their log says why."""


class LedgerError(OstError):
    """The ledger refuses."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be reached: no new orders until it can."""


class LeaseLost(LedgerError):
    """Another process holds the lease of this book; this one must stop writing."""


class ClockSetBack(OstError):
    """The clock of this machine was set back: what waits for an instant would wait for so much longer."""


class BusUnavailable(OstError):
    """An event could not be handed over; it stays in the outbox and is tried again."""


class SecretsUnavailable(OstError):
    """The store of the keys does not answer; safe to try again."""


class RiskError(OstError):
    """Risk control says no."""


class NotApproved(RiskError):
    """An order that risk control did not let through."""


class NotNow(NotApproved):
    """An order that is held back by a trouble of the moment, and for nothing in itself."""


class NotAtRest(RiskError):
    """Something is held without its stop, or a book that must be closed is not: whoever asked has to ask again at once."""


class ReconciliationError(OstError):
    """Ledger and exchange differ in a way that nothing explains."""


class VenueError(OstError):
    """A request to an exchange did not succeed."""


class VenueUnreachable(VenueError):
    """The request never reached the exchange (refused, unresolved, blocked): safe to try again."""


class ClockRefused(VenueUnreachable):
    """The exchange certainly did not take a request that changes something: its time was refused, or could not be trusted.

    The exchange's time was asked for meanwhile. Sending anew is the caller's decision, who first asks whether it still may.
    """


class OutcomeUnknown(VenueError):
    """The request may have reached the exchange (timeout, 5xx, disconnect): query, never resend blindly."""


class VenueRejected(VenueError):
    """The exchange answered with a definitive no.

    `code` is the venue's own error code (Binance: negative integers), `None` where it gave none.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class RateLimited(VenueRejected):
    """The exchange asks to slow down (HTTP 429 or 418); the request was not executed.

    `retry_after_s` is the wait that it asked for, `None` where it gave none.
    """

    def __init__(self, message: str, code: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, code)
        self.retry_after_s = retry_after_s


UNANSWERED = (VenueUnreachable, OutcomeUnknown, RateLimited)
"""What leaves a question open: the same request may be answered later. Every other `VenueError` is an answer."""


class NoMargin(VenueRejected):
    """The account holds too little free margin for the order; a smaller one is not tried."""


class RulesBroken(VenueRejected):
    """The order is off the venue's grid or limits, which the rules that we know should have prevented."""


class NothingToReduce(VenueRejected):
    """A reduce-only order found no position to reduce."""


class WouldTrigger(VenueRejected):
    """A stop whose price the market has crossed already: it cannot rest any more."""


PASSING = (
    Conflict,
    StorageError,
    JobError,
    LedgerUnavailable,
    LeaseLost,
    BusUnavailable,
    SecretsUnavailable,
    VenueUnreachable,
    OutcomeUnknown,
    RateLimited,
)
"""Errors after which the same question is asked again."""


def needs_help(error: Exception) -> bool:
    """Whether the answer stays until somebody mends something, asked again or not: an error in the log, no warning."""
    return not isinstance(error, PASSING) or isinstance(error, StorageForbidden)
