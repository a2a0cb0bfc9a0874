"""Free text is stored as every ledger can keep it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.orders import OrderReport, OrderState
from shared.domain.records import Halt
from shared.domain.text import storable


@pytest.mark.parametrize(
    ("text", "stored"), [("caf\udce9", "caf?"), ("a\0b", "ab"), ("\ud800", "?"), ("Zürich 🙂", "Zürich 🙂"), ("", "")]
)
def test_what_no_ledger_can_keep_is_replaced(text: str, stored: str) -> None:
    assert storable(text) == stored
    assert Halt("b", text, 0, None).reason == stored


@given(st.text(st.characters(codec=None)))
def test_stored_text_is_utf_8_and_stays_as_it_is(text: str) -> None:
    once = storable(text)
    once.encode()
    assert "\0" not in once
    assert storable(once) == once


def test_a_venues_words_are_made_storable() -> None:
    report = OrderReport("c", "BTCUSDT", OrderState.REJECTED, 0, reason="no\ud800\0")  # type: ignore[arg-type]
    assert report.reason == "no?"
