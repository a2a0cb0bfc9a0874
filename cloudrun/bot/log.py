"""What the service says about itself: one JSON object per line on standard error, as Cloud Logging reads it.

On Cloud Run (which sets `K_SERVICE`) the lines go through google-cloud-logging's handler; anywhere else they are the same
without it. `GOOGLE_CLOUD_PROJECT` is the project of their traces.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from typing import TextIO

from shared.adapters.gcp.log import set_up

_LOG = logging.getLogger("cloudrun.bot")


def say(severity: str, message: str) -> None:
    """Write one line. `severity` is `INFO`, `WARNING` or `ERROR`."""
    _ready(sys.stderr)
    _LOG.log(logging.getLevelNamesMapping()[severity], "%s", message, stacklevel=2)


@cache
def _ready(stream: TextIO) -> None:
    set_up(os.environ.get("GOOGLE_CLOUD_PROJECT"), lives_long="K_SERVICE" in os.environ, stream=stream)
