"""One decision: from what an asset shows (`Analysis`) and what the book holds to a wanted position and its orders.

Pure: the same inputs give the same decision, live and in a replay. Risk control speaks before any order exists; every rule
that it applied stays in the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.asset import Asset
from shared.domain.decision import Action, Approval, Decision
from shared.domain.ids import decision_id
from shared.domain.interval import HOUR_MS, Interval, format_ms
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent
from shared.domain.records import Halt
from shared.domain.regime import Regime, RegimeProbabilities
from shared.risk.allocation import size_multiplier
from shared.risk.limits import LimitContext, limit_target, without_new_risk
from shared.strategy.policy import PolicyTarget, target_position
from shared.trading.analysis import Analysis
from shared.trading.legs import Plan, plan_orders
from shared.trading.params import SystemParams

READY = "trader ready"
"""Rule that fails while data or account are not trusted."""

NO_DATA = "none"
"""Data hash and model id of a decision that was made without an analysis (`exit_only`)."""


NOT_ANALYSED = "not analysed"
"""Begins the sentence that says why."""


@dataclass(frozen=True, slots=True)
class BookView:
    """The book around one asset at the moment of deciding."""

    book: str
    equity: Decimal
    held: Decimal
    """signed position of the asset, base units"""
    protected: bool
    """whether a stop rests at the venue for the position"""
    others_gross: float
    """sum of |notional| / equity of all other assets"""
    kelly_cap: float
    """largest |notional| / equity that Kelly allows"""
    halts: Sequence[Halt]
    rules: SymbolRules
    now_ms: int
    code_version: str
    others_net: float = 0.0
    """signed sum of notional / equity of all other assets"""
    held_back: str = ""
    """why no new risk is taken now (data or account are not trusted), empty where it may be"""


def decide(analysis: Analysis, view: BookView, params: SystemParams) -> tuple[Decision, tuple[OrderIntent, ...]]:
    """The decision for the analysed bar, and the intents that are to be committed with it."""
    identity = decision_id(view.book, analysis.asset, analysis.bar_close_ms, params.version)
    held = float(view.held) * analysis.price / float(view.equity) if view.equity > 0 else 0.0
    wanted, overruled = _wanted(analysis, held, view, params)
    context = LimitContext(
        symbol=analysis.asset.symbol,
        held=held,
        others_gross=view.others_gross,
        halts=view.halts,
        age_ms=view.now_ms - analysis.bar_close_ms,
        max_age_ms=round(params.max_decision_age * analysis.interval.ms),
        symbol_trading=view.rules.trading and not analysis.frozen and not _ends_soon(view, params),
        others_net=view.others_net,
        var_cap=analysis.exposure_cap,
    )
    approved, approvals = limit_target(wanted.fraction, context, params.risk)
    if view.held_back:
        approved = without_new_risk(approved, held)
        approvals = (*approvals, Approval(READY, False, view.held_back))
    # Too old to trade on at all, exits included: the next fresh bar decides (design/failures.md).
    stale = context.age_ms > context.max_age_ms
    unchanged = approved == held and not (view.held and approved == 0)
    if stale or unchanged:
        approved, plan = held, Plan(Action.HOLD, (), None)
    else:
        plan = plan_orders(
            book=view.book,
            decision=identity,
            rules=view.rules,
            held=view.held,
            target_fraction=approved,
            equity=view.equity,
            price=analysis.price,
            stop_distance=wanted.stop_distance,
            now_ms=view.now_ms,
            latest_ms=analysis.bar_close_ms + context.max_age_ms,
            params=params.execution,
        )
    decision = Decision(
        id=identity,
        book=view.book,
        asset=analysis.asset,
        interval=analysis.interval,
        bar_close_ms=analysis.bar_close_ms,
        params_version=params.version,
        code_version=view.code_version,
        data_hash=analysis.data_hash,
        window_start_ms=analysis.window_start_ms,
        regime_model_id=analysis.model_id,
        probabilities=analysis.probabilities,
        regime=analysis.regime,
        alphas=analysis.alphas,
        votes=analysis.votes,
        score=analysis.score,
        price=analysis.price,
        target_fraction=wanted.fraction,
        approved_fraction=approved,
        action=plan.action,
        stop_price=plan.stop_price,
        features=analysis.features,
        reasons=_reasons(analysis, plan, wanted, approved, overruled),
        approvals=approvals,
        order_ids=tuple(intent.client_id for intent in plan.intents),
        decided_ms=view.now_ms,
    )
    return decision, plan.intents


def _wanted(analysis: Analysis, held: float, view: BookView, params: SystemParams) -> tuple[PolicyTarget, str]:
    """What the policy wants, and what overrules it, if anything: a latched book and an unprotected position are closed."""
    must_exit = _must_exit(view, params)
    if must_exit:
        return PolicyTarget(0.0, 0.0), must_exit
    target = target_position(
        analysis.score,
        held,
        analysis.volatility,
        analysis.interval.bars_per_year,
        analysis.atr_fraction,
        size_multiplier(analysis.probabilities, params.risk),
        view.kelly_cap,
        analysis.strategy.policy,
    )
    return target, ""


def _must_exit(view: BookView, params: SystemParams) -> str:
    """Why the position is closed whatever the market shows: latched, unprotected, or at its end. Empty where it is not."""
    latch = next((halt for halt in view.halts if halt.kind.flattens and halt.symbol is None), None)
    if latch is not None:
        return f"the book is latched: {latch.reason}"
    if _ends_soon(view, params):
        return _ends_soon(view, params)
    return "no protective stop rests at the venue" if view.held and not view.protected else ""


def _ends_soon(view: BookView, params: SystemParams) -> str:
    """Why nothing is held in the symbol any more: the venue is about to end its contract. Empty where it is not."""
    delivery_ms = view.rules.delivery_ms
    if delivery_ms is None or view.now_ms < delivery_ms - params.execution.delisting_hours * HOUR_MS:
        return ""
    return f"the venue ends the contract at {format_ms(delivery_ms)}"


def exit_only(
    asset: Asset, interval: Interval, bar_close_ms: int, price: float, view: BookView, params: SystemParams, problem: str
) -> tuple[Decision, tuple[OrderIntent, ...]] | None:
    """The decision to leave a position of an asset that cannot be analysed; `None` where it may stay.

    Asks only what is held and at what last price (quote currency): an exit must not wait for bars or models.
    """
    why = _must_exit(view, params)
    if not view.held or not why or price <= 0:
        return None
    identity = decision_id(view.book, asset, bar_close_ms, params.version)
    plan = plan_orders(
        book=view.book,
        decision=identity,
        rules=view.rules,
        held=view.held,
        target_fraction=0.0,
        equity=view.equity,
        price=price,
        stop_distance=0.0,
        now_ms=view.now_ms,
    )
    decision = Decision(
        id=identity,
        book=view.book,
        asset=asset,
        interval=interval,
        bar_close_ms=bar_close_ms,
        params_version=params.version,
        code_version=view.code_version,
        data_hash=NO_DATA,
        window_start_ms=bar_close_ms,
        regime_model_id=NO_DATA,
        probabilities=RegimeProbabilities(1 / 3, 1 / 3, 1 / 3),
        regime=Regime.BALANCED,
        alphas={},
        votes=(),
        score=0.0,
        price=price,
        target_fraction=0.0,
        approved_fraction=0.0,
        action=plan.action,
        reasons=tuple(text for text in (f"the position is closed: {why}", f"{NOT_ANALYSED}: {problem}", plan.note) if text),
        order_ids=tuple(intent.client_id for intent in plan.intents),
        decided_ms=view.now_ms,
    )
    return decision, plan.intents


def _reasons(analysis: Analysis, plan: Plan, wanted: PolicyTarget, approved: float, overruled: str) -> tuple[str, ...]:
    """Sentences for a person, most important first."""
    side = "long" if analysis.score > 0 else "short" if analysis.score < 0 else "undecided"
    sentences = []
    if overruled:
        sentences.append(f"the position is closed: {overruled}")
    sentences.append(f"consensus {analysis.score:+.2f} ({side}), the policy wants {wanted.fraction:+.2f} of equity")
    if approved != wanted.fraction:
        sentences.append(f"risk control allows {approved:+.2f}")
    if plan.note:
        sentences.append(plan.note)
    shown = analysis.probabilities
    sentences.append(
        f"regime {analysis.regime}: P(calm) {shown.calm:.0%}, P(balanced) {shown.balanced:.0%}, P(stress) {shown.stress:.0%}"
    )
    return (*sentences, *analysis.notes)
