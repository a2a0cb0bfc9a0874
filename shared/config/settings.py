"""Every setting of One Smart Trade, typed and frozen.

The values live in one place, `default.yaml` beside this file (with a comment each); the classes here say which values are
allowed. The sections of the rooms are the rooms' own frozen parameter dataclasses, which check themselves.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from shared.adapters.exchange.params import ConnectionParams, StreamParams
from shared.backtest.params import BacktestParams, CostParams
from shared.calibration.ml_params import MlParams
from shared.calibration.params import CampaignParams
from shared.calibration.rl_params import RlParams
from shared.calibration.significance.params import SignificanceParams
from shared.data.ingest_params import IngestParams
from shared.data.params import CurationParams
from shared.domain.asset import Universe
from shared.domain.errors import ConfigError, OstError
from shared.domain.interval import Interval
from shared.monitor.params import MonitorParams
from shared.regime.params import RegimeParams
from shared.risk.params import RiskParams
from shared.risk.report_params import RiskReportParams
from shared.strategy.params import StrategyParams
from shared.trading.execution_params import ExecutionParams
from shared.trading.params import SystemParams
from shared.trading.trader_params import TraderParams

_ORDER_MARGIN_S = 1.5
"""A venue takes times that are up to 1 s ahead of its own; the rest is for the error of our measure of its clock"""
_NOT_READ_ALONG = ("https://", "http://127.0.0.1:", "http://localhost:")
LIVE_CONFIRMATION = "I understand that live trading can lose all of my money"


def _as_value_error(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Let what a room says about its own parameters become part of the list of all findings, with the section's name."""
    try:
        return handler(value)
    except OstError as error:
        raise ValueError(str(error)) from error


_CHECKED = WrapValidator(_as_value_error)


class Mode(StrEnum):
    """Whose money is at stake."""

    PAPER = "paper"
    TESTNET = "testnet"
    LIVE = "live"


class BotCallers(StrEnum):
    """What says that a request may trade, in schedule mode."""

    BEARER = "bearer"
    """a token that the request carries (`OST_BOT_TOKEN`); in mode paper it may be left out"""
    PLATFORM = "platform"
    """Cloud Run, which lets nobody through whom its service account does not allow"""


class BotMode(StrEnum):
    """How the bot is fed."""

    STREAM = "stream"
    """a trader process lives on the venue's streams"""
    SCHEDULE = "schedule"
    """one request per bar does the whole step, one each minute looks after what is held; nothing runs between"""


