"""What refusals have called into question about account, rules and positions, until it was asked again."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.domain.errors import NoMargin, NothingToReduce, RulesBroken, VenueRejected


@dataclass(slots=True)
class Doubts:
    """What is to be asked again."""

    account: bool = False
    """the margin was less than believed"""
    rules: bool = False
    """an order was off a grid or limit that was believed to be right"""
    positions: dict[str, str] = field(default_factory=dict)
    """by symbol: a position that was believed to be there, and the refusal"""

    def __bool__(self) -> bool:
        return self.account or self.rules or bool(self.positions)

    def note(self, symbol: str, error: VenueRejected) -> str:
        """An order of `symbol` was refused; the level at which that is told."""
        if isinstance(error, NoMargin):
            self.account = True
        elif isinstance(error, NothingToReduce):
            self.positions[symbol] = str(error)
        elif isinstance(error, RulesBroken):
            self.rules = True
            return "error"  # cannot happen: sizes and prices come from the venue's rules. A person is told
        return "warning"
