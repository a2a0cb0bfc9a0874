"""Imported first by a process that speaks HTTP alone, it keeps gRPC out, which google-api-core loads where it can.

The Cloud SQL connector has it installed without using it here; it would cost a function 60 ms and 8 MB of its start. Whoever
imports gRPC later all the same is refused, rather than served by clients that know only half of their errors.
"""

from __future__ import annotations

import sys

if "grpc" not in sys.modules:
    sys.modules["grpc"] = None  # type: ignore[assignment]  # what is imported from now on does not find it