class Section(BaseModel):
    """A frozen group of settings that rejects what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class UniverseSettings(Section):
    """Which assets are traded."""

    venue: str
    symbols: tuple[str, ...]

    @model_validator(mode="after")
    def _is_a_universe(self) -> Self:
        try:
            _ = self.universe
        except OstError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def universe(self) -> Universe:
        """The assets as the core wants them."""
        return Universe.of(self.venue, self.symbols)


class StorageSettings(Section):
    """Where things are kept on this computer."""

    root: Path


class BusSettings(Section):
    """Where events are published."""

    url: str | None = Field(pattern=r"^pubsub://[^/\s]+$")


class SecretsSettings(Section):
    """Which store holds the keys."""

    url: str | None = Field(pattern=r"^sm://[^/\s]+$")


class JobsSettings(Section):
    """Where campaigns run."""

    url: str | None = Field(pattern=r"^run://[^/\s]+/[^/\s]+/[^/\s]+$")


class LedgerSettings(Section):
    """The database that remembers decisions, orders and fills."""

    url: str | None
    timeout_s: float = Field(gt=0, le=600)
    live_timeout_s: float = Field(gt=0, le=30)
    connections: int | None = Field(ge=1, le=100)


class VenueSettings(Section):
    """Which server plays the exchange."""

    base_url: str | None = Field(pattern=r"^https?://[^\s]+$")
    private: bool
    probe_timeout_s: float = Field(gt=0, le=60)


class RunSettings(Section):
    """What `ost run` does unless told otherwise on the command line."""

    capital: float = Field(gt=0)
    days: int = Field(ge=1)
    seed: int = Field(ge=0)
    leverage: int = Field(ge=1, le=20)
    max_decision_age: float = Field(gt=0, le=1)


class BotSettings(Section):
    """How a live session and the processes around it run."""

    mode: BotMode
    callers: BotCallers
    book: str | None = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")
    speed: float = Field(gt=0, le=100_000)
    lease_s: float = Field(ge=2, le=600)
    alive_s: float = Field(gt=0)
    host: str
    port: int = Field(ge=0, le=65_535)


class Settings(BaseModel):
    """All settings. Built by `shared.config.load.load`, passed on as a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Mode
    confirm_live: str
    plugins: Path | None
    interval: Interval
    intervals: tuple[Interval, ...] = Field(min_length=1)
    universe: UniverseSettings
    storage: StorageSettings
    bus: BusSettings
    secrets: SecretsSettings
    jobs: JobsSettings
    ledger: LedgerSettings
    venue: VenueSettings
    run: RunSettings
    curation: Annotated[CurationParams, _CHECKED]
    regime: Annotated[RegimeParams, _CHECKED]
    strategy: Annotated[StrategyParams, _CHECKED]
    risk: Annotated[RiskParams, _CHECKED]
    risk_report: Annotated[RiskReportParams, _CHECKED]
    costs: Annotated[CostParams, _CHECKED]
    ml: Annotated[MlParams, _CHECKED]
    agent: Annotated[RlParams, _CHECKED]
    campaign: Annotated[CampaignParams, _CHECKED]
    significance: Annotated[SignificanceParams, _CHECKED]
    monitor: Annotated[MonitorParams, _CHECKED]
    execution: Annotated[ExecutionParams, _CHECKED]
    ingest: Annotated[IngestParams, _CHECKED]
    exchange: Annotated[ConnectionParams, _CHECKED]
    stream: Annotated[StreamParams, _CHECKED]
    trader: Annotated[TraderParams, _CHECKED]
    bot: BotSettings

    @model_validator(mode="after")
    def _live_is_confirmed(self) -> Self:
        if self.mode is Mode.LIVE and self.confirm_live != LIVE_CONFIRMATION:
            raise ValueError(f'mode live trades real money and needs confirm_live: "{LIVE_CONFIRMATION}"')
        return self

    @model_validator(mode="after")
    def _identity_is_for_our_own(self) -> Self:
        url = self.venue.base_url or ""
        if self.venue.private and not (self.mode is Mode.PAPER and url.startswith(_NOT_READ_ALONG)):
            raise ValueError(
                f"venue.private sends this process's identity to venue.base_url, which is {url or 'null'} in mode "
                f"{self.mode.value}; expected mode paper and the https:// address of the paper exchange"
            )
        return self

    @model_validator(mode="after")
    def _interval_is_stored(self) -> Self:
        if self.interval not in self.intervals:
            raise ValueError(f"interval {self.interval} is not among intervals ({' '.join(self.intervals)}); add it there")
        return self

    @model_validator(mode="after")
    def _no_order_outlives_its_denial(self) -> Self:
        for grace, window in (("resend_grace_s", "order_window_ms"), ("closing_grace_s", "receive_window_ms")):
            given_s, window_ms = getattr(self.execution, grace), getattr(self.exchange, window)
            least_s = window_ms / 1000 + _ORDER_MARGIN_S
            if given_s < least_s:
                raise ValueError(
                    f"execution.{grace} is {given_s:g}; expected at least {least_s:g}: the venue may take an order up to "
                    f"exchange.{window} ({window_ms}) after it was signed, and one that is called missing before that could be "
                    "sent twice"
                )
        return self

    @property
    def ledger_url(self) -> str:
        """Where the ledger is: `ledger.url`, or the SQLite file under `storage.root`.

        Raises `ConfigError` where that is a bucket, which holds no database.
        """
        if self.ledger.url is not None:
            return self.ledger.url
        if self.lake_url is not None:
            raise ConfigError(
                f"storage.root is the bucket {self.lake_url}, which holds no ledger; name its database in ledger.url"
            )
        return f"sqlite:///{self.storage.root / 'ledger.sqlite'}"

    @property
    def lake(self) -> Path:
        """The folder of market data and models. Raises `ConfigError` where a bucket holds them."""
        if self.lake_url is not None:
            raise ConfigError(
                f"storage.root is the bucket {self.lake_url}; this reads from a folder: --set storage.root=DIR, or --data DIR"
            )
        return self.storage.root / "lake"

    @property
    def folder(self) -> Path:
        """Where this process keeps its own files: `storage.root`, or where that is a bucket, a folder of this computer."""
        return self.storage.root if self.lake_url is None else Path(gettempdir()) / "one-smart-trade"

    @property
    def lake_url(self) -> str | None:
        """The bucket of market data and models, `gs://BUCKET[/PREFIX]`; `None` where a folder holds them."""
        root = str(self.storage.root)  # a path has lost one of the slashes
        return f"gs://{root.removeprefix('gs:/').lstrip('/')}" if root.startswith("gs:/") else None

    @property
    def account(self) -> BacktestParams:
        """The account that a backtest or a campaign trades on."""
        return BacktestParams(capital=self.run.capital, leverage=self.run.leverage, costs=self.costs)

    @property
    def system(self) -> SystemParams:
        """What every decision depends on besides the market and the book."""
        return SystemParams(
            self.curation, self.regime, self.strategy, self.risk, self.execution, max_decision_age=self.run.max_decision_age
        )
