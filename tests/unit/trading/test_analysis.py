"""What an asset shows at a bar close is the same whichever way its window and memory came to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from shared.data.curation import curate
from shared.data.generated import GeneratedMarket, generate_market
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import NotEnoughData
from shared.domain.interval import Interval, parse_date_ms
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams
from shared.regime.schedule import last_instant, refit
from shared.trading.analysis import Analysis, AssetMemory, analyse, is_frozen, remembered
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow, Series, empty_series

ASSET = Asset("binanceusdm", "BTCUSDT")
START_MS = parse_date_ms("2025-04-01")
PARAMS = SystemParams(regime=RegimeParams(train_bars=700, burn_in_bars=200, restarts=1))
FRESH = remembered(None)
MODEL_ROW = 1700
"""The model is valid from the last refit instant before this bar."""


@dataclass(frozen=True)
class Known:
    market: GeneratedMarket
    model: RegimeModel

    @property
    def candles(self) -> Candles:
        return self.market.history["BTCUSDT"]

    @property
    def funding(self) -> Series:
        return self.market.funding["BTCUSDT"]

    def close_ms(self, row: int) -> int:
        return int(self.candles.close_time[row])

    def window(self, row: int, bars: int | None = None) -> MarketWindow:
        """The window of a session that starts at the close of `row`."""
        max_bars = PARAMS.window_bars(Interval.H1) if bars is None else bars
        times, rates = self.funding
        known = times <= self.close_ms(row)
        empty = MarketWindow.empty(ASSET, Interval.H1, max_bars)
        return empty.extended(self.candles[: row + 1], (times[known], rates[known]), empty_series())

    def grown(self, first: int, last: int) -> tuple[list[Analysis], MarketWindow]:
        """A session that starts at `first` and goes on bar by bar to `last`."""
        window, memory, seen = self.window(first), FRESH, []
        for row in range(first, last + 1):
            times, rates = self.funding
            new = (times > self.close_ms(row - 1)) & (times <= self.close_ms(row))
            window = window.extended(self.candles[row : row + 1], (times[new], rates[new]), empty_series())
            seen.append(analyse(window, self.close_ms(row), self.model, memory, PARAMS))
            memory = seen[-1].memory
        return seen, window


@pytest.fixture(scope="module")
def known() -> Known:
    market = generate_market(np.random.default_rng(3), ["BTCUSDT"], Interval.H1, START_MS, 2400)
    candles = market.history["BTCUSDT"]
    frame = curate(candles, PARAMS.curation)
    result = refit(frame, ASSET, last_instant(int(candles.close_time[MODEL_ROW]), PARAMS.regime), PARAMS.regime)
    assert result.model is not None, result.reason
    return Known(market, result.model)


def assert_same(one: Analysis, other: Analysis) -> None:
    assert one.data_hash == other.data_hash
    assert one.window_start_ms == other.window_start_ms
    assert list(one.probabilities.as_dict().values()) == pytest.approx(list(other.probabilities.as_dict().values()), abs=1e-9)
    assert one.regime is other.regime
    assert one.score == pytest.approx(other.score, abs=1e-9)
    assert [vote.score for vote in one.votes] == pytest.approx([vote.score for vote in other.votes], abs=1e-9)
    assert [vote.weight for vote in one.votes] == pytest.approx([vote.weight for vote in other.votes], abs=1e-9)
    assert [vote.active for vote in one.votes] == [vote.active for vote in other.votes]
    assert one.alphas == pytest.approx(other.alphas, abs=1e-9)
    assert one.features == pytest.approx(other.features, rel=1e-9, abs=1e-9)


def memory_before(analysis: Analysis) -> AssetMemory:
    """The memory that the ledger gives back for the bar before `analysis`."""
    return remembered(analysis.memory.state)


def test_growing_bar_by_bar_and_restarting_from_the_ledger_are_the_same(known: Known) -> None:
    seen, _ = known.grown(MODEL_ROW, MODEL_ROW + 40)
    for offset in (1, 17, 40):
        row = MODEL_ROW + offset
        restarted = analyse(known.window(row), known.close_ms(row), known.model, memory_before(seen[offset - 1]), PARAMS)
        assert_same(restarted, seen[offset])
        assert restarted.memory.state == seen[offset].memory.state


def test_probabilities_do_not_depend_on_when_the_session_began(known: Known) -> None:
    seen, window = known.grown(MODEL_ROW, MODEL_ROW + 40)
    row = MODEL_ROW + 40
    fresh = analyse(known.window(row), known.close_ms(row), known.model, FRESH, PARAMS)
    # Only the held regime is history: with it, the whole analysis is the same.
    carried = replace(seen[-2].memory, tracker=None)
    assert fresh.probabilities.as_dict() == pytest.approx(seen[-1].probabilities.as_dict(), abs=1e-9)
    assert_same(analyse(window, known.close_ms(row), known.model, carried, PARAMS), seen[-1])


def test_a_longer_window_changes_nothing(known: Known) -> None:
    row = MODEL_ROW + 100
    short = analyse(known.window(row), known.close_ms(row), known.model, FRESH, PARAMS)
    long = analyse(known.window(row, bars=10_000), known.close_ms(row), known.model, FRESH, PARAMS)
    assert len(known.window(row, bars=10_000).candles) > PARAMS.decision_bars
    assert_same(short, long)


@pytest.mark.parametrize("away", [2, 30, 300, 450])
def test_a_session_that_was_away_sees_what_one_that_stayed_sees(known: Known, away: int) -> None:
    first = analyse(known.window(MODEL_ROW), known.close_ms(MODEL_ROW), known.model, FRESH, PARAMS)
    row = MODEL_ROW + away
    back = analyse(known.window(row), known.close_ms(row), known.model, memory_before(first), PARAMS)
    stayed = analyse(known.window(row), known.close_ms(row), known.model, FRESH, PARAMS)
    assert back.probabilities.as_dict() == pytest.approx(stayed.probabilities.as_dict(), abs=1e-9)


def test_the_same_bar_twice_changes_nothing(known: Known) -> None:
    first = analyse(known.window(MODEL_ROW), known.close_ms(MODEL_ROW), known.model, FRESH, PARAMS)
    for memory in (first.memory, memory_before(first)):
        again = analyse(known.window(MODEL_ROW), known.close_ms(MODEL_ROW), known.model, memory, PARAMS)
        assert_same(again, first)
        assert again.memory == first.memory


def test_memory_counts_each_bar_once(known: Known) -> None:
    seen, _ = known.grown(MODEL_ROW, MODEL_ROW + 4)
    states = [analysis.memory.state for analysis in seen]
    assert [state.observations for state in states if state] == [1, 2, 3, 4, 5]
    assert [state.bar_close_ms for state in states if state] == [known.close_ms(MODEL_ROW + k) for k in range(5)]


def test_a_missing_bar_is_named(known: Known) -> None:
    window = known.window(MODEL_ROW)
    with pytest.raises(NotEnoughData, match="no new bar; the newest one closed at"):
        analyse(window, known.close_ms(MODEL_ROW + 1), known.model, FRESH, PARAMS)
    with pytest.raises(NotEnoughData, match="the newest one closed at nothing"):
        analyse(MarketWindow.empty(ASSET, Interval.H1, 10), known.close_ms(0), known.model, FRESH, PARAMS)


def test_a_short_window_is_not_enough(known: Known) -> None:
    bars = PARAMS.decision_bars
    short = known.window(MODEL_ROW, bars=bars - 1)
    with pytest.raises(NotEnoughData, match=f"{bars - 1} bars in the window, a decision needs {bars}"):
        analyse(short, known.close_ms(MODEL_ROW), known.model, FRESH, PARAMS)


def test_without_a_model_there_is_no_analysis(known: Known) -> None:
    with pytest.raises(NotEnoughData, match="no regime model is in force yet"):
        analyse(known.window(MODEL_ROW), known.close_ms(MODEL_ROW), None, FRESH, PARAMS)


def test_a_frozen_market_is_flagged(known: Known) -> None:
    window = known.window(MODEL_ROW)
    columns = {name: getattr(window.candles, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for name, values in columns.items():
        values[-3:] = 0.0 if name == "volume" else columns["close"][-4]
    frozen = replace(window, candles=Candles(Interval.H1, window.candles.open_time, **columns))
    assert not analyse(window, known.close_ms(MODEL_ROW), known.model, FRESH, PARAMS).frozen
    assert analyse(frozen, known.close_ms(MODEL_ROW), known.model, FRESH, PARAMS).frozen
    columns["volume"][-1] = 1.0
    assert not is_frozen(Candles(Interval.H1, window.candles.open_time, **columns))
