"""Work on several processors: a pool of processes that survives the death of its workers.

Each worker is a fresh interpreter with a pipe of its own, so that the pool knows which item a dead worker had: a worker that
was killed (out of memory, SIGKILL) is replaced and its item tried once more. Ctrl-C stops handing out work; what runs is
finished and told, then `KeyboardInterrupt` is raised; a second Ctrl-C ends at once. When the parent dies, the workers see their
pipes close and end. Invariant: every result is told exactly once, in the parent's process.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from shared.domain.errors import JobError

Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 2
"""How often an item may lose its worker before it is an error."""
_CLOSE_TIMEOUT_S = 5.0


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    item: int | None = None
    """place of the item that it works on"""
    prepared: bool = False
    """whether it was told how to work"""


class ProcessJobs:
    """A `Jobs` port on this computer."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __repr__(self) -> str:
        return f"ProcessJobs({self.workers})"

    def run(
        self, prepare: Callable[[], Callable[[Item], Result]], items: Sequence[Item], on_done: Callable[[int, Result], None]
    ) -> None:
        """`on_done(place, prepare()(item))` for every item, as they finish; `prepare` is called once in each process.

        `prepare`, items and results are pickled. Raises what an item raised, after the running ones were told; `JobError` where
        an item's worker died twice; `KeyboardInterrupt` after Ctrl-C.
        """
        _Run(self.workers, prepare, items, on_done).all()


class _Run:
    """One call of `ProcessJobs.run`."""

    def __init__(self, workers: int, prepare: Any, items: Sequence[Any], on_done: Callable[[int, Any], None]) -> None:
        self._limit = max(1, min(workers, len(items)))
        self._prepare = pickle.dumps(prepare)
        self._items = items
        self._on_done = on_done
        self._waiting = deque(range(len(items)))
        self._deaths = [0] * len(items)
        self._workers: list[_Worker] = []
        self._interrupts = 0
        self._error: BaseException | None = None

    def all(self) -> None:
        if not self._items:
            return
        try:
            with self._interruptible():
                while self._may_start() or self._busy():
                    self._hand_out()
                    self._collect()
        finally:
            self._close()
        if self._error is not None:
            raise self._error
        if self._interrupts:
            raise KeyboardInterrupt

    def _may_start(self) -> bool:
        return bool(self._waiting) and self._error is None and not self._interrupts

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.item is not None]

    def _hand_out(self) -> None:
        while self._may_start():
            idle = next((worker for worker in self._workers if worker.item is None), None)
            if idle is None:
                if len(self._workers) >= self._limit:
                    return
                idle = _started()
                self._workers.append(idle)
            idle.item = self._waiting.popleft()
            try:  # it may have died since it was started, or since its last answer
                if not idle.prepared:
                    idle.pipe.send_bytes(self._prepare)
                    idle.prepared = True
                idle.pipe.send(self._items[idle.item])
            except OSError:
                self._lost(idle)

    def _collect(self) -> None:
        """Wait for one answer or one death, and deal with all that are there."""
        busy = self._busy()
        ready = set(wait([worker.pipe for worker in busy])) if busy else set()
        for worker in busy:
            if worker.pipe not in ready or worker.item is None:
                continue
            try:
                answer, failure = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            place, worker.item = worker.item, None
            if failure is None:
                self._on_done(place, answer)
            elif self._error is None:
                self._error = failure

    def _lost(self, worker: _Worker) -> None:
        """Forget a dead worker; its item goes back to the front, once."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(_CLOSE_TIMEOUT_S)
        place = worker.item
        if place is None:
            return
        self._deaths[place] += 1
        if self._deaths[place] < ATTEMPTS:
            self._waiting.appendleft(place)
        elif self._error is None:
            code = worker.process.exitcode
            how = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
            self._error = JobError(
                f"task {place + 1} of {len(self._items)} lost its worker {ATTEMPTS} times ({how}); if memory is short, take "
                "fewer --workers. Finished tasks are kept: the same command goes on from here"
            )

    def _close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if worker.item is not None:
                worker.process.terminate()  # only after a second Ctrl-C or an error of the parent itself
        for worker in self._workers:
            worker.process.join(_CLOSE_TIMEOUT_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Count Ctrl-C instead of raising at once; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def count(_signal: int, _frame: Any) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, count)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _started() -> _Worker:
    """A new worker. It is born deaf to Ctrl-C, which is for the parent: an interpreter that is only just starting would die."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main_thread else None
    try:
        process.start()
    finally:
        if main_thread:
            signal.signal(signal.SIGINT, before)
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """A worker's life: prepare, then items until the pipe closes. Sends (result, None) or (None, error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before numpy is imported: the processes are the threads
    try:
        work: Callable[[Any], Any] | None = None
        prepare = pipe.recv_bytes()
        while True:
            item = pipe.recv()
            answer: tuple[Any, Exception | None]
            try:
                work = work or pickle.loads(prepare)()  # noqa: S301 - from the parent, through its own pipe
                answer = (work(item), None)
            except Exception as error:  # noqa: BLE001 - it is raised in the parent
                answer = (None, _portable(error))
            pipe.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more work, or is gone


def _portable(error: Exception) -> Exception:
    """An exception that survives the way to the parent, with the worker's traceback as a note."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever an exception's constructor wants
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
