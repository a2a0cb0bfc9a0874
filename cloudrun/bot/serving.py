"""The API under gunicorn: one worker process with a few threads, since it only reads the ledger.

`PORT` comes before `bot.port`, as Cloud Run wants it. gunicorn's own control socket is off: nobody but the supervisor ends it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from cloudrun.bot.supervisor import end_with_parent
from shared.cli import wiring
from shared.config.settings import Settings

STEP_TIMEOUT_S = 300
"""A whole step may fetch a long history and fit models first"""


class Serving(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from code: command line and environment of gunicorn do not count."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """See gunicorn's `BaseApplication`."""
        bot = self._settings.bot
        options: dict[str, Any] = {
            "bind": f"{bot.host}:{os.environ.get('PORT') or bot.port}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": 12,  # more than Cloud Run sends at once: who waits for a turn keeps no question of health waiting
            "timeout": STEP_TIMEOUT_S,
            "graceful_timeout": 8,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: PTH112, S108 - its heartbeat: no disk
            "control_socket_disable": True,
            "proc_name": "bot-api",
            "loglevel": "warning",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application, made in the worker: no connection is shared between processes."""
        from cloudrun.bot.api import create_app

        return create_app(self._settings)


def main() -> int:
    """Serve until told to end."""
    end_with_parent()
    Serving(wiring.settings()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
