"""Where the candles of a run come from when the venue cannot be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.cli.market_source import resolve
from shared.config.load import load
from shared.domain.interval import Interval


@pytest.mark.parametrize(("symbols", "named"), [(("BTCUSDT", "FOOUSDT"), ["FOOUSDT"]), (("BTCUSDT", "ETHUSDT"), [])])
def test_a_symbol_that_nobody_knows_is_said_to_be_invented(tmp_path: Path, symbols: tuple[str, ...], named: list[str]) -> None:
    given = {"OST_VENUE__BASE_URL": "http://127.0.0.1:9", "OST_VENUE__PROBE_TIMEOUT_S": "2", "OST_REGIME__TRAIN_BARS": "500"}
    settings = load(environment=given, folder=tmp_path).settings
    said: list[str] = []
    found = resolve(settings, Interval.H1, data=None, symbols=symbols, days=1, say=said.append)
    assert found.generated
    assert [line.partition(":")[0] for line in said if "invented as well" in line] == named
