"""A Cloud SQL instance on loopback: its Admin API over HTTP, its TLS front on port 3307, and a real PostgreSQL behind it.

The real connector talks to it. The front takes only certificates that the Admin API has signed within the instance's own
authority, and passes the bytes on to PostgreSQL.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth.credentials import Credentials, Scoped

NAME = "demo:europe-west1:ledger"
FRONT_PORT = 3307


class Identity(Scoped, Credentials):  # type: ignore[misc]
    """Credentials that can be renewed without anybody; tokens tell their scope."""

    def __init__(self, scopes: Any = None) -> None:
        super().__init__()
        self._scopes = scopes

    def refresh(self, request: Any) -> None:
        self.token = f"token for {self._scopes[0].rpartition('/')[2]}" if self._scopes else "token"
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)

    def with_scopes(self, scopes: Any, default_scopes: Any = None) -> Identity:
        return Identity(scopes)

    @property
    def requires_scopes(self) -> bool:
        return not self._scopes


class Authority:
    """Signs certificates."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cloud SQL Server CA")])
        self.certificate = self.signed(self._key.public_key(), "Cloud SQL Server CA", is_authority=True)

    def signed(self, public_key: Any, name: str, *, is_authority: bool = False) -> str:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()


class CloudSqlInstance:
    """Runs within a `with`. `asked` are the paths of the Admin API that were asked for; `refusal` is its next HTTP status."""

    def __init__(self, folder: Path, postgres_port: int) -> None:
        self.address = f"127.{secrets.randbelow(200) + 10}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 2}"
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.refusal: int | None = None
        self._authority, self._folder, self._postgres_port = Authority(), folder, postgres_port
        self._api = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._answer))
        self._front = socket.create_server((self.address, FRONT_PORT))
        self._sockets: list[socket.socket] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._api.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._api.serve_forever, args=(0.05,), daemon=True).start()
        threading.Thread(target=self._accept, args=(self._server_context(),), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._api.shutdown()
        self._api.server_close()
        self._front.shutdown(socket.SHUT_RDWR)
        self._front.close()
        self.cut()

    def cut(self) -> None:
        """Lose all connections."""
        for connected in self._sockets:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(path.rpartition("/")[2])
        if self.refusal is not None:
            return self.refusal, {"error": {"message": "said the test"}}
        if path.endswith("/connectSettings"):
            address = {"type": "PRIVATE", "ipAddress": self.address}
            certificate = {"cert": self._authority.certificate}
            return 200, {
                "region": "europe-west1",
                "ipAddresses": [address],
                "serverCaCert": certificate,
                "databaseVersion": "POSTGRES_15",
            }
        self.tokens.append(body["access_token"])
        public_key = serialization.load_pem_public_key(body["public_key"].encode())
        return 200, {"ephemeralCert": {"cert": self._authority.signed(public_key, "client")}}

    def _server_context(self) -> ssl.SSLContext:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate, key_file, authority = (self._folder / name for name in ("server.pem", "server.key", "authority.pem"))
        certificate.write_text(self._authority.signed(key.public_key(), "ledger"))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        key_file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        authority.write_text(self._authority.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key_file)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _accept(self, context: ssl.SSLContext) -> None:
        while True:
            try:
                raw, _ = self._front.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(context, raw), daemon=True).start()

    def _serve(self, context: ssl.SSLContext, raw: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as client:
            server = socket.create_connection(("127.0.0.1", self._postgres_port))
            self._sockets += [client, server]
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def _handler(answer: Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*answer(self.path, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*answer(self.path, body))

        def _send(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            return

    return Handler
