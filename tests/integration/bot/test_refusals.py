"""A start is refused with the reason and the remedy: one clear error, an exit code, no traceback, and nothing was traded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from shared.adapters.sql import open_ledger
from shared.config.settings import LIVE_CONFIRMATION
from tests.integration.bot.conftest import NOBODY, Imposter

Run = Callable[..., Result]
KEYS = {"OST_BINANCE_API_KEY": "paper", "OST_BINANCE_API_SECRET": "paper"}


def refused(result: Result, *words: str, code: int = 1) -> None:
    """One error that holds all `words`, and no traceback."""
    assert not isinstance(result.exception, Exception), result.exception
    assert result.exit_code == code, result.output
    errors = " ".join(line for line in result.stderr.splitlines() if line.startswith("error: "))
    for word in words:
        assert word.lower() in errors.lower(), (word, result.stderr)


def testnet(url: str, **more: str) -> dict[str, str]:
    return {"OST_MODE": "testnet", "OST_VENUE__BASE_URL": url, **KEYS, **more}


testnet.__test__ = False  # type: ignore[attr-defined]


def test_without_keys(ost: Run) -> None:
    result = ost("live", "--mode", "testnet")
    refused(result, "OST_BINANCE_API_KEY", "OST_BINANCE_API_SECRET", "environment", code=2)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OST_BINANCE_API_KEY", "revoked", ("-2015", "check the API key", "permissions")),
        ("OST_BINANCE_API_SECRET", "wrong", ("-1022", "check the API secret")),
    ],
)
def test_with_keys_that_the_venue_refuses(ost: Run, exchange_now: str, name: str, value: str, words: tuple[str, ...]) -> None:
    refused(ost("live", environment=testnet(exchange_now, **{name: value})), *words)


def test_with_a_malformed_key(ost: Run, imposter: Imposter) -> None:
    imposter.answer("GET", "/fapi/v3/account", 401, {"code": -2014, "msg": "API-key format invalid."})
    imposter.answer("GET", "/fapi/v2/account", 401, {"code": -2014, "msg": "API-key format invalid."})
    refused(ost("live", environment=testnet(imposter.url)), "-2014", "check the API key")


def test_with_another_key_than_the_paper_exchange(ost: Run, exchange_now: str) -> None:
    result = ost("live", environment={"OST_VENUE__BASE_URL": exchange_now, "OST_PAPER_KEY": "wrong"})
    refused(result, "-2015", "OST_PAPER_KEY")


def test_live_by_the_flag_alone(ost: Run) -> None:
    refused(ost("live", "--mode", "live"), "confirm_live", "real money", code=2)


def test_live_by_the_settings_alone(ost: Run) -> None:
    settings = {"OST_MODE": "live", "OST_CONFIRM_LIVE": LIVE_CONFIRMATION, **KEYS}
    refused(ost("live", environment=settings), "--mode live", "real money", code=2)


def test_live_without_the_confirmation(ost: Run) -> None:
    refused(ost("live", "--mode", "live", environment={"OST_MODE": "live", **KEYS}), LIVE_CONFIRMATION, code=2)


def test_an_unknown_mode(ost: Run) -> None:
    refused(ost("live", "--mode", "dry"), "mode", "'paper', 'testnet' or 'live'", code=2)


def test_paper_on_something_that_is_no_paper_exchange(ost: Run, imposter: Imposter) -> None:
    imposter.answer("GET", "/paper/v1/state", 404, {"code": -5000, "msg": "Path is invalid"})
    refused(ost("live", environment={"OST_VENUE__BASE_URL": imposter.url}), "no paper exchange", "ost exchange serve", code=2)


def test_paper_where_nobody_listens(ost: Run) -> None:
    refused(ost("live", environment={"OST_VENUE__BASE_URL": NOBODY}), "does not answer", "ost exchange serve")


def test_paper_too_fast_to_trade(ost: Run, market_now: tuple[Path, int]) -> None:
    refused(ost("live", "--data", str(market_now[0]), "--days", "2", "--speed", "7200"), "speed up to 3600", code=2)


def test_a_standby_on_an_exchange_of_its_own(ost: Run) -> None:
    refused(ost("live", "--standby"), "ost exchange serve", "venue.base_url", code=2)


def test_an_unknown_symbol(ost: Run, exchange_now: str) -> None:
    result = ost("live", "--symbols", "BTCUSDT,NOPEUSDT", environment=testnet(exchange_now))
    refused(result, "NOPEUSDT", "BTCUSDT ETHUSDT", code=2)


def _with_symbol(**changes: Any) -> Callable[[Any], Any]:
    def change(body: Any) -> Any:
        symbols = [{**entry, **(changes if entry["symbol"] == "ETHUSDT" else {})} for entry in body["symbols"]]
        return {**body, "symbols": symbols}

    return change


def test_a_symbol_that_is_not_traded_any_more(ost: Run, imposter: Imposter) -> None:
    imposter.edit("GET", "/fapi/v1/exchangeInfo", _with_symbol(status="SETTLING"))
    refused(ost("live", environment=testnet(imposter.url)), "ETHUSDT is not traded", "--symbols", code=2)


def test_a_symbol_that_is_delisted_soon(ost: Run, imposter: Imposter, market_now: tuple[Path, int]) -> None:
    imposter.edit("GET", "/fapi/v1/exchangeInfo", _with_symbol(deliveryDate=market_now[1] + 3_600_000))
    refused(ost("live", environment=testnet(imposter.url)), "ETHUSDT is delisted at", "--symbols", code=2)


def test_a_leverage_that_the_venue_refuses(ost: Run, imposter: Imposter) -> None:
    imposter.answer("POST", "/fapi/v1/leverage", 400, {"code": -4028, "msg": "Leverage 7 is not valid"})
    result = ost("live", environment=testnet(imposter.url, OST_RUN__LEVERAGE="7"))
    refused(result, "-4028", "leverage")


def test_an_account_that_pays_its_fees_in_another_currency(ost: Run, imposter: Imposter) -> None:
    imposter.answer("GET", "/fapi/v1/feeBurn", 200, {"feeBurn": True})
    refused(ost("live", environment=testnet(imposter.url)), "fees in BNB", "switch the BNB fee discount")


def test_an_account_in_hedge_mode_that_cannot_be_changed(ost: Run, imposter: Imposter) -> None:
    imposter.edit("GET", "/fapi/v1/accountConfig", lambda body: {**body, "dualSidePosition": True})
    imposter.answer("POST", "/fapi/v1/positionSide/dual", 400, {"code": -4068, "msg": "Position side cannot be changed."})
    refused(ost("live", environment=testnet(imposter.url)), "one-way mode", "-4068")


def test_an_account_that_stays_in_hedge_mode(ost: Run, imposter: Imposter) -> None:
    imposter.edit("GET", "/fapi/v1/accountConfig", lambda body: {**body, "dualSidePosition": True})
    imposter.answer("POST", "/fapi/v1/positionSide/dual", 200, {"code": 200, "msg": "success"})
    refused(ost("live", environment=testnet(imposter.url)), "still in hedge mode", "switch it to one-way")


def test_a_balance_below_the_smallest_order(ost: Run, market_now: tuple[Path, int]) -> None:
    result = ost("live", "--data", str(market_now[0]), "--days", "2", environment={"OST_RUN__CAPITAL": "3"})
    refused(result, "holds 3.00", "smallest order", "pay in")


def test_a_policy_that_is_missing(ost: Run, exchange_now: str) -> None:
    settings = testnet(exchange_now, OST_STRATEGY__RL_POLICIES="lost", OST_STRATEGY__RL_HISTORY_BARS="200")
    refused(ost("live", environment=settings), "lost", "ost agent")


def test_a_policy_that_is_corrupt(ost: Run, exchange_now: str, tmp_path: Path) -> None:
    folder = tmp_path / "var" / "lake" / "models" / "rl" / "torn"
    folder.mkdir(parents=True)
    for name in ("policy.json", "card.json", "policy.onnx"):
        (folder / name).write_bytes(b"{")
    settings = testnet(exchange_now, OST_STRATEGY__RL_POLICIES="torn", OST_STRATEGY__RL_HISTORY_BARS="200")
    refused(ost("live", environment=settings), "torn")


def test_a_regime_model_that_is_corrupt(ost: Run, exchange_now: str, tmp_path: Path) -> None:
    folder = tmp_path / "var" / "lake" / "models" / "regime" / "binanceusdm" / "BTCUSDT" / "1h"
    folder.mkdir(parents=True)
    (folder / "1740787200000-m-torn.json").write_bytes(b'{"half')
    refused(ost("live", environment=testnet(exchange_now)), "1740787200000-m-torn.json", "delete that file")


def test_a_ledger_that_cannot_be_reached(ost: Run, exchange_now: str) -> None:
    settings = testnet(exchange_now, OST_LEDGER__URL="postgresql+pg8000://somebody@127.0.0.1:9/ledger")
    refused(ost("live", environment=settings), "ledger", "127.0.0.1:9")


def test_a_ledger_of_a_newer_program(ost: Run, exchange_now: str, tmp_path: Path) -> None:
    from sqlalchemy import text

    (tmp_path / "var").mkdir()
    ledger = open_ledger(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}")
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ledger.close()
    refused(ost("live", environment=testnet(exchange_now)), "9999", "update the program")


def test_a_book_that_another_process_trades(ost: Run, exchange_now: str, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    ledger = open_ledger(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}")
    assert ledger.acquire_lease("testnet-1h", "another", 60_000, 2**42) is not None
    ledger.close()
    refused(ost("live", environment=testnet(exchange_now)), "another process trades the book testnet-1h", "--standby")


def test_a_clock_that_is_wrong(ost: Run, imposter: Imposter, market_now: tuple[Path, int]) -> None:
    imposter.answer("GET", "/fapi/v1/time", 200, {"serverTime": market_now[1] + 60_000})
    refused(ost("live", environment=testnet(imposter.url)), "clock", "NTP")


def test_a_region_that_the_venue_does_not_serve(ost: Run, imposter: Imposter) -> None:
    imposter.answer("GET", "/fapi/v1/time", 451, {"code": 0, "msg": "Service unavailable from a restricted location"})
    refused(ost("live", environment=testnet(imposter.url)), "451", "region")
