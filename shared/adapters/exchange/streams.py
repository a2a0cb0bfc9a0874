"""Live market data and account events of a venue: the ports `MarketStream` and `UserStream`.

Hosts, paths, categories and listen keys come from ccxt (`stream_addresses.py`, `endpoints.py`); the socket is read with
aiohttp. ccxt.pro's own machinery is in the way here: `watch_ohlcv` leaves out whether a bar is closed, its futures keep the
newest answer and lose those between two calls, TRADE_LITE and the end of a listen key are not told at all, and a lost
connection is noticed and replaced only when somebody watches. Invariants: closed bars, orders, account changes and notices
are told in their order and never dropped; a message that cannot be read is counted, logged once for its kind, and harms no
other.

stream_market.py, stream_user.py   the two ports             stream_connection.py   dialled again, rotated
stream_payloads.py                 messages into values      stream_socket.py       one WebSocket
stream_inbox.py                    what waits to be taken    stream_addresses.py    where the venue's streams are
"""

from __future__ import annotations

from shared.adapters.exchange.stream_market import CcxtMarketStream
from shared.adapters.exchange.stream_user import CcxtUserStream

__all__ = ["CcxtMarketStream", "CcxtUserStream"]
