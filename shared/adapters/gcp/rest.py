"""A JSON API of Google over HTTP: one call is one request, its refusal an exception of `google.api_core` by the HTTP status.

For the few calls that a function makes while something waits for it: to import the client libraries of Pub/Sub and Cloud Run
would take a tenth and a third of the time that a function has for its start, and their gRPC 14 MB. The session signs the
requests; it is the transport that can be given instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from requests.exceptions import ConnectionError as NotReached
from requests.exceptions import Timeout

from shared.adapters.gcp.clients import PUBSUB_EMULATOR, http_session

_PASSING = if_exception_type(api.ServerError, api.TooManyRequests, NotReached, Timeout)


class JsonApi:
    """The API at `endpoint` (`https://run.googleapis.com/v2`). `session` is an HTTP session that signs requests."""

    def __init__(self, endpoint: str, session: Any | None = None) -> None:
        self._endpoint, self._session = endpoint, session or http_session()

    def __repr__(self) -> str:
        return f"JsonApi({self._endpoint!r})"

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout_s: float = 10.0) -> Any:
        """The answer to one request. Raises one of `errors.FAILURES`."""
        answer = self._session.request(method, f"{self._endpoint}/{path}", json=body, timeout=timeout_s)
        if answer.status_code != 200:
            raise api.from_http_response(answer)
        return answer.json()

    def insist(self, patience_s: float, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """As `ask`, repeated for so long where the refusal may pass: for what may be done twice."""
        again = Retry(_PASSING, initial=0.1, maximum=5.0, multiplier=2.0, timeout=patience_s)
        return again(self.ask)(method, path, body, timeout_s=min(10.0, patience_s))


def pubsub_api() -> JsonApi:
    """Pub/Sub, or its emulator where `PUBSUB_EMULATOR_HOST` says so."""
    emulator = os.environ.get(PUBSUB_EMULATOR)
    if not emulator:
        return JsonApi("https://pubsub.googleapis.com/v1")
    import requests

    return JsonApi(f"http://{emulator}/v1", requests.Session())
