import re

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.asset import Asset
from shared.domain.ids import book_tag, client_order_id, content_id, decision_id

BTC = Asset("binanceusdm", "BTCUSDT")
VENUE_RULE = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["market", "stop", "a very long leg"]))
def test_client_ids_obey_the_venue_and_carry_their_book(book: str, decision: str, leg: str) -> None:
    if leg == "a very long leg":
        leg = leg.replace(" ", "-")
    client_id = client_order_id(book, decision, leg)
    assert VENUE_RULE.fullmatch(client_id)
    assert client_id.startswith(book_tag(book))
    assert client_id == client_order_id(book, decision, leg)


def test_every_part_of_a_decision_changes_its_id() -> None:
    ids = {
        decision_id("b", BTC, 1, "p"),
        decision_id("c", BTC, 1, "p"),
        decision_id("b", Asset("binanceusdm", "ETHUSDT"), 1, "p"),
        decision_id("b", BTC, 2, "p"),
        decision_id("b", BTC, 1, "q"),
    }
    assert len(ids) == 5


def test_content_ids_do_not_depend_on_key_order() -> None:
    assert content_id("x", {"a": 1, "b": 2.5}) == content_id("x", {"b": 2.5, "a": 1})
