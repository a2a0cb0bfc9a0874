"""How exits are written down in a journal: one line of JSON per order intent, in the order in which they were sent."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from shared.domain.errors import MalformedData, StorageError
from shared.domain.orders import OrderIntent

_INTENTS = TypeAdapter(OrderIntent)


def line_of(intent: OrderIntent) -> bytes:
    """The line of an intent, with its end."""
    return _INTENTS.dump_json(intent) + b"\n"


def intents_in(content: bytes, place: str) -> list[OrderIntent]:
    """The intents of whole lines, each once. Raises `StorageError`, which names `place` and line, where one cannot be read."""
    found: dict[str, OrderIntent] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            intent = _INTENTS.validate_json(line)
        except (ValidationError, MalformedData) as error:
            raise StorageError(
                f"{place}, line {number} is no order intent ({_first_words(error)}); nothing was changed: compare the "
                "line with the venue's order list, mend or remove it, and start again"
            ) from error
        found.setdefault(intent.client_id, intent)
    return list(found.values())


def _first_words(error: ValidationError | MalformedData) -> str:
    if isinstance(error, MalformedData):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
