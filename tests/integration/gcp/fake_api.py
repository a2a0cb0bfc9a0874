"""Serve any of Google's gRPC APIs from a plain object, over real gRPC on loopback, to the real clients.

A client's transport that is built on a channel that only takes notes asks it for every call that it will make, with path and
message classes; from those a server of the same messages is made. The object has one method for each call that it answers,
named like the client's (`access_secret_version(request)`); it refuses by raising `Refusal`. The rest is unimplemented.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from concurrent import futures
from contextlib import suppress
from typing import Any, Self

import grpc
from google.longrunning import operations_pb2


class Refusal(Exception):
    """An answer of the API that is an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class _Notes(grpc.Channel):  # type: ignore[misc]
    """A channel without anybody behind it, which remembers what it was asked for: path -> (request, answer) classes."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[Any, Any]] = {}

    def unary_unary(
        self, method: Any, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> Any:
        self.calls[method] = (_class_of(request_serializer, method), _class_of(response_deserializer, method))
        return lambda *_, **__: None

    def unary_stream(self, *_: Any, **__: Any) -> Any:
        return lambda *_, **__: None

    stream_unary = stream_stream = unary_stream

    def subscribe(self, *_: Any, **__: Any) -> None:
        return

    unsubscribe = subscribe

    def close(self) -> None:
        return


def _class_of(convert: Any, method: str) -> Any:
    """The message class whose (de)serialiser `convert` is."""
    owner = getattr(convert, "__self__", None)
    return owner or getattr(operations_pb2, f"{method.rpartition('/')[2]}Request", None)


def calls_of(client_class: Any) -> Mapping[str, tuple[Any, Any]]:
    """Path -> (request class, answer class) of every unary call of a client, those of long-running operations included."""
    notes = _Notes()
    transport = client_class.get_transport_class("grpc")(channel=notes)
    transport._logged_channel, transport._stubs = notes, {}  # newer transports wrap their channel
    names = [name for name, value in inspect.getmembers(type(transport)) if isinstance(value, property)]
    for name in (*names, "get_operation"):
        with suppress(AttributeError, KeyError, TypeError, NotImplementedError):
            getattr(transport, name)
    return notes.calls


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, calls: Mapping[str, tuple[Any, Any]], answerer: Any, asked: list[tuple[str, Any]]) -> None:
        self._calls, self._answerer, self._asked = calls, answerer, asked

    def service(self, details: Any) -> Any:
        if details.method not in self._calls:
            return None
        request_class, _ = self._calls[details.method]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", details.method.rpartition("/")[2]).lower()

        def call(request: Any, context: Any) -> Any:
            self._asked.append((name, request))
            answer = getattr(self._answerer, name, None)
            if answer is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{details.method} is not served here")
            try:
                return answer(request)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.message)

        return grpc.unary_unary_rpc_method_handler(call, _reader(request_class), _written)


def _reader(message_class: Any) -> Any:
    return message_class.deserialize if hasattr(message_class, "deserialize") else message_class.FromString


def _written(message: Any) -> bytes:
    plus = getattr(type(message), "serialize", None)
    content: bytes = plus(message) if plus else message.SerializeToString()
    return content


class FakeApi:
    """A server of the APIs of `answerers` (client class -> object); `asked` are the calls that came, with their requests."""

    def __init__(self, answerers: Mapping[Any, Any]) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        for client_class, answerer in answerers.items():
            self._server.add_generic_rpc_handlers((_Handler(calls_of(client_class), answerer, self.asked),))
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def channel(self) -> Any:
        """A new channel to it."""
        return grpc.insecure_channel(f"127.0.0.1:{self._port}")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0)
