"""The RL policies as one book sees them: named by the strategy, read from its bucket once, refused at the start where unusable.

A policy that is missing, altered, of another contract, curation or interval, or that needs more history than is kept, is a
`ModelError` before anything is traded. Where a book holds something it is looked after all the same, and no asset is decided
until the policies can be read. Where one falls silent at a bar the book's log says so, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.domain.asset import Asset
from shared.domain.errors import ModelError
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.ports import Bucket, Ledger
from shared.strategy.rl_policy import RlPolicy, with_rl_scores
from shared.strategy.rl_store import load_rl_policy
from shared.trading.analysis import Analysis
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow


def load_policies(bucket: Bucket, params: SystemParams) -> Mapping[str, RlPolicy]:
    """The policies that the strategy names, by the asset that they were trained on. Raises `ModelError`."""
    found: dict[str, RlPolicy] = {}
    for train_id in params.strategy.rl_policies:
        policy = load_rl_policy(bucket, train_id)
        card, kept = policy.card, params.strategy.rl_history_bars
        if card.asset in found:
            raise ModelError(
                f"strategy.rl_policies names {found[card.asset].card.train_id} and {train_id} for {card.asset}; keep one"
            )
        if card.lookback_bars > kept:
            raise ModelError(
                f"RL policy {train_id} depends on {card.lookback_bars} bars, strategy.rl_history_bars keeps {kept}; set it to "
                f"{card.lookback_bars} or more"
            )
        found[card.asset] = policy
    return found


def policies_of(
    bucket: Bucket, assets: Iterable[Asset], interval: Interval, params: SystemParams
) -> tuple[Mapping[Asset, RlPolicy], tuple[str, ...]]:
    """The policy of each asset that has one, and a line for each named policy that speaks about none of them.

    Raises `ModelError` where a policy that would speak must not: the bot then refuses to start.
    """
    named, chosen = dict(load_policies(bucket, params)), {}
    for asset in assets:
        policy = named.pop(str(asset), None)
        if policy is not None:
            if refusal := policy.refusal(str(asset), interval, params.curation):
                raise ModelError(refusal)
            chosen[asset] = policy
    idle = tuple(f"policy {policy.card.train_id} is for {asset}, which is not traded here" for asset, policy in named.items())
    return chosen, idle


def with_stored_rl(frame: Frame, asset: Asset, bucket: Bucket, params: SystemParams) -> Frame:
    """The research form: `frame` with the path of the asset's policy; unchanged where the strategy names none for it."""
    policy = policies_of(bucket, (asset,), frame.interval, params)[0].get(asset)
    return frame if policy is None else with_rl_scores(frame, policy)


class RlPolicies:
    """The policies of one book, in a bucket."""

    def __init__(self, bucket: Bucket, ledger: Ledger, book: str, params: SystemParams) -> None:
        self._ledger = ledger
        self._book = book
        self._params = params
        self._bucket = bucket
        self._policies: Mapping[str, RlPolicy] | None = None
        self._said: dict[Asset, str] = {}

    def load(self) -> Mapping[str, RlPolicy]:
        """The policies by asset, read when they are first asked for. Raises `ModelError` where one cannot be used."""
        if self._policies is None:
            self._policies = load_policies(self._bucket, self._params)
        return self._policies

    def policy_for(self, window: MarketWindow) -> RlPolicy | None:
        """The asset's policy; `None` where the strategy names none for it. Raises `ModelError` where it must not speak."""
        policy = self.load().get(str(window.asset))
        if policy is None:
            return None
        if refusal := policy.refusal(str(window.asset), window.candles.interval, self._params.curation):
            raise ModelError(refusal)
        return policy

    def report(self, analysis: Analysis) -> None:
        """Log which policy is followed, once, and why it is silent at this bar, if it is and that was not said before."""
        policy, problem = self.load().get(str(analysis.asset)), analysis.rl_problem
        if policy is not None and self._said.get(analysis.asset) != problem:
            self._said[analysis.asset] = problem
            follows = f"the RL agent follows policy {policy.card.train_id} ({policy.card.id})"
            text = f"the RL agent takes no part: {problem}" if problem else follows
            level = "warning" if problem else "info"
            self._ledger.log(self._book, "rl", level, f"{analysis.asset.symbol}: {text}", analysis.bar_close_ms)
