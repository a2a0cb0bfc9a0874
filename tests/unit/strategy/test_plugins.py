"""What a plug-in may declare and answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.plugins import load_plugins, write_template
from shared.domain.errors import UsageError
from shared.domain.frame import Frame
from shared.domain.regime import Regime
from shared.strategy.plugins import TEMPLATE, Plugin, plugin_score

HEAD = "import numpy as np\nfrom shared.strategy.plugins import Plugin\n"


def test_unknown_values_are_neutral(trend: Callable[..., Frame]) -> None:
    frame = trend(0.001)
    score = plugin_score(Plugin("half", lambda f: np.where(np.arange(len(f)) < 10, np.nan, 0.5), 1), frame)
    assert score[:10].tolist() == [0.0] * 10
    assert (score[10:] == 0.5).all()


@pytest.mark.parametrize(
    "declaration",
    [
        {"name": "momentum"},
        {"name": "trend_hunter"},
        {"name": "consensus"},
        {"name": "curation"},
        {"name": "regime"},
        {"name": "my alpha"},
        {"lookback_bars": 0},
        {"lookback_bars": True},
        {"lookback_bars": 2.5},
        {"kind": "oracle"},
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(declaration: dict) -> None:
    with pytest.raises(UsageError, match="plug-in"):
        Plugin(**({"name": "mine", "compute": np.zeros, "lookback_bars": 5} | declaration))


def test_the_template_is_two_plugins_that_answer(tmp_path: Path, trend: Callable[..., Frame]) -> None:
    write_template(tmp_path / "plugins", TEMPLATE)
    alpha, agent = load_plugins(tmp_path / "plugins")
    assert (alpha.kind, agent.kind) == ("alpha", "agent")
    assert agent.target_regimes == (Regime.CALM, Regime.BALANCED)
    assert plugin_score(agent, trend(0.002))[-1] == 1.0
    with pytest.raises(UsageError, match="already there"):
        write_template(tmp_path / "plugins", TEMPLATE)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no Python file"),
        ({"a.py": "x = 1\n"}, "holds no Python file"),
        ({"a.py": "1 / 0\n"}, "a.py failed: ZeroDivisionError"),
        ({"a.py": "import sys; sys.exit(0)\n"}, "a.py failed: SystemExit"),
        ({"a.py": "def broken(:\n"}, "a.py failed: SyntaxError"),
        ({"a.py": "PLUGINS = [1]\n"}, "must be a list of"),
        (dict.fromkeys(("a.py", "b.py"), f"{HEAD}PLUGINS = [Plugin('same', np.zeros, 1)]\n"), "two plug-ins"),
    ],
)
def test_a_folder_that_cannot_be_loaded_says_why(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=words):
        load_plugins(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no plug-in folder"):
        load_plugins(tmp_path / "nowhere")
