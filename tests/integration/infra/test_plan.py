"""What terraform would make, and whether it is what the code expects: names, rights, alerts, settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared.cli.cost_terraform import read_deployment
from shared.cli.cost_usage import Assumptions
from shared.config.load import load
from tests.integration.infra.planning import ROOT, plan, planned

PUBLIC = {"allUsers", "allAuthenticatedUsers"}
BASIC_ROLES = {"roles/owner", "roles/editor", "roles/viewer"}
HOLDS = {"book-events-hold", "dead-letters-hold", "secret-rotation-hold"}


def test_nobody_without_an_identity_is_given_a_right(made: dict[str, Any]) -> None:
    grants = [change["change"]["after"] for change in made["resource_changes"] if "_iam_" in change["type"]]
    members = {grant.get("member") for grant in grants} | {member for grant in grants for member in grant.get("members") or ()}
    assert not members & PUBLIC
    assert not {grant["role"] for grant in grants if "role" in grant} & BASIC_ROLES


def test_rights_are_added_one_by_one_and_never_replace_those_of_others(made: dict[str, Any]) -> None:
    kinds = {change["type"] for change in made["resource_changes"]}
    assert not [kind for kind in kinds if kind.endswith(("_iam_binding", "_iam_policy"))]


def test_every_subscription_but_the_last_has_dead_letters_and_all_try_again(made: dict[str, Any]) -> None:
    subscriptions = {after["name"]: after for after in planned(made, "google_pubsub_subscription").values()}
    assert set(subscriptions) >= HOLDS
    for name, after in subscriptions.items():
        least = "75s" if name == "regimes-classified-bot" else "10s"  # 4 waits are as long as the longest step
        assert after["retry_policy"] == [{"minimum_backoff": least, "maximum_backoff": "600s"}], name
        assert after["expiration_policy"] == [{"ttl": ""}], name
        attempts = [policy["max_delivery_attempts"] for policy in after["dead_letter_policy"]]
        assert attempts == ([] if name == "dead-letters-hold" else [100] if name in HOLDS else [5]), name


def test_topics_and_publishers_are_those_of_the_bus(made: dict[str, Any]) -> None:
    bus = pytest.importorskip("shared.adapters.gcp.bus", reason="absent: google-cloud-pubsub")
    topics = {after["name"] for after in planned(made, "google_pubsub_topic").values()}
    assert topics == {*bus.TOPICS.values(), "dead-letters", "secret-rotation"}
    assert set(planned(made, "google_pubsub_topic_iam_member", "publisher")) == {
        "book-events run-bot", "candles-curated fn-curate", "candles-ingested fn-ingest", "candles-requested fn-ingest",
        "recalibration-triggered fn-monitor", "regimes-classified fn-classify",
    }  # fmt: skip


def test_secrets_have_no_version_and_no_value(made: dict[str, Any]) -> None:
    kinds = {change["type"] for change in made["resource_changes"]}
    assert "google_secret_manager_secret_version" not in kinds
    assert set(planned(made, "google_secret_manager_secret")) == {"binance-api-key", "binance-api-secret", "jwt-key"}


def test_only_who_trades_and_who_rotates_reads_the_keys_of_the_exchange(made: dict[str, Any]) -> None:
    readers = planned(made, "google_secret_manager_secret_iam_member", "reader")
    assert set(readers) == {
        "binance-api-key run-bot", "binance-api-key fn-maintain", "jwt-key run-bot",
        "binance-api-secret run-bot", "binance-api-secret fn-maintain",
    }  # fmt: skip
    everybody = [
        change["change"]["after"]["role"]
        for change in made["resource_changes"]
        if change["type"] == "google_project_iam_member"
    ]
    assert not [role for role in everybody if role.startswith("roles/secretmanager.") and role != "roles/secretmanager.admin"]


def test_no_password_is_made(made: dict[str, Any]) -> None:
    assert {after["type"] for after in planned(made, "google_sql_user").values()} == {"CLOUD_IAM_SERVICE_ACCOUNT"}
    assert "random_password" not in {change["type"] for change in made["resource_changes"]}


def test_production_is_protected_and_staging_can_go(plans: dict[str, dict[str, Any]]) -> None:
    for name, is_protected in (("production", True), ("staging", False)):
        ledger = planned(plans[name], "google_sql_database_instance")["ledger"]
        assert ledger["deletion_protection"] is is_protected
        assert ledger["settings"][0]["deletion_protection_enabled"] is is_protected
        assert planned(plans[name], "google_storage_bucket")["lake"]["force_destroy"] is not is_protected


def test_functions_are_private_and_each_has_its_own_archive(made: dict[str, Any]) -> None:
    functions = planned(made, "google_cloudfunctions2_function")
    assert {after["service_config"][0]["ingress_settings"] for after in functions.values()} == {"ALLOW_INTERNAL_ONLY"}
    assert {after["build_config"][0]["entry_point"] for after in functions.values()} == {"handle"}
    archives = {after["name"] for after in planned(made, "google_storage_bucket_object").values()}
    assert archives == {f"functions/{name}-000000000000.zip" for name in functions}


def test_two_archives_of_a_function_are_refused(infra: Path) -> None:
    second = infra / "tests" / "archives" / "curate-111111111111.zip"
    second.write_bytes((infra / "tests" / "archives" / "curate-000000000000.zip").read_bytes())
    try:
        with pytest.raises(AssertionError, match="expected one archive of curate"):
            plan(infra, "-var-file=environments/staging.tfvars")
    finally:
        second.unlink()


def test_the_dashboard_is_json_whose_charts_have_the_metrics_that_are_made(made: dict[str, Any]) -> None:
    dashboard = json.loads(planned(made, "google_monitoring_dashboard")["main"]["dashboard_json"])
    text = json.dumps(dashboard)
    made_metrics = {after["name"] for after in planned(made, "google_logging_metric").values()}
    assert set(re.findall(r"user/(ost/\w+)", text)) == made_metrics
    policies = planned(made, "google_monitoring_alert_policy")
    assert set(re.findall(r"user/(ost/\w+)", json.dumps(policies))) == made_metrics


def test_the_bill_counts_what_is_planned(plans: dict[str, dict[str, Any]]) -> None:
    for name, made in plans.items():
        deployment = read_deployment(ROOT / "infra" / "environments" / f"{name}.tfvars")
        assert deployment.schedules == len(planned(made, "google_cloud_scheduler_job"))
        assert set(deployment.functions) == set(planned(made, "google_cloudfunctions2_function"))
        assert len(planned(made, "google_monitoring_alert_policy")) == Assumptions().alert_conditions


def test_the_settings_of_the_components_are_accepted(tmp_path: Path) -> None:
    environment = {
        "OST_MODE": "live",
        "OST_CONFIRM_LIVE": "I understand that live trading can lose all of my money",
        "OST_INTERVAL": "1h",
        "OST_INTERVALS": '["15m","30m","1h","4h","1d","1w"]',
        "OST_UNIVERSE__VENUE": "binanceusdm",
        "OST_UNIVERSE__SYMBOLS": '["BTCUSDT"]',
        "OST_STORAGE__ROOT": "gs://demo-project-ost-lake",
        "OST_BUS__URL": "pubsub://demo-project",
        "OST_SECRETS__URL": "sm://demo-project",
        "OST_JOBS__URL": "run://demo-project/europe-west1/campaign",
        "OST_LEDGER__URL": "cloudsql://run-bot@demo-project.iam@demo-project:europe-west1:ledger/ledger",
        "OST_LEDGER__CONNECTIONS": "2",
        "OST_BOT__MODE": "schedule",
        "OST_BOT__CALLERS": "platform",
        "OST_BOT__BOOK": "live-1h",
        "OST_VENUE__BASE_URL": "https://exchange.run.app",
        "OST_VENUE__PRIVATE": "true",
        "OST_STREAM__ROTATE_AFTER_S": "3300",
    }
    named = {name for file in (ROOT / "infra").glob("*.tf") for name in re.findall(r"\b(OST_[A-Z_]+)\s*=", file.read_text())}
    assert named == set(environment)
    of_paper = {"OST_VENUE__BASE_URL", "OST_VENUE__PRIVATE", "OST_STREAM__ROTATE_AFTER_S"}
    paper = {name: value for name, value in environment.items() if name != "OST_CONFIRM_LIVE"} | {"OST_MODE": "paper"}
    assert load(environment=paper, folder=tmp_path).settings.venue.private
    live = {name: value for name, value in environment.items() if name not in of_paper}
    settings = load(environment=live, folder=tmp_path).settings
    assert settings.universe.symbols == ("BTCUSDT",)
    assert settings.lake_url == "gs://demo-project-ost-lake"


def test_the_functions_say_what_the_metrics_count(made: dict[str, Any]) -> None:
    counted = 0
    for metric in planned(made, "google_logging_metric").values():
        event = re.search(r'jsonPayload\.event="([\w.]+)"', metric["filter"])
        services = re.search(r"service_name=\(?([^)]*?)\)? AND", metric["filter"])
        for service in re.findall(r'"(\w+)"', services[1]) if services else ():
            if event and service != "bot":
                assert f'"{event[1]}"' in (ROOT / "functions" / service / "main.py").read_text(encoding="utf-8"), metric["name"]
                counted += 1
    assert counted >= 5
