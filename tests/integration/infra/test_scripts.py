"""The shell scripts of a release, run with a `gcloud` and a `curl` that write down what they were asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.infra.planning import ROOT

GCLOUD = """#!/bin/sh
echo "gcloud $*" >> "$CALLS"
case "$*" in
    "run services describe bot"*) echo https://bot.example ;;
    "auth print-identity-token"*) echo token ;;
    "logging read"*"severity>=ERROR"*) printf %s "$ERRORS" ;;
    "logging read"*) n=$(cat "$COUNT" 2>/dev/null || echo "$COUNT_FROM"); echo $((n + 1)) > "$COUNT"
        [ -n "$SILENT" ] && case "$*" in *"\"$SILENT\""*) exit 0 ;; esac
        [ "$n" -lt 2 ] || echo 2026-01-01T00:11:00Z ;;
    "pubsub subscriptions pull"*)
        echo pull >> "$COUNT.pulls"
        [ "$(wc -l < "$COUNT.pulls")" -le "$EMPTY_PULLS" ] || printf %s "$DEAD" ;;
esac
[ -z "$REFUSE" ] || case "$*" in *"$REFUSE"*) exit 1 ;; esac
"""
CURL = """#!/bin/sh
echo "curl $*" >> "$CALLS"
case "$*" in
    */step) printf '%b' "$STEP" ;;
    *) [ -n "$METRICS" ] && printf '%s\\n' "$METRICS" ;;
esac
"""
SINCE, DIED = "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123Z"
UP = 'ost_ledger_up{book="paper-1h"} 1.0'
DONE = '{\\n  "book": "paper-1h",\\n  "bar_close_ms": 4000000000000,\\n  "decisions": []\\n}\\n200'
STREAMS = "<p>not found</p>\\n404"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    for name, text in (("gcloud", GCLOUD), ("curl", CURL), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(tools: Path, script: str, *arguments: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    calls = tools / "calls"
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "COUNT": str(tools / "count"),
        "DEAD": "", "REFUSE": "", "SILENT": "", "EMPTY_PULLS": "0", "METRICS": UP, "STEP": DONE, "ERRORS": "",
        "COUNT_FROM": "0", **variables,
    }  # fmt: skip
    command = [ROOT / "infra" / script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_a_sound_deployment_passes(tools: Path) -> None:
    done, calls = run(tools, "check_deployed.sh", "demo", "europe-west1")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["ok"] * 7
    ticked = next(
        place for place, call in enumerate(calls) if call.startswith("gcloud scheduler jobs run ingest-1h --project demo")
    )
    asked = [call for call in calls[ticked:] if "logging read" in call]
    assert asked  # only what was told after the tick counts: an hour that is ingested already changes no file
    assert all('timestamp>="20' in call for call in asked)
    assert not any("storage" in call for call in calls)
    for event in ("candles.ingested", "candles.curated", "regime.classified"):
        assert any(f'"{event}"' in call for call in asked), event


def test_another_interval_that_is_traded_is_the_one_that_is_asked_for(tools: Path) -> None:
    done, calls = run(tools, "check_deployed.sh", "demo", "europe-west1", INTERVAL="4h")
    assert done.returncode == 0, done.stderr
    assert any(call.startswith("gcloud scheduler jobs run ingest-4h") for call in calls)
    assert run(tools, "check_deployed.sh", "demo", "europe-west1", INTERVAL="2h")[0].returncode == 2


@pytest.mark.parametrize(("bar_s", "status"), [("4e+09", 0), ("1.7e+09", 1)])
def test_a_bot_that_trades_by_its_streams_must_have_begun_the_newest_bar(tools: Path, bar_s: str, status: int) -> None:
    metrics = f'{UP}\nost_last_bar_timestamp_seconds{{book="paper-1h"}} {bar_s}'
    done, _ = run(tools, "check_deployed.sh", "demo", "europe-west1", STEP=STREAMS, METRICS=metrics, WAIT_S="0", COUNT_FROM="2")
    assert done.returncode == status, done.stderr


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"METRICS": ""}, "the bot does not answer"),
        ({"METRICS": 'ost_ledger_up{book="paper-1h"} 0.0'}, "does not reach the ledger"),
        ({"SILENT": "candles.ingested", "WAIT_S": "0"}, "no candles were ingested"),
        ({"SILENT": "candles.curated", "WAIT_S": "0", "COUNT_FROM": "2"}, "no candles were curated"),
        ({"SILENT": "regime.classified", "WAIT_S": "0", "COUNT_FROM": "2"}, "no regime was classified"),
        (
            {"STEP": '{"error": "the ledger is away"}\\n503', "WAIT_S": "0", "COUNT_FROM": "2"},
            "the bot did no step of the newest 1h",
        ),
        (
            {"STEP": '{"bar_close_ms": 1700000000000}\\n200', "WAIT_S": "0", "COUNT_FROM": "2"},
            "the bot did no step of the newest 1h",
        ),
        ({"ERRORS": "curate\tno such bucket\n"}, "errors since the tick:\ncurate"),
        ({"DEAD": f"{DIED}\n"}, "1 dead letters or more"),
        ({"DEAD": f"{DIED}\n", "EMPTY_PULLS": "2"}, "1 dead letters or more"),
        ({"DEAD": f"{DIED}\n2999-01-01T00:00:00.5Z\n"}, "2 dead letters or more since 2026-01-31T10:00:00Z"),
    ],
)
def test_what_does_not_work_is_named(tools: Path, variables: dict[str, str], found: str) -> None:
    done, _ = run(tools, "check_deployed.sh", "demo", "europe-west1", SINCE=SINCE, **variables)
    assert done.returncode == 1
    assert found in done.stderr


@pytest.mark.parametrize("since", [{"SINCE": SINCE}, {}])
def test_letters_that_died_before_the_release_are_counted_and_do_not_fail_it(tools: Path, since: dict[str, str]) -> None:
    dead = "2026-01-31T09:59:59.999Z\n2025-12-31T23:00:00Z\n"
    done, _ = run(tools, "check_deployed.sh", "demo", "europe-west1", DEAD=dead, **since)
    assert done.returncode == 0, done.stderr
    assert "(2 seen of before;" in done.stdout


def test_the_job_gets_the_image_before_the_ledger_is_migrated(tools: Path) -> None:
    done, calls = run(tools, "migrate.sh", "demo", "europe-west1", "registry/ost:1")
    assert done.returncode == 0, done.stderr
    assert [" ".join(call.split()[2:5]) for call in calls] == [
        "jobs update migrate",
        "jobs execute migrate",
    ]
    assert "--image registry/ost:1" in calls[0]
    assert "--wait" in calls[1]


def test_a_migration_that_fails_ends_the_release(tools: Path) -> None:
    done, _ = run(tools, "migrate.sh", "demo", "europe-west1", "registry/ost:1", REFUSE="jobs execute")
    assert done.returncode != 0


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_another_region_than_that_of_the_environment_is_refused(tools: Path, environment: str) -> None:
    done, _ = run(tools, "same_region.sh", "europe-west1", environment)
    assert done.returncode == 0, done.stderr
    done, _ = run(tools, "same_region.sh", "asia-northeast1", environment)
    assert done.returncode == 1
    assert f"the region is asia-northeast1, and {environment} is in europe-west1" in done.stderr


PLANS = """
Terraform will perform the following actions:

  # google_cloud_run_v2_service.bot must be replaced
  # google_sql_user.component["fn-ingest"] will be destroyed
  # google_storage_bucket.lake will be updated in-place
