"""Imported before anything else by the trading process: keeps out what it does not need.

TA-Lib imports pandas wherever that is installed, which would cost the process half a second and some 60 MB for nothing: here it
is absent while TA-Lib is imported, as it is in the image. Whoever really needs pandas later imports it as ever.
"""

from __future__ import annotations

import sys

if "pandas" not in sys.modules:
    sys.modules["pandas"] = None  # type: ignore[assignment]  # what is imported now does not find it
    import talib  # noqa: F401

    del sys.modules["pandas"]
