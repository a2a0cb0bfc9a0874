"""Settings: layers, findings, secrets. `default.yaml` is checked against the dataclasses that it documents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.config import schema
from shared.config.load import default_values, load
from shared.config.secrets import Secrets
from shared.config.settings import LIVE_CONFIRMATION, Mode, Settings
from shared.domain.errors import ConfigError
from shared.domain.interval import Interval
from shared.trading.params import SystemParams

ROOMS = [name for name, kind in schema.fields_of(Settings).items() if dataclasses.is_dataclass(schema._bare(kind))]


def findings(tmp_path: Path, text: str = "", **environment: str) -> list[str]:
    """The lines of the `ConfigError` that `ost.yaml` with `text` causes."""
    (tmp_path / "ost.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(environment=environment, folder=tmp_path)
    return str(caught.value).splitlines()


def plain(value: Any) -> Any:
    """Tuples as lists, as YAML reads them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def test_there_are_sections_of_rooms() -> None:
    assert {"curation", "regime", "strategy", "risk", "costs", "execution"} <= set(ROOMS)


@pytest.mark.parametrize("section", ROOMS)
def test_default_yaml_says_what_the_dataclass_says(section: str) -> None:
    kind = schema._bare(schema.fields_of(Settings)[section])
    assert default_values()[section] == plain(dataclasses.asdict(kind()))


def test_default_yaml_has_every_key_and_no_other() -> None:
    values = default_values()
    assert list(schema.unknown_names(Settings, values)) == []
    assert {name for name, _ in schema.flatten(Settings, values)} == set(schema.names_of(Settings))


def test_default_yaml_comments_every_value() -> None:
    lines = (Path(schema.__file__).parent / "default.yaml").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.strip() and ": " in line and "#" not in line] == []


def test_defaults_load_and_are_paper(tmp_path: Path) -> None:
    settings = load(environment={}, folder=tmp_path).settings
    assert settings.mode is Mode.PAPER
    assert settings.interval is Interval.H1
    assert settings.ledger_url == "sqlite:///var/ledger.sqlite"
    assert settings.system == SystemParams()


def test_later_layers_win_and_are_remembered(tmp_path: Path) -> None:
    (tmp_path / "ost.yaml").write_text("run: {days: 10, capital: 20, seed: 1, leverage: 2}", encoding="utf-8")
    (tmp_path / ".env").write_text("OST_RUN__CAPITAL=30\nOST_RUN__SEED=2\nOST_RUN__LEVERAGE=5\n", encoding="utf-8")
    found = load(
        environment={"OST_RUN__SEED": "3", "OST_RUN__LEVERAGE": "6", "PATH": "x"},
        overrides={"run.leverage": 7},
        folder=tmp_path,
    )
    run = found.settings.run
    assert (run.days, run.capital, run.seed, run.leverage) == (10, 30.0, 3, 7)
    origins = [found.origins[f"run.{name}"] for name in ("max_decision_age", "days", "capital", "seed", "leverage")]
    assert origins == ["default.yaml", str(tmp_path / "ost.yaml"), str(tmp_path / ".env"), "environment", "command line"]


def test_a_file_changes_one_nested_value_and_leaves_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "ost.yaml").write_text("strategy: {trend_hunter: {weights: {momentum: 0.5}}}", encoding="utf-8")
    strategy = load(environment={}, folder=tmp_path).settings.strategy
    defaults = SystemParams().strategy
    weights = dataclasses.replace(defaults.trend_hunter.weights, momentum=0.5)
    assert strategy == dataclasses.replace(defaults, trend_hunter=dataclasses.replace(defaults.trend_hunter, weights=weights))


@pytest.mark.parametrize("text", ["BTCUSDT,ETHUSDT", "[BTCUSDT, ETHUSDT]", '["BTCUSDT", "ETHUSDT"]'])
def test_lists_in_the_environment(tmp_path: Path, text: str) -> None:
    settings = load(environment={"OST_UNIVERSE__SYMBOLS": text}, folder=tmp_path).settings
    assert [asset.symbol for asset in settings.universe.universe] == ["BTCUSDT", "ETHUSDT"]


