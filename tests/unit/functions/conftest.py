"""Requests as Pub/Sub and Cloud Scheduler send them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from shared.domain.events import Event

Post = Callable[..., Request]


def envelope(event: Event, **message: Any) -> dict[str, Any]:
    """What a push subscription sends."""
    data = base64.b64encode(json.dumps(event.as_cloud_event()).encode()).decode()
    known = {"data": data, "attributes": {"id": event.id}, "messageId": "1", "publishTime": "2026-01-01T00:00:00Z"}
    return {"message": {**known, **message}, "subscription": "projects/p/subscriptions/s"}


@pytest.fixture
def post() -> Post:
    def make(body: Any, headers: Mapping[str, str] | None = None, method: str = "POST") -> Request:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        builder = EnvironBuilder(method=method, data=content, headers=dict(headers or {}), content_type="application/json")
        return Request(builder.get_environ())

    return make


@pytest.fixture
def pushed(post: Post) -> Callable[..., Request]:
    return lambda event, **message: post(envelope(event, **message))


@pytest.fixture
def ticked(post: Post) -> Callable[..., Request]:
    return lambda body, slot="2025-07-01T14:00:00Z": post(body, {"X-CloudScheduler-ScheduleTime": slot})
