import pytest

from shared.domain.asset import DEFAULT_UNIVERSE, Asset, Universe
from shared.domain.errors import UsageError
from shared.domain.interval import Interval


def test_the_path_in_the_lake_is_layer_venue_symbol_interval() -> None:
    assert Asset("binanceusdm", "BTCUSDT").path("raw", Interval.H1) == "raw/binanceusdm/BTCUSDT/1h/data.parquet"


@pytest.mark.parametrize(
    ("venue", "symbol"), [("Binance", "BTCUSDT"), ("binance", "btc/usdt"), ("binance", "../etc"), ("", "X")]
)
def test_names_that_could_leave_the_lake_are_refused(venue: str, symbol: str) -> None:
    with pytest.raises(UsageError):
        Asset(venue, symbol)


def test_the_default_universe_is_the_five_largest_perpetuals() -> None:
    assert [asset.symbol for asset in DEFAULT_UNIVERSE] == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"]


def test_a_universe_is_neither_empty_nor_repetitive() -> None:
    with pytest.raises(UsageError, match="empty"):
        Universe(())
    with pytest.raises(UsageError, match="twice"):
        Universe.of("binanceusdm", ("BTCUSDT", "BTCUSDT"))
