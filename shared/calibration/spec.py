"""A campaign as a value: which data, folds and variants, at which costs, by which code and rule. Its id is its content.

The same command on the same data therefore continues the same campaign, and a change of anything makes another one, with a
verdict of its own. Its arrays are kept under `work`, what they are computed from: another rule alone computes nothing again.
The form in the ledger (`as_dict`) is enough to do any of its tasks in another process: `from_dict(spec.as_dict()) == spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from shared.backtest.params import BacktestParams, CostParams
from shared.backtest.system import RegimeMode
from shared.calibration.folds import Fold, FoldPlan, Window
from shared.calibration.ml_params import DEFAULT_ML, MlParams
from shared.calibration.params import CampaignParams
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.variants import Variant, changes_between, with_changes
from shared.domain.asset import Asset
from shared.domain.errors import MalformedData, OstError
from shared.domain.ids import content_id
from shared.domain.interval import Interval
from shared.trading.params import SystemParams

SCHEMA = 3
MARKET = "market"
"""Entry of a campaign's origin that says, for people, where its candles were read."""


@dataclass(frozen=True, slots=True)
class Task:
    """Some of a campaign's variants over all of its folds. The id names what is computed, the campaign's id included."""

    id: str
    position: int
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class CampaignSpec:
    """What is computed, completely."""

    asset: Asset
    interval: Interval
    data: str
    """content id of candles and funding, under which they are kept (`campaign_data`)"""
    start_ms: int
    end_ms: int
    plan: FoldPlan
    base: SystemParams
    variants: tuple[Variant, ...]
    """first the incumbent (the champion, or the base itself), then what is tried; changes are against `base`"""
    account: BacktestParams
    params: CampaignParams
    code_version: str
    incumbent: str = ""
    """id of the champion that is challenged; empty where it is the base"""
    mode: RegimeMode = RegimeMode.HMM
    ml: MlParams = DEFAULT_ML
    """how the ML alpha is trained where a variant gives it a weight"""
    significance: SignificanceParams = field(default_factory=SignificanceParams)
    """the promotion rule that judges the winner"""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """where the variants come from: default grid, file or search"""

    @cached_property
    def id(self) -> str:
        """Content id; the same candles are the same campaign wherever they were read from."""
        content = self.as_dict()
        origin = {name: value for name, value in self.origin.items() if name != MARKET}
        return content_id("k", {**content, "origin": origin})

    @cached_property
    def work(self) -> str:
        """Content id of what the results depend on: not the rule that judges them, nor where the variants come from."""
        content = {name: value for name, value in self.as_dict().items() if name not in ("significance", "origin")}
        return content_id("w", content)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The work, in order."""
        size = self.params.variants_per_task
        chunks = [self.variants[first : first + size] for first in range(0, len(self.variants), size)]
        return tuple(self._task(place, chunk) for place, chunk in enumerate(chunks))

    def _task(self, position: int, variants: tuple[Variant, ...]) -> Task:
        return Task(content_id("t", self.id, [variant.version for variant in variants]), position, variants)

    def shortfalls(self) -> tuple[str, ...]:
        """Which windows have fewer days than the promotion rule wants: such a campaign cannot promote whatever it finds."""
        wanted = (
            (self.plan.test_days, self.significance.minimum_days, "test days", "minimum_days"),
            (self.plan.confirm.days, self.significance.minimum_confirm_days, "days of confirmation", "minimum_confirm_days"),
        )
        return tuple(
            f"{days} {what}, the promotion rule needs {least} (significance.{name})"
            for days, least, what, name in wanted
            if days < least
        )

    def system(self, variant: Variant) -> SystemParams:
        """The parameters of a variant."""
        return with_changes(self.base, variant.changes)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "schema": SCHEMA,
            "asset": {"venue": self.asset.venue, "symbol": self.asset.symbol},
            "interval": self.interval.value,
            "data": self.data,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "plan": asdict(self.plan),
            "base": changes_between(SystemParams(), self.base),
            "variants": [{"changes": dict(variant.changes), "version": variant.version} for variant in self.variants],
            "account": asdict(self.account),
            "params": asdict(self.params),
            "code_version": self.code_version,
            "incumbent": self.incumbent,
            "mode": self.mode.value,
            "ml": asdict(self.ml),
            "significance": asdict(self.significance),
            "origin": dict(self.origin),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CampaignSpec:
        """The spec that `as_dict` wrote. Raises `MalformedData` where it is not one."""
        if stored.get("schema") != SCHEMA:
            raise MalformedData(f"a campaign of schema {stored.get('schema')}, expected {SCHEMA}; start it again")
        try:
            return cls(
                asset=Asset(**stored["asset"]),
                interval=Interval.parse(stored["interval"]),
                data=stored["data"],
                start_ms=stored["start_ms"],
                end_ms=stored["end_ms"],
                plan=_plan(stored["plan"]),
                base=with_changes(SystemParams(), stored["base"]),
                variants=tuple(Variant(variant["changes"], variant["version"]) for variant in stored["variants"]),
                account=_account(stored["account"]),
                params=CampaignParams(**stored["params"]),
                code_version=stored["code_version"],
                incumbent=stored["incumbent"],
                mode=RegimeMode(stored["mode"]),
                ml=MlParams(**stored["ml"]),
                significance=SignificanceParams(**stored["significance"]),
                origin=stored["origin"],
            )
        except (KeyError, TypeError, ValueError, OstError) as error:
            raise MalformedData(f"a campaign cannot be read ({error}); start it again") from error


def _plan(stored: Mapping[str, Any]) -> FoldPlan:
    folds = tuple(Fold(fold["index"], Window(**fold["train"]), Window(**fold["test"])) for fold in stored["folds"])
    return FoldPlan(folds, Window(**stored["confirm"]), stored["gap_days"])


def _account(stored: Mapping[str, Any]) -> BacktestParams:
    known = {entry.name for entry in fields(BacktestParams)}
    values = {name: value for name, value in stored.items() if name in known}
    return BacktestParams(**{**values, "costs": CostParams(**stored["costs"])})
