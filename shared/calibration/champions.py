"""From a campaign's verdict to a champion: who may be promoted, what its baseline is, and how two champions differ.

The baseline that drift is measured from is the confirmation: days that chose nothing. The test windows chose the winner as the
best of many, so its Sharpe ratio there is too good by construction (quant.md, "The best of many"); only the shape of returns
(skewness, tails, clustering) is taken from them, because it needs many days. A promotion by hand is possible, says so in its
lineage, and carries a warning where the verdict did not pass. A machine promotes only what was measured as it will trade: with
the regimes of the hidden Markov model, at no lower costs than the settings say, on the bars of the champion that it replaces,
and never another safety limit than a person has set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from shared.backtest.params import CostParams
from shared.calibration import selection
from shared.calibration.eligibility import measured_otherwise, other_bars, own_limits
from shared.calibration.spec import CampaignSpec
from shared.calibration.variants import flattened, with_changes
from shared.domain.candles import FloatArray
from shared.domain.errors import ConfigError, UsageError
from shared.domain.ids import content_id
from shared.domain.research import CampaignRecord, Champion
from shared.monitor.performance import Baseline
from shared.trading.params import SystemParams

SHAPE_WINDOW_DAYS = 30
"""window whose variation of volatility a champion's `clustering` describes: the monitor's usual one"""

HAND, CAMPAIGN, RECALIBRATION = "hand", "campaign", "recalibration"
"""who promoted: `lineage["by"]`"""

_AGE = "run.max_decision_age"
"""the setting that a run takes its age limit from"""

_SHAPE = ("skewness", "kurtosis", "clustering")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A champion that is not active yet, and what a person should know before promoting it."""

    champion: Champion
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs between two champions; `None`: the first or the second does not have it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ChampionDiff:
    """How the second of two champions differs from the first."""

    before: str
    after: str
    params: tuple[Change, ...]
    metrics: tuple[Change, ...]
    tests: tuple[Change, ...]
    """conditions of the promotion rule: value of each"""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def propose(
    record: CampaignRecord,
    test_returns: FloatArray | None,
    *,
    by: str,
    reason: str,
    now_ms: int,
    active: Champion | None,
    costs: CostParams,
    recalibration: str | None = None,
) -> Proposal:
    """The winner of a concluded campaign as the next champion, in the place of `active`.

    `test_returns` (d,): the winner's daily returns over all test windows; without them the shape of its returns is not known,
    and the monitor will not judge its volatility. `costs`: those of the settings. Raises `UsageError` where the campaign has no
    winner that could be promoted, or where `by` is not `hand` and it did not pass, was measured otherwise than it will trade or
    on other bars than `active` trades, or has other safety limits than the settings of its campaign.
    """
    outcome = record.outcome
    if outcome is None:
        raise UsageError(f"campaign {record.id} is not finished; go on with it: ost campaign --asset {record.asset.symbol}")
    if outcome["winner"] is None:
        raise UsageError(f"campaign {record.id} has no winner: {outcome['reason']}")
    if by != HAND and not outcome["promoted"]:
        raise UsageError(f"campaign {record.id} may not promote its winner: {outcome['reason']}")
    spec = CampaignSpec.from_dict(record.spec)
    otherwise = (
        *measured_otherwise(spec.mode, spec.account.costs, costs),
        *other_bars(record, active),
        *own_limits(outcome["winner"]["changes"]),
    )
    if by != HAND and otherwise:
        raise UsageError(f"campaign {record.id} may not promote its winner: {'; '.join(otherwise)}")
    made = selection.champion(spec, dict(outcome), dict(record.regime), reason, now_ms)
    lineage = {**made.lineage, "by": by, "regime_mode": spec.mode.value, "costs": asdict(spec.account.costs)}
    if by == HAND:  # a person may pass over what it was compared with; a machine may not, and the ledger refuses it
        lineage["predecessor"] = None if active is None else active.id
    if recalibration is not None:
        lineage["recalibration"] = recalibration
    champion = replace(
        made,
        id=content_id("champion", made.id, by),
        metrics=_metrics(made.metrics, outcome, test_returns),
        statistical_test=dict(outcome["verdict"] or {}),
        lineage=lineage,
    )
    return Proposal(champion, (*_warnings(spec, outcome, active), *otherwise))


