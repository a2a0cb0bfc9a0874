"""Who this process is towards a private Cloud Run service: an ID token for the service's address, as one header.

The token comes from the metadata server (on a person's machine from `GOOGLE_APPLICATION_CREDENTIALS`). Some minutes before it
ends a thread asks for the next one, and no request waits for that: only where there is no good token at all one does. It goes
into `X-Serverless-Authorization`, which Cloud Run reads first and takes away: `Authorization` stays the service's own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

from shared.domain.errors import VenueUnreachable

HEADER = "X-Serverless-Authorization"
_LOG = logging.getLogger(__name__)


class CallerIdentity:
    """The identity of this process for the service at `audience` (`https://HOST`). Nothing is asked for yet."""

    def __init__(self, audience: str) -> None:
        self._audience = audience
        self._asking = threading.Lock()
        self._credentials: Any = None

    def __repr__(self) -> str:
        return f"CallerIdentity({self._audience!r})"

    async def headers(self) -> Mapping[str, str]:
        """The header of a request that is sent now. Raises `VenueUnreachable` where there is no token: nothing was sent."""
        if not self._is_good():
            await asyncio.to_thread(self._renew)
        elif self._ends_soon() and not self._asking.locked():
            threading.Thread(target=self._renew_ahead, name="caller identity", daemon=True).start()
        return {HEADER: f"Bearer {self._credentials.token}"}

    def _is_good(self) -> bool:
        from google.auth.credentials import TokenState

        return self._credentials is not None and self._credentials.token_state is not TokenState.INVALID

    def _ends_soon(self) -> bool:
        from google.auth.credentials import TokenState

        return self._credentials is None or self._credentials.token_state is not TokenState.FRESH

    def _renew_ahead(self) -> None:
        try:
            self._renew()
        except VenueUnreachable as error:
            _LOG.warning("the token at hand is used until it ends: %s", error)

    def _renew(self) -> None:
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
        from google.oauth2.id_token import fetch_id_token_credentials

        with self._asking:
            if not self._ends_soon():
                return  # another thread was faster
            request = Request()
            try:
                credentials = self._credentials or fetch_id_token_credentials(self._audience, request=request)
                credentials.refresh(request)
            except (GoogleAuthError, ValueError) as error:
                raise VenueUnreachable(
                    f"{self._audience} admits only callers with an identity (venue.private), and there is none here "
                    f"({type(error).__name__}: {str(error)[:200]}); expected the metadata server of Google Cloud or "
                    "GOOGLE_APPLICATION_CREDENTIALS"
                ) from None
            self._credentials = credentials
