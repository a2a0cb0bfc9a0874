"""The paper exchange: recorded candles behind the REST and WebSocket interface of Binance USD-M futures.

engine.py        the account as a deterministic state machine      market.py   prices and bars at an instant
orders.py        checks and immediate fills                         passage.py  bars, stops, funding, liquidation
clearing.py      what a fill does to the account                    journal.py  what survives a kill
server.py        REST; routes.py the table of endpoints             streams.py  WebSocket; sockets.py one of them
serve.py         the process; `python -m cloudrun.exchange`         desk.py     engine and journal together
"""
