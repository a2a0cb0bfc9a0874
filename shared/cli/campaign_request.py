"""What the settings ask of a campaign on one asset: the same for `ost campaign`, `ost recalibrate` and the function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.backtest.system import RegimeMode
from shared.calibration.run import CampaignRequest
from shared.calibration.spec import MARKET
from shared.version import code_version

if TYPE_CHECKING:
    from shared.backtest.market import AssetMarket
    from shared.config.settings import Settings


def campaign_request(
    settings: Settings,
    market: AssetMarket,
    period: tuple[int, int],
    label: str,
    *,
    points: Sequence[Mapping[str, Any]],
    search: int | None,
    origin: Mapping[str, Any],
    mode: RegimeMode = RegimeMode.HMM,
) -> CampaignRequest:
    """A campaign on `market` over `period` [start, end) in ms; `label` says where the candles come from."""
    return CampaignRequest(
        market=market,
        base=settings.system,
        account=settings.account,
        params=settings.campaign,
        significance=settings.significance,
        start_ms=period[0],
        end_ms=period[1],
        code_version=code_version(),
        points=points,
        search_trials=search or 0,
        mode=mode,
        ml=settings.ml,
        origin={**origin, MARKET: label},
    )
