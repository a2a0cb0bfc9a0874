"""A `TaskArray` of processes on this computer: one for each task, told its place by the variables that a Cloud Run job sets.

They outlive a Ctrl-C in the terminal (it is for the program that started them) but are known to that program alone: another
one starts its own, and finds done what is done.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.errors import JobError
from shared.ports import Execution


@dataclass(frozen=True, slots=True)
class _Run:
    name: str
    arguments: tuple[str, ...]
    processes: tuple[subprocess.Popen[Any], ...]


class TaskProcesses:
    """Instances of `command` (`[sys.executable, "-m", "cloudrun.campaign"]`)."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._runs: dict[str, _Run] = {}

    def __repr__(self) -> str:
        return f"TaskProcesses({list(self._command)})"

    def start(self, arguments: Sequence[str], tasks: int) -> Execution:
        """Start an execution, or return the unfinished one; see the port."""
        for found in map(_execution, self._runs.values()):
            if not found.is_finished:
                return found
        name = f"{os.getpid()}-{len(self._runs) + 1}"
        processes: list[subprocess.Popen[Any]] = []
        try:
            processes.extend(self._process(arguments, index, tasks) for index in range(tasks))
        except OSError as error:
            for process in processes:
                process.kill()
            raise JobError(f"cannot start {self._command[0]}: {error.strerror}; check the command") from error
        self._runs[name] = _Run(name, tuple(arguments), tuple(processes))
        return _execution(self._runs[name])

    def execution(self, name: str) -> Execution | None:
        """How far an execution of this program is; see the port."""
        run = self._runs.get(name)
        return _execution(run) if run is not None else None

    def _process(self, arguments: Sequence[str], index: int, tasks: int) -> subprocess.Popen[Any]:
        place = {"CLOUD_RUN_TASK_INDEX": str(index), "CLOUD_RUN_TASK_COUNT": str(tasks)}
        return subprocess.Popen(  # noqa: S603 - the command of the program itself
            [*self._command, *arguments], env={**os.environ, **place}, stdin=subprocess.DEVNULL, start_new_session=True
        )


def _execution(run: _Run) -> Execution:
    codes = [process.poll() for process in run.processes]
    succeeded = codes.count(0)
    failed = len(codes) - succeeded - codes.count(None)
    return Execution(run.name, run.arguments, len(codes), succeeded, failed, is_finished=None not in codes)
