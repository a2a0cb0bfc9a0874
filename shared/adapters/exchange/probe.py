"""Is the public venue reachable from here, within a few seconds? Asked by `run` before it falls back to generated candles."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from shared.adapters.exchange.client import Admission
from shared.adapters.exchange.connection import connect
from shared.adapters.exchange.params import ConnectionParams
from shared.domain.errors import OstError
from shared.ports import Clock


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome; `reason` is one line, empty where the venue answered."""

    reachable: bool
    reason: str = ""


async def probe_venue(
    clock: Clock,
    venue: str = "binanceusdm",
    *,
    base_url: str | None = None,
    timeout_s: float = 4.0,
    admission: Admission | None = None,
) -> Probe:
    """Ask the venue for its time, once. Never raises a network error; takes at most `timeout_s`."""
    params = ConnectionParams(timeout_s=timeout_s, read_attempts=1)
    connection = connect(venue, clock, np.random.default_rng(0), params, base_url=base_url, admission=admission)
    try:
        async with asyncio.timeout(timeout_s):
            await connection.now_ms()
    except TimeoutError:
        return Probe(reachable=False, reason=f"{venue} did not answer within {timeout_s:g} s")
    except OstError as error:
        return Probe(reachable=False, reason=f"{venue}: {str(error).splitlines()[0]}")
    finally:
        await connection.close()
    return Probe(reachable=True)
