"""Plans of both environments, made by the real terraform from a copy; nothing is ever applied.

Without terraform, or where it cannot get its providers, the tests that need a plan are skipped and say so.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.infra.planning import ENVIRONMENTS, ROOT, plan, terraform


@pytest.fixture(scope="session")
def infra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised copy of the configuration, with empty archives of the functions."""
    if shutil.which("terraform") is None:
        pytest.skip("absent: terraform 1.11 or newer. Get it: https://developer.hashicorp.com/terraform/install")
    folder = tmp_path_factory.mktemp("terraform")
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    shutil.copytree(ROOT / "infra", folder / "infra", ignore=ignored)
    (folder / "functions").mkdir()
    shutil.copy(ROOT / "functions" / "schedules.yaml", folder / "functions")
    (folder / "infra" / "local_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    done = terraform(folder / "infra", "init", "-input=false")
    if done.returncode:
        pytest.skip(f"terraform cannot get its providers here: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "infra"


@pytest.fixture(scope="session")
def plans(infra: Path) -> dict[str, dict[str, Any]]:
    """The plan of each environment as JSON."""
    return {name: plan(infra, f"-var-file=environments/{name}.tfvars") for name in ENVIRONMENTS}


@pytest.fixture(params=ENVIRONMENTS)
def made(request: pytest.FixtureRequest, plans: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The plan of one environment after the other."""
    return plans[request.param]
