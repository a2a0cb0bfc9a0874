"""Work through joblib: its own processes (loky), or a Dask or Ray cluster where one has registered its backend.

The tasks are the same as those of `ProcessJobs`; a cluster's processes need only this package and the bucket.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from shared.domain.errors import ConfigError, JobError
from shared.domain.ids import digest

Item = TypeVar("Item")
Result = TypeVar("Result")


class JoblibJobs:
    """A `Jobs` port over joblib; `backend` is joblib's name (`loky`, `threading`, `dask`, `ray`, …)."""

    def __init__(self, workers: int, backend: str = "loky") -> None:
        self.workers = workers
        self.backend = backend

    def __repr__(self) -> str:
        return f"JoblibJobs({self.workers}, {self.backend!r})"

    def run(
        self, prepare: Callable[[], Callable[[Item], Result]], items: Sequence[Item], on_done: Callable[[int, Result], None]
    ) -> None:
        """As `ProcessJobs.run`. Raises `ConfigError` where joblib does not know the backend, `JobError` where workers died."""
        import joblib
        from joblib.externals.loky.process_executor import BrokenProcessPool

        content = pickle.dumps(prepare)
        calls = (joblib.delayed(_call)(content, place, item) for place, item in enumerate(items))
        try:
            parallel = joblib.Parallel(n_jobs=self.workers, backend=self.backend, return_as="generator_unordered")
        except ValueError as error:
            raise ConfigError(f"joblib has no backend {self.backend!r} ({error}); register it, or take loky") from error
        try:
            for place, result in parallel(calls):
                on_done(place, result)
        except BrokenProcessPool as error:
            raise JobError(f"a joblib worker died ({error}); the same command goes on from here") from error


def _call(prepare: bytes, place: int, item: Any) -> tuple[int, Any]:
    return place, _prepared(digest(prepare), prepare)(item)


@lru_cache(maxsize=1)
def _prepared(_identity: str, prepare: bytes) -> Callable[[Any], Any]:
    """Once in each process for all items: joblib hands out items, not workers."""
    work: Callable[[Any], Any] = pickle.loads(prepare)()  # noqa: S301 - from the process that asked for the work
    return work
