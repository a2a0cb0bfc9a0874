"""The process pool and its joblib twin: every result once, workers may die, the parent may be interrupted."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from shared.adapters.local.joblib_jobs import JoblibJobs
from shared.adapters.local.jobs import ProcessJobs
from shared.domain.errors import ConfigError, JobError, StorageError


def squares():
    return square


def square(item):
    return item * item


def collected(jobs, prepare, items):
    told = {}

    def done(place, result):
        assert place not in told
        told[place] = result

    jobs.run(prepare, items, done)
    return told


@pytest.mark.parametrize("jobs", [ProcessJobs(2), JoblibJobs(2), JoblibJobs(2, "threading")], ids=repr)
def test_every_item_is_done_and_told_exactly_once(jobs):
    assert collected(jobs, squares, list(range(20))) == {n: n * n for n in range(20)}


def test_no_items_start_no_process():
    assert collected(ProcessJobs(2), squares, []) == {}


def die_once(folder):
    return partial(_die_once, folder)


def _die_once(folder, item):
    marker = Path(folder) / str(item)
    if item == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_killed_worker_is_replaced_and_its_item_tried_again(tmp_path):
    assert collected(ProcessJobs(2), partial(die_once, str(tmp_path)), list(range(6))) == {n: n for n in range(6)}


def always_fatal():
    return _fatal


def _fatal(item):
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_an_item_that_kills_twice_is_an_error_and_the_finished_ones_are_told():
    told = {}
    with pytest.raises(JobError, match=r"task 2 of 3 lost its worker 2 times \(killed by signal 9\)"):
        ProcessJobs(1).run(always_fatal, [0, 1, 2], told.__setitem__)
    assert told == {0: 0}


def full_disk():
    return _full_disk


def _full_disk(item):
    if item == 1:
        raise StorageError("cannot write: the disk is full")
    return item


def test_an_error_of_an_item_reaches_the_parent_as_itself_with_the_workers_traceback():
    told = {}
    with pytest.raises(StorageError, match="the disk is full") as caught:
        ProcessJobs(1).run(full_disk, [0, 1, 2], told.__setitem__)
    assert told == {0: 0}
    assert "in a worker process" in caught.value.__notes__[0]


def broken():
    raise StorageError("nothing to load")


def test_a_worker_that_cannot_prepare_says_why():
    with pytest.raises(StorageError, match="nothing to load"):
        collected(ProcessJobs(2), broken, [1])


def test_an_unknown_joblib_backend_is_named():
    with pytest.raises(ConfigError, match="no backend 'clouds'"):
        collected(JoblibJobs(2, "clouds"), squares, [1])


DEAD_AT_START = """
import os
from shared.adapters.local.jobs import ProcessJobs
from shared.domain.errors import JobError

if __name__ != "__main__":
    os._exit(3)  # a worker, before it has read a byte

class Large:
    def __init__(self):
        self.blob = bytes(8_000_000)  # more than a pipe holds: sending it fails half-way

    def __call__(self):
        return abs

try:
    ProcessJobs(2).run(Large(), [1, 2, 3], print)
except JobError as error:
    print(error)
"""


def test_a_worker_that_dies_before_it_has_read_its_work_is_a_lost_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(DEAD_AT_START)
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ended.stderr
    assert "of 3 lost its worker 2 times (ended with code 3)" in ended.stdout


INTERRUPTED = """
import sys, time
from functools import partial
from shared.adapters.local.jobs import ProcessJobs

def slow():
    return work

def work(item):
    time.sleep(0.3)
    return item

if __name__ == "__main__":
    try:
        ProcessJobs(2).run(slow, list(range(100)), lambda place, result: print("told", place, flush=True))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ctrl_c_finishes_what_runs_tells_it_and_leaves_no_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline().startswith("told")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers
    out, errors = process.communicate(timeout=20)
    assert out.splitlines()[-1] == "interrupted"
    assert 1 <= len(out.splitlines()) < 10
    assert errors == ""
    assert process.returncode == 0
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _group_alive(process.pid):
        os.sched_yield()
    assert not _group_alive(process.pid)


def _group_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
