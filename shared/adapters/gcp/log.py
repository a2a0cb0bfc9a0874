"""What a process says about itself: one JSON object per line, as Cloud Logging reads it, with its trace and its event.

A process that lives long writes through google-cloud-logging's own handler; a function writes the same line without importing
that library, which would take longer than the rest of its start. Both get their content from one place (`Content`), so that the
lines are equal: message (with the traceback of an error), fields, severity, labels, trace, place in the source.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TextIO

OURS = ("shared", "cloudrun", "functions")
"""Loggers of this project, which say more than those of the libraries."""

_PREFIX = "logging.googleapis.com"
_W3C = re.compile(r"(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-.*)?")
_CLOUD = re.compile(r"([\da-f]{32})(?:/(\d{1,20}))?(?:;o=(\d))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trace:
    """Which request of the cloud something belongs to."""

    trace_id: str
    """32 hexadecimal digits"""
    span_id: str = ""
    """16 hexadecimal digits, or empty"""
    is_sampled: bool = False


@dataclass(frozen=True, slots=True)
class _About:
    trace: Trace | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


_ABOUT: ContextVar[_About] = ContextVar("_ABOUT", default=_About(labels=MappingProxyType({})))  # noqa: B039 - frozen


def trace_of(headers: Mapping[str, str]) -> Trace | None:
    """The trace of a request: by `traceparent` (W3C), else by `X-Cloud-Trace-Context`; `None` where neither can be read."""
    found = {name.lower(): text.strip() for name, text in headers.items()}
    if match := _W3C.fullmatch(found.get("traceparent", "")):
        return Trace(match[1], match[2], bool(int(match[3], 16) & 1))
    if match := _CLOUD.fullmatch(found.get("x-cloud-trace-context", "")):
        span = int(match[2] or 0)
        return Trace(match[1].lower(), f"{span:016x}" if 0 < span < 2**64 else "", match[3] == "1")
    return None


@contextmanager
def about(trace: Trace | None = None, **labels: str) -> Iterator[None]:
    """Whatever is logged in the block belongs to `trace` (default: that of the block around) and carries the labels too."""
    around = _ABOUT.get()
    token = _ABOUT.set(_About(trace or around.trace, {**around.labels, **labels}))
    try:
        yield
    finally:
        _ABOUT.reset(token)


def set_up(
    project: str | None,
    *,
    lives_long: bool = False,
    labels: Mapping[str, str] = MappingProxyType({}),
    stream: TextIO | None = None,
) -> logging.Handler:
    """Send what is logged in this process to `stream` (default: standard error), in place of what was set up before.

    `lives_long` asks for google-cloud-logging's handler. `labels` go with every line. Of this project's loggers everything from
    `INFO` is written, of the libraries' from `WARNING`.
    """
    target = stream or sys.stderr
    handler = _google_handler(project, target) if lives_long else logging.StreamHandler(target)
    if not lives_long:
        handler.setFormatter(_Line())
    handler.filters.insert(0, Content(project, labels))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    return handler


def _google_handler(project: str | None, stream: TextIO) -> logging.Handler:
    from google.cloud.logging_v2.handlers import StructuredLogHandler

    handler: logging.Handler = StructuredLogHandler(project_id=project, stream=stream)
    return handler


class Content(logging.Filter):
    """Makes of a record what is to be written: both handlers only spell it out. A record passes once."""

    def __init__(self, project: str | None, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._project, self._labels = project, labels

    def filter(self, record: Any) -> bool:
        """Complete the record; see `logging.Filter`. Fields come with `extra={"json_fields": {...}}`."""
        if not isinstance(record.msg, Mapping):
            text = record.getMessage()
            if record.exc_info:
                text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
            record.msg = {**getattr(record, "json_fields", {}), "message": text}
            record.args, record.exc_info, record.exc_text, record.json_fields = (), None, None, {}
        about_, trace = _ABOUT.get(), _ABOUT.get().trace
        record.labels = {**self._labels, **about_.labels}
        record.trace = f"projects/{self._project}/traces/{trace.trace_id}" if trace and self._project else ""
        record.span_id, record.trace_sampled = (trace.span_id, trace.is_sampled) if trace else ("", False)
        record.http_request = {}
        record.source_location = {"line": record.lineno, "file": record.pathname, "function": record.funcName}
        return True


class _Line(logging.Formatter):
    """The line of google-cloud-logging's `StructuredLogHandler`."""

    def format(self, record: Any) -> str:
        fields = {name: value for name, value in record.msg.items() if not name.startswith(_PREFIX) and name not in _RESERVED}
        line = {
            **fields,
            "severity": record.levelname,
            f"{_PREFIX}/labels": {"python_logger": record.name, **record.labels},
            f"{_PREFIX}/trace": record.trace,
            f"{_PREFIX}/spanId": record.span_id,
            f"{_PREFIX}/trace_sampled": record.trace_sampled,
            f"{_PREFIX}/sourceLocation": record.source_location,
            "httpRequest": record.http_request,
        }
        return json.dumps(line, ensure_ascii=False)


_RESERVED = frozenset({"severity", "httpRequest", "time", "timestamp", "timestampSeconds", "timestampNanos"})
"""Fields that Cloud Logging itself gives a meaning."""
