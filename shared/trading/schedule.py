"""Schedule mode: one request does a whole step and ends, so that a service may scale to zero between bars.

    take the lease, reconcile -> bars that were missed (recorded) -> the newest closed bar -> halts, stops, events -> give up

The step is the session's own, fed by REST. The same request again changes nothing; one that was cut off is continued by the
next. A book that must be closed is closed before and after the step.
"""

from __future__ import annotations

from shared.domain.errors import BusUnavailable, NotEnoughData
from shared.domain.interval import format_ms
from shared.trading.analyst import Analyst
from shared.trading.guardian import Guardian
from shared.trading.outbox import relay
from shared.trading.session import LivePorts, Session, SessionSpec, StepReport
from shared.trading.stepper import Stepper
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams

ATTEMPTS = 3
"""Times that bars are asked for which the venue has not published yet, `bar_patience_s` apart"""


async def run_once(
    ports: LivePorts,
    spec: SessionSpec,
    params: TraderParams,
    bar_close_ms: int | None = None,
    analyst: Analyst | None = None,
) -> StepReport:
    """Step up to the bar that closed at `bar_close_ms` (ms UTC; default: the newest one) and give the lease up.

    Raises `LeaseLost` where another process trades the book, `NotEnoughData` where the venue has nothing of that bar yet, and
    what a step raises.
    """
    clock, ledger = ports.clock, ports.ledger
    newest_ms = spec.interval.floor(clock.now_ms() if bar_close_ms is None else min(bar_close_ms, clock.now_ms()))
    session = Session.take(ports, spec, analyst)
    try:
        await session.prepare()

        def say(level: str, message: str) -> None:
            ledger.log(spec.book, "schedule", level, message, clock.now_ms())

        guardian = Guardian(ports, spec, session, Tape(clock, round(params.quote_fresh_s * 1000)))
        await guardian.take_over_exits()
        guardian.look()
        await guardian.run_emergency()
        report = await _stepped(session, spec, params, ports, newest_ms, Stepper(session, spec, params, clock, _ignore, say))
        guardian.look()
        await guardian.run_emergency()
        await session.follow_up.finish(session.symbols)
        await guardian.protect()
        try:
            while await relay(ledger, ports.bus, clock):
                continue
        except BusUnavailable as error:
            say("warning", f"events wait for the next request: {error}")
        return report
    finally:
        await session.close()


async def _stepped(
    session: Session, spec: SessionSpec, params: TraderParams, ports: LivePorts, newest_ms: int, stepper: Stepper
) -> StepReport:
    """The report of the newest bar, after all bars before it; the symbols that lack theirs are asked for again."""
    report: StepReport | None = None
    for attempt in range(ATTEMPTS):
        report = await stepper.run_to(newest_ms) or report
        if report is not None and not report.undecided:
            return report
        if attempt < ATTEMPTS - 1:
            await ports.clock.sleep(params.bar_patience_s)
    if report is None:
        raise NotEnoughData(
            f"the venue shows no {spec.interval} bar of {' '.join(session.symbols)} that closed at {format_ms(newest_ms)}; "
            "ask again a little later"
        )
    return report


def _ignore(_: StepReport) -> None:
    """Nobody watches the steps of a request; its report is the answer."""
