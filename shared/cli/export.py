"""`ost export`: the register of a book and its emergencies as files, with the fields of reference document 4.

`registro_YYYYMMDD_HHMMSS` has one row per decision; a book of several symbols gets one file for each, because the fields are
those of one market. `emergencias_YYYYMMDD_HHMMSS` has one row per emergency. Written from the ledger, which is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import NotEnoughData, StorageError, UsageError

if TYPE_CHECKING:
    import pandas as pd


class FileFormat(StrEnum):
    """What the files are."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"
    JSON = "json"


def export(
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Up to this day, YYYY-MM-DD (not included).")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    file_format: Annotated[FileFormat, typer.Option("--format", help="Kind of the files.")] = FileFormat.CSV,
    as_json: Annotated[bool, typer.Option("--json", help="Print the file names as JSON.")] = False,
) -> None:
    """Write the register of a book and its emergencies: what was decided, held, ordered, filled and earned, step by step.

    Example: ost export --from 2025-07-01 --to 2025-08-01 --out exports --format xlsx
    """
    from shared.cli import output, wiring
    from shared.cli.books import chosen_book
    from shared.domain.interval import Interval, parse_date_ms
    from shared.trading.register import EMERGENCY_FIELDS, REGISTER_FIELDS, BookHistory, emergency_rows, register_rows

    from_ms, to_ms = (parse_date_ms(first) if first else 0), (parse_date_ms(last) if last else 2**62)
    if from_ms >= to_ms:
        raise UsageError(f"--from {first} is not before --to {last}")
    settings = wiring.settings()
    ledger = wiring.ledger(settings)
    record = chosen_book(ledger, book, settings)
    history = BookHistory.of(ledger, record, Interval.parse(str(record.settings.get("interval", settings.interval.value))))
    symbols = history.symbols
    if not symbols and not history.emergencies:
        raise NotEnoughData(f"the book {record.book} has decided nothing yet, there is no register to write: ost status")
    wiring.make_folder(out)
    stamp = datetime.fromtimestamp(wiring.clock().now_ms() / 1000, UTC).strftime("%Y%m%d_%H%M%S")
    written: list[dict[str, Any]] = []
    for symbol in symbols:
        rows = register_rows(history, symbol, settings.run.leverage, from_ms, to_ms)
        name = f"registro_{stamp}" if len(symbols) == 1 else f"registro_{stamp}_{symbol}"
        written.append(_written(out / f"{name}.{file_format.value}", REGISTER_FIELDS, rows))
    rows = emergency_rows(history.emergencies, from_ms, to_ms)
    written.append(_written(out / f"emergencias_{stamp}.{file_format.value}", EMERGENCY_FIELDS, rows))
    named = [(Path(one["file"]).name, one["rows"]) for one in written]
    table = output.table(("file", "rows"), named, right=("rows",), whole=("file",))
    output.emit({"book": record.book, "files": written}, as_json, view=table)
    output.note(f"the book {record.book}, written to {out.resolve()}")


def _written(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write one file, whole or not at all. Raises `StorageError`, `UsageError`."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        _write(partial, path.suffix[1:], fields, rows)
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; choose another --out") from None
    finally:
        partial.unlink(missing_ok=True)
    return {"file": str(path), "rows": len(rows)}


def _write(path: Path, kind: str, fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    if kind == FileFormat.CSV:
        import csv

        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fields)
            writer.writeheader()
            writer.writerows(rows)
    elif kind == FileFormat.JSON:
        from shared.cli.output import to_json

        path.write_text(to_json([{name: row[name] for name in fields} for row in rows]), encoding="utf-8")
    elif kind == FileFormat.PARQUET:
        _frame(fields, rows).to_parquet(path, index=False, engine="pyarrow")
    else:
        _write_xlsx(path, fields, rows)


def _write_xlsx(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    try:
        openpyxl = import_module("openpyxl")  # an extra of its own: nothing else here writes spreadsheets
    except ImportError:
        raise UsageError("--format xlsx needs openpyxl: pip install openpyxl, or choose csv, parquet or json") from None
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet("registro")
    sheet.append(list(fields))
    for row in rows:
        sheet.append([row[name] for name in fields])
    with path.open("wb") as file:
        workbook.save(file)


def _frame(fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(fields))
