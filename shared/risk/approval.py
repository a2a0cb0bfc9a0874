"""The only door to the exchange: an `ApprovedOrder` is built here and nowhere else.

Executors accept nothing but `ApprovedOrder`. Its constructor asks for a seal that lives in this module, so that no other
code can make one by accident; `approve` is the one function that holds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import NotApproved
from shared.domain.orders import OrderIntent

_SEAL = object()


@dataclass(frozen=True, slots=True)
class ApprovedOrder:
    """An order that risk control let through. Build it with `approve`."""

    intent: OrderIntent
    _seal: object

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise NotApproved(
                f"order {self.intent.client_id} was not approved: only shared/risk/approval.py builds an ApprovedOrder"
            )
