"""Import the Cloud SQL connector without what a PostgreSQL connection to a private address never uses.

Beside the connection itself, which takes two requests and a TLS socket, the connector imports a gRPC client of the whole Cloud
SQL Admin API (for its data service) and a DNS resolver: half of its import. While it is imported, empty modules stand in
for them; they are taken away again at once, so that whoever wants the real ones later finds them.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

PACKAGE = "google.cloud.sql.connector"

_UNUSED = {
    f"{PACKAGE}.sqldata_client": ("SqlDataClient", "SqlDataSocket"),
    "dns": (),
    "dns.asyncresolver": ("Resolver",),
}
"""Modules that are left out, with the classes that the connector names."""

_lock = threading.Lock()


def load_connector() -> ModuleType:
    """The package `google.cloud.sql.connector`. Raises `ModuleNotFoundError` where it is not installed."""
    with _lock:
        if PACKAGE in sys.modules:
            return sys.modules[PACKAGE]
        stand_ins = {name: _stand_in(name, classes) for name, classes in _UNUSED.items() if name not in sys.modules}
        if "dns" in stand_ins:
            stand_ins["dns"].asyncresolver = stand_ins["dns.asyncresolver"]  # type: ignore[attr-defined]
        sys.modules.update(stand_ins)
        try:
            return importlib.import_module(PACKAGE)
        finally:
            for name, module in stand_ins.items():
                if sys.modules.get(name) is module:
                    del sys.modules[name]


def _stand_in(name: str, classes: tuple[str, ...]) -> ModuleType:
    module: Any = ModuleType(name, "Stands in for what is not used.")
    for wanted in classes:
        setattr(module, wanted, type(wanted, (), {}))
    return module  # type: ignore[no-any-return]
