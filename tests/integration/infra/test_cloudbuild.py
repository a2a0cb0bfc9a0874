"""cloudbuild.yaml: the schema, Google's own message class, and what neither checks: steps, their order, substitutions."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.infra.planning import ROOT, planned, program

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
    staging = [step["id"] for step in STEPS if step["id"] in before("push-production") and step["id"].endswith("-staging")]
    assert staging == ["migrate-staging", "plan-staging", "apply-staging", "release-staging", "check-staging"]
    assert "push-production" in before("release-production")


def script(step: str) -> str:
    return str(next(one["script"] for one in STEPS if one["id"] == step))


def test_the_schema_comes_before_every_program_that_needs_it() -> None:
    assert "migrate-staging" in before("apply-staging")  # which deploys the functions
    release = script("release-production")
    assert release.index("infra/migrate.sh") < release.index("gcloud run services update bot")


def test_the_job_of_campaigns_gets_the_image_that_was_built_with_the_archive_that_plans_them(made: dict[str, Any]) -> None:
    archive = planned(made, "google_storage_bucket_object")["recalibrate"]["name"]
    tag = archive.removeprefix("functions/").removesuffix(".zip")
    for job in planned(made, "google_cloud_run_v2_job").values():
        assert job["template"][0]["template"][0]["containers"][0]["image"].endswith(f"/one-smart-trade:{tag}")
    name = "$(basename dist/functions/recalibrate-*.zip .zip)"
    assert all(name in script(step) for step in ("push", "push-production"))
    assert "archives" in before("push")
    resources = {one["address"]: one for one in made["configuration"]["root_module"]["resources"]}
    assert "google_cloud_run_v2_job.job" in resources["google_cloudfunctions2_function.function"]["depends_on"]


def test_a_release_to_production_leaves_the_campaigns_to_those_who_plan_them() -> None:
    assert "campaign" not in script("release-production")
    assert "campaign" not in (ROOT / "infra" / "migrate.sh").read_text(encoding="utf-8")


def test_only_the_files_of_an_environment_say_where_it_is(plans: dict[str, dict[str, Any]]) -> None:
    assert "region" not in script("plan-staging")
    assert {"test", "image"} <= {step["id"] for step in STEPS if "region" in before(step["id"])}
    for name, made in plans.items():
        assert f'same_region.sh "$_REGION" {name}' in script("region")
        assert made["variables"]["region"]["value"] == BUILD["substitutions"]["_REGION"]


def test_production_gets_a_tagged_revision_without_traffic() -> None:
    assert "--no-traffic" in script("release-production")
    assert "--tag" in script("release-production")


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        ("  # google_storage_bucket.lake must be replaced", 1),
        ("  # google_sql_database_instance.ledger will be destroyed", 1),
        ("  # google_storage_bucket.lake will be updated in-place", 0),
    ],
)
def test_a_plan_that_takes_lake_or_ledger_away_is_not_applied_unseen(tmp_path: Path, plan: str, status: int) -> None:
    (tmp_path / "keeps_the_data.sh").symlink_to(ROOT / "infra" / "keeps_the_data.sh")
    (tmp_path / "terraform").write_text(f"#!/bin/sh\n[ $1 != show ] || echo '{plan}'\n")
    (tmp_path / "terraform").chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "_STATE_BUCKET": "b", "PROJECT_ID": "demo"}
    command = ["sh", "-c", script("plan-staging")]
    assert subprocess.run(command, cwd=tmp_path, env=variables, check=False).returncode == status


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
    for name in {f"infra/{name}" for name in re.findall(r"(?:infra|\.)/(\w+\.sh)", text)}:
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
