"""A decision and its lineage: everything that is needed to say, years later, why a trade happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.asset import Asset
from shared.domain.interval import Interval
from shared.domain.regime import Regime, RegimeProbabilities


class Action(StrEnum):
    """What a decision does with the position."""

    HOLD = "hold"
    OPEN = "open"
    INCREASE = "increase"
    REDUCE = "reduce"
    CLOSE = "close"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class Vote:
    """One agent's opinion at one bar."""

    agent: str
    score: float
    """in [-1, 1]: negative is short"""
    active: bool
    """whether the agent trades in this regime (`should_trade`)"""
    weight: float
    """share of the consensus, 0 where it is not active"""
    reason: str


@dataclass(frozen=True, slots=True)
class Approval:
    """One rule of risk control and what it said."""

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one asset at the close of one bar, and from what.

    `id` is derived from book, asset, bar close and parameter version (`ids.decision_id`), so a bar is decided once.
    """

    id: str
    book: str
    asset: Asset
    interval: Interval
    bar_close_ms: int
    params_version: str
    code_version: str
    data_hash: str
    """content hash of the candle window that was used"""
    window_start_ms: int
    regime_model_id: str
    probabilities: RegimeProbabilities
    regime: Regime
    """the regime held by the transition detector; its playbook applies"""
    alphas: dict[str, float]
    votes: tuple[Vote, ...]
    score: float
    """consensus in [-1, 1]"""
    price: float
    """close of the decided bar"""
    target_fraction: float
    """wanted position, signed notional / equity, before risk control"""
    approved_fraction: float
    """the same after risk control"""
    action: Action
    stop_price: float | None = None
    features: dict[str, float] = field(default_factory=dict)
    """the last row of the curated frame"""
    reasons: tuple[str, ...] = ()
    """sentences for a person, most important first"""
    approvals: tuple[Approval, ...] = ()
    order_ids: tuple[str, ...] = ()
    """client ids of the intents that were committed with it"""
    decided_ms: int = 0
    """when it was made, on the clock of the process that made it; 0 in ledgers that did not keep it"""
