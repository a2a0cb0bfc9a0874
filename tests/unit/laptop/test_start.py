"""The start of `make up`: arguments that cannot be used are one line and start nothing; Ctrl-C is heard while parts begin."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloudrun.laptop import components
from cloudrun.laptop.__main__ import main
from cloudrun.laptop.process import Interrupted, Part
from shared.domain.errors import StorageError


@pytest.mark.parametrize(
    ("symbols", "said"), [("btc", "'btc' is no symbol"), ("BTCUSDT,BTCUSDT", "names an asset twice"), ("", "'' is no symbol")]
)
def test_a_symbol_that_is_none_is_named_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], symbols: str, said: str
) -> None:
    assert main(["--symbols", symbols, "--folder", str(tmp_path / "var")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "var").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for folder in ("/proc/x", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        assert main(["--folder", folder]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: --folder {folder}: ")


@pytest.fixture
def sleeper(tmp_path: Path) -> Part:
    return Part("sleeper", ["sleep", "60"], tmp_path / "sleeper.log", lambda: False)


def test_the_wait_for_a_part_ends_when_it_is_over(sleeper: Part) -> None:
    over = threading.Event()
    sleeper.start()
    threading.Timer(0.3, over.set).start()
    begin = time.monotonic()
    with pytest.raises(Interrupted, match="sleeper was not ready yet"):
        sleeper.wait(over)
    assert time.monotonic() - begin < 20  # and not the 90 s that a part may take
    sleeper.stop()
    assert sleeper.ended() is not None


def test_a_part_that_ends_instead_of_beginning_is_named_with_its_log(tmp_path: Path) -> None:
    part = Part("part", [sys.executable, "-c", "raise SystemExit('no port')"], tmp_path / "part.log", lambda: False)
    part.start()
    with pytest.raises(StorageError, match=r"part has ended with 1; its log .*part.log ends with:\nno port"):
        part.wait(threading.Event())


def test_the_settings_of_whoever_calls_are_none_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """His ost.yaml, his .env and his variables may name the buckets and the bus of a real project."""
    home, logs = tmp_path / "home", tmp_path / "up"
    for folder in (home, logs):
        folder.mkdir()
    (home / "ost.yaml").write_text("mode: testnet\njobs:\n  url: run://real/europe-west1/campaign\n")
    (home / ".env").write_text("OST_SECRETS__URL=sm://real\n")
    monkeypatch.chdir(home)
    monkeypatch.setenv("OST_BUS__URL", "pubsub://real")
    code = (
        "from shared.cli import wiring as w; s = w.settings(); print(s.mode, s.bus.url, s.jobs.url, s.secrets.url, s.interval)"
    )
    command, given = [sys.executable, "-c", code], {"OST_INTERVAL": "4h"}
    part = Part("part", command, logs / "part.log", lambda: part.ended() is not None, given)
    part.start()
    part.wait(threading.Event())
    assert part.log.read_text().split() == ["paper", "None", "None", "None", "4h"]


def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initdb: str) -> None:
    """A PostgreSQL 15 whose `initdb` is this script, run as ourselves."""
    home = tmp_path / "homes" / "15" / "bin"
    home.mkdir(parents=True)
    for name, text in (("postgres", "exit 1"), ("pg_isready", "exit 1"), ("initdb", initdb)):
        (home / name).write_text(f"#!/bin/sh\n{text}\n")
        (home / name).chmod(0o755)
    monkeypatch.setattr(components, "POSTGRES_HOMES", tmp_path / "homes")
    monkeypatch.setattr(components.os, "getuid", lambda: 1000)


def test_what_initdb_says_is_in_the_log_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    servers(tmp_path, monkeypatch, "echo made; echo 'warning: enabling trust' >&2")
    lines: list[str] = []
    with ExitStack() as stack:
        made = components.postgres(tmp_path, lines.append, stack, threading.Event())
    assert made is not None
    assert lines == []
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "postgres.log").read_text() == "made\nwarning: enabling trust\n"


def test_ctrl_c_ends_initdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    over = threading.Event()
    threading.Timer(1.0, over.set).start()
    with ExitStack() as stack, pytest.raises(Interrupted):
        components.postgres(tmp_path, lambda _: None, stack, over)
    pid = (tmp_path / "pid").read_text().strip()
    assert subprocess.run(["kill", "-0", pid], capture_output=True, check=False).returncode != 0
