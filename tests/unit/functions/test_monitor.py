"""A look of the monitor: what is wrong with one book is told, and hides nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Request

from functions import wired
from functions.monitor import main
from shared.adapters.sql import open_ledger
from shared.domain.errors import LedgerUnavailable, MalformedData, OstError


@pytest.fixture
def look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ticked: Callable[..., Request]
) -> Iterator[Callable[[OstError], tuple[int, list[str]]]]:
    """A look at two books, the first of which ends in an error; the status, and what was looked at."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ledger = open_ledger(url)
    for created_ms, name in enumerate(("bad", "good")):
        ledger.register_book(name, created_ms, {})
    for key, value in {"OST_STORAGE__ROOT": str(tmp_path), "OST_LEDGER__URL": url, "OST_UNIVERSE__SYMBOLS": "BTCUSDT"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    for name in ("settings", "bucket", "ledger", "research", "bus"):
        getattr(wired, name).cache_clear()
    yield lambda error: looked(error, monkeypatch, ticked)
    ledger.close()
    for name in ("settings", "bucket", "ledger", "research", "bus"):
        getattr(wired, name).cache_clear()


def looked(error: OstError, monkeypatch: pytest.MonkeyPatch, ticked: Callable[..., Request]) -> tuple[int, list[str]]:
    seen: list[str] = []

    def book(name: str, _slot_ms: int) -> None:
        seen.append(name)
        if name == "bad":
            raise error

    monkeypatch.setattr(main, "_book", book)
    monkeypatch.setattr(main, "_series", lambda asset, _slot_ms: seen.append(asset.symbol))
    return main.handle(ticked({"task": "look"}))[1], seen


def test_a_book_that_cannot_be_read_stops_neither_the_others_nor_the_series(
    look: Callable[[OstError], tuple[int, list[str]]],
) -> None:
    assert look(MalformedData("its champion cannot be read")) == (204, ["bad", "good", "BTCUSDT"])


def test_what_passes_by_itself_is_tried_again_after_all_the_rest(look: Callable[[OstError], tuple[int, list[str]]]) -> None:
    assert look(LedgerUnavailable("not now")) == (503, ["bad", "good", "BTCUSDT"])
