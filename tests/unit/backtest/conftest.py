"""Lets the tests of this folder import its helpers (`engine_inputs.py`): pytest's importlib mode does not look here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
