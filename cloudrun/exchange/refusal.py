"""The paper exchange's definitive answers of "no", with Binance's own codes and texts.

Source: the error list of the USD-M futures API and the bodies that were recorded or reported publicly.
A refused command has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import VenueRejected

HTTP_BAD_REQUEST = 400
HTTP_UNAUTHORISED = 401
HTTP_TOO_MANY_REQUESTS = 429

_TEXTS: dict[int, str] = {
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1120: "Invalid interval.",
    -1121: "Invalid symbol.",
    -1116: "Invalid orderType.",
    -1115: "Invalid timeInForce.",
    -1117: "Invalid side.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -4003: "Quantity less than zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4014: "Price not increased by tick size.",
    -4028: "Leverage {} is not valid",
    -4046: "No need to change margin type.",
    -4059: "No need to change position side.",
    -4061: "Order's position side does not match user's setting.",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4136: "Target strategy invalid for orderType {},closePosition true.",
    -4140: "Invalid symbol status for opening position.",
    -4171: "Cannot change to Multi-Assets Mode: not supported here.",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history.",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An error as it goes over the wire."""

    status: int
    code: int
    message: str


class Refusal(VenueRejected):
    """The exchange says no; `answer` holds the HTTP status and the body."""

    def __init__(self, code: int, message: str, status: int = HTTP_BAD_REQUEST) -> None:
        super().__init__(message, code)
        self.answer = Answer(status, code, message)


def refusal(code: int, *details: object, status: int = HTTP_BAD_REQUEST) -> Refusal:
    """The refusal with Binance's text for `code`; `details` fill its placeholders."""
    return Refusal(code, _TEXTS[code].format(*details), status)


def missing(parameter: str) -> Refusal:
    """-1102: a mandatory parameter was not sent."""
    return Refusal(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")


def malformed(parameter: str) -> Refusal:
    """-1130: a parameter was sent with a value that makes no sense."""
    return Refusal(-1130, f"Data sent for parameter '{parameter}' is not valid.")
