"""Archives of functions: the same bytes from the same sources, a new name for new code alone, and all that is reached."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.closure import needed
from functions.dist import build, contents
from shared.domain.errors import StorageError, UsageError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's sources."""
    root = tmp_path_factory.mktemp("project")
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def project(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Makes a project of a few files."""

    def make(files: dict[str, str]) -> Path:
        for name, text in {"functions/__init__.py": "", "shared/__init__.py": "", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_two_builds_are_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    first = build(sources, tmp_path / "a")
    for path in sources.rglob("*.py"):
        path.touch()
    second = build(sources, tmp_path / "b")
    assert [path.name.partition("-")[0] for path in first] == [
        "classify", "curate", "ingest", "maintain", "monitor", "recalibrate", "signal",
    ]  # fmt: skip
    assert names(first) == names(second)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_only_functions_whose_code_changed_have_another_name(sources: Path, tmp_path: Path) -> None:
    before = names(build(sources, tmp_path / "dist"))
    for path, changed in (
        ("shared/cli/run.py", {"recalibrate"}),
        ("functions/schedules.yaml", set()),
        ("functions/curate/main.py", {"curate"}),
        ("shared/adapters/exchange/market.py", {"ingest", "recalibrate"}),
        ("shared/adapters/sql/backup.py", {"maintain", "recalibrate"}),
        ("shared/trading/signal_desk.py", {"classify", "signal", "recalibrate"}),
        ("functions/ingest/requirements.txt", {"ingest"}),
        ("shared/domain/asset.py", {name.partition("-")[0] for name in before}),
    ):
        file = sources / path
        text = file.read_text()
        file.write_text(f"{text}\n# changed\n")
        after = names(build(sources, tmp_path / "dist"))
        assert {name.partition("-")[0] for name in set(after) - set(before)} == changed, path
        file.write_text(text)
    assert names(build(sources, tmp_path / "dist")) == before
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == before


def test_an_archive_has_its_entry_at_the_top_and_no_clock_in_it(sources: Path, tmp_path: Path) -> None:
    for path in build(sources, tmp_path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        assert {"main.py", "requirements.txt", "shared/config/default.yaml"} <= {entry.filename for entry in entries}
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)


def test_campaigns_are_planned_by_all_of_the_code(sources: Path) -> None:
    whole = {
        path.relative_to(sources).as_posix() for path in (sources / "shared").rglob("*") if path.suffix in {".py", ".yaml"}
    }
    assert whole <= set(contents(sources, "recalibrate"))


def test_what_is_called_is_reached_and_what_is_not_is_left_out(project: Callable[[dict[str, str]], Path]) -> None:
    root = project(
        {
            "functions/x/main.py": "from shared import wiring\ndef handle(r):\n    return wiring.bucket()\n",
            "shared/wiring.py": (
                "from functools import cache\n"
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from shared.types import T\n"
                "@cache\n"
                "def bucket():\n    return _made()\n"
                "def _made():\n    from shared.lake import Bucket\n    return Bucket()\n"
                "def ledger():\n    from shared.sql import Ledger\n    return Ledger()\n"
            ),
            "shared/lake/__init__.py": "from shared.lake.folder import Bucket\n",
            "shared/lake/folder.py": "class Bucket:\n    def read(self):\n        import shared.late\n",
            "shared/late.py": "",
            "shared/sql.py": "class Ledger: ...\n",
            "shared/types.py": "T = int\n",
        }
    )
    assert needed(root, "functions/x/main.py") == {
        "functions/x/main.py",
        "shared/__init__.py",
        "shared/wiring.py",
        "shared/lake/__init__.py",
        "shared/lake/folder.py",
        "shared/late.py",
    }


def test_names_that_a_package_looks_up_late_are_reached(project: Callable[[dict[str, str]], Path]) -> None:
    root = project(
        {
            "functions/x/main.py": "def handle(r):\n    from shared.venue import connect\n    connect()\n",
            "shared/venue/__init__.py": (
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from shared.venue.a import connect\n    from shared.venue.b import other\n"
                "def __getattr__(name): ...\n"
            ),
            "shared/venue/a.py": "def connect():\n    import shared.deep.er\n",
            "shared/venue/b.py": "def other(): ...\n",
            "shared/deep/__init__.py": "",
            "shared/deep/er.py": "",
        }
    )
    found = needed(root, "functions/x/main.py")
    assert {"shared/venue/__init__.py", "shared/venue/a.py", "shared/deep/__init__.py", "shared/deep/er.py"} <= found
    assert "shared/venue/b.py" not in found


def test_requirements_that_are_not_locked_are_named(project: Callable[[dict[str, str]], Path], tmp_path: Path) -> None:
    root = project({"functions/x/main.py": "def handle(r): ...\n"})
    with pytest.raises(UsageError, match=r"functions/x/requirements\.txt is missing; lock it with: make lock"):
        build(root, tmp_path / "dist")
    with pytest.raises(UsageError, match="no functions/NAME/main"):
        build(tmp_path / "dist", tmp_path / "other")


def test_a_disk_that_refuses_is_one_line(project: Callable[[dict[str, str]], Path], tmp_path: Path) -> None:
    root = project({"functions/x/main.py": "def handle(r): ...\n", "functions/x/requirements.txt": ""})
    (tmp_path / "dist").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write to .*: .*; make room or choose another folder"):
        build(root, tmp_path / "dist")
