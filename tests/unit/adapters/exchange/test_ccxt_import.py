"""In processes of their own: what is imported depends on what was imported before."""

import subprocess
import sys

import pytest

LEAN_FIRST = """
import sys
from shared.adapters.exchange.ccxt_import import load_exchange, load_module
lean = load_exchange("ccxt.async_support", "binanceusdm")
assert "ccxt" not in sys.modules and "ccxt.async_support" not in sys.modules
assert "ccxt.async_support.kraken" not in sys.modules and "ccxt.kraken" not in sys.modules
errors = load_module("ccxt.base.errors")
"""
ORDINARY_AFTER = """
import ccxt, ccxt.async_support, ccxt.pro
assert ccxt.async_support.binanceusdm is lean
assert ccxt.BaseError is errors.BaseError
assert load_exchange("ccxt.async_support", "binanceusdm") is lean
assert lean.__mro__[1] in ccxt.pro.binanceusdm.__mro__
"""
STREAMING = """
pro = load_exchange("ccxt.pro", "binanceusdm")
assert lean.__mro__[1] in pro.__mro__
assert not any(name in sys.modules for name in ("ccxt", "ccxt.async_support", "ccxt.pro", "ccxt.pro.kraken"))
assert pro().describe()["id"] == "binanceusdm"
"""
STREAMING_ALONE = """
import sys
from shared.adapters.exchange.ccxt_import import load_exchange
pro = load_exchange("ccxt.pro", "binanceusdm")
assert pro({}).get_ws_url("linear", "market").endswith("/market/ws")
import ccxt.pro
assert ccxt.pro.binanceusdm is pro
"""
ORDINARY_FIRST = """
import ccxt.async_support
from shared.adapters.exchange.ccxt_import import load_exchange
assert load_exchange("ccxt.async_support", "binanceusdm") is ccxt.async_support.binanceusdm
"""
MISSING = """
from shared.adapters.exchange.ccxt_import import load_exchange
try:
    load_exchange("ccxt.async_support", "mtgox")
except ModuleNotFoundError:
    import sys
    assert "ccxt" not in sys.modules
else:
    raise SystemExit("expected ModuleNotFoundError")
"""


def run(code: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("code", [LEAN_FIRST, LEAN_FIRST + STREAMING])
def test_only_the_wanted_exchange_is_imported(code):
    run(code)


def test_an_unknown_exchange_leaves_nothing_behind():
    run(MISSING)


@pytest.mark.slow
@pytest.mark.parametrize("code", [LEAN_FIRST + ORDINARY_AFTER, ORDINARY_FIRST, STREAMING_ALONE])
def test_the_ordinary_import_and_the_lean_one_give_the_same_classes(code):
    run(code)
