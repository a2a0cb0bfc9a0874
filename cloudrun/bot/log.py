"""What the service says about itself: one JSON object per line on standard error, as Cloud Logging reads it."""

from __future__ import annotations

import json
import sys


def say(severity: str, message: str) -> None:
    """Write one line. `severity` is `INFO`, `WARNING` or `ERROR`."""
    print(json.dumps({"severity": severity, "message": message}, ensure_ascii=False), file=sys.stderr, flush=True)
