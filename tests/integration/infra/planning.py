"""Terraform run on a copy of the configuration: plans as JSON. Nothing is ever applied."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ("staging", "production")


def program(name: str) -> str:
    """Path of a program of this environment, or of the machine; without it the test is skipped."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]))
    if found is None:
        pytest.skip(f"absent: {name}; most come with requirements/dev.txt, terraform from developer.hashicorp.com")
    return found


def plan(infra: Path, *arguments: str) -> dict[str, Any]:
    """A plan as JSON."""
    options = ("-input=false", "-out=tfplan", "-var=project_id=demo-project", "-var=archives=tests/archives", *arguments)
    done = terraform(infra, "plan", *options)
    if "could not find default credentials" in done.stderr:
        pytest.skip("the providers want credentials for Google Cloud here")
    assert done.returncode == 0, done.stderr
    return json.loads(terraform(infra, "show", "-json", "tfplan").stdout)


def planned(made: dict[str, Any], kind: str, name: str | None = None) -> dict[str, dict[str, Any]]:
    """What is known of each planned resource of a kind (and `name`), by its key or, where it has none, its name."""
    found = [change for change in made["resource_changes"] if change["type"] == kind and name in (None, change["name"])]
    return {str(change.get("index", change["name"])): change["change"]["after"] for change in found}


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run terraform in `folder`."""
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    return subprocess.run(
        ["terraform", *arguments, "-no-color"] if arguments[0] != "show" else ["terraform", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