def test_a_named_file_replaces_the_one_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "ost.yaml").write_text("run: {days: 10}", encoding="utf-8")
    (tmp_path / "other.yaml").write_text("run: {seed: 10}", encoding="utf-8")
    for found in (
        load(tmp_path / "other.yaml", environment={}, folder=tmp_path),
        load(environment={"OST_CONFIG": str(tmp_path / "other.yaml")}, folder=tmp_path),
    ):
        assert (found.settings.run.days, found.settings.run.seed) == (90, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("risk: {max_levrage: 2}", "unknown setting risk.max_levrage ({file}); did you mean risk.max_leverage?"),
        ("rsik: {max_leverage: 2}", "unknown setting rsik ({file}); did you mean risk?"),
        ("zzz: 1", "unknown setting zzz ({file}); `ost config show` lists the known ones"),
        ("run: {days: many}", "run.days ({file}): found 'many', expected a whole number, unable to parse string as an integer"),
        ("run: {days: 0}", "run.days ({file}): found 0, expected greater than or equal to 1"),
        ("mode: real", "mode ({file}): found 'real', expected 'paper', 'testnet' or 'live'"),
        ("interval: 2h", "interval ({file}): found '2h', expected '1m', '15m', '30m', '1h', '4h', '1d' or '1w'"),
        ("run: 5", "run ({file}): found 5, expected a section: keys and values"),
        ("risk: {max_drawdown: 2}", "risk: risk.pause_drawdowns is"),
        ("universe: {symbols: []}", "universe: the universe is empty"),
        ("- a", "{file} holds a list; expected keys and values"),
        ("a: [", "{file} is no YAML: line 1, column 5"),
        ("mode: live", f'mode live trades real money and needs confirm_live: "{LIVE_CONFIRMATION}"'),
        ("interval: 1m", "interval 1m is not among intervals"),
        ("execution: {resend_grace_s: 3.0}", "execution.resend_grace_s is 3; expected at least 3.5"),
        ("exchange: {order_window_ms: 5000}", "execution.resend_grace_s is 4; expected at least 6.5"),
        ("exchange: {receive_window_ms: 9000}", "execution.closing_grace_s is 6.5; expected at least 10.5"),
    ],
)
def test_a_finding_is_one_line_that_names_the_key(tmp_path: Path, text: str, expected: str) -> None:
    lines = findings(tmp_path, text)
    assert len(lines) == 1
    assert lines[0].startswith(expected.format(file=tmp_path / "ost.yaml")), lines[0]


def test_all_findings_are_reported_at_once(tmp_path: Path) -> None:
    assert len(findings(tmp_path, "run: {days: 0, capital: -1}\nvenue: {probe_timeout_s: 0}")) == 3
    assert len(findings(tmp_path, "a: 1\nb: 2")) == 2


def test_an_unknown_variable_is_reported_with_the_nearest(tmp_path: Path) -> None:
    lines = findings(tmp_path, OST_RUN__CAPITOL="5")
    assert lines == ["unknown setting run.capitol (environment); did you mean run.capital?"]


def test_a_missing_or_binary_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the settings file .*none.yaml: No such file or directory"):
        load(tmp_path / "none.yaml", environment={}, folder=tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        load(tmp_path / "binary.yaml", environment={}, folder=tmp_path)


def test_live_needs_the_exact_sentence(tmp_path: Path) -> None:
    overrides = {"mode": "live", "confirm_live": LIVE_CONFIRMATION}
    assert load(environment={}, overrides=overrides, folder=tmp_path).settings.mode is Mode.LIVE
    assert LIVE_CONFIRMATION in (Path(schema.__file__).parent / "default.yaml").read_text(encoding="utf-8")


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load(environment={}, folder=tmp_path).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.run.days = 5  # type: ignore[misc]


def test_secrets_come_from_the_environment_and_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OST_BINANCE_API_KEY", "very-secret")
    secrets = Secrets()
    assert secrets.binance_api_key is not None
    assert secrets.binance_api_key.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(secrets) + str(secrets) + str(secrets.model_dump(mode="json"))
    assert load(environment={"OST_BINANCE_API_KEY": "x", "OST_CONFIG": ""}, folder=tmp_path)


def test_flatten_and_nested_are_inverse() -> None:
    values = default_values()
    assert schema.nested(dict(schema.flatten(Settings, values))) == values
    assert yaml.safe_load(yaml.safe_dump(values)) == values


class TestStorage:
    """A folder keeps everything; a bucket only market data and models."""

    def test_a_folder_holds_lake_ledger_and_own_files(self, tmp_path: Path) -> None:
        found = load(environment={"OST_STORAGE__ROOT": "data"}, folder=tmp_path).settings
        assert (found.lake_url, found.lake, found.folder) == (None, Path("data/lake"), Path("data"))
        assert found.ledger_url == "sqlite:///data/ledger.sqlite"

    @pytest.mark.parametrize("url", ["gs://lake", "gs://lake/a/b"])
    def test_a_bucket_holds_the_lake_alone(self, tmp_path: Path, url: str) -> None:
        found = load(environment={"OST_STORAGE__ROOT": url}, folder=tmp_path).settings
        assert found.lake_url == url
        assert "gs:" not in str(found.folder)
        with pytest.raises(ConfigError, match=f"storage.root is the bucket {url}, which holds no ledger"):
            _ = found.ledger_url
        with pytest.raises(ConfigError, match=f"storage.root is the bucket {url}; this reads from a folder"):
            _ = found.lake
        named = load(
            environment={"OST_STORAGE__ROOT": url, "OST_LEDGER__URL": "cloudsql://u@p:r:i/d"}, folder=tmp_path
        ).settings
        assert named.ledger_url == "cloudsql://u@p:r:i/d"

    @pytest.mark.parametrize(("name", "text"), [("BUS", "kafka://x"), ("SECRETS", "sm://"), ("JOBS", "run://p/r")])
    def test_an_address_of_another_kind_is_a_finding(self, tmp_path: Path, name: str, text: str) -> None:
        with pytest.raises(
            ConfigError, match=rf"{name.lower()}\.url \(environment\): found '{text}', expected text of the form"
        ):
            load(environment={f"OST_{name}__URL": text}, folder=tmp_path)
