"""`python -m cloudrun.bot`: the service. In stream mode a trader and an API process, in schedule mode the API alone.

Settings come from the usual layers (`OST_BOT__MODE=schedule`, `OST_MODE=testnet` …), keys from the environment. Exit codes:
that of the process that ended first; 2 for settings that cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from cloudrun.bot.log import say
from cloudrun.bot.supervisor import supervise
from shared.cli import wiring
from shared.config.settings import BotCallers, BotMode, Settings
from shared.domain.errors import ConfigError, OstError, UsageError

EXIT_PROBLEM, EXIT_USAGE = 1, 2


def check(settings: Settings, *, live: bool) -> None:
    """Raise `ConfigError` for what must not start: real money unasked for, missing keys, steps that anybody could order."""
    if settings.mode == "live" and not live:
        raise ConfigError("the settings say mode live, which trades real money: start the bot with --live as well")
    if settings.mode != "live" and live:
        raise ConfigError(f"--live was given, but the settings say mode {settings.mode.value}; set mode: live and confirm_live")
    wiring.account_keys(settings)
    by_platform = settings.bot.callers is BotCallers.PLATFORM
    if by_platform and "K_SERVICE" not in os.environ:
        raise ConfigError("bot.callers is platform, but this is not Cloud Run and lets everybody through; set it to bearer")
    is_open = settings.bot.mode is BotMode.SCHEDULE and settings.mode != "paper" and wiring.secrets().bot_token is None
    if is_open and not by_platform:
        raise ConfigError(
            f"schedule mode in mode {settings.mode.value} needs a token that requests carry: set OST_BOT_TOKEN (environment)"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to end; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cloudrun.bot",
        description="Trade one book as a service, with health, readiness, metrics and status over HTTP.",
        epilog="example: OST_BOT__MODE=stream PORT=8080 python -m cloudrun.bot",
    )
    parser.add_argument("--live", action="store_true", help="trade real money; the settings must say mode live as well")
    parser.add_argument("--standby", action="store_true", help="wait for the book of another process and take over")
    given = parser.parse_args(arguments)
    try:
        settings = wiring.settings()
        check(settings, live=given.live)
    except OstError as error:
        for line in str(error).splitlines():
            say("ERROR", line)
        return EXIT_USAGE if isinstance(error, UsageError | ConfigError) else EXIT_PROBLEM
    commands = {"api": ["-m", "cloudrun.bot.serving"]}
    if settings.bot.mode is BotMode.STREAM:
        commands["trader"] = ["-m", "cloudrun.bot.trader", *(["--standby"] if given.standby else [])]
    say(
        "INFO",
        f"starting {' and '.join(commands)}, mode {settings.mode.value}, port {os.environ.get('PORT', settings.bot.port)}",
    )
    return asyncio.run(supervise(commands, lambda message: say("WARNING", message)))


if __name__ == "__main__":
    sys.exit(main())