def restore(former: Champion, *, active: Champion | None, reason: str, now_ms: int) -> Proposal:
    """A former champion as the next one, by hand: a record of its own, so that each reign keeps its reason.

    Raises `UsageError` for the active one.
    """
    if active is not None and active.id == former.id:
        raise UsageError(f"{former.id} is the active champion of {former.asset.symbol} already; there is nothing to promote")
    predecessor = None if active is None else active.id
    made = replace(
        former,
        id=content_id("champion", former.id, predecessor, now_ms),
        lineage={**former.lineage, "predecessor": predecessor, "restored": former.id, "by": HAND},
        reason=reason,
        created_ms=now_ms,
        active=False,
        activated_ms=None,
        deactivated_ms=None,
    )
    # The recalibration has made the former one; the reference stays with it.
    lineage = {name: value for name, value in made.lineage.items() if name != "recalibration"}
    warnings = (
        () if former.statistical_test.get("promoted") else (f"{former.id} did not pass the promotion rule when it was made",)
    )
    return Proposal(replace(made, lineage=lineage), (*warnings, *other_bars(former, active)))


def differences(before: Champion, after: Champion) -> ChampionDiff:
    """What changed from one champion to another: effective parameters, metrics, conditions."""
    return ChampionDiff(
        before.id,
        after.id,
        _changes(_effective(before), _effective(after)),
        _changes(_flat(before.metrics), _flat(after.metrics)),
        _changes(_conditions(before), _conditions(after)),
    )


def system_of(champion: Champion, base: SystemParams) -> SystemParams:
    """The parameters that a champion stands for, whatever the settings say today; how orders are sent stays that of `base`.

    Their version is the champion's `params_version` as long as the defaults are those that it was made with. Raises
    `ConfigError` where a parameter that it names exists no more.
    """
    return with_changes(SystemParams(execution=base.execution), champion.params)


def settings_of(champion: Champion) -> dict[str, Any]:
    """Settings, as in `ost.yaml`, with which a run trades what the champion trades.

    Raises `ConfigError` where these would be other parameters, because the defaults have changed since.
    """
    version = system_of(champion, SystemParams()).version
    if version != champion.params_version:
        raise ConfigError(
            f"{champion.id} was made with other defaults: its parameters are {champion.params_version}, today they would be "
            f"{version}; a new campaign can find the champion of today"
        )
    nested: dict[str, Any] = {
        "interval": champion.interval.value,
        "universe": {"venue": champion.asset.venue, "symbols": [champion.asset.symbol]},
    }
    for name, value in champion.params.items():
        *path, leaf = (_AGE if name == "max_decision_age" else name).split(".")
        inner = nested
        for part in path:
            inner = inner.setdefault(part, {})
        inner[leaf] = value
    return nested


def _metrics(measured: Mapping[str, Any], outcome: Mapping[str, Any], test_returns: FloatArray | None) -> dict[str, Any]:
    shape = None if test_returns is None else Baseline.of(test_returns, SHAPE_WINDOW_DAYS)
    shapes = {} if shape is None else {name: value for name, value in shape.as_dict().items() if name in _SHAPE}
    confirmation = outcome["confirmation"]
    if confirmation is None:
        return {"period": "test windows", **measured, **shapes}
    return {"period": "confirmation", **confirmation["winner"], **shapes, "test_windows": dict(measured)}


def _warnings(spec: CampaignSpec, outcome: Mapping[str, Any], active: Champion | None) -> tuple[str, ...]:
    found = [] if outcome["promoted"] else [f"the campaign's verdict did not pass: {outcome['reason']}"]
    compared, now = spec.incumbent or None, None if active is None else active.id
    if compared != now:
        found.append(
            f"the campaign compared its winner with {compared or 'the settings'}, but {now or 'no champion'} is active"
        )
    return tuple(found)


def _effective(champion: Champion) -> dict[str, Any]:
    """All parameters of a champion, defaults included, so that a default that is written out is no difference."""
    known = flattened(SystemParams())
    return {**known, **champion.params}


def _conditions(champion: Champion) -> dict[str, Any]:
    conditions = champion.statistical_test.get("conditions") or ()
    return {condition["name"]: condition.get("value") for condition in conditions}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    names = [*before, *(name for name in after if name not in before)]
    return tuple(Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name))
