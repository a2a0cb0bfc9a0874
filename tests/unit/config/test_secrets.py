"""Keys come from the environment, under the ids that they have in a store of secrets too."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.config.secret_names import SECRET_VARIABLES, SECRETS
from shared.config.secrets import Secrets


def test_what_is_set_has_the_id_of_a_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in SECRET_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OST_BINANCE_API_KEY", "k")
    (tmp_path / ".env").write_text("OST_BINANCE_API_SECRET=s\nOST_JWT_KEY=j\n")
    found = Secrets().by_id()
    assert {name: found[name] for name in ("binance-api-key", "binance-api-secret", "jwt-key")} == {
        "binance-api-key": "k",
        "binance-api-secret": "s",
        "jwt-key": "j",
    }
    assert "bot-token" not in found
    assert "k'" not in repr(Secrets())


def test_the_names_that_are_known_beforehand_are_those_of_the_fields() -> None:
    assert set(SECRETS) == set(Secrets.model_fields)
