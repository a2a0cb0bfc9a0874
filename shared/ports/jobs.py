"""Independent work: on the processors at hand, and as an array of tasks elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Jobs(Protocol):
    """Independent pieces of work on however many processors there are."""

    def run(
        self, prepare: Callable[[], Callable[[Item], Result]], items: Sequence[Item], on_done: Callable[[int, Result], None]
    ) -> None:
        """`on_done(place, work(item))` for every item in the order in which they finish, in this process.

        `work` is what `prepare()` returns, called in the process that does the work. Raises what an item raised, `JobError`
        where its process was lost again and again; what is finished has been told by then.
        """
        ...


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a task array, and what has become of its tasks by now."""

    name: str
    arguments: tuple[str, ...]
    tasks: int
    succeeded: int = 0
    failed: int = 0
    """those that have failed for good, after their retries, or were cancelled"""
    is_finished: bool = False


class TaskArray(Protocol):
    """A program of which several instances run at once, each told its place: see `cloudrun/campaign`.

    One execution at a time: what its instances may take together (connections of the ledger) is counted once.
    All methods raise `JobError` where the array cannot be used.
    """

    def start(self, arguments: Sequence[str], tasks: int) -> Execution:
        """Start `tasks` instances with `arguments` and return at once.

        Where an execution is unfinished nothing is started, and it is returned: asking again is safe, and its arguments tell
        whether it is the one that was asked for.
        """
        ...

    def execution(self, name: str) -> Execution | None:
        """How far an execution is; `None` where there is none of that name."""
        ...
