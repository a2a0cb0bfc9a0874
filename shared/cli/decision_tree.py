"""An explanation as a tree for the terminal, in the order in which things happened: candles first, profit last."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from shared.cli.texts import price
from shared.domain.decision import Decision
from shared.domain.interval import format_ms
from shared.trading.explanation import ExplainedFill, ExplainedOrder, Explanation, OpenTrip, RoundTrip

_FEATURES_PER_LINE = 4


def trees(explanations: Iterable[Explanation]) -> Group:
    """One tree per decision, for Rich to print."""
    return Group(*(tree(explanation) for explanation in explanations))


def tree(explanation: Explanation) -> Tree:
    """The lineage of one decision, for Rich to print."""
    decision = explanation.decision
    decided_at = price(decision.price)
    root = Tree(
        f"[bold]{escape(decision.id)}[/]  {escape(str(decision.asset))} [bold]{decision.action.value}[/] at {decided_at}, "
        f"bar close {format_ms(decision.bar_close_ms)} UTC  [dim]book {escape(decision.book)}[/]"
    )
    _branch(root, "why", decision.reasons)
    _branch(root, "candles", _candle_lines(decision))
    _branch(root, "features", _feature_lines(decision.features))
    _branch(root, f"regime: [bold]{decision.regime.value}[/]", _regime_lines(explanation))
    _branch(root, "alphas", [f"{value:+.3f}  {name}" for name, value in decision.alphas.items()])
    root.add("votes").add(_votes(decision)) if decision.votes else root.add("votes: none")
    root.add(f"consensus: [bold]{decision.score:+.3f}[/] (weighted mean of the active votes, -1 short to +1 long)")
    stop = "" if decision.stop_price is None else f", stop at {price(decision.stop_price)}"
    root.add(f"policy target: {decision.target_fraction:+.3f} of equity{stop}")
    approvals = root.add(f"risk control: {decision.approved_fraction:+.3f} of equity approved")
    for approval in decision.approvals:
        mark = "[green]passed[/]" if approval.passed else "[red]limited[/]"
        approvals.add(f"{mark}  {escape(approval.rule)}: {escape(approval.detail)}")
    orders = root.add("orders" if explanation.orders else "orders: none")
    for order in explanation.orders:
        _add_order(orders, order)
    _add_trips(root, explanation)
    return root


def _branch(root: Tree, label: str, lines: Iterable[str]) -> None:
    """A branch with plain lines."""
    shown = list(lines)
    branch = root.add(label if shown else f"{label}: none")
    for line in shown:
        branch.add(escape(line))


def _candle_lines(decision: Decision) -> list[str]:
    bars = (decision.bar_close_ms - decision.window_start_ms) // decision.interval.ms
    return [
        f"{bars} bars of {decision.interval}, {format_ms(decision.window_start_ms)} to {format_ms(decision.bar_close_ms)} UTC",
        f"data {decision.data_hash}",
        f"code {decision.code_version}, parameters {decision.params_version}",
    ]


def _feature_lines(features: dict[str, float]) -> list[str]:
    texts = [f"{name} {value:.6g}" for name, value in features.items()]
    return [", ".join(texts[at : at + _FEATURES_PER_LINE]) for at in range(0, len(texts), _FEATURES_PER_LINE)]


def _regime_lines(explanation: Explanation) -> list[str]:
    decision, state = explanation.decision, explanation.regime_state
    probabilities = ", ".join(f"P({name}) {value:.1%}" for name, value in decision.probabilities.as_dict().items())
    lines = [probabilities, f"model {decision.regime_model_id}"]
    if decision.probabilities.dominant is not decision.regime:
        lines.append(f"{decision.probabilities.dominant} is likeliest, not yet long enough to change the held regime")
    if state is not None:
        calm, balanced, stress = state.ema
        lines.append(f"smoothed: {calm:.1%} / {balanced:.1%} / {stress:.1%}, {state.stress_bars} stress bars in a row")
    return [*lines, f"the playbook of {decision.regime} applies"]


def _votes(decision: Decision) -> Table:
    grid = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("agent", "vote", "weight", "reason"):
        grid.add_column(column, justify="right" if column in ("vote", "weight") else "left", overflow="fold")
    for vote in decision.votes:
        weight = f"{vote.weight:.1%}" if vote.active else "out"
        grid.add_row(
            escape(vote.agent), f"{vote.score:+.3f}", weight, escape(vote.reason), style=None if vote.active else "dim"
        )
    return grid


def _add_order(orders: Tree, explained: ExplainedOrder) -> None:
    order, intent = explained.order, explained.order.intent
    at = "" if intent.stop_price is None else f" at {intent.stop_price}"
    only = ", reduce only" if intent.reduce_only else ""
    venue = f", venue id {order.venue_id}" if order.venue_id else ", not at the venue"
    branch = orders.add(
        f"{intent.kind.value} {intent.side.value} {intent.quantity}{at}{only}: [bold]{order.state.value}[/] "
        f"[dim]{escape(intent.client_id + venue)}[/]"
    )
    if order.reason:
        branch.add(f"[red]{escape(order.reason)}[/]")
    for fill in explained.fills:
        branch.add(_fill_text(fill))


def _fill_text(explained: ExplainedFill) -> str:
    fill = explained.fill
    colour = "red" if explained.slippage_bps > 0 else "green"
    return (
        f"filled {fill.quantity} at {fill.price}, {format_ms(fill.time_ms)} UTC, fee {fill.fee:,.4f}, "
        f"[{colour}]{explained.slippage_bps:+.2f} bps[/] against the {explained.reference} {price(explained.reference_price)} "
        f"[dim]fill {escape(fill.trade_id)}[/]"
    )


def _add_trips(root: Tree, explanation: Explanation) -> None:
    if not explanation.round_trips and explanation.open_trip is None:
        root.add("trade: none")
    for trip in explanation.round_trips:
        _add_trip(root, trip)
    if explanation.open_trip is not None:
        root.add(_open_text(explanation.open_trip))


def _add_trip(root: Tree, trip: RoundTrip) -> None:
    trade = trip.trade
    colour = "green" if trade.profit > 0 else "red"
    branch = root.add(
        f"trade: this decision {trip.role.value} a {trade.side} of {trade.quantity}, "
        f"profit [{colour}]{trade.profit:+,.2f}[/] after fees [dim]{escape(trade.id)}[/]"
    )
    branch.add(
        f"{price(float(trade.entry_price))} ({format_ms(trade.opened_ms)}) to "
        f"{price(float(trade.exit_price))} ({format_ms(trade.closed_ms)}) UTC"
    )
    branch.add(f"fees {trade.fees:,.2f} (in the profit), funding {trip.funding:+,.2f} (not in it)")
    branch.add(
        f"opened by {escape(trade.open_decision_id or 'no order of ours')}, "
        f"closed by {escape(trade.close_decision_id or 'the venue (liquidation or settlement)')}"
    )


def _open_text(trip: OpenTrip) -> str:
    side = "long" if trip.position.quantity > 0 else "short"
    return (
        f"trade: still open, {side} {abs(trip.position.quantity)} from {price(float(trip.position.entry_price))}, "
        f"since {format_ms(trip.opened_ms)} UTC"
    )
