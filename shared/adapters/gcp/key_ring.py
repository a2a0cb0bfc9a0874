"""Which versions of secrets that belong together are in force, and how newer ones take over: only after they have proved it.

A venue's key and its secret are two secrets that are rotated together, one after the other. Whatever is newest is tried out by
`proof`, a signed read; what the venue refuses never comes into force, and the older pair stays enabled and in use. Once the new
pair has proved itself, the older versions are disabled. Invariant: at every moment a proven pair can be read from the store,
and it is found there: a mistyped version or half a rotation shifts the numbers, so all combinations are candidates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

from shared.domain.errors import ConfigError, OstError, RateLimited, VenueRejected
from shared.ports import Secrets

Values = Mapping[str, str]
Proof = Callable[[Values], Awaitable[None]]
"""Uses the values for something that changes nothing. Raises `VenueRejected` where they are not accepted; any other error means
that nobody knows."""

Numbers = Mapping[str, int]

_MOST_TRIALS = 16
"""Combinations that one look tries out: a venue need not bear more wrong keys than that."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a look at the store has changed."""

    is_new: bool
    """whether other values are in force now"""
    numbers: Numbers
    """the versions in force, by secret"""
    refused: tuple[str, ...] = ()
    """newer versions that did not prove themselves, each with the reason"""
    not_disabled: tuple[str, ...] = ()
    """older versions that could not be disabled, each with the reason"""

    @property
    def text(self) -> str:
        """The versions in force, in words."""
        return _text(self.numbers)


class KeyRing:
    """The values of the secrets `names`; nothing is in force before the first `renew`.

    `disables` says whether older versions are disabled once newer ones are in force. What is refused is not tried out again
    until `forget_refusals`: a venue bans who comes with wrong keys again and again.
    """

    def __init__(self, secrets: Secrets, names: Sequence[str], proof: Proof, *, disables: bool = True) -> None:
        self._secrets, self._names, self._proof, self._disables = secrets, tuple(names), proof, disables
        self._refused: list[Numbers] = []
        self._numbers: Numbers = {}
        self._values: Values = {}

    @property
    def values(self) -> Values:
        """The values in force, by secret."""
        return self._values

    def forget_refusals(self) -> None:
        """Let what was refused be tried out again: a person may have mended it at the venue."""
        self._refused.clear()

    async def renew(self) -> Renewal:
        """Look for newer versions, and let the newest that prove themselves take over.

        What is in force gives way to nothing older than itself, as long as it is enabled.

        Raises `ConfigError` where nothing was in force and nothing proves itself, what the store raises, and what `proof`
        raises where it does not say that the values are refused; what is in force stays then.
        """
        listed = await asyncio.gather(*(asyncio.to_thread(self._secrets.versions, name) for name in self._names))
        enabled = {name: [info.number for info in infos] for name, infos in zip(self._names, listed, strict=True)}
        refused: list[str] = []
        for numbers in _candidates(enabled, self._numbers):
            if numbers == self._numbers:
                return Renewal(False, numbers, tuple(refused))
            if numbers in self._refused:
                continue
            values = await self._read(numbers)
            refusal = await self._refusal(values)
            if refusal is None:
                self._numbers, self._values = numbers, values
                left = await self._disable_older(numbers, enabled) if self._disables else ()
                return Renewal(True, numbers, tuple(refused), left)
            self._refused.append(numbers)
            refused.append(f"{_text(numbers)}: {refusal}")
        if not self._numbers:
            raise ConfigError(f"no enabled version of {', '.join(self._names)} is accepted: {'; '.join(refused) or 'none'}")
        return Renewal(False, self._numbers, tuple(refused))

    async def _read(self, numbers: Numbers) -> Values:
        versions = await asyncio.gather(
            *(asyncio.to_thread(self._secrets.version, name, number) for name, number in numbers.items())
        )
        return {version.secret: version.value for version in versions}

    async def _refusal(self, values: Values) -> str | None:
        try:
            await self._proof(values)
        except RateLimited:
            raise
        except VenueRejected as error:
            return str(error)
        return None

    async def _disable_older(self, numbers: Numbers, enabled: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
        problems = []
        for name, number in numbers.items():
            for older in (other for other in enabled[name] if other < number):
                try:
                    await asyncio.to_thread(self._secrets.disable, name, older)
                except OstError as error:
                    problems.append(f"{name} {older}: {error}")
        return tuple(problems)


def _candidates(enabled: Mapping[str, Sequence[int]], in_force: Numbers) -> list[Numbers]:
    """Combinations of versions, newest first: those with the fewest newer versions, all secrets together.

    While the one in force is enabled it comes last, after those of which no version is older than its own.
    """
    depths = sorted(product(*(range(len(numbers)) for numbers in enabled.values())), key=lambda depth: (sum(depth), max(depth)))
    found = ({name: enabled[name][place] for name, place in zip(enabled, depth, strict=True)} for depth in depths)
    if not in_force or any(number not in enabled[name] for name, number in in_force.items()):
        return list(islice(found, _MOST_TRIALS))
    newer = (numbers for numbers in found if numbers != in_force and all(numbers[name] >= in_force[name] for name in numbers))
    return [*islice(newer, _MOST_TRIALS), in_force]


def _text(numbers: Numbers) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
