"""The migrations make exactly the models' schema, once, whoever starts first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from shared.adapters.sql import open_ledger, open_research
from shared.adapters.sql.backup import backup
from shared.adapters.sql.checks import find_problems
from shared.adapters.sql.engine import make_engine, reading, writing
from shared.adapters.sql.migrate import HEAD, KNOWN_REVISIONS, METADATA, migrate, schema_revision
from shared.domain.asset import Asset
from shared.domain.errors import LedgerUnavailable
from shared.domain.records import HaltKind

_ROOT = Path(__file__).parents[3]


def test_upgrading_an_empty_database_twice_works_once(empty_url: str) -> None:
    engine = make_engine(empty_url)
    assert schema_revision(engine) is None
    assert migrate(engine)
    assert not migrate(engine)
    assert schema_revision(engine) == HEAD
    engine.dispose()


def test_models_and_migrations_agree(ledger_url: str) -> None:
    engine = make_engine(ledger_url)
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_partial_indexes_are_partial(ledger_url: str) -> None:
    # compare_metadata does not look at the condition of an index.
    engine = make_engine(ledger_url)
    with writing(engine) as connection:
        conditions = {
            index["name"]: str(condition)
            for table in ("orders", "strategy_champions", "outbox")
            for index in inspect(connection).get_indexes(table)
            for option, condition in index.get("dialect_options", {}).items()
            if option.endswith("_where")
        }
        assert set(conditions) == {"ix_orders_unfinished", "uq_strategy_champions_active", "ix_outbox_unpublished"}
        assert all(state in conditions["ix_orders_unfinished"] for state in ("intent", "unknown", "open"))
    engine.dispose()


_OBJECTS = ("params", "metrics", "trained_on_regime", "statistical_test", "lineage")


def test_an_asset_has_at_most_one_active_champion(ledger_url: str) -> None:
    engine = make_engine(ledger_url)
    row = "('{}', 'binanceusdm', '{}', '1h', 'p', " + "'{{}}', " * len(_OBJECTS) + "'why', {}, 1)"
    columns = f"(id, venue, symbol, interval, params_version, {', '.join(_OBJECTS)}, reason, active, created_ms)"
    values = [("a", "BTCUSDT", True), ("b", "BTCUSDT", False), ("c", "BTCUSDT", False), ("d", "ETHUSDT", True)]
    with writing(engine) as connection:
        for value in values:
            connection.execute(text(f"INSERT INTO strategy_champions {columns} VALUES {row.format(*value)}"))
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text(f"INSERT INTO strategy_champions {columns} VALUES {row.format('e', 'BTCUSDT', True)}"))
    engine.dispose()


_ROWS_OF_0001 = (
    "INSERT INTO books VALUES ('b', 1, '{}', NULL, NULL)",
    "INSERT INTO recalibration_events VALUES ('e', 'binanceusdm', 'BTCUSDT', 1, 'manual', '{}', '{}', 'champion', 2, '{}')",
    """INSERT INTO strategy_champions VALUES
    ('old', 'binanceusdm', 'BTCUSDT', '1h', 'p', '{"a": 1}', '{"sharpe_daily": 0.1}', 'e', false, 1, 1, 2),
    ('new', 'binanceusdm', 'BTCUSDT', '1h', 'p', '{}', '{}', NULL, true, 2, 2, NULL)""",
    """INSERT INTO backtest_runs VALUES
    ('t', 'binanceusdm', 'BTCUSDT', '1h', 'p', '{}', '0.1.0', 'c', 0, 9, '{"sharpe": 1.5}', 'e', 3)""",
)


def test_a_ledger_of_the_first_schema_keeps_its_rows(empty_url: str) -> None:
    engine = make_engine(empty_url)
    config = Config()
    config.set_main_option("script_location", "shared.adapters.sql:migrations")
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in _ROWS_OF_0001:
            connection.execute(text(statement))
    assert migrate(engine)
    asset = Asset("binanceusdm", "BTCUSDT")
    research = open_research(empty_url, migrate=False)
    old, new = research.champions(asset)
    assert (old.id, old.active, old.metrics, old.reason, old.lineage) == ("old", False, {"sharpe_daily": 0.1}, "", {})
    assert (new.id, new.active) == ("new", True)
    (trial,) = research.trials(asset)
    assert (trial.id, trial.sharpe, trial.days, trial.metrics, trial.campaign_id) == ("t", None, 0, {"sharpe": 1.5}, None)
    assert [event.status for event in research.recalibrations()] == ["champion"]
    assert [book.book for book in open_ledger(empty_url).books()] == ["b"]
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
    assert find_problems(engine) == []
    research.close()
    engine.dispose()


_ROWS_OF_0002 = (
    """INSERT INTO halts (book, symbol, reason, since_ms, until_ms) VALUES
    ('b', '', 'max drawdown: 21 %', 1, NULL), ('b', '', 'drawdown 6 %', 2, 99), ('b', 'BTCUSDT', 'foreign order', 3, NULL)""",
    "UPDATE halts SET lifted_ms = 4, lifted_by = 'ada', lifted_reason = 'looked' WHERE since_ms = 3",
    """INSERT INTO decisions VALUES ('d', 'b', 'binanceusdm', 'BTCUSDT', '1h', 5, 'p', '0.1.0', 'c', 0, 'm', 0.1, 0.2, 0.7,
    'stress', '{}', '[]', 0, 1, 0, 0, 'open', NULL, '{}', '[]', '[]', '["o"]', 1)""",
    "INSERT INTO order_intents VALUES ('o', 'b', 'd', 0, 'market', 'BTCUSDT', 'buy', 'market', 1, 5, NULL, NULL, false)",
    "INSERT INTO orders VALUES ('o', 'b', 'open', 0, NULL, NULL, 5, '', NULL)",
)


def test_a_ledger_of_the_second_schema_learns_the_kinds_of_its_halts_and_keeps_its_orders(empty_url: str) -> None:
    engine = make_engine(empty_url)
    config = Config()
    config.set_main_option("script_location", "shared.adapters.sql:migrations")
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for statement in _ROWS_OF_0002:
            connection.execute(text(statement))
    ledger = open_ledger(empty_url)
    assert [(halt.reason, halt.kind) for halt in ledger.halts("b", 50)] == [
        ("max drawdown: 21 %", HaltKind.DRAWDOWN),
        ("drawdown 6 %", HaltKind.PAUSE),
    ]
    with reading(engine) as connection:
        assert connection.execute(text("SELECT kind FROM halts WHERE since_ms = 3")).scalar_one() == "frozen"
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
    (record,) = ledger.orders("b")
    assert (record.intent.client_id, record.intent.due_ms) == ("o", 0)
    assert find_problems(engine) == []
    ledger.close()
    engine.dispose()


def call_schema(url: str, revision: str) -> None:
    engine = make_engine(url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    engine.dispose()


@pytest.mark.parametrize("revision", ["9999", f"9999_for_{int(HEAD[:4]) + 1:04}"])
def test_a_schema_that_is_not_for_this_program_is_to_be_asked_for_again(ledger_url: str, revision: str) -> None:
    call_schema(ledger_url, revision)
    with pytest.raises(LedgerUnavailable, match=rf"schema {revision}.*update the program"):
        open_ledger(ledger_url)
    with pytest.raises(LedgerUnavailable, match="update the program"):
        open_research(ledger_url)


@pytest.mark.parametrize("oldest", ["0003", HEAD[:4]])
def test_a_newer_schema_that_only_adds_is_worked_on_as_it_is(ledger_url: str, oldest: str, make: Any, tmp_path: Path) -> None:
    call_schema(ledger_url, f"9999_for_{oldest}")
    engine = make_engine(ledger_url)
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE fills ADD COLUMN venue_note TEXT"))
    assert not migrate(engine)
    ledger = open_ledger(ledger_url)
    ledger.add_fills("b", [make.fill(1, "1")])
    assert len(ledger.fills("b")) == 1
    assert find_problems(engine) == []
    assert backup(engine, tmp_path / "ledger.jsonl.gz", 0) > 0
    assert schema_revision(engine) == f"9999_for_{oldest}"
    ledger.close()
    engine.dispose()


Columns = dict[str, dict[str, tuple[str, bool, bool]]]


def columns(connection: Connection) -> Columns:
    """Table -> column -> type, whether it must be filled, and whether it is where nothing is given."""
    found = inspect(connection)
    return {
        table: {
            one["name"]: (
                str(one["type"]),
                not one["nullable"],
                one["nullable"] or one["default"] is not None or bool(one.get("autoincrement") is True),
            )
            for one in found.get_columns(table)
        }
        for table in found.get_table_names()
    }


def hurts(before: Columns, after: Columns) -> list[str]:
    """What a program that was made for the columns `before` stumbles over in `after`."""
    found = [table for table in before if table not in after]
    for table in before.keys() & after.keys():
        for name, (kind, _, _) in before[table].items():
            if name not in after[table]:
                found.append(f"{table}.{name} is gone")
            elif after[table][name][0] != kind or after[table][name][1] > before[table][name][1]:
                found.append(f"{table}.{name} is another")
        added = after[table].keys() - before[table].keys()
        found += [f"{table}.{name} must be filled" for name in sorted(added) if not after[table][name][2]]
    return found


def test_a_migration_whose_name_is_for_older_programs_only_adds(empty_url: str) -> None:
    engine = make_engine(empty_url)
    config = Config()
    config.set_main_option("script_location", "shared.adapters.sql:migrations")
    schemas: dict[str, Columns] = {}
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        for revision in KNOWN_REVISIONS:
            command.upgrade(config, revision)
            schemas[revision[:4]] = columns(connection)
    engine.dispose()
    assert hurts(schemas["0001"], schemas["0003"]) != []
    assert hurts(schemas["0006"], schemas["0007"]) == ["inbox.outcome must be filled", "inbox.subject must be filled"]
    assert hurts(schemas["0005"], schemas["0006"]) == []
    for revision, before in zip(KNOWN_REVISIONS[1:], KNOWN_REVISIONS, strict=False):
        if revision > "0008":  # those before are older than any release; no later one may leave the running programs behind
            found = re.fullmatch(r"\d{4}_for_(\d{4})", revision)
            assert found, f"{revision} does not say for which programs it is"
            assert found[1] <= before[:4], f"{revision} is of no use to the program before it: it takes two releases"
            assert hurts(schemas[found[1]], schemas[revision[:4]]) == []


def test_the_list_of_revisions_is_the_folder_of_revisions() -> None:
    import shared.adapters.sql.migrations as package

    folder = ScriptDirectory(str(Path(package.__file__).parent))
    assert folder.get_heads() == [HEAD]
    assert tuple(reversed([script.revision for script in folder.walk_revisions()])) == KNOWN_REVISIONS


_STARTER = """
import sys
from shared.adapters.sql.engine import make_engine
from shared.adapters.sql.migrate import migrate
print("ready", flush=True)
sys.stdin.readline()
print(migrate(make_engine(sys.argv[1])))
"""


def test_processes_that_start_at_once_migrate_once(empty_url: str) -> None:
    command = [sys.executable, "-c", _STARTER, empty_url]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    processes: list[subprocess.Popen[str]] = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(outcomes) == ["False", "False", "True"]
