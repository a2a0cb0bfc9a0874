"""Where a venue's streams are: asked of ccxt.pro, which knows the hosts, the categories and how the listen key is given.

At Binance quotes are served on another path than bars and mark prices, so their channels need a socket each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.adapters.exchange.client import Admission, make_client


class StreamAddresses:
    """WebSocket addresses of `venue`, of another server that speaks like it, or of its test venue. Nothing is connected."""

    def __init__(
        self, venue: str, *, base_url: str | None = None, demo: bool = False, admission: Admission | None = None
    ) -> None:
        self._admission = admission
        self._client = make_client(venue, base_url=base_url, demo=demo, streaming=True)
        self.authorities: str = self._client.cafile
        """file of the certificate authorities that are trusted"""
        self.trust_env = base_url is None
        """whether the machine's proxy settings are used: not for a server that is named"""

    async def headers(self) -> Mapping[str, str]:
        """What a handshake carries. Raises `VenueUnreachable` where a private server would not admit us."""
        return {} if self._admission is None else await self._admission()

    def market(self, channels: Iterable[str]) -> dict[str, list[str]]:
        """Address of the socket → the `channels` (`kline`, `bookTicker`, `markPrice`) that are served there."""
        found: dict[str, list[str]] = {}
        for channel in channels:
            address = self._client.get_ws_url("linear", self._client.get_future_ws_category(channel))
            found.setdefault(address, []).append(channel)
        return found

    def user(self, listen_key: str) -> str:
        """Address of the user stream; it holds the key and belongs in no log."""
        return str(self._client.get_private_ws_url("linear", listen_key))
