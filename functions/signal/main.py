"""`signal`: each day the recommendation for every asset, decided from the lake and kept in the ledger. Nothing is ordered.

The bar is the newest one at the slot, however late the call is tried again. What was decided before is not decided again, so
that a second call on the same day changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.answer import Answer, Jobs, answered, for_each, say

if __name__ == "main":  # under functions-framework, alone in its process
    import shared.adapters.gcp.http_only  # noqa: F401

if TYPE_CHECKING:
    from flask import Request

    from functions.call import Tick
    from shared.domain.asset import Asset


def handle(request: Request) -> Answer:
    """The entry point."""
    return answered(request, Jobs(on_tick=recommend))


def recommend(tick: Tick) -> None:
    """Decide the newest bar of every asset at the slot. Raises `LeaseLost` while another process decides, `NotNow`."""
    from functions import wired
    from shared.cli.wiring import process_name

    desk = wired.signal_desk(wired.settings().universe.universe, tick.slot_ms)
    with desk.writing(process_name()) as lease:

        def decide(asset: Asset) -> None:
            decision = desk.newest(asset, desk.renewed(lease))
            fields = {"asset": str(asset), "decision": decision.id, "target_fraction": decision.approved_fraction}
            say("INFO", "signal.recommended", f"{asset}: {decision.action.value}", **fields)

        for_each(desk.universe, decide, "signal.failed")
