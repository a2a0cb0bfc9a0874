"""Which code is running: the package version and a hash of the sources, so that a decision can name its code."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.domain.ids import digest

VERSION = "0.1.0"


@cache
def code_version() -> str:
    """`0.1.0+` and the digest of every Python source and settings file of the core, in path order."""
    root = Path(__file__).parent
    content = b"".join(
        path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.suffix in {".py", ".yaml"}
    )
    return f"{VERSION}+{digest(content, 10)}"
