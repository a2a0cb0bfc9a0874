"""One decision: from what an asset shows (`Analysis`) and what the book holds to a wanted position and its orders.

Pure: the same inputs give the same decision, live and in a replay. Risk control speaks before any order exists; every rule
that it applied stays in the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.decision import Action, Decision
from shared.domain.ids import decision_id
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent
from shared.domain.records import Halt
from shared.risk.allocation import size_multiplier
from shared.risk.limits import LimitContext, limit_target
from shared.strategy.policy import PolicyTarget, target_position
from shared.trading.analysis import Analysis
from shared.trading.legs import Plan, plan_orders
from shared.trading.params import SystemParams


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
        symbol_trading=view.rules.trading and not analysis.frozen,
    )
    approved, approvals = limit_target(wanted.fraction, context, params.risk)
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
    )
    return decision, plan.intents


def _wanted(analysis: Analysis, held: float, view: BookView, params: SystemParams) -> tuple[PolicyTarget, str]:
    """What the policy wants, and what overrules it, if anything: a latched book and an unprotected position are closed."""
    latch = next((halt for halt in view.halts if halt.until_ms is None and halt.symbol is None), None)
    if latch is not None:
        return PolicyTarget(0.0, 0.0), f"the book is latched: {latch.reason}"
    if view.held and not view.protected:
        return PolicyTarget(0.0, 0.0), "no protective stop rests at the venue"
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
