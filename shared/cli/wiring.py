"""The one visible place where commands get their settings, storage, ledger, venue and clock.

`ost` notes which settings file and which `--set` flags were given (`choose`); everything else is read when a command asks
for it, so that `ost --help` reads nothing. Adapters are imported inside the functions: a command pays only for what it uses.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from numpy.random import Generator

    from shared.adapters.exchange.client import Admission
    from shared.adapters.exchange.connection import Connection
    from shared.adapters.gcp.caller_identity import CallerIdentity
    from shared.adapters.gcp.key_ring import KeyRing
    from shared.adapters.local.paper_clock import PaperClock
    from shared.adapters.local.paper_process import LockstepClock
    from shared.cli.account_keys import AccountKeys
    from shared.config.load import Loaded
    from shared.config.secrets import Secrets
    from shared.config.settings import Settings
    from shared.ports import Bucket, Bus, Clock, ExitJournal, Ledger, MarketData, Research, TaskArray
    from shared.ports import Secrets as SecretStore
    from shared.trading.session_types import LivePorts


EXIT_PATIENCE_S = 4.0
"""How long an exit waits to be written down in a bucket: what is held has no ledger to watch over it"""


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


def secret_store(settings: Settings) -> SecretStore:
    """The store of the keys: Secret Manager, or the environment."""
    if settings.secrets.url is not None:
        from shared.adapters.gcp.secrets import SecretManagerSecrets

        return SecretManagerSecrets.at(settings.secrets.url)
    from shared.adapters.local.secrets import EnvironmentSecrets

    return EnvironmentSecrets(secrets().by_id())


def bus(settings: Settings) -> Bus:
    """Where events are published: Pub/Sub, or a file to read along."""
    if settings.bus.url is not None:
        from shared.adapters.gcp.bus import PubSubBus, project_of

        return PubSubBus(project_of(settings.bus.url))
    from shared.adapters.local.bus import LocalBus

    return LocalBus(events_file(settings))


def task_array(settings: Settings) -> TaskArray:
    """What does the tasks of campaigns: a Cloud Run job, or processes of this computer, which end on their own."""
    if settings.jobs.url is not None:
        from shared.adapters.gcp.run_jobs import RunJobs

        return RunJobs.at(settings.jobs.url)
    from shared.adapters.local.task_processes import TaskProcesses

    return TaskProcesses([sys.executable, "-m", "cloudrun.campaign"])


def bucket(settings: Settings) -> Bucket:
    """The lake: a bucket of Cloud Storage, or a folder."""
    if settings.lake_url is not None:
        from shared.adapters.gcp.bucket import GcsBucket

        return GcsBucket.at(settings.lake_url)
    from shared.adapters.local.bucket import FolderBucket

    return FolderBucket(settings.lake)


def ledger(settings: Settings, *, live: bool = False) -> Ledger:
    """The ledger, its schema up to date; a `live` one fails fast, for a trader must not wait. Raises `LedgerUnavailable`."""
    from shared.adapters.sql.engine import Patience
    from shared.adapters.sql.ledger import open_ledger

    if settings.ledger.url is None:
        make_folder(settings.folder)
    seconds = settings.ledger.live_timeout_s if live else settings.ledger.timeout_s
    patience = Patience(seconds, seconds * 0.75, fails_fast=live, connections=settings.ledger.connections)
    return open_ledger(settings.ledger_url, patience=patience)


def research(settings: Settings, *, migrate: bool = True) -> Research:
    """The memory of research, in the ledger's database; see `open_research`. Raises `LedgerUnavailable`."""
    from shared.adapters.sql.engine import Patience
    from shared.adapters.sql.research import open_research

    if settings.ledger.url is None:
        make_folder(settings.folder)
    return open_research(settings.ledger_url, migrate=migrate, patience=Patience(connections=settings.ledger.connections))


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
        demo=settings.mode == "testnet" and settings.venue.base_url is None,
        admission=admission(settings, settings.venue.base_url),
    )
    return CcxtMarketData(connection)


def live_ports(
    settings: Settings,
    ledger: Ledger,
    book: str,
    *,
    base_url: str | None = None,
    paper: PaperClock | LockstepClock | None = None,
    models: Bucket | None = None,
    keys: AccountKeys | None = None,
) -> LivePorts:
    """The outside world of a live session of `book`; `exchange.close` releases it. Nothing is sent yet.

    `base_url` names a server that speaks like the venue (default: `venue.base_url`); `paper` is the time of a paper exchange
    there. `keys` may be renewed while the session lives. Streams wait in real time whatever the time of their venue. Raises
    `ConfigError` where keys are missing.
    """
    import numpy as np

    from shared.adapters.exchange import CcxtExchange, CcxtMarketData, CcxtMarketStream, CcxtUserStream
    from shared.trading.session_types import LivePorts

    system, rng = clock(), np.random.default_rng(settings.run.seed)
    url, venue = base_url or settings.venue.base_url, settings.universe.venue
    demo, admitted = settings.mode == "testnet" and url is None, admission(settings, url)
    connection = _account_connection(settings, ledger, url, paper, rng, (lambda: keys.pair) if keys is not None else None)
    return LivePorts(
        exchange=CcxtExchange(connection),
        market=CcxtMarketData(connection),
        ledger=ledger,
        models=models or bucket(settings),
        clock=paper or system,
        lease_clock=system,
        market_stream=CcxtMarketStream(venue, system, rng, settings.stream, base_url=url, demo=demo, admission=admitted),
        user_stream=CcxtUserStream(
            connection, system, rng, settings.stream, venue=venue, base_url=url, demo=demo, admission=admitted
        ),
        bus=bus(settings),
        exits=exit_journal(settings, book),
    )


