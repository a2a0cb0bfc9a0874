"""Compiled research code: how a plain function becomes machine code, and where numba keeps it.

Research compiles the same source that the bot runs plain (`compiled(target_position)`), so that there is nothing to keep equal.
`fastmath` is never used: results are equal to the bit. numba notices a change of a function but not of what that function calls
or reads from another file, and a stale kernel would be a silent lie; so the code is kept in a folder that is named by the
content of everything that went into it.

Only long inputs, fits and the rehearsal of a trader import this module: numba takes half a second to import.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numba
from numba.core.dispatcher import Dispatcher

from shared.domain.ids import digest

Function = TypeVar("Function", bound=Callable[..., Any])
ErrorModel = Literal["python", "numpy"]

CACHE_ROOT = Path(os.environ.get("OST_COMPILED") or Path.home() / ".cache" / "one-smart-trade" / "compiled")
"""Where compiled code is kept between processes; `OST_COMPILED` moves it."""


def compiled(
    function: Function,
    *,
    nogil: bool = True,
    parallel: bool = False,
    error_model: ErrorModel = "python",
    counts_references: bool = True,
) -> Function:
    """`function` as machine code, compiled on its first call for each set of argument types and kept on disk.

    `error_model="numpy"` divides by zero as numpy does (infinity or NaN) instead of raising, for twins of numpy code.
    `counts_references=False` is for small functions that neither make nor keep an array (numba refuses others): counting every
    array that a call is given takes longer than what they do.
    The source must be what numba understands: numbers, tuples, named tuples, arrays, loops. What it calls must be compiled too.
    """
    content = b"\0".join(sorted(set(_ingredients(function))))
    numba.config.CACHE_DIR = str(CACHE_ROOT / digest(content, 12))  # type: ignore[attr-defined]
    options: dict[str, Any] = {"parallel": parallel, "error_model": error_model, "_nrt": counts_references}
    return cast(Function, numba.njit(cache=True, nogil=nogil, **options)(function))


def uncounted(function: Function) -> Function:
    """`compiled` without counting references."""
    return compiled(function, counts_references=False)


def _ingredients(function: Callable[..., Any]) -> Iterator[bytes]:
    """Source files of a function and of everything compiled that it calls, and the constants that they read."""
    yield Path(inspect.getfile(function)).read_bytes()
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, Dispatcher):
            yield from _ingredients(value.py_func)
        elif isinstance(value, type) and hasattr(value, "_fields"):
            yield f"{name}{value._fields}".encode()
        elif isinstance(value, bool | int | float | str | tuple):
            yield f"{name}={value!r}".encode()
