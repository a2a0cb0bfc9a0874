"""Database errors by their code: away, or refused."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.adapters.sql.errors import is_away, sqlstate, translate, translated
from shared.domain.errors import LedgerError, LedgerUnavailable


def postgres_error(code: str) -> DatabaseError:
    # The shape of pg8000's errors: design/local_gcp.md § 3.
    return DatabaseError("SELECT 1", {"secret": "hunter2"}, Exception({"C": code, "M": "words of the server"}))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("57P01", "shutting down"),
        ("57014", "too long"),
        ("55P03", "holds a lock"),
        ("40001", "try again"),
        ("53100", "disk is full"),
        ("53300", "out of resources"),
        ("42P01", "ost db migrate"),
        ("28P01", "password"),
        ("3D000", "does not exist"),
        ("08006", "connection is lost"),
        ("25P03", "left open too long"),
        ("58030", "look at its disk"),
    ],
)
def test_what_makes_postgresql_unavailable(code: str, advice: str) -> None:
    found = translate(postgres_error(code), "the-label")
    assert isinstance(found, LedgerUnavailable)
    assert advice in str(found)
    assert "the-label" in str(found)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("code", "is_silent"),
    [("08006", True), ("57014", True), ("25P03", True), ("58030", True), ("53100", False), ("25006", False)],
)
def test_a_refusal_is_no_absence(code: str, is_silent: bool) -> None:
    error = postgres_error(code)
    found = translate(error, "the-label")
    found.__cause__ = error
    assert isinstance(found, LedgerUnavailable)
    assert is_away(found) == is_silent


@pytest.mark.parametrize("code", ["23505", "23503", "22P02", "42601"])
def test_a_refused_row_or_statement_is_no_outage(code: str) -> None:
    found = translate(postgres_error(code), "x")
    assert isinstance(found, LedgerError)
    assert not isinstance(found, LedgerUnavailable)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SQLITE_BUSY_SNAPSHOT", "write lock"),
        ("SQLITE_FULL", "disk is full"),
        ("SQLITE_IOERR_WRITE", "free space"),
        ("SQLITE_READONLY_DBMOVED", "read-only"),
        ("SQLITE_CANTOPEN", "cannot be opened"),
        ("SQLITE_CORRUPT", "ost db restore"),
    ],
)
def test_what_makes_sqlite_unavailable(name: str, advice: str) -> None:
    original = sqlite3.OperationalError("words")
    original.sqlite_errorname = name
    for error in (original, ProgrammingError("SELECT 1", {}, original)):
        found = translate(error, "x")
        assert isinstance(found, LedgerUnavailable)
        assert advice in str(found)


def test_timeouts_and_lost_connections_are_outages() -> None:
    for error in (TimeoutError(), PoolTimeout(), ConnectionResetError(), InterfaceError("s", {}, Exception("network error"))):
        with pytest.raises(LedgerUnavailable), translated(lambda: "x", sqlite3.Error):
            raise error


def test_a_broken_constraint_is_refused() -> None:
    found = translate(IntegrityError("s", {}, sqlite3.IntegrityError("UNIQUE constraint failed: fills.book")), "x")
    assert "breaks its rules" in str(found)
    assert not isinstance(found, LedgerUnavailable)


def test_errors_of_other_kinds_pass_through() -> None:
    with pytest.raises(KeyError), translated(lambda: "x", sqlite3.Error):
        raise KeyError("a bug")


def test_there_is_no_sqlstate_without_a_server() -> None:
    assert sqlstate(postgres_error("40001")) == "40001"
    assert sqlstate(sqlite3.OperationalError("x")) is None
    assert sqlstate(Exception()) is None
