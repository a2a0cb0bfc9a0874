"""`make dist`: one archive of each function, with what it imports and nothing else, the same bytes from the same sources.

What a function needs is found out from its imports (`closure.py`). An archive is named after its content, so that a function
whose code did not change keeps its name, and Terraform leaves it alone. Times are fixed and nothing is compressed: no clock, no
file system and no version of a library can make a difference.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

from functions.closure import needed
from shared.domain.errors import OstError, StorageError, UsageError

HASH_CHARS = 12
WHOLE = frozenset({"recalibrate"})
"""Functions that carry all of `shared`: a campaign is planned and computed by the same code (`shared/version.py`)."""

_OF_OTHERS = frozenset({"functions/schedules.yaml", "shared/cli/cost_prices.yaml"})
"""Data beside what a function reads, which it does not read: Terraform's and the bill's."""

_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


def main() -> int:
    """Build all archives into `dist/functions`; the exit code."""
    root = Path(__file__).parents[1]
    try:
        for path in build(root, root / "dist" / "functions"):
            print(path.relative_to(root))
    except OstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(root: Path, target: Path) -> list[Path]:
    """Write the archive of every function below `root` into `target`, and remove those of older sources; their paths.

    Raises `UsageError` where there is no function or its requirements are not locked, `StorageError` where the disk refuses.
    """
    names = sorted(path.parent.name for path in root.glob("functions/*/main.py"))
    if not names:
        raise UsageError(f"there is no functions/NAME/main.py below {root}; run it from the project's folder")
    made = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            content = contents(root, name)
            path = target / f"{name}-{_digest(content)}.zip"
            for old in target.glob(f"{name}-*.zip"):
                if old != path:
                    old.unlink()
            _write(path, content)
            made.append(path)
    except OSError as error:
        raise StorageError(f"cannot write to {target}: {error.strerror or error}; make room or choose another folder") from None
    return made


def contents(root: Path, name: str) -> dict[str, bytes]:
    """The files of a function's archive by their names in it, sorted. Raises `UsageError`."""
    entry, requirements = f"functions/{name}/main.py", root / "functions" / name / "requirements.txt"
    if not requirements.is_file():
        raise UsageError(f"{requirements} is missing; lock it with: make lock")
    reached = needed(root, entry)
    if name in WHOLE:
        reached |= {path.relative_to(root).as_posix() for path in (root / "shared").rglob("*.py")}
    folders = {Path(path).parent for path in reached}
    data = {path.relative_to(root).as_posix() for folder in folders for path in (root / folder).glob("*.yaml")}
    left_out = {entry, *(_OF_OTHERS if name not in WHOLE else ["functions/schedules.yaml"])}
    files = {path: (root / path).read_bytes() for path in (reached | data) - left_out}
    return dict(
        sorted({**files, "main.py": (root / entry).read_bytes(), "requirements.txt": requirements.read_bytes()}.items())
    )


def _digest(content: dict[str, bytes]) -> str:
    hasher = hashlib.sha256()
    for name, data in content.items():
        hasher.update(f"{name}\0{len(data)}\0".encode() + data)
    return hasher.hexdigest()[:HASH_CHARS]


def _write(path: Path, content: dict[str, bytes]) -> None:
    partial = path.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.external_attr = _MODE
            info.create_system = 3
            archive.writestr(info, data)
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
