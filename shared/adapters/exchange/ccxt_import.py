"""Import one ccxt exchange without the other hundred.

`import ccxt.async_support` runs two package initialisers that import every exchange, synchronous and asynchronous, and
`import ccxt.pro` a third one: seconds and a hundred megabytes for what Binance alone needs half of. While the one module is
imported, lazy packages with the real `__path__` stand in; they are taken away again at once, so that a later, ordinary
`import ccxt` works and finds the very same classes. Only documented import machinery is used (`importlib`, PEP 562).
Invariant: where the lean way cannot work, the ordinary import is used; the result is the same class either way.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

PACKAGES = ("ccxt", "ccxt.async_support", "ccxt.pro")

_lock = threading.Lock()


def load_exchange(package: str, venue: str) -> Any:
    """The ccxt class of `venue` (`binanceusdm`) from `package` (`ccxt.async_support` or `ccxt.pro`).

    Raises `ModuleNotFoundError` where ccxt has no such exchange.
    """
    return getattr(load_module(f"{package}.{venue}"), venue)


def load_module(name: str) -> ModuleType:
    """Import the ccxt module `name` without its siblings."""
    with _lock:
        if name in sys.modules:
            return sys.modules[name]
        if any(package in sys.modules for package in PACKAGES):
            return importlib.import_module(name)
        try:
            for package in PACKAGES:
                sys.modules[package] = _lazy_package(package)
            return importlib.import_module(name)
        finally:
            for package in PACKAGES:
                sys.modules.pop(package, None)


class _LazyPackage(ModuleType):
    """A package that finds its submodules but runs no initialiser.

    As ccxt's initialisers do, it shows an exchange's class, not its module, under the exchange's name, and the errors.
    """

    def __getattr__(self, wanted: str) -> Any:
        if wanted.startswith("__"):
            raise AttributeError(wanted)
        if f"{self.__name__}.{wanted}" in PACKAGES:
            return sys.modules[f"{self.__name__}.{wanted}"]
        if wanted == "Exchange":
            return importlib.import_module("ccxt.base.exchange").Exchange
        errors = importlib.import_module("ccxt.base.errors")
        if hasattr(errors, wanted):
            return getattr(errors, wanted)
        return getattr(importlib.import_module(f"{self.__name__}.{wanted}"), wanted)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, getattr(value, name, value) if isinstance(value, ModuleType) else value)


def _lazy_package(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"the package {name} is not installed; install ccxt")
    package = _LazyPackage(name)
    for attribute in ("__spec__", "__loader__", "__file__", "__path__", "__package__"):
        setattr(package, attribute, getattr(importlib.util.module_from_spec(spec), attribute))
    return package
