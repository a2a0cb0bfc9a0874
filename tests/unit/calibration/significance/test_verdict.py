"""The promotion rule: each condition can stop it, bad input is named, and the record is complete and JSON-able."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shared.calibration.significance.params import SignificanceParams
from shared.calibration.significance.sharpe import sharpe_difference
from shared.calibration.significance.verdict import Verdict, judge
from shared.domain.candles import FloatArray
from shared.domain.errors import ConfigError, MalformedData, NotEnoughData, UsageError

Noise = Callable[..., FloatArray]
PARAMS = SignificanceParams(resamples=1000, set_resamples=500, pbo_slices=8)
CONDITIONS = ["enough_days", "enough_confirm_days", "spa", "stepm", "ledoit_wolf", "deflated_sharpe"]


def campaign(noise: Noise, *, edge: float, days: int = 800, confirm_days: int = 400) -> dict:
    """Five alike variants and a champion; variant 2 earns `edge` more a day."""
    panel = noise(3, days + confirm_days, 6, 0.9)
    panel[:, 3] += edge
    ratios = panel[:days, 1:].mean(axis=0) / panel[:days, 1:].std(axis=0)
    return {
        "candidates": panel[:days, 1:],
        "champion": panel[:days, 0],
        "chosen": 2,
        "confirm": (panel[days:, 3], panel[days:, 0]),
        "trials": ratios.tolist(),
    }


def verdict(given: dict, params: SignificanceParams = PARAMS) -> Verdict:
    candidates, champion = given["candidates"], given["champion"]
    rest = {key: value for key, value in given.items() if key not in {"candidates", "champion"}}
    return judge(candidates, champion, **rest, params=params, rng=np.random.default_rng(1))


def missing(found: Verdict) -> list[str]:
    return [condition.name for condition in found.conditions if not condition.passed]


def test_a_real_improvement_is_promoted(noise: Noise) -> None:
    found = verdict(campaign(noise, edge=0.005))
    assert found.promoted
    assert [condition.name for condition in found.conditions] == CONDITIONS
    assert found.reason.startswith("every condition holds")
    assert found.record["stepm"]["superior"] == [2]
    assert found.record["pbo"]["pbo"] < 0.05
    assert found.record["annual_sharpe"]["winner"] > found.record["annual_sharpe"]["champion"]


def test_noise_is_not_promoted_and_the_reason_names_what_is_missing(noise: Noise) -> None:
    found = verdict(campaign(noise, edge=0.0))
    assert not found.promoted
    assert {"spa", "stepm", "ledoit_wolf"} <= set(missing(found))
    assert found.reason.startswith("no significant improvement: ")
    assert "SPA test of the best of 5 candidates: p = " in found.reason


def test_too_few_days_stop_a_real_improvement(noise: Noise) -> None:
    assert missing(verdict(campaign(noise, edge=0.01, days=300))) == ["enough_days"]
    assert missing(verdict(campaign(noise, edge=0.01, confirm_days=100))) == ["enough_confirm_days"]


def test_an_improvement_that_vanishes_on_new_days_is_stopped(noise: Noise) -> None:
    given = campaign(noise, edge=0.005)
    winner, champion = given["confirm"]
    assert missing(verdict({**given, "confirm": (winner - 0.005, champion)})) == ["ledoit_wolf"]


def test_an_improvement_below_the_minimum_effect_is_stopped(noise: Noise) -> None:
    assert missing(verdict(campaign(noise, edge=0.005), replace(PARAMS, minimum_effect=6.0))) == ["ledoit_wolf"]


def test_all_trials_ever_made_deflate_the_winner(noise: Noise) -> None:
    given = campaign(noise, edge=0.005)
    before = np.random.default_rng(1).normal(0, 0.1, 3000).tolist()
    found = verdict({**given, "trials": [*before, None, *given["trials"]]})
    assert missing(found) == ["deflated_sharpe"]
    assert found.record["trials"] == 3006


def test_a_used_confirmation_must_show_more(noise: Noise) -> None:
    given = campaign(noise, edge=0.005)
    first, tenth = verdict(given), verdict({**given, "earlier_looks": 9})
    assert first.record["ledoit_wolf"]["alpha"] == pytest.approx(0.04)
    assert tenth.record["ledoit_wolf"]["alpha"] == pytest.approx(0.04 * 0.2**9)
    assert tenth.record["ledoit_wolf"]["earlier_looks"] == 9
    threshold = {condition.name: condition.threshold for condition in tenth.conditions}
    assert (threshold["ledoit_wolf"], threshold["spa"]) == (pytest.approx(0.04 * 0.2**9), 0.05)
    assert missing(verdict({**given, "earlier_looks": 100_000})) == ["ledoit_wolf"]
    with pytest.raises(UsageError, match="-1 earlier looks"):
        verdict({**given, "earlier_looks": -1})


def test_the_levels_of_all_looks_add_up_to_alpha() -> None:
    for params in (PARAMS, replace(PARAMS, alpha=0.1, look_ratio=0.5)):
        levels = [params.look_level(earlier) for earlier in range(60)]
        assert sum(levels) == pytest.approx(params.alpha)
        assert levels == sorted(levels, reverse=True)


def test_twenty_looks_at_the_same_days_find_something_false_no_more_often_than_one_may() -> None:
    # Twenty winners against twenty champions on the same 292 days, none better: the level of each look is what is left.
    # alpha / (1 + earlier looks), whose sum grows without bound, finds something in a sixth of all families.
    rng, families, looks = np.random.default_rng(1), 300, 20
    spent = harmonic = 0
    for _ in range(families):
        panel = rng.standard_normal((292, 2 * looks))
        p = [sharpe_difference(panel[:, k], panel[:, looks + k], rng, method="jkm").p_one_sided for k in range(looks)]
        spent += any(value <= PARAMS.look_level(earlier) for earlier, value in enumerate(p))
        harmonic += any(value <= PARAMS.alpha / (1 + earlier) for earlier, value in enumerate(p))
    error = np.sqrt(0.05 * 0.95 / families)
    assert spent / families <= 0.05 + 3 * error
    assert harmonic / families > 0.05 + 3 * error


def test_leverage_alone_is_no_improvement(noise: Noise) -> None:
    given = campaign(noise, edge=0.0)
    champion, new = given["champion"] + 0.003, given["confirm"][1] + 0.003
    candidates = given["candidates"] + 0.003
    candidates[:, 2] = 3 * champion
    found = verdict({**given, "candidates": candidates, "champion": champion, "confirm": (3 * new, new)})
    assert {"stepm", "ledoit_wolf"} <= set(missing(found))
    assert found.record["ledoit_wolf"]["p_one_sided"] == 1.0


def test_candidates_that_never_traded_only_count_as_trials(noise: Noise) -> None:
    given = campaign(noise, edge=0.005)
    idle = np.zeros((800, 1))
    wider = {**given, "candidates": np.hstack([idle, given["candidates"]]), "chosen": 3, "trials": [None, *given["trials"]]}
    found = verdict(wider)
    assert found.promoted
    assert found.chosen == 3
    assert (found.record["candidates"], found.record["idle_candidates"]) == (5, 1)
    assert found.record["stepm"]["superior"] == [3]
    with pytest.raises(MalformedData, match="candidate 0 never traded"):
        verdict({**wider, "chosen": 0})


def test_a_champion_that_never_traded_is_cash(noise: Noise) -> None:
    given = campaign(noise, edge=0.006)
    found = verdict({**given, "champion": np.zeros(800), "confirm": (given["confirm"][0], np.zeros(400))})
    assert found.record["ledoit_wolf"]["method"] == "probabilistic"
    assert found.record["annual_sharpe"]["champion"] is None
    assert found.promoted


def test_one_candidate_is_a_set_too(noise: Noise) -> None:
    given = campaign(noise, edge=0.005)
    alone = {**given, "candidates": given["candidates"][:, [2]], "chosen": 0, "trials": given["trials"][2:3]}
    assert verdict(alone).record["pbo"] is None


def test_the_record_is_json_and_complete(noise: Noise) -> None:
    document = json.loads(json.dumps(verdict(campaign(noise, edge=0.0)).as_dict(), allow_nan=False))
    assert [condition["name"] for condition in document["conditions"]] == CONDITIONS
    assert all({"value", "threshold", "passed", "sentence"} <= set(condition) for condition in document["conditions"])
    assert document["promoted"] is False
    assert document["record"]["params"]["alpha"] == 0.05
    assert {"spa", "stepm", "ledoit_wolf", "pbo", "deflated_sharpe", "minimum_track_record_days"} <= set(document["record"])


def test_numbers_that_json_lacks_become_null(noise: Noise) -> None:
    given = campaign(noise, edge=-0.01)  # a losing winner never gets a long enough track record
    found = verdict(given)
    assert found.record["minimum_track_record_days"] == math.inf
    assert found.as_dict()["record"]["minimum_track_record_days"] is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"candidates": np.empty((800, 0))}, NotEnoughData, "shape (800, 0)"),
        ({"candidates": np.full((800, 5), np.nan)}, MalformedData, "candidate 0 holds returns that are not finite"),
        ({"champion": np.full(800, 0.01)}, MalformedData, "the champion is constant"),
        ({"champion": np.zeros(10)}, NotEnoughData, "the champion has 10 days"),
        ({"chosen": 5}, UsageError, "candidate 5 was chosen; expected 0 to 4"),
        ({"trials": [0.1]}, UsageError, "1 trials but 5 candidates"),
        ({"confirm": (np.ones(5), np.ones(5))}, NotEnoughData, "confirmation has 5 days; expected at least 30"),
    ],
)
def test_bad_input_is_named(change: dict, error, message: str, noise: Noise) -> None:
    with pytest.raises(error) as caught:
        verdict({**campaign(noise, edge=0.0), **change})
    assert message in str(caught.value)


def test_the_same_generator_gives_the_same_verdict(noise: Noise) -> None:
    given = campaign(noise, edge=0.002)
    assert verdict(given).as_dict() == verdict(given).as_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.0},
        {"deflated_sharpe": 1.0},
        {"look_ratio": 1.0},
        {"minimum_effect": -0.1},
        {"minimum_effect": math.inf},
        {"resamples": 50},
        {"block_days": 0},
        {"pbo_slices": 7},
        {"pbo_slices": 22},
        {"minimum_days": 10},
    ],
)
def test_impossible_parameters_are_named(change: dict) -> None:
    with pytest.raises(ConfigError, match=f"significance.{next(iter(change))}"):
        SignificanceParams(**change)
