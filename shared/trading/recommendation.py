"""What a person should do now: a decision in words, with the moment after which it is void.

Confidence is |consensus|, a measure of agreement among the agents and not a probability of profit. A recommendation holds for
one bar: the next close decides anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shared.domain.decision import Action, Decision
from shared.domain.interval import format_ms

_VERBS = {
    Action.HOLD: "leave the position as it is",
    Action.OPEN: "open a position",
    Action.INCREASE: "increase the position",
    Action.REDUCE: "reduce the position",
    Action.CLOSE: "close the position",
    Action.REVERSE: "turn the position to the other side",
}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A decision for a person."""

    decision_id: str
    asset: str
    action: Action
    target_fraction: float
    """signed notional / equity that risk control allows"""
    confidence: float
    """in [0, 1]: agreement of the agents"""
    regime: str
    regime_probability: float
    price: float
    stop_price: float | None
    reasons: tuple[str, ...]
    bar_close_ms: int
    """close of the decided bar"""
    invalid_after_ms: int
    """close of the next bar"""

    @property
    def side(self) -> str:
        """`long`, `short` or `flat`: what is held once it is followed."""
        return "long" if self.target_fraction > 0 else "short" if self.target_fraction < 0 else "flat"

    def is_valid(self, now_ms: int) -> bool:
        """Whether it may still be followed."""
        return now_ms <= self.invalid_after_ms

    def text(self, now_ms: int | None = None) -> str:
        """Lines for a person; with `now_ms` an outdated one says so first."""
        share = f" {abs(self.target_fraction):.0%} of equity" if self.target_fraction else ""
        lines = [
            f"{self.asset}: {_VERBS[self.action]} → {self.side}{share} at about {self.price:,.6g}",
            f"  agreement {self.confidence:.0%}; regime {self.regime} (P = {self.regime_probability:.0%})",
        ]
        if self.stop_price is not None:
            lines.append(
                f"  protective stop at {self.stop_price:,.6g} ({self.stop_price / self.price - 1:+.1%} from the price)"
            )
        lines += [f"  - {reason}" for reason in self.reasons]
        lines.append(f"  decided at {format_ms(self.bar_close_ms)} UTC, void after {format_ms(self.invalid_after_ms)} UTC")
        if now_ms is not None and not self.is_valid(now_ms):
            lines.insert(0, f"OUTDATED since {format_ms(self.invalid_after_ms)} UTC: do not trade on this")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, and the side."""
        return {**asdict(self), "action": self.action.value, "side": self.side}


def recommend(decision: Decision) -> Recommendation:
    """The recommendation that `decision` amounts to."""
    return Recommendation(
        decision_id=decision.id,
        asset=str(decision.asset),
        action=decision.action,
        target_fraction=decision.approved_fraction,
        confidence=min(abs(decision.score), 1.0),
        regime=decision.regime.value,
        regime_probability=decision.probabilities.of(decision.regime),
        price=decision.price,
        stop_price=decision.stop_price,
        reasons=decision.reasons,
        bar_close_ms=decision.bar_close_ms,
        invalid_after_ms=decision.bar_close_ms + decision.interval.ms,
    )
