"""cloudbuild.yaml: the schema, Google's own message class, and what neither checks: steps, their order, substitutions."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.infra.planning import ROOT, program

BUILD: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = BUILD["steps"]
BUILT_IN = {
    "PROJECT_ID",
    "BUILD_ID",
    "LOCATION",
    "SHORT_SHA",
    "COMMIT_SHA",
    "REVISION_ID",
    "BRANCH_NAME",
    "REPO_NAME",
    "TAG_NAME",
}


def before(step: str) -> set[str]:
    """Every step that has ended when `step` begins."""
    waits = {one["id"]: set(one["waitFor"]) - {"-"} for one in STEPS}
    found, todo = set[str](), set(waits[step])
    while todo:
        one = todo.pop()
        found.add(one)
        todo |= waits[one] - found
    return found


def test_each_step_has_its_own_id_and_waits_for_earlier_ones() -> None:
    ids = [step["id"] for step in STEPS]
    assert len(set(ids)) == len(ids)
    for place, step in enumerate(STEPS):
        assert step["waitFor"], step["id"]
        assert set(step["waitFor"]) <= {"-", *ids[:place]}, step["id"]


def test_nothing_is_deployed_that_was_not_tested_and_nothing_reaches_production_that_staging_refused() -> None:
    assert {"test", "image"} <= before("push")
    assert {"test", "image", "archives", "push"} <= before("plan-staging")
    assert "plan-staging" in before("apply-staging")
    assert [step["id"] for step in STEPS if step["id"] in before("push-production") and step["id"].endswith("-staging")][
        1:
    ] == ["apply-staging", "migrate-staging", "release-staging", "check-staging"]
    assert "push-production" in before("release-production")


def test_production_gets_a_tagged_revision_without_traffic() -> None:
    script = next(step["script"] for step in STEPS if step["id"] == "release-production")
    assert "--no-traffic" in script
    assert "--tag" in script
    assert script.index("infra/migrate.sh") < script.index("gcloud run services update bot")


def run_plan_of_staging(folder: Path, region: str, plan: str) -> subprocess.CompletedProcess[str]:
    """The script of the step with a terraform that shows `plan`, beside the real .tfvars."""
    (folder / "environments").mkdir()
    (folder / "environments" / "staging.tfvars").write_text((ROOT / "infra/environments/staging.tfvars").read_text())
    (folder / "terraform").write_text(f"#!/bin/sh\necho terraform $* >&2\n[ $1 != show ] || echo '{plan}'\n")
    (folder / "terraform").chmod(0o755)
    script = next(step["script"] for step in STEPS if step["id"] == "plan-staging")
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "_REGION": region, "_STATE_BUCKET": "b", "PROJECT_ID": "demo"}
    return subprocess.run(["sh", "-c", script], cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_a_build_of_another_region_than_that_of_staging_ends_before_its_plan(tmp_path: Path) -> None:
    done = run_plan_of_staging(tmp_path, "asia-northeast1", "")
    assert done.returncode == 1
    assert "says another region" in done.stderr
    assert "terraform plan" not in done.stderr


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        ("  # google_storage_bucket.lake must be replaced", 1),
        ("  # google_sql_database_instance.ledger will be destroyed", 1),
        ("  # google_storage_bucket.lake will be updated in-place", 0),
    ],
)
def test_a_plan_that_takes_lake_or_ledger_away_is_not_applied_unseen(tmp_path: Path, plan: str, status: int) -> None:
    assert run_plan_of_staging(tmp_path, "europe-west1", plan).returncode == status


def test_the_campaign_follows_its_functions_and_not_the_ledger() -> None:
    scripts = {step["id"]: step.get("script", "") for step in STEPS}
    assert "jobs update campaign" in scripts["release-staging"]  # its functions were applied before
    assert "campaign" not in scripts["release-production"]


def test_every_substitution_that_is_used_is_known_and_every_known_one_is_used() -> None:
    texts = [str(value) for value in BUILD["substitutions"].values()]
    for step in STEPS:
        texts += [str(text) for text in step.get("args", [])]
        if "script" in step:  # a script sees substitutions as environment variables, and only if it is told so
            names = set(re.findall(r"\$\{?(_?[A-Z][A-Z_]+)\b", step["script"]))
            assert not names or step.get("automapSubstitutions"), step["id"]
            texts.append(step["script"])
    texts += [*BUILD["images"], BUILD["serviceAccount"]]
    used = {name for text in texts for name in re.findall(r"\$\{?(_?[A-Z][A-Z_]+)\b", text)}
    own = set(BUILD["substitutions"])
    assert used <= own | BUILT_IN, used - own - BUILT_IN
    assert own <= used, own - used


def test_the_files_that_the_steps_name_exist() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text(encoding="utf-8")
    for name in set(re.findall(r"infra/\w+\.sh", text)):
        assert (ROOT / name).stat().st_mode & 0o100, f"{name} cannot be executed"
    image = next(step for step in STEPS if step["id"] == "image")
    assert (ROOT / image["args"][image["args"].index("--file") + 1]).is_file()


def test_google_reads_it() -> None:
    types = pytest.importorskip("google.cloud.devtools.cloudbuild_v1.types", reason="absent: google-cloud-build")
    from google.protobuf import json_format

    message = json_format.ParseDict(BUILD, types.Build.pb(types.Build()))
    assert [step.id for step in message.steps] == [step["id"] for step in STEPS]


def test_it_keeps_the_schema_of_cloud_build() -> None:
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.cloudbuild", "cloudbuild.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
