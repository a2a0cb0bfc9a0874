"""What a backtest writes for other programs: `summary.json` and the tables equity, days, fills, trades as CSV or Parquet.

`ost risk --backtest DIR` reads it back.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.cli.output import to_json
from shared.domain.errors import DataNotFound, MalformedData, StorageError

if TYPE_CHECKING:
    from shared.cli.backtest_run import Done
    from shared.domain.candles import FloatArray, IntArray

_REASONS = ("open", "change", "close", "stop", "liquidation")
SUMMARY = "summary.json"


def check_folder(folder: Path | None) -> None:
    """Raise `StorageError` now, and not after the backtest, where `folder` cannot be written to."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}; choose another folder") from error


def write_tables(done: Done, folder: Path, kind: str) -> Path:
    """Write all tables as `kind` (`csv` or `parquet`) and return the folder. Raises `StorageError` where the disk refuses."""
    try:
        for name, columns in _tables(done).items():
            _write(columns, folder / f"{name}.{kind}")
        (folder / SUMMARY).write_text(to_json(done.as_dict()), "utf-8")
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}; choose another folder") from error
    return folder


@dataclass(frozen=True, eq=False, slots=True)
class Written:
    """A backtest that was read back."""

    name: str
    generated: bool
    """whether its market was a generated one"""
    end_ms: int
    """close of its last bar"""
    positions: dict[str, float]
    """signed notional / equity at the end by symbol"""
    returns: FloatArray
    """(d,) daily"""
    equity: FloatArray
    """(m,)"""
    unit_returns: FloatArray
    """(n,) per-bar returns of one unit of exposure while a position was held"""


def read_backtest(folder: Path) -> Written:
    """The backtest that was written to `folder`.

    Raises `DataNotFound` where there is none, `MalformedData` where it cannot be read.
    """
    import pyarrow

    kind = next((kind for kind in ("parquet", "csv") if (folder / f"days.{kind}").is_file()), None)
    if kind is None or not (folder / SUMMARY).is_file():
        raise DataNotFound(f"{folder} holds no backtest; write one with: ost backtest --parquet {folder}")
    try:
        summary = _summary(json.loads((folder / SUMMARY).read_text("utf-8")))
        returns = _column(folder / f"days.{kind}", "return")
        equity, exposure = (_column(folder / f"equity.{kind}", name) for name in ("equity", "exposure"))
    except (OSError, ValueError, KeyError, TypeError, MalformedData, pyarrow.ArrowException) as error:
        what = f"{SUMMARY} has no {error}" if isinstance(error, KeyError) else str(error)
        raise MalformedData(f"cannot read the backtest in {folder}: {what}; write it again with ost backtest") from error
    if not len(equity):
        raise MalformedData(f"the backtest in {folder} has no bar; write it again with ost backtest")
    held = exposure[:-1] > 0
    return Written(
        name=summary["backtest"],
        generated=summary["generated"],
        end_ms=summary["end_ms"],
        positions={symbol: float(size) for symbol, size in summary["positions"].items()},
        returns=returns,
        equity=equity,
        unit_returns=np.diff(equity)[held] / exposure[:-1][held],
    )


_SUMMARY_TYPES: dict[str, tuple[type, str]] = {
    "backtest": (str, "a text"),
    "generated": (bool, "true or false"),
    "end_ms": (int, "milliseconds"),
    "positions": (dict, "symbols with numbers"),
}


def _summary(document: Any) -> dict[str, Any]:
    """What is needed of `summary.json`. Raises `KeyError` for a name that is not there, `MalformedData` for a wrong type."""
    if not isinstance(document, dict):
        raise MalformedData(f"{SUMMARY} holds {type(document).__name__}, expected an object")
    for name, (kind, expected) in _SUMMARY_TYPES.items():
        if type(document[name]) is not kind:
            raise MalformedData(f"{name} in {SUMMARY} is {document[name]!r}, expected {expected}")
    for symbol, size in document["positions"].items():
        if type(size) not in (int, float) or not math.isfinite(size):
            raise MalformedData(f"the position of {symbol} in {SUMMARY} is {size!r}, expected a number")
    return document


def _check_finite(what: str, values: FloatArray) -> None:
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise MalformedData(f"{what}: value {place + 1} of {len(values)} is {values[place]}, expected a number")


def _column(path: Path, name: str) -> FloatArray:
    from pyarrow import csv, parquet

    table = parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
    if name not in table.column_names:
        raise MalformedData(f"{path.name} has no column {name}")
    values = np.asarray(table[name].to_numpy(), dtype=np.float64)
    _check_finite(f"{name} in {path.name}", values)
    return values


def _tables(done: Done) -> dict[str, dict[str, Any]]:
    """Columns by name of each table."""
    from shared.backtest.metrics import daily_returns

    result = done.result
    symbols = np.array([asset.symbol for asset in result.assets])
    days, returns = daily_returns(result)
    fills, trades = result.fills, result.trades
    positions = {f"position_{symbol}": result.position[:, place] for place, symbol in enumerate(symbols.tolist())}
    return {
        "equity": {
            "time": _instants(result.time_ms),
            "equity": result.equity,
            "wallet": result.wallet,
            "exposure": result.exposure,
            **positions,
        },
        "days": {"day": _instants(days), "return": returns},
        "fills": {
            "time": _instants(fills.time_ms),
            "symbol": symbols[fills.asset],
            "quantity": fills.quantity,
            "price": fills.price,
            "reference": fills.reference,
            "fee": fills.fee,
            "reason": np.array(_REASONS)[fills.reason],
        },
        "trades": {
            "symbol": symbols[trades.asset],
            "side": np.where(trades.side > 0, "long", "short"),
            "quantity": trades.quantity,
            "entry_price": trades.entry_price,
            "exit_price": trades.exit_price,
            "opened": _instants(trades.opened_ms),
            "closed": _instants(trades.closed_ms),
            "profit": trades.profit,
            "fees": trades.fees,
            "exit_reason": np.array(_REASONS)[trades.exit_reason],
        },
    }


def _instants(times_ms: IntArray) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return np.asarray(times_ms).astype("datetime64[ms]")


def _write(columns: dict[str, Any], path: Path) -> None:
    import pyarrow
    from pyarrow import csv, parquet

    table = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path, compression="zstd")