"""


@pytest.mark.parametrize(
    "lost",
    [
        "google_storage_bucket.lake must be replaced",
        "google_sql_database_instance.ledger will be destroyed",
        "google_sql_database_instance.ledger is tainted, so must be replaced",
        "google_compute_address.egress will be replaced, as requested",
    ],
)
def test_a_plan_that_loses_data_is_refused_and_names_them(lost: str) -> None:
    command = [ROOT / "infra" / "keeps_the_data.sh"]
    kept = subprocess.run(command, input=PLANS, capture_output=True, text=True, check=False)
    assert kept.returncode == 0, kept.stderr
    done = subprocess.run(command, input=f"{PLANS}  # {lost}\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert lost in done.stderr


@pytest.mark.parametrize("script", ["migrate.sh", "check_deployed.sh", "same_region.sh"])
def test_wrong_arguments_are_answered_with_the_usage(tools: Path, script: str) -> None:
    done, calls = run(tools, script, "demo")
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert not calls


@pytest.mark.parametrize("environment", ["", "test", "../environments/staging"])
def test_an_environment_is_a_name_and_no_path(tools: Path, environment: str) -> None:
    done, _ = run(tools, "terraform.sh", "plan", environment, "demo")
    assert done.returncode == 2
    assert "say ENV=staging or ENV=production" in done.stderr


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="absent: the Google Cloud SDK (gcloud)")
def test_a_build_is_sent_neither_what_terraform_keeps_here_nor_a_market(tmp_path: Path) -> None:
    for name in (".gitignore", ".gcloudignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in (
        "infra/main.tf",
        "infra/.terraform/terraform.tfstate",
        "infra/production.plan",
        "recording/lake/x.parquet",
        ".env",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    listed = subprocess.run(
        ["gcloud", "meta", "list-files-for-upload", "."], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert listed.stdout.split() == ["infra/main.tf"]