def exit_journal(settings: Settings, book: str) -> ExitJournal:
    """What remembers the exits of `book` while its ledger is away: beside the lake, for an instance takes its disk with it."""
    name = f"exits/{book}.jsonl"
    if settings.lake_url is not None:
        from shared.adapters.gcp.bucket import GcsBucket
        from shared.adapters.gcp.exit_journal import BucketExitJournal

        return BucketExitJournal(GcsBucket.at(settings.lake_url, patience_s=EXIT_PATIENCE_S), name)
    from shared.adapters.local.exit_journal import FileExitJournal

    return FileExitJournal(settings.folder / name)


def _account_connection(
    settings: Settings,
    ledger: Ledger,
    url: str | None,
    paper: PaperClock | LockstepClock | None,
    rng: Generator,
    keys: Callable[[], tuple[str, str]] | None = None,
) -> Connection:
    """Signed requests of a trader, on the account of the settings. The pauses that the venue asks for bind all processes."""
    from shared.adapters.exchange import SharedPauses, connect
    from shared.adapters.exchange.params import in_trader, on_paper
    from shared.adapters.local.paper_clock import PaperClock, RealWaits

    key, secret = account_keys(settings) if keys is None else keys()
    venue = settings.universe.venue
    return connect(
        venue,
        (RealWaits(paper) if isinstance(paper, PaperClock) else paper) or clock(),
        rng,
        in_trader(settings.exchange if paper is None else on_paper(settings.exchange)),
        base_url=url,
        demo=settings.mode == "testnet" and url is None,
        api_key=key,
        secret=secret,
        pauses=SharedPauses(ledger, url or f"{venue} ({settings.mode.value})") if paper is None else None,
        admission=admission(settings, url),
        keys=keys,
    )


def admission(settings: Settings, url: str | None) -> Admission | None:
    """What the private paper exchange of the settings asks of its callers; `None` for any other server, and for the venue."""
    if settings.mode != "paper" or not settings.venue.private or url is None or url != settings.venue.base_url:
        return None
    return _identity_for(url.rstrip("/")).headers


@cache
def _identity_for(audience: str) -> CallerIdentity:
    """One for all connections of a process: a token lives longer than they do."""
    from shared.adapters.gcp.caller_identity import CallerIdentity

    return CallerIdentity(audience)


async def prove_keys(settings: Settings, ledger: Ledger, keys: tuple[str, str]) -> None:
    """Read the account with `keys` (key, secret): what they must be able to do. Raises the `VenueError` tree."""
    import numpy as np

    from shared.adapters.exchange import CcxtExchange

    rng = np.random.default_rng(settings.run.seed)
    exchange = CcxtExchange(_account_connection(settings, ledger, settings.venue.base_url, None, rng, lambda: keys))
    try:
        await exchange.account()
    finally:
        await exchange.close()


def key_ring(settings: Settings, ledger: Ledger, *, disables: bool, store: SecretStore | None = None) -> KeyRing | None:
    """The account's key and secret in the store, proven by reading the account; `None` where there are none to be renewed."""
    if settings.mode == "paper" or settings.secrets.url is None:
        return None
    from shared.adapters.gcp.key_ring import KeyRing
    from shared.cli.account_keys import KEYS

    async def proof(values: Mapping[str, str]) -> None:
        await prove_keys(settings, ledger, (values[KEYS[0]], values[KEYS[1]]))

    return KeyRing(store or secret_store(settings), KEYS, proof, disables=disables)


def renewed_keys(settings: Settings, ledger: Ledger, store: SecretStore | None = None) -> AccountKeys | None:
    """Keys of a trader that follow the store; `None` where they come from the environment."""
    ring = key_ring(settings, ledger, disables=False, store=store)
    if ring is None:
        return None
    from shared.cli.account_keys import AccountKeys

    return AccountKeys(ring, clock())


def account_keys(settings: Settings, store: SecretStore | None = None) -> tuple[str, str]:
    """Key and secret of the account that the mode trades on, those of the venue from `store` (default: of the settings).

    Raises `ConfigError` where they are missing, `SecretsUnavailable` where the store does not answer.
    """
    from shared.domain.errors import ConfigError

    found = secrets()
    if settings.mode == "paper":
        return found.paper_key.get_secret_value(), found.paper_secret.get_secret_value()
    if settings.secrets.url is not None:
        store = store or secret_store(settings)
        return store.newest("binance-api-key").value, store.newest("binance-api-secret").value
    key, secret = found.binance_api_key, found.binance_api_secret
    if key is None or secret is None or not key.get_secret_value() or not secret.get_secret_value():
        raise ConfigError(
            f"mode {settings.mode.value} needs the keys of the account: set OST_BINANCE_API_KEY and OST_BINANCE_API_SECRET in "
            "the environment or in .env (never in a settings file)"
        )
    return key.get_secret_value(), secret.get_secret_value()


def events_file(settings: Settings) -> Path:
    """Where published events can be read along, one CloudEvent per line."""
    return settings.folder / "events.jsonl"


def clock() -> Clock:
    """The machine's clock."""
    from shared.adapters.local.clock import SystemClock

    return SystemClock()


def process_name() -> str:
    """This process among those that may hold a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


def make_folder(folder: Path) -> None:
    """Create `folder`. Raises `StorageError` where the disk refuses."""
    from shared.domain.errors import StorageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create the folder {folder}: {error.strerror}; choose another storage.root") from None
