"""One line of JSON, the same with and without google-cloud-logging; trace, event and traceback are in it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.gcp.log import Trace, about, set_up, trace_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LOG = logging.getLogger("shared.tests")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def written(say: Callable[[], None], *, lives_long: bool = False, project: str | None = "demo") -> list[dict[str, Any]]:
    """The lines that `say` writes, but for the library's own about itself."""
    stream = io.StringIO()
    set_up(project, lives_long=lives_long, labels={"function": "ingest"}, stream=stream)
    say()
    lines = [json.loads(line) for line in stream.getvalue().removesuffix("\n").split("\n")]
    return [line for line in lines if "logging.googleapis.com/diagnostic" not in line]


def test_a_line_has_message_severity_labels_trace_and_place() -> None:
    def say() -> None:
        with about(Trace(TRACE, "00f067aa0ba902b7", True), event_id="e-1"):
            LOG.warning("%d bars of %s", 3, "BTCUSDT", extra={"json_fields": {"bars": 3}})

    (line,) = written(say)
    place = line.pop("logging.googleapis.com/sourceLocation")
    assert line == {
        "bars": 3,
        "message": "3 bars of BTCUSDT",
        "severity": "WARNING",
        "logging.googleapis.com/labels": {"python_logger": "shared.tests", "function": "ingest", "event_id": "e-1"},
        "logging.googleapis.com/trace": f"projects/demo/traces/{TRACE}",
        "logging.googleapis.com/spanId": "00f067aa0ba902b7",
        "logging.googleapis.com/trace_sampled": True,
        "httpRequest": {},
    }
    assert (place["function"], place["file"].endswith("test_log.py")) == ("say", True)


def test_an_error_brings_its_traceback_in_the_message() -> None:
    def say() -> None:
        try:
            float("α")
        except ValueError:
            LOG.exception("cannot curate")

    (line,) = written(say)
    assert line["severity"] == "ERROR"
    assert line["message"].startswith("cannot curate\nTraceback (most recent call last):")
    assert line["message"].endswith("ValueError: could not convert string to float: 'α'")


def test_blocks_nest_and_end() -> None:
    def say() -> None:
        with about(Trace(TRACE), event_id="e-1"):
            with about(slot="2025-07-01T00:00:00Z"):
                LOG.info("inside")
            LOG.info("between")
        LOG.info("outside")

    inside, between, outside = written(say)
    labels = "logging.googleapis.com/labels"
    assert inside[labels] == {
        "python_logger": "shared.tests",
        "function": "ingest",
        "event_id": "e-1",
        "slot": "2025-07-01T00:00:00Z",
    }
    assert inside["logging.googleapis.com/trace"] == between["logging.googleapis.com/trace"] != ""
    assert (set(between[labels]), set(outside[labels])) == (
        {"python_logger", "function", "event_id"},
        {"python_logger", "function"},
    )
    assert outside["logging.googleapis.com/trace"] == ""


def test_ours_say_more_than_libraries_do() -> None:
    def say() -> None:
        LOG.info("ours")
        LOG.debug("too much")
        logging.getLogger("urllib3").info("theirs")
        logging.getLogger("urllib3").warning("theirs, and important")

    assert [line["message"] for line in written(say)] == ["ours", "theirs, and important"]


MESSAGES = st.one_of(
    st.text(), st.sampled_from(['{"severity": "EMERGENCY", "a": 1}', "{}", "None", "", 'a "quote"\n\\', "%s %d"])
)
FIELDS = st.dictionaries(
    st.sampled_from(["bars", "severity", "httpRequest", "time", "message", "logging.googleapis.com/labels", "π"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
)


@settings(deadline=None)  # the first one imports the library
@given(
    MESSAGES,
    FIELDS,
    st.sampled_from([logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]),
    st.booleans(),
    st.booleans(),
)
def test_the_line_is_that_of_google_cloud_logging(
    message: str, fields: dict[str, Any], level: int, fails: bool, has_project: bool
) -> None:
    def say() -> None:
        with about(Trace(TRACE, "00f067aa0ba902b7", True), event_id=message):
            try:
                float(f"no number: {message}")
            except ValueError as error:
                LOG.log(level, "%s", message, exc_info=error if fails else None, extra={"json_fields": fields})
        logging.getLogger("ccxt").error(message)

    project = "demo" if has_project else None
    ours, theirs = written(say, project=project), written(say, lives_long=True, project=project)
    assert ours == theirs
    assert [list(line) for line in ours] == [list(line) for line in theirs]
    assert ours[0]["message"].split("\nTraceback")[0] == message


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, Trace(TRACE, "00f067aa0ba902b7", True)),
        ({"Traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}, Trace(TRACE, "00f067aa0ba902b7", False)),
        ({"X-Cloud-Trace-Context": f"{TRACE}/1;o=1"}, Trace(TRACE, "0000000000000001", True)),
        ({"X-Cloud-Trace-Context": TRACE}, Trace(TRACE)),
        ({"X-Cloud-Trace-Context": f"{TRACE}/99999999999999999999"}, Trace(TRACE)),
        ({"traceparent": "00-nonsense", "x-cloud-trace-context": f"{TRACE}/16"}, Trace(TRACE, "0000000000000010")),
        ({"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}, None),
        ({"x-cloud-trace-context": "', DROP"}, None),
        ({}, None),
    ],
)
def test_the_trace_of_a_request_is_that_of_its_headers(headers: dict[str, str], expected: Trace | None) -> None:
    assert trace_of(headers) == expected


@given(st.text(), st.text())
def test_no_header_breaks_it(parent: str, cloud: str) -> None:
    trace_of({"traceparent": parent, "X-Cloud-Trace-Context": cloud})


def test_a_function_does_not_import_the_library() -> None:
    code = """
import sys
from shared.adapters.gcp.log import set_up
set_up("demo")
print([name for name in sys.modules if name.startswith(("google.cloud.", "google.api"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
