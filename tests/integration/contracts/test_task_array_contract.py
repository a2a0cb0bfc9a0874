"""What every `TaskArray` promises. Another adapter joins by adding its factory to `FACTORIES`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.adapters.local.task_processes import TaskProcesses
from shared.domain.errors import JobError
from shared.ports import Execution, TaskArray

_WAITER = """
import os, sys, time
folder, index = sys.argv[1], os.environ["CLOUD_RUN_TASK_INDEX"]
while not os.path.exists(folder + "/go"): time.sleep(0.02)
open(f"{folder}/{index}-of-{os.environ['CLOUD_RUN_TASK_COUNT']}-{sys.argv[2]}", "w")
sys.exit(index in open(folder + "/go").read().split())
"""


@dataclass(frozen=True)
class Hall:
    """An array whose tasks wait until `let_go` is told the places of those that fail, and one that cannot be used."""

    array: TaskArray
    let_go: Callable[[Execution, set[int]], None]
    unusable: TaskArray


def _processes(path: Path) -> Iterator[Hall]:
    def let_go(_: Execution, failing: set[int]) -> None:
        (path / "new").write_text(" ".join(map(str, failing)))
        (path / "new").rename(path / "go")

    command = [sys.executable, "-c", _WAITER, str(path)]
    yield Hall(TaskProcesses(command), let_go, TaskProcesses([str(path / "absent")]))
    (path / "go").touch()


def _run_jobs(_: Path) -> Iterator[Hall]:
    import requests

    from shared.adapters.gcp.rest import JsonApi
    from shared.adapters.gcp.run_jobs import RunJobs
    from tests.integration.gcp.fake_run import RunApi

    with RunApi("projects/demo/locations/europe-west1/jobs/campaign") as api:

        def let_go(execution: Execution, failing: set[int]) -> None:
            api.finish(execution.name, execution.tasks - len(failing), len(failing))

        def array(job: str) -> TaskArray:
            run = JsonApi(f"http://{api.address}/v2", requests.Session())
            return RunJobs("demo", "europe-west1", job, run=run, patience_s=2.0)

        yield Hall(array("campaign"), let_go, array("nobody-made-it"))


FACTORIES: dict[str, Callable[[Path], Iterator[Hall]]] = {"processes": _processes, "run-jobs": _run_jobs}


@pytest.fixture(params=sorted(FACTORIES))
def hall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hall]:
    yield from FACTORIES[request.param](tmp_path)


def finished(array: TaskArray, name: str) -> Execution:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = array.execution(name)
        assert found is not None
        if found.is_finished:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{name} does not finish")


def test_an_execution_starts_at_once_and_is_followed_to_its_end(hall: Hall) -> None:
    started = hall.array.start(["k-1"], 3)
    assert (started.arguments, started.tasks, started.succeeded, started.is_finished) == (("k-1",), 3, 0, False)
    assert hall.array.execution(started.name) == started
    hall.let_go(started, set())
    done = finished(hall.array, started.name)
    assert (done.succeeded, done.failed) == (3, 0)


def test_tasks_that_fail_are_counted(hall: Hall) -> None:
    started = hall.array.start(["k-1"], 3)
    hall.let_go(started, {1})
    done = finished(hall.array, started.name)
    assert (done.succeeded, done.failed) == (2, 1)


def test_asking_again_while_it_runs_starts_nothing(hall: Hall) -> None:
    first = hall.array.start(["k-1"], 2)
    assert hall.array.start(["k-1"], 2).name == first.name


def test_another_one_waits_until_the_first_has_finished(hall: Hall) -> None:
    first = hall.array.start(["k-1"], 2)
    assert hall.array.start(["k-2"], 2) == first
    hall.let_go(first, set())
    finished(hall.array, first.name)
    second = hall.array.start(["k-2"], 2)
    assert second.name != first.name
    assert second.arguments == ("k-2",)


def test_once_it_has_finished_the_same_arguments_are_a_new_execution(hall: Hall) -> None:
    first = hall.array.start(["k-1"], 1)
    hall.let_go(first, {0})
    finished(hall.array, first.name)
    assert hall.array.start(["k-1"], 1).name != first.name


def test_an_execution_that_never_was_is_none(hall: Hall) -> None:
    assert hall.array.execution("campaign-7") is None


def test_an_array_that_cannot_be_used_says_so(hall: Hall) -> None:
    with pytest.raises(JobError, match="cannot start"):
        hall.unusable.start(["k-1"], 1)


def test_processes_are_told_their_place(tmp_path: Path) -> None:
    for hall in _processes(tmp_path):
        started = hall.array.start(["k-1"], 2)
        hall.let_go(started, set())
        finished(hall.array, started.name)
    assert {path.name for path in tmp_path.iterdir()} == {"go", "0-of-2-k-1", "1-of-2-k-1"}
