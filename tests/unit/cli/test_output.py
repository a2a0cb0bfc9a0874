"""JSON for machines: every value that a command can return has a plain form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from shared.cli.output import to_json
from shared.domain.interval import Interval


@dataclass(frozen=True, slots=True)
class Sample:
    price: Decimal
    interval: Interval


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Sample(Decimal("0.10"), Interval.H1), {"price": "0.10", "interval": "1h"}),
        (float("nan"), None),
        (np.float64(1.5), 1.5),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        ({Interval.H1: (1, True)}, {"1h": [1, True]}),
        (datetime(2025, 7, 1, tzinfo=UTC), "2025-07-01T00:00:00+00:00"),
        (Path("var"), "var"),
    ],
)
def test_plain_form(value: object, plain: object) -> None:
    assert json.loads(to_json(value)) == plain


def test_what_has_no_plain_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot write a object"):
        to_json(object())
