"""What counts as other code: other sources, and other libraries that compute."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from shared import version


def test_another_library_is_other_code_and_the_sources_keep_their_part(monkeypatch: pytest.MonkeyPatch) -> None:
    known = version.code_version()
    sources, libraries = known.rsplit(".", 1)
    assert known.startswith(f"{version.VERSION}+")
    assert version.library_versions()["numpy"] == importlib.metadata.version("numpy")
    monkeypatch.setattr(version, "library_versions", lambda: {"numpy": "9.9.9"})
    other = version.code_version.__wrapped__()
    assert other.rsplit(".", 1)[0] == sources
    assert other.rsplit(".", 1)[1] != libraries


def test_a_library_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "LIBRARIES", ("numpy", "no-such-library"))
    assert list(version.library_versions()) == ["numpy"]


def test_asking_for_the_version_imports_none_of_the_libraries() -> None:
    code = "import sys; from shared.version import code_version; code_version(); print({'scipy', 'numba'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
