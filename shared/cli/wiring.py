"""The one visible place where commands get their settings, storage, ledger, venue and clock.

`ost` notes which settings file and which `--set` flags were given (`choose`); everything else is read when a command asks
for it, so that `ost --help` reads nothing. Adapters are imported inside the functions: a command pays only for what it uses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from shared.config.load import Loaded
    from shared.config.secrets import Secrets
    from shared.config.settings import Settings
    from shared.ports import Bucket, Clock, Ledger, MarketData, Research


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chose before the command: a settings file and single settings by dotted name."""

    config_file: Path | None = None
    flags: Mapping[str, str] | None = None


_CHOICE: ContextVar[Choice] = ContextVar("_CHOICE", default=Choice())  # noqa: B039 - frozen


def choose(config_file: Path | None, assignments: Sequence[str]) -> None:
    """Note `--config` and `--set section.key=value` for the command that follows. Raises `UsageError` without a `=`."""
    flags: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment!r} has no value; write section.key=value, e.g. --set run.capital=5000")
        flags[name.strip()] = text
    _CHOICE.set(Choice(config_file, flags))


def loaded(overrides: Mapping[str, Any] | None = None) -> Loaded:
    """Settings with their origins; `overrides` are a command's own flags by dotted name, `None` values are ignored."""
    from shared.config.load import load, parse_text

    choice = _CHOICE.get()
    flags: dict[str, Any] = {name: parse_text(name, text) for name, text in (choice.flags or {}).items()}
    flags |= {name: value for name, value in (overrides or {}).items() if value is not None}
    return load(choice.config_file, environment=os.environ, overrides=flags)


def settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this process. Raises `ConfigError`."""
    return loaded(overrides).settings


def secrets() -> Secrets:
    """Keys from the environment or `.env`."""
    from shared.config.secrets import Secrets

    return Secrets()


def bucket(settings: Settings) -> Bucket:
    """The lake: a folder."""
    from shared.adapters.local.bucket import FolderBucket

    return FolderBucket(settings.lake)


def ledger(settings: Settings) -> Ledger:
    """The ledger, its schema up to date. Raises `LedgerUnavailable`."""
    from shared.adapters.sql.ledger import open_ledger

    if settings.ledger.url is None:
        make_folder(settings.storage.root)
    return open_ledger(settings.ledger_url)


def research(settings: Settings) -> Research:
    """The memory of research, in the ledger's database. Raises `LedgerUnavailable`."""
    from shared.adapters.sql.research import open_research

    if settings.ledger.url is None:
        make_folder(settings.storage.root)
    return open_research(settings.ledger_url)


def market(settings: Settings) -> MarketData:
    """Public market data of the venue. Close it after use."""
    import numpy as np

    from shared.adapters.exchange import CcxtMarketData, connect

    rng = np.random.default_rng(settings.run.seed)
    connection = connect(
        settings.universe.venue,
        clock(),
        rng,
        settings.exchange,
        base_url=settings.venue.base_url,
        demo=settings.mode == "testnet",
    )
    return CcxtMarketData(connection)


def clock() -> Clock:
    """The machine's clock."""
    from shared.adapters.local.clock import SystemClock

    return SystemClock()


def make_folder(folder: Path) -> None:
    """Create `folder`. Raises `StorageError` where the disk refuses."""
    from shared.domain.errors import StorageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create the folder {folder}: {error.strerror}; choose another storage.root") from None
