"""When research takes the fast form of a function: machine code for long arrays, two threads for independent work.

Live code sees short windows; research sees years. A fast form is the same plain loop, compiled (`fast`), or a twin
beside a numpy form (`takes_twin`); both are tested to give the same bits, so that nobody can tell which of the two ran. numba
takes half a second to import: nothing here imports it before a long input or a fit comes. Once it is there (a trader fits) the
short windows take their twins as well, which saves a third of an analysis.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")
Result = TypeVar("Result")

LONG_ROWS = 20_000
"""Rows from which a compiled twin pays for the half second that importing numba takes."""
SHORT_ROWS = 128
"""Rows from which a twin pays once numba is there: a dozen of numpy calls for each of a live window's functions."""
LOOP_ROWS = 2000
"""Rows from which a plain loop is worth compiling: below, Python takes about a millisecond."""
THREADS = 2


@cache
def numba_installed() -> bool:
    """Whether machine code can be made in this environment."""
    return find_spec("numba") is not None


def compiles(rows: int) -> bool:
    """Whether a loop over so many rows is compiled."""
    return "numba" in sys.modules or (rows >= LOOP_ROWS and numba_installed())


def fast(function: Function, rows: int) -> Function:
    """A plain loop for so many rows: compiled or itself. The results are the same bits."""
    return _compiled(function) if compiles(rows) else function


@cache
def _compiled(function: Function) -> Function:
    from shared.compiled import compiled

    return compiled(function)


def takes_twin(rows: int) -> bool:
    """Whether an array of so many rows is worth machine code, and machine code can be made here."""
    return rows >= SHORT_ROWS and ("numba" in sys.modules or (rows >= LONG_ROWS and numba_installed()))


def together(tasks: Sequence[Callable[[], Result]], rows: int) -> list[Result]:
    """Results of independent tasks over `rows` rows, in their order; on two threads where the rows are many.

    numpy, TA-Lib and compiled code let go of the interpreter while they work.
    """
    if rows < LONG_ROWS or len(tasks) < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(lambda task: task(), tasks))


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each item, in order, on two threads; items are taken as they are needed, so that few are in memory."""
    with ThreadPoolExecutor(THREADS) as threads:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(threads.submit(function, item))
                if len(waiting) > THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
