"""What the variables are called that hold keys: known without the library that reads them."""

from __future__ import annotations

ENVIRONMENT_PREFIX = "OST_"

SECRETS = ("binance_api_key", "binance_api_secret", "paper_key", "paper_secret", "bot_token", "jwt_key")
"""Fields of `Secrets`."""

SECRET_VARIABLES = frozenset(f"{ENVIRONMENT_PREFIX}{name}".upper() for name in SECRETS)
