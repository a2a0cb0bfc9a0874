"""The path that a price takes inside a bar, where only open, high, low and close are known.

open -> nearer extreme -> other extreme -> close (low first in a rising bar), with the nodes at 0, 1/3, 2/3 and 1 of the bar.
"""

from __future__ import annotations


def path_extremes(open_: float, high: float, low: float, close: float) -> tuple[float, float]:
    """The extremes in the order in which the path visits them."""
    return (low, high) if close >= open_ else (high, low)


def price_on_path(open_: float, high: float, low: float, close: float, part: float) -> float:
    """Price `part` (in [0, 1)) of the way through a bar, quote currency to eight decimals."""
    nodes = (open_, *path_extremes(open_, high, low, close), close)
    leg = min(int(part * 3), 2)
    weight = part * 3 - leg
    return round(nodes[leg] + (nodes[leg + 1] - nodes[leg]) * weight, 8)
