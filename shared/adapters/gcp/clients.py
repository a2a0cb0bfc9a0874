"""Clients of Google's APIs, made in one place, and what their refusals mean in words.

A client is made when it is asked for, never at import, with the process's own identity (Application Default Credentials). Its
transport can be given instead: a gRPC channel, or for Cloud Storage an HTTP session with an endpoint. As Google's own tools do,
`PUBSUB_EMULATOR_HOST` and `STORAGE_EMULATOR_HOST` lead to emulators; so does `SECRET_MANAGER_EMULATOR_HOST`. Libraries are
imported inside the functions: a process pays only for the APIs that it uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.domain.errors import ConfigError

PUBSUB_EMULATOR = "PUBSUB_EMULATOR_HOST"

_NO_BUCKET_LOOK = "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"
"""Variable of google-cloud-storage: no thread that asks for the bucket's own metadata beside the first request."""


def storage_client(http: Any | None = None, endpoint: str | None = None) -> Any:
    """A `google.cloud.storage.Client`; with the HTTP session `http` (which brings its own identity) towards `endpoint`."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    os.environ.setdefault(_NO_BUCKET_LOOK, "true")
    with _identity():
        if http is None:
            return Client(project=None, client_options={"api_endpoint": endpoint} if endpoint else None)
        options = {"api_endpoint": endpoint} if endpoint else None
        return Client(project=None, credentials=AnonymousCredentials(), _http=http, client_options=options)


def publisher_client(channel: Any | None = None) -> Any:
    """The API client of Pub/Sub's publisher: one request for each call, whose fate is known when it returns."""
    from google.pubsub_v1.services.publisher import PublisherClient

    return _client(PublisherClient, channel or _emulator(PUBSUB_EMULATOR))


def subscriber_client(channel: Any | None = None) -> Any:
    """The API client of Pub/Sub's subscriber."""
    from google.pubsub_v1.services.subscriber import SubscriberClient

    return _client(SubscriberClient, channel or _emulator(PUBSUB_EMULATOR))


def secret_manager_client(channel: Any | None = None) -> Any:
    """A client of Secret Manager."""
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

    return _client(SecretManagerServiceClient, channel or _emulator("SECRET_MANAGER_EMULATOR_HOST"))


def http_session() -> Any:
    """An HTTP session that signs its requests as this process."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    with _identity():
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return AuthorizedSession(credentials)


def _client(client_class: Any, channel: Any | None) -> Any:
    with _identity():
        if channel is None:
            return client_class()
        return client_class(transport=client_class.get_transport_class("grpc")(channel=channel))


def _emulator(variable: str) -> Any | None:
    """A channel to the emulator that the environment names, `None` where it names none."""
    host = os.environ.get(variable)
    if not host:
        return None
    import grpc

    return grpc.insecure_channel(host)


@contextmanager
def _identity() -> Iterator[None]:
    from google.auth.exceptions import DefaultCredentialsError

    try:
        yield
    except DefaultCredentialsError:
        raise ConfigError(
            "there is no Google Cloud identity here; expected that of a service account (on Google Cloud) or of a person "
            "(`gcloud auth application-default login`)"
        ) from None
