"""What a refusal of a Google API means: its class in words, with what to do about it.

Both kinds of clients, HTTP and gRPC, raise `GoogleAPICallError` by the status of the answer; a request that never got one
ends as an error of the network, of the retries or of the identity. `FAILURES` are all of them; anything else is a bug.
"""

from __future__ import annotations

from google.api_core import exceptions as api
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

FAILURES = (api.GoogleAPIError, GoogleAuthError, RequestException, ConnectionError)
"""Everything that a call of a client can end with."""

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (api.Forbidden, "permission denied; grant the service account the role for it"),
    (api.Unauthorized, "the identity is not accepted; check the service account"),
    (GoogleAuthError, "the identity cannot be renewed; check the service account"),
    (api.NotFound, "it does not exist; check the name, or create it with Terraform"),
    (api.TooManyRequests, "too many requests; try again later"),
    (api.FailedPrecondition, "its state does not allow it"),
    (api.BadRequest, "the request is refused as it is"),
    (api.RetryError, "no answer in time; try again"),
    (api.DeadlineExceeded, "no answer in time; try again"),
    (api.ServerError, "the service fails; try again"),
    (RequestException, "it cannot be reached; check the network"),
    (ConnectionError, "it cannot be reached; check the network"),
)


def reason(error: Exception) -> str:
    """What happened and what to do, in one line and without request or answer in full."""
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), "it is refused")
    cause = error.cause if isinstance(error, api.RetryError) else error
    words = getattr(cause, "message", None) or str(cause)
    return f"{advice} ({' '.join(str(words).split())[:200]})"


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed later without anybody's help."""
    lasting = (api.Forbidden, api.Unauthorized, api.NotFound, api.FailedPrecondition, api.BadRequest)
    return not isinstance(error, lasting)
