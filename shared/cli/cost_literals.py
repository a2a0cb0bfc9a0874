"""Texts of Terraform: the literals that .tfvars files and defaults hold, and nothing else of the language.

Understood are texts, numbers, true, false, null, lists and maps, and comments; anything else is refused with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.domain.errors import UsageError

_COMMENT = r"(?:#|//)[^\n]*|/\*(?s:.*?)\*/"
_TOKEN = re.compile(rf'\s+|{_COMMENT}|(?P<token>"(?:[^"\\]|\\.)*"|[\w.-]+|[=:,{{}}\[\]()])')
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}


def assignments(text: str, name: str) -> dict[str, Any]:
    """The variables that a .tfvars file sets. Raises `UsageError` where one is set twice or is no literal."""
    tokens = Tokens(text, name)
    found: dict[str, Any] = {}
    while tokens.next is not None:
        key = tokens.take()
        if key in found:
            raise UsageError(f"{name} sets {key} twice; leave one of the two lines")
        tokens.expect("=")
        found[key] = tokens.value()
    return found


def file_text(path: Path) -> str:
    """What a file holds. Raises `UsageError` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8, as Terraform expects it; save it as such") from None
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}; --tfvars names a file like those in infra/environments of the repository"
        ) from None


class Tokens:
    """A text's tokens, one ahead."""

    def __init__(self, text: str, name: str) -> None:
        self._name, self._text = name, text
        self._line = 1
        self._tokens = self._scan()
        self.next: str | None = next(self._tokens, None)

    def take(self) -> str:
        """The next token, which is consumed."""
        token = self.next
        if token is None:
            raise self._unexpected()
        self.next = next(self._tokens, None)
        return token

    def expect(self, token: str) -> None:
        """Consume `token`."""
        if self.next != token:
            raise self._unexpected()
        self.take()

    def value(self) -> Any:
        """One literal."""
        word = self.take()
        if word == "{":
            return dict(self._items("}", self._pair))
        if word == "[":
            return list(self._items("]", self.value))
        if word in _WORDS:
            return _WORDS[word]
        if _NUMBER.fullmatch(word):
            return int(word) if word.lstrip("-").isdecimal() else float(word)
        if word.startswith('"') and "${" not in word and "%{" not in word:
            try:
                return json.loads(word)
            except ValueError:  # an escape or a line break that JSON does not have
                pass
        raise self._unexpected(word)

    def _pair(self) -> tuple[str, Any]:
        key = self.take().strip('"')
        if self.next not in ("=", ":"):
            raise self._unexpected()
        self.take()
        return key, self.value()

    def _items(self, end: str, item: Any) -> Iterator[Any]:
        while self.next != end:
            yield item()
            if self.next == ",":
                self.take()
        self.take()

    def _scan(self) -> Iterator[str]:
        place = 0
        while place < len(self._text):
            match = _TOKEN.match(self._text, place)
            if match is None:
                raise self._unexpected(self._text[place])
            self._line += match[0].count("\n")
            place = match.end()
            if match["token"]:
                yield match["token"]

    def _unexpected(self, token: str | None = None) -> UsageError:
        found = token or self.next
        where = f"{self._name}, line {self._line}"
        return UsageError(f"{where}: found {found or 'the end'}; expected a text, a number, true, false, null, a list or a map")
