"""Keys of the exchange account: only from the environment or `.env`, never from a settings file, never printed."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.config.secret_names import ENVIRONMENT_PREFIX


class Secrets(BaseSettings):
    """`OST_BINANCE_API_KEY` and `OST_BINANCE_API_SECRET`; `None` where they are not set. Their text never appears in a repr.

    `OST_PAPER_KEY` and `OST_PAPER_SECRET` are those of the paper exchange, `OST_BOT_TOKEN` is what a step request carries,
    `OST_JWT_KEY` signs the tokens of people.
    """

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_file=".env", extra="ignore", frozen=True)

    binance_api_key: SecretStr | None = None
    binance_api_secret: SecretStr | None = None
    paper_key: SecretStr = SecretStr("paper")
    paper_secret: SecretStr = SecretStr("paper")
    bot_token: SecretStr | None = None
    jwt_key: SecretStr | None = None

    def by_id(self) -> dict[str, str]:
        """The secrets that are set, by the id that they have in a store: `binance-api-key`."""
        found = {name.replace("_", "-"): getattr(self, name) for name in type(self).model_fields}
        return {name: value.get_secret_value() for name, value in found.items() if value is not None}
