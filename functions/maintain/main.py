"""`maintain`: each day what keeps the rest trustworthy.

    backup      the whole ledger as one object `backups/ledger/DATE.jsonl.gz`, written once a day
    check       the ledger's invariants; each problem is a line ledger.problem
    retention   backups, and receipts of events that no message outlives
    secrets     newer keys take over once they have proved a signed read; old keys are told as secret.old

Each part is done whatever becomes of the others; parts that are done change nothing when they are done again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from functions.answer import Answer, Jobs, answered, for_each, say
from shared.cli.account_keys import KEYS
from shared.domain.errors import Conflict
from shared.domain.interval import DAY_MS

if TYPE_CHECKING:
    from flask import Request
    from sqlalchemy import Engine

    from functions.call import Tick

BACKUPS = "backups/ledger/"
BACKUP_DAYS = 35
"""Days that a backup is kept."""
RECEIPT_DAYS = 45
"""Days that a receipt is kept: dead letters live for 31, and one may be replayed on the last of them."""
SECRET_DAYS = 90
"""Age of a key that is told."""


def handle(request: Request) -> Answer:
    """The entry point."""
    return answered(request, Jobs(on_tick=maintain))


def maintain(tick: Tick) -> None:
    """All parts. Raises `NotNow` at the end where one failed for a reason that passes."""
    parts: dict[str, Callable[[int], None]] = {"backup": backup, "check": check, "retention": forget, "secrets": watch_secrets}
    for_each(parts, lambda name: parts[name](tick.slot_ms), "maintenance.failed", "part")


def backup(slot_ms: int) -> None:
    """Write the backup of the day, unless it is there. Raises `LedgerUnavailable`, `LedgerError`, `StorageError`."""
    from functions import wired
    from shared.adapters.sql.backup import backup as write

    name = f"{BACKUPS}{datetime.fromtimestamp(slot_ms / 1000, UTC):%Y-%m-%d}.jsonl.gz"
    if wired.bucket().read(name) is not None:
        return
    engine = _engine()
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "ledger.jsonl.gz"
            rows = write(engine, file, slot_ms)
            content = file.read_bytes()
    finally:
        engine.dispose()
    try:
        wired.bucket().write(name, content, if_generation=0)
    except Conflict:
        return  # another attempt of today was faster
    say("INFO", "ledger.backed_up", f"{rows} rows in {name}", rows=rows, bytes=len(content))


def check(_slot_ms: int) -> None:
    """Tell whatever is wrong with the ledger."""
    from shared.adapters.sql.checks import find_problems

    engine = _engine()
    try:
        problems = find_problems(engine)
    finally:
        engine.dispose()
    for problem in problems:
        say("ERROR", "ledger.problem", f"{problem.check}: {problem.detail}", book=problem.book)
    if not problems:
        say("INFO", "ledger.sound", "the ledger is sound")


def forget(slot_ms: int) -> None:
    """Remove what is kept long enough."""
    from functions import wired

    oldest = f"{BACKUPS}{datetime.fromtimestamp((slot_ms - BACKUP_DAYS * DAY_MS) / 1000, UTC):%Y-%m-%d}"
    old = [name for name in wired.bucket().list(BACKUPS) if name < oldest]
    for name in old:
        wired.bucket().delete(name)
    receipts = wired.ledger().prune_receipts(slot_ms - RECEIPT_DAYS * DAY_MS)
    say("INFO", "retention", f"{len(old)} backups and {receipts} receipts removed", backups=len(old), receipts=receipts)


def watch_secrets(slot_ms: int) -> None:
    """Let newer keys of the account take over, and tell those that are old. On paper there are none."""
    from functions import wired
    from shared.cli import wiring

    settings = wired.settings()
    ring = wiring.key_ring(settings, wired.ledger(), disables=True)
    if ring is None:
        return
    store = wiring.secret_store(settings)
    renewal = asyncio.run(ring.renew())
    for refused in (*renewal.refused, *renewal.not_disabled):
        say("ERROR", "secret.refused", refused)
    for name in KEYS:
        for version in store.versions(name):
            age_days = (slot_ms - (version.created_ms or slot_ms)) / DAY_MS
            if version.number == renewal.numbers[name] and age_days > SECRET_DAYS:
                fields = {"secret": name, "version": version.number, "age_days": round(age_days)}
                say("WARNING", "secret.old", f"{name} is {age_days:.0f} days old; make a new one", **fields)


def _engine() -> Engine:
    """An engine of its own: a backup may think longer than a call."""
    from functions import wired
    from shared.adapters.sql.engine import make_engine

    return make_engine(wired.settings().ledger_url)
