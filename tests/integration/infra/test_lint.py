"""YAML, Dockerfiles and Terraform pass their linters."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.infra.planning import ROOT, program


def lint(*command: str) -> None:
    done = subprocess.run([program(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_yaml_is_clean() -> None:
    lint("yamllint", "--strict", ".")


@pytest.mark.parametrize("dockerfile", sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("cloudrun/**/Dockerfile")))
def test_dockerfiles_are_clean(dockerfile: str) -> None:
    lint("hadolint", dockerfile)


def test_terraform_is_formatted() -> None:
    lint("terraform", "fmt", "-check", "-recursive", "infra")


def test_every_skipped_check_has_its_reason() -> None:
    lines = Path(ROOT / "infra" / ".checkov.yaml").read_text(encoding="utf-8").splitlines()
    skipped = [line for line in lines if line.strip().startswith("- CKV")]
    assert skipped
    assert [line for line in skipped if "#" not in line] == []
