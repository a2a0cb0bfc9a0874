"""Machine code for long loops where numba is installed, the same plain source where it is not (bots, cloud functions).

numba takes half a second to import and compiled results are equal to the bit (`shared/compiled.py`), so short inputs stay
plain until something else has imported it, and nothing here imports it before a long one comes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

LONG_ROWS = 2000
"""Rows from which compiled loops pay: below, plain Python takes about a millisecond."""


@cache
def numba_installed() -> bool:
    """Whether loops can be compiled in this environment."""
    return find_spec("numba") is not None


@cache
def _compiled(function: Function) -> Function:
    from shared.compiled import compiled

    return compiled(function)


def compiles(rows: int) -> bool:
    """Whether a loop over so many rows is compiled."""
    return "numba" in sys.modules or (rows >= LONG_ROWS and numba_installed())


def fast(function: Function, rows: int) -> Function:
    """`function` for so many rows: compiled or itself. The results are the same bits."""
    return _compiled(function) if compiles(rows) else function
