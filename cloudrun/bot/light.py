"""Imported before anything else by the trading process: keeps out what it does not need.

TA-Lib imports pandas wherever that is installed, which would cost the process half a second and some 60 MB for nothing. The
image does not hold pandas at all; here it is made to look so.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]  # an import of it then fails as if it were absent
