"""Free text (reasons, messages, a venue's words) as every ledger can keep it.

PostgreSQL stores no NUL, and nothing stores half a surrogate pair, which is what Python makes of a byte that was no UTF-8. Text
is made storable where it enters, so that what is in memory equals what is read back.
"""

from __future__ import annotations


def storable(text: str) -> str:
    """`text` without NUL, and with `?` for each half of a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()
