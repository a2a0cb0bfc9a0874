"""Loads plug-ins: the Python files of a folder that a user has named. This runs the user's code, and nothing else ever does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from shared.domain.errors import StorageError, UsageError
from shared.domain.ids import digest
from shared.strategy.plugins import Plugin


def load_plugins(folder: Path) -> tuple[Plugin, ...]:
    """Every `PLUGINS` entry of the folder's Python files, in the order of the files' names.

    Raises `UsageError` where there is no such folder or no plug-in in it, a file fails, or two plug-ins share a name.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no plug-in folder {folder}; write one with: ost audit template {folder}")
    plugins: list[Plugin] = []
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_"):
            plugins += _of_file(path)
    if not plugins:
        raise UsageError(f"{folder} holds no Python file with a list PLUGINS; see an example with: ost audit template {folder}")
    names = [plugin.name for plugin in plugins]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two plug-ins in {folder} are named {twice!r}; rename one of them")
    return tuple(plugins)


def write_template(folder: Path, text: str) -> Path:
    """Write the example into `folder`, which is created; a file that is there stays. Raises `UsageError`, `StorageError`."""
    path = folder / "my_alphas.py"
    if path.exists():
        raise UsageError(f"{path} is already there; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
    return path


def _of_file(path: Path) -> list[Plugin]:
    # A name of its own for each file: a plug-in cannot shadow a module, nor another folder's plug-in.
    name = f"ost_plugin_{digest(str(path.resolve()).encode(), 10)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # it is not our code: whatever it raises is reported as the user's
        raise UsageError(f"plug-in file {path.name} failed: {type(error).__name__}: {error}") from error
    listed = getattr(module, "PLUGINS", [])
    if not isinstance(listed, list | tuple) or not all(isinstance(entry, Plugin) for entry in listed):
        raise UsageError(f"{path.name}: PLUGINS must be a list of shared.strategy.plugins.Plugin")
    return list(listed)
