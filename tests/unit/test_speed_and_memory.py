"""Work on two threads keeps its order and its errors; the memory of a sweep stays within its bound."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from shared.memory import BoundedMemory
from shared.speed import LONG_ROWS, SHORT_ROWS, in_order, takes_twin, together


def test_short_arrays_take_no_twin() -> None:
    assert not takes_twin(SHORT_ROWS - 1)


@pytest.mark.parametrize("rows", [10, LONG_ROWS])
def test_results_come_in_the_order_of_the_tasks(rows: int) -> None:
    assert together([lambda i=i: i * i for i in range(20)], rows) == [i * i for i in range(20)]
    assert together([], rows) == []


def fails(value: int) -> int:
    if value == 3:
        raise ValueError("three")
    return value


def test_an_error_of_a_task_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="three"):
        together([lambda i=i: fails(i) for i in range(5)], LONG_ROWS)
    with pytest.raises(ValueError, match="three"):
        list(in_order(fails, range(5)))


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(lambda item: item + 1, items())
    assert [next(results) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert len(taken) < 12
    results.close()  # type: ignore[attr-defined]


def array(value: float) -> np.ndarray:
    return np.full(100, value)


def test_a_known_result_is_not_computed_again() -> None:
    memory, computed = BoundedMemory(10_000), []

    def compute() -> np.ndarray:
        computed.append(1)
        return array(1.0)

    first = memory.get("a", compute, lambda values: values.nbytes)
    assert memory.get("a", compute, lambda values: values.nbytes) is first
    assert len(computed) == 1


def test_what_was_not_asked_for_longest_is_forgotten_first() -> None:
    memory = BoundedMemory(3 * 800)
    for key in ("a", "b", "c", "a", "d"):
        memory.get(key, lambda: array(0.0), lambda values: values.nbytes)
        assert memory.held_bytes <= 3 * 800
    again: list[str] = []
    for key in ("a", "c", "d", "b"):
        memory.get(key, lambda key=key: again.append(key) or array(0.0), lambda values: values.nbytes)
    assert again == ["b"]
    assert len(memory) == 3


def test_a_result_larger_than_the_memory_is_given_all_the_same() -> None:
    memory = BoundedMemory(100)
    assert len(memory.get("a", lambda: array(1.0), lambda values: values.nbytes)) == 100
    memory.get("b", lambda: array(1.0), lambda values: values.nbytes)
    assert len(memory) == 1
