"""The generated market has the statistics that it promises, and the same seed gives the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.market_files import FileMarket
from shared.data.generated import FUNDING_MS, GeneratedMarket, generate_market, state_path, write_market
from shared.data.generated_params import GeneratedParams
from shared.domain.candles import COLUMNS
from shared.domain.errors import ConfigError, DataNotFound, UsageError
from shared.domain.interval import Interval, parse_date_ms

START_MS = parse_date_ms("2025-01-01")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "NEWUSDT")
EVER = 2**53


@pytest.fixture(scope="module")
def market() -> GeneratedMarket:
    return generate_market(np.random.default_rng(3), SYMBOLS, Interval.H1, START_MS, 40_000)


def test_the_same_seed_gives_the_same_bits(market: GeneratedMarket) -> None:
    again = generate_market(np.random.default_rng(3), SYMBOLS, Interval.H1, START_MS, 40_000)
    for symbol in SYMBOLS:
        for name in COLUMNS:
            assert np.array_equal(getattr(again.history[symbol], name), getattr(market.history[symbol], name))
    assert np.array_equal(again.states, market.states)
    other = generate_market(np.random.default_rng(4), SYMBOLS, Interval.H1, START_MS, 100)
    assert not np.array_equal(other.history["BTCUSDT"].close, market.history["BTCUSDT"].close[:100])


def test_each_state_has_its_volatility_volume_and_skew(market: GeneratedMarket) -> None:
    params = GeneratedParams()
    for symbol in SYMBOLS:
        candles = market.history[symbol]
        returns = np.diff(np.log(candles.close), prepend=np.log(candles.open[0]))
        parts = [returns[market.states == state] for state in range(3)]
        annual = [part.std() * np.sqrt(Interval.H1.bars_per_year) for part in parts]
        assert annual == pytest.approx(list(params.volatility), rel=0.05)
        volumes = [float(np.median(candles.volume[market.states == state])) for state in range(3)]
        assert volumes[0] * 1.3 < volumes[1] < volumes[2] / 2
        skew = [float(np.mean(((part - part.mean()) / part.std()) ** 3)) for part in parts]
        assert skew[2] < -0.4 < -0.2 < skew[0]


def test_assets_move_together_and_most_of_all_in_stress(market: GeneratedMarket) -> None:
    first, second = (np.diff(np.log(market.history[symbol].close)) for symbol in SYMBOLS[:2])
    found = [np.corrcoef(first[market.states[1:] == s], second[market.states[1:] == s])[0, 1] for s in range(3)]
    assert found == pytest.approx(list(GeneratedParams().correlation), abs=0.05)


def test_states_are_persistent_and_have_their_long_run_shares() -> None:
    params = GeneratedParams()
    states = state_path(np.random.default_rng(5), 400_000, params)
    shares = np.bincount(states, minlength=3) / len(states)
    assert shares == pytest.approx(params.stationary(), abs=0.05)
    changes = np.flatnonzero(np.diff(states))
    for state in range(3):
        left = int((states[changes] == state).sum())
        assert (states == state).sum() / left == pytest.approx(params.duration_bars[state], rel=0.25)


def test_a_bar_opens_where_its_predecessor_closed(market: GeneratedMarket) -> None:
    candles = market.history["BTCUSDT"]
    assert np.array_equal(candles.open[1:], candles.close[:-1])


def test_funding_settles_every_eight_hours_within_the_venues_cap(market: GeneratedMarket) -> None:
    times, rates = market.funding["BTCUSDT"]
    assert np.all(np.diff(times) == FUNDING_MS)
    assert np.all(times % FUNDING_MS == 0)
    assert np.abs(rates).max() <= 0.0075
    assert 0 < rates.mean() < 5e-4


async def test_it_serves_coarser_intervals_and_names_unknown_symbols(market: GeneratedMarket) -> None:
    daily = await market.candles("BTCUSDT", Interval.D1, START_MS, START_MS + 10 * Interval.D1.ms)
    assert len(daily) == 10
    assert len((await market.open_interest("BTCUSDT", 0, EVER))[0]) == 0
    with pytest.raises(DataNotFound, match="has no DOGEUSDT"):
        await market.candles("DOGEUSDT", Interval.H1, 0, EVER)


async def test_what_is_written_is_read_as_files(tmp_path: Path) -> None:
    market = generate_market(np.random.default_rng(1), ("BTCUSDT",), Interval.H1, START_MS, 100)
    write_market(market, FolderBucket(tmp_path))
    files = FileMarket(tmp_path)
    assert np.array_equal(files.history("BTCUSDT", Interval.H1).close, market.history["BTCUSDT"].close)
    times, rates = await files.funding_rates("BTCUSDT", 0, EVER)
    assert np.array_equal(times, market.funding["BTCUSDT"][0])
    assert np.array_equal(rates, market.funding["BTCUSDT"][1])


@pytest.mark.parametrize(
    ("symbols", "start_ms", "bars"), [((), START_MS, 5), (("A1", "A1"), START_MS, 5), (("A1",), 1, 5), (("A1",), 0, 0)]
)
def test_what_cannot_be_generated_is_refused(symbols: tuple[str, ...], start_ms: int, bars: int) -> None:
    with pytest.raises(UsageError, match="cannot generate"):
        generate_market(np.random.default_rng(1), symbols, Interval.H1, start_ms, bars)


@pytest.mark.parametrize(
    "wrong", [{"volatility": (0.0, 1.0, 1.0)}, {"duration_bars": (0.5, 1.0, 1.0)}, {"correlation": (1.0, 0, 0)}]
)
def test_impossible_parameters_are_refused(wrong: dict[str, tuple[float, float, float]]) -> None:
    with pytest.raises(ConfigError):
        GeneratedParams(**wrong)
