"""What import-linter cannot see: calls that reach for the clock, global randomness or the environment inside the pure rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "data", "regime", "strategy", "risk", "backtest", "calibration", "monitor", "trading")
FORBIDDEN_CALLS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "open",
    "print",
    "input",
    "eval",
    "exec",
    "pickle.loads",
    "joblib.load",
}
SEEDS = {"np.random.SeedSequence", "np.random.SeedSequence(seed).spawn"}
GENERATOR_MAKERS = {"np.random.Generator", "np.random.default_rng", "np.random.PCG64"} | SEEDS


def calls(source: str) -> list[tuple[int, str]]:
    """(line, dotted name) of every call in `source`."""
    return [(node.lineno, ast.unparse(node.func)) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]


def impurities(source: str) -> list[str]:
    """Calls that a pure room may not make."""
    found = []
    for line, name in calls(source):
        forbidden = name in FORBIDDEN_CALLS or any(name.endswith(f".{call}") for call in FORBIDDEN_CALLS if "." in call)
        global_randomness = name.startswith(("np.random.", "numpy.random.")) and name not in GENERATOR_MAKERS
        unseeded = name == "np.random.default_rng" and "default_rng()" in source
        if forbidden or global_randomness or unseeded:
            found.append(f"line {line}: {name}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.random.normal()",
        "import numpy as np\nnp.random.default_rng()",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now()",
        "open('x')",
    ],
)
def test_the_check_finds_what_is_forbidden(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_pure(room: str) -> None:
    modules = sorted((ROOT / "shared" / room).rglob("*.py"))
    assert modules
    found = {str(module.relative_to(ROOT)): impurities(module.read_text(encoding="utf-8")) for module in modules}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_live_session_loads_nothing_that_only_research_needs() -> None:
    heavy = ("numba", "scipy", "sklearn", "onnxruntime", "optuna", "plotly", "hmmlearn")
    code = f"import sys, shared.trading.session; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_opens_with_a_docstring() -> None:
    modules = [
        m
        for folder in ("shared", "cloudrun", "functions")
        for m in (ROOT / folder).rglob("*.py")
        if m.read_text(encoding="utf-8")
    ]
    assert [
        str(m.relative_to(ROOT)) for m in modules if ast.get_docstring(ast.parse(m.read_text(encoding="utf-8"))) is None
    ] == []


def test_locked_requirements_name_no_address_and_hash_everything() -> None:
    locked = [path for path in ROOT.glob("*/**/*.txt") if path.with_suffix(".in").exists() and ".venv" not in str(path)]
    assert len(locked) >= 3
    for path in locked:
        text = path.read_text(encoding="utf-8")
        assert "://" not in text, path
        assert "--index" not in text, path
        assert "--find-links" not in text, path
        for requirement in text.replace("\\\n", " ").splitlines():
            if requirement.strip() and not requirement.startswith("#"):
                assert "==" in requirement, (path, requirement)
                assert "--hash=sha256:" in requirement, (path, requirement)
