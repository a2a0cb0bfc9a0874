"""Which code is running: the package version, a hash of the sources, and one of the libraries that compute.

A decision, a trial and a campaign name it. The same sources on another numpy or scikit-learn may give other numbers, so that
they are other code: a campaign computes its tasks anew, and a replay that differs says so instead of suspecting the ledger.
Invariant: nothing is imported to learn a version.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.domain.ids import canonical_json, digest

VERSION = "0.1.0"

LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "numba",
    "llvmlite",
    "hmmlearn",
    "scikit-learn",
    "onnxruntime",
    "skl2onnx",
    "TA-Lib",
    "optuna",
)
"""Distributions whose arithmetic, or search, decides what comes out"""


@cache
def code_version() -> str:
    """`0.1.0+`, the digest of every Python source and settings file of the core, a dot, and that of the libraries."""
    root = Path(__file__).parent
    content = b"".join(
        path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.suffix in {".py", ".yaml"}
    )
    return f"{VERSION}+{digest(content, 10)}.{digest(canonical_json(library_versions()).encode(), 6)}"


def library_versions() -> dict[str, str]:
    """Versions of the installed `LIBRARIES`, by name."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # a machine that only trades needs no optuna
    return found
