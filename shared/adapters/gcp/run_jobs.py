"""A `TaskArray` as a Cloud Run job: an execution is one run of the job with its own arguments and number of tasks.

A start cannot be repeated safely by itself, so the unfinished executions are looked at first: whoever asks again, after a kill
or an answer that was lost, is given the one that runs. So is who asks for another one: it has to wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from google.api_core import exceptions as api

from shared.adapters.gcp.errors import FAILURES, reason
from shared.adapters.gcp.rest import JsonApi
from shared.domain.errors import JobError, UsageError
from shared.ports import Execution

ENDPOINT = "https://run.googleapis.com/v2"
PATIENCE_S = 30.0
"""How long a question is repeated, all attempts together."""

_PAGE = 100
"""Executions that are looked at, newest first."""


class RunJobs:
    """The job `job` of `project` in `region`, which Terraform has made."""

    def __init__(
        self, project: str, region: str, job: str, *, run: JsonApi | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self._path = f"projects/{project}/locations/{region}/jobs/{job}"
        self._run, self._patience_s = run or JsonApi(ENDPOINT), patience_s

    @classmethod
    def at(cls, url: str, *, run: JsonApi | None = None) -> RunJobs:
        """The job at `run://PROJECT/REGION/JOB`. Raises `UsageError` for another kind of URL."""
        scheme, _, rest = url.partition("://")
        parts = rest.split("/")
        if scheme != "run" or len(parts) != 3 or not all(parts):
            raise UsageError(f"{url!r} is no job; expected run://PROJECT/REGION/JOB")
        return cls(*parts, run=run)

    def __repr__(self) -> str:
        return f"RunJobs({self._path!r})"

    def start(self, arguments: Sequence[str], tasks: int) -> Execution:
        """Start an execution, or return the unfinished one; see the port."""
        with self._failures("start"):
            if (running := next(self._unfinished(), None)) is not None:
                return running
            overrides = {"taskCount": tasks, "containerOverrides": [{"args": list(arguments)}]}
            operation = self._run.ask("POST", f"{self._path}:run", {"overrides": overrides})
            return _execution(operation["metadata"])

    def execution(self, name: str) -> Execution | None:
        """How far an execution is; see the port."""
        with self._failures(f"look at the execution {name} of"):
            try:
                found = self._run.insist(self._patience_s, "GET", f"{self._path}/executions/{name}")
            except api.NotFound:
                return None
            return _execution(found)

    def _unfinished(self) -> Iterator[Execution]:
        found = self._run.insist(self._patience_s, "GET", f"{self._path}/executions?pageSize={_PAGE}")
        executions = map(_execution, found.get("executions", ()))
        return (execution for execution in executions if not execution.is_finished)

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise JobError(f"cannot {what} the job {self._path}: {reason(error)}") from error


def _execution(found: Mapping[str, Any]) -> Execution:
    """An execution in the JSON form of the API, which leaves out zeros and empty texts."""
    containers = found.get("template", {}).get("containers", [])
    return Execution(
        name=found["name"].rpartition("/")[2],
        arguments=tuple(containers[0].get("args", ())) if containers else (),
        tasks=found.get("taskCount", 0),
        succeeded=found.get("succeededCount", 0),
        failed=found.get("failedCount", 0) + found.get("cancelledCount", 0),
        is_finished=bool(found.get("completionTime")),
    )
