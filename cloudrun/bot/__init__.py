"""The bot as a service: a trader process and an API process, one duty each; they share only the ledger.

__main__.py    settings -> which processes        trader.py     the trading process
supervisor.py  starts, forwards, ends them        api.py        health, readiness, metrics, status, POST /step
                                                  serving.py    the API under gunicorn
"""
