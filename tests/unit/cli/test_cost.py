"""The bill: reading the Terraform files, computing usage, adding up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared.cli.cost_bill import Price, make_bill, price_table
from shared.cli.cost_literals import assignments
from shared.cli.cost_terraform import PAPER_MOST_ASSETS, Deployment, read_deployment
from shared.cli.cost_usage import HOURS, Assumptions, Usage, exchange_memory_mib, monthly_usage, rounds_a_day, venue_requests
from shared.cli.cost_variables import declared
from shared.cli.main import app
from shared.domain.errors import UsageError

ROOT = Path(__file__).parents[3]
PRODUCTION = ROOT / "infra" / "environments" / "production.tfvars"
STAGING = ROOT / "infra" / "environments" / "staging.tfvars"


def usage_of(deployment: Deployment, sku: str, component: str | None = None) -> float:
    used = monthly_usage(deployment, Assumptions())
    return sum(usage.quantity for usage in used if usage.sku == sku and component in (None, usage.component))


def total(deployment: Deployment) -> float:
    return make_bill(monthly_usage(deployment, Assumptions()), price_table()).total_usd


def test_every_kind_of_literal_is_read() -> None:
    text = 'a = "x, y" # said\n/* more\nlines */ b = 3\n'
    text += 'c = -1.5\n// no\nd = true\ne = null\nf = ["1h", "4h"]\ng = { k = "v", l : [1] }\n'
    assert assignments(text, "x.tfvars") == {
        "a": "x, y", "b": 3, "c": -1.5, "d": True, "e": None, "f": ["1h", "4h"], "g": {"k": "v", "l": [1]},
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["a = \n", "a = var.b\n", 'a = "${var.b}"\n', "a = [1,\n", "a 3\n", "a = 3 @\n", "a = inf\n", "a = nan\n", 'a = "\\q"\n'],
)
def test_what_is_no_literal_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"x\.tfvars, line \d"):
        assignments("# a comment\n" + text, "x.tfvars")


def test_defaults_are_those_of_the_variables_alone() -> None:
    first = 'variable "a" {\n  type = number\n  default = 3\n  validation {\n    condition = var.a > 1\n  }\n}\n'
    text = first + 'variable "b" {\n  type = string\n}\n'
    assert {name: variable.default for name, variable in declared(text).items()} == {"a": 3, "b": None}


def test_a_variable_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "variables.tf").write_text('variable "profile" {\n  default = "stream"\n}\n')
    tfvars = tmp_path / "environments" / "x.tfvars"
    tfvars.write_text('profil = "stream"\n')
    with pytest.raises(UsageError, match="sets profil, which"):
        read_deployment(tfvars)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(UsageError, match="--tfvars names a file"):
        read_deployment(ROOT / "infra" / "environments" / "nowhere.tfvars")


def test_a_file_somewhere_else_is_for_this_repository(tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine.tfvars"
    elsewhere.write_text(STAGING.read_text(encoding="utf-8"), encoding="utf-8")
    assert read_deployment(elsewhere) == read_deployment(STAGING)


@pytest.fixture
def tfvars(tmp_path: Path) -> Callable[[str], Path]:
    """A file of variables beside the real Terraform files: those of staging, and a line."""
    (tmp_path / "infra" / "environments").mkdir(parents=True)
    (tmp_path / "functions").mkdir()
    for name in ("infra/variables.tf", "infra/functions.tf", "functions/schedules.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)

    def written(line: str) -> Path:
        variable = line.split(" ")[0]
        kept = [row for row in STAGING.read_text().splitlines() if not row.startswith(f"{variable} ")]
        file = tmp_path / "infra" / "environments" / "mine.tfvars"
        file.write_text("\n".join([*kept, line]) + "\n")
        return file

    return written


@pytest.mark.parametrize(
    "line",
    [
        'symbols = "BTCUSDT"', "symbols = []", 'symbols = ["BTCUSDT", "BTCUSDT"]', "symbols = null", 'mode = "foo"',
        "mode = null", "mode = true", 'ledger_tier = "db-perf-optimized-N-2"', 'ledger_availability = "both"',
        "campaign_tasks = -5", 'campaign_tasks = "many"', "campaign_tasks = [1]", "campaign_tasks = true",
        "ledger_disk_gib = -100", "bot_memory_mib = 100000", "bot_cpu = 3", "noncurrent_days = 0",
        'interval = "2h"', 'intervals = ["4h"]', 'intervals = ["1h", "1h"]', "mode = \"paper\"\nmode = \"live\"",
    ],
)  # fmt: skip
def test_what_terraform_refuses_has_no_bill(tfvars: Callable[[str], Path], line: str) -> None:
    with pytest.raises(UsageError, match=line.split(" ")[0]):
        read_deployment(tfvars(line))


def test_a_text_is_a_number_where_terraform_takes_it_for_one(tfvars: Callable[[str], Path]) -> None:
    assert total(read_deployment(tfvars('bot_cpu = "2"'))) == total(read_deployment(tfvars("bot_cpu = 2")))


def test_a_file_that_is_no_text_is_a_mistake_of_the_user(tfvars: Callable[[str], Path]) -> None:
    file = tfvars("bot_cpu = 1")
    file.write_bytes(b"# K\xf6ln\n" + file.read_bytes())
    shown = CliRunner().invoke(app, ["cost", "--tfvars", str(file)])
    assert (shown.exit_code, "UTF-8" in shown.output) == (2, True)


def test_every_number_that_is_paid_for_has_bounds() -> None:
    variables = declared((ROOT / "infra" / "variables.tf").read_text(encoding="utf-8"))
    for name in ("bot_memory_mib", "campaign_tasks", "campaign_memory_mib", "ledger_disk_gib", "noncurrent_days"):
        assert variables[name].between is not None, name
    for name in ("environment", "mode", "profile", "bot_cpu", "campaign_cpu", "ledger_availability"):
        assert variables[name].one_of is not None, name
    assert variables["ledger_tier"].pattern is not None


def test_another_region_is_told_whose_prices_these_are(tfvars: Callable[[str], Path]) -> None:
    for region, told in (("asia-northeast1", True), ("europe-west1", False)):
        shown = CliRunner().invoke(app, ["cost", "--tfvars", str(tfvars(f'region = "{region}"'))])
        assert shown.exit_code == 0
        assert ("the prices are those of europe-west1" in shown.output) == told


def test_the_bill_of_production_is_known_in_every_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["cost"]).exit_code == 0


def test_the_shipped_environments_are_read() -> None:
    production, staging = read_deployment(PRODUCTION), read_deployment(STAGING)
    assert (production.environment, production.profile, production.ledger_is_regional) == ("production", "stream", True)
    assert (staging.environment, staging.profile, staging.ledger_is_regional) == ("staging", "schedule", False)
    assert production.functions["ingest"].asks_venue
    assert not production.functions["curate"].asks_venue
    assert production.functions["classify"].memory_gib == 1.0


def test_all_six_intervals_close_175_times_a_day() -> None:
    deployment = read_deployment(PRODUCTION, assets=1000, mode="live")
    assert rounds_a_day(deployment) == pytest.approx(96 + 48 + 24 + 6 + 1 + 1 / 7)
    assert venue_requests(deployment) == pytest.approx(1000 * 175.142857 * 30.4375)


def test_stream_pays_for_each_second_and_schedule_for_its_work() -> None:
    stream = read_deployment(PRODUCTION, profile="stream")
    schedule = read_deployment(PRODUCTION, profile="schedule")
    assert usage_of(stream, "run_cpu_always", "bot") == pytest.approx(HOURS * 3600)
    assert usage_of(schedule, "run_cpu_always", "bot") == 0
    assert 0 < usage_of(schedule, "run_cpu", "bot") < 0.1 * HOURS * 3600


def test_a_standby_doubles_machine_and_disk_of_the_ledger() -> None:
    regional = read_deployment(PRODUCTION)
    zonal = replace(regional, ledger_is_regional=False)
    for sku in ("sql_cpu", "sql_memory", "sql_disk"):
        assert usage_of(regional, sku) == 2 * usage_of(zonal, sku)
    assert usage_of(regional, "sql_backup") == usage_of(zonal, "sql_backup")


@pytest.mark.parametrize(("tier", "sku"), [("db-f1-micro", "sql_f1_micro"), ("db-g1-small", "sql_g1_small")])
def test_shared_machines_have_a_price_of_their_own(tier: str, sku: str) -> None:
    deployment = replace(read_deployment(STAGING), ledger_tier=tier)
    assert usage_of(deployment, sku) == pytest.approx(HOURS)
    assert usage_of(deployment, "sql_cpu") == 0


def test_the_paper_exchange_costs_only_in_mode_paper() -> None:
    paper = read_deployment(PRODUCTION)
    assert usage_of(paper, "run_cpu_always", "paper exchange") > 0
    assert usage_of(replace(paper, mode="testnet"), "run_cpu_always", "paper exchange") == 0


def test_the_paper_exchange_is_priced_as_large_as_it_is_deployed_and_for_no_more_assets_than_it_holds() -> None:
    infra = (ROOT / "infra" / "cloudrun.tf").read_text(encoding="utf-8")
    assert "paper_memory_mib = max(1024, 512 + 100 * length(var.symbols))" in infra
    assert f"paper_symbols    = {PAPER_MOST_ASSETS}\n" in infra
    assert [exchange_memory_mib(assets) for assets in (1, 5, 6, PAPER_MOST_ASSETS)] == [1024, 1024, 1112, 4012]
    five, ten = (usage_of(read_deployment(PRODUCTION, assets), "run_memory_always", "paper exchange") for assets in (5, 10))
    assert ten / five == pytest.approx(1512 / 1024)
    for arguments in (["--assets", "36"], ["--assets", "1000", "--mode", "paper"]):
        shown = CliRunner().invoke(app, ["cost", *arguments])
        assert (shown.exit_code, "35 assets at most" in " ".join(shown.output.split())) == (2, True)
    assert CliRunner().invoke(app, ["cost", "--assets", "1000", "--mode", "live"]).exit_code == 0


def test_the_streams_of_a_real_venue_pass_through_the_nat() -> None:
    paper = read_deployment(PRODUCTION, assets=35)
    assert usage_of(replace(paper, mode="live"), "nat_data") > 100 * usage_of(paper, "nat_data")


def test_more_assets_and_longer_memory_cost_more() -> None:
    few, many = (read_deployment(PRODUCTION, assets=assets, mode="live") for assets in (10, 1000))
    assert total(many) > total(few)
    assert total(replace(many, noncurrent_days=30)) > total(many) + 20


def test_a_bill_is_quantity_times_price_minus_what_is_free_once() -> None:
    prices = {"hour": Price("h", 2.0, 5.0, price_table()["address"].checked, "x")}
    bill = make_bill([Usage("a", "hour", 4), Usage("b", "hour", 4), Usage("a", "hour", 1)], prices)
    assert bill.by_component() == {"a": 10.0, "b": 8.0}
    assert bill.free == {"hour": 10.0}
    assert bill.total_usd == 8.0
    assert make_bill([Usage("a", "hour", 4)], prices).total_usd == 0.0
    assert make_bill([Usage("a", "hour", 4)], prices, with_free=False).total_usd == 8.0


def test_every_price_has_a_date_and_a_source_of_google() -> None:
    for sku, price in price_table().items():
        assert price.usd > 0, sku
        assert price.source.startswith("https://cloud.google.com/"), sku
        assert price.checked.year >= 2026, sku


def test_everything_that_is_used_has_a_price_and_every_price_is_used() -> None:
    used = {usage.sku for path in (PRODUCTION, STAGING) for usage in monthly_usage(read_deployment(path), Assumptions())}
    assert used | {"sql_f1_micro", "sql_g1_small"} == set(price_table())


def test_the_figures_of_the_documentation_are_the_computed_ones() -> None:
    text = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    for assets in (10, 1000):
        for profile in ("schedule", "stream"):
            for mode in ("paper", "live") if assets <= PAPER_MOST_ASSETS else ("live",):
                sum_usd = total(read_deployment(PRODUCTION, assets, profile, mode))
                row = f"| {assets:,} | {profile} | {mode} | {sum_usd:.0f} |"
                assert row in text, row


def test_the_command_prints_the_total_and_every_line_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = CliRunner().invoke(app, ["cost", "--assets", "10"])
    assert shown.exit_code == 0
    assert "total" in shown.output
    listed = CliRunner().invoke(app, ["cost", "--tfvars", str(STAGING), "--json", "--without-free-tier"])
    assert listed.exit_code == 0
    assert '"free_usd": {}' in listed.output
    assert '"sku": "sql_cpu"' in listed.output


def test_an_unknown_profile_is_a_mistake_of_the_user() -> None:
    shown = CliRunner().invoke(app, ["cost", "--tfvars", str(STAGING), "--profile", "both"])
    assert shown.exit_code == 2
