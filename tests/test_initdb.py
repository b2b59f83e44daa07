"""piw-initdb creates and upgrades the database, or reports in one sentence why it cannot."""

from __future__ import annotations

import io
import itertools
import json
import os
import threading

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import patience
from piwheels import initdb
from piwheels.core.database import Database, sql_files
from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.initdb import schema

NUMBERS = itertools.count(1)

# Everything that a dump of the schema contains, from the system catalogs.
DUMP = """
SELECT 'column', attrelid::regclass::text, attname, format('%s %s %s %s %s', attnum,
    format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation,
    pg_get_expr(adbin, adrelid))
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND relnamespace IN ('public'::regnamespace, 'piwheels'::regnamespace)
UNION ALL SELECT 'relation', oid::regclass::text, relkind::text, relacl::text FROM pg_class
WHERE relnamespace IN ('public'::regnamespace, 'piwheels'::regnamespace)
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text,
    pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'function', oid::regprocedure::text, proacl::text, pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'piwheels'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'view', oid::regclass::text, '', pg_get_viewdef(oid)
FROM pg_class WHERE relkind = 'v' AND relnamespace = 'piwheels'::regnamespace
UNION ALL SELECT 'schema', nspname, '', nspacl::text FROM pg_namespace
WHERE nspname IN ('public', 'piwheels')
UNION ALL SELECT 'configuration', version, '', '' FROM configuration
ORDER BY 1, 2, 3, 4
"""


@pytest.fixture
def empty_dsn(server_dsn, template_db):
    """The DSN of an empty database, as superuser (the template fixture creates the role)."""
    name = f"piw_empty_{os.getpid()}_{next(NUMBERS)}"
    administer(server_dsn, "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", names=[name])
    yield redirect(server_dsn, name)
    administer(server_dsn, "DROP DATABASE {} WITH (FORCE)", names=[name])


def main(dsn, *more):
    return initdb.main(["--dsn", dsn, "--user", "piwheels", "--yes", *more])


def dump(dsn):
    with initdb.get_connection(dsn) as conn:
        rows = conn.execution_options(no_parameters=True).exec_driver_sql(DUMP).all()
    conn.engine.dispose()
    return rows


def test_a_second_run_changes_nothing(superuser_dsn, capsys):
    before = dump(superuser_dsn)
    assert main(superuser_dsn, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    version = sql_files.version()
    assert found == {"event": "upgraded", "before": version, "schema": version}
    assert dump(superuser_dsn) == before


#: An attempt that was put off, as it was stored until migration 0015.
PUT_OFF = (
    "INSERT INTO builds_put_off (package, version, abi_tag, label, reason, output)"
    " VALUES ('foo', '1.0', 'cp311', 'pi', 'no ssl', 'log')"
)


@pytest.mark.parametrize("version", list(sql_files.migrations()))
def test_an_upgraded_database_equals_a_new_one(version, empty_dsn, superuser_dsn):
    # The tables as that version of piw-initdb left them, without any of the current functions
    conn = initdb.get_connection(empty_dsn)
    with conn, conn.begin():
        raw = conn.execution_options(no_parameters=True)
        for number, path in sql_files.migrations().items():
            if number <= version:
                for statement in initdb.parse_statements(path.read_text()):
                    raw.exec_driver_sql(statement)
        for statement in (
            f"INSERT INTO configuration VALUES (true, '{version}+01234567')",  # noqa: S608
            "INSERT INTO packages VALUES ('foo')",
            "INSERT INTO versions VALUES ('foo', '1.0')",
            "INSERT INTO build_abis VALUES ('cp311', 300011)",
            *(["INSERT INTO targets VALUES ('any', 'cp311', 300011)"] if version >= "0014" else []),
            *([PUT_OFF] if "0006" <= version <= "0014" else []),
        ):
            raw.exec_driver_sql(statement)
    conn.engine.dispose()
    assert main(empty_dsn) == 0
    assert dump(empty_dsn) == dump(superuser_dsn)
    # The queue contains rows that existed before the triggers
    with Database(redirect(empty_dsn, database_of(empty_dsn), "piwheels")) as db:
        assert db.get_build_queue() == {"cp311": [("foo", "1.0")]}
        assert db.get_statistics()["builds_pending"] == {"cp311": 0, "any": 1}
        put_off = [(each.cause, each.counts) for each in db.get_builds([("foo", "1.0")])]
        assert put_off == ([("no ssl", False)] if "0006" <= version <= "0014" else [])


def test_concurrent_runs_do_not_conflict(empty_dsn, superuser_dsn):
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(main(empty_dsn))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(60))
    assert codes == [0, 0]
    assert dump(empty_dsn) == dump(superuser_dsn)


def test_errors_are_sentences(empty_dsn, server_dsn, capsys, monkeypatch):
    administer(empty_dsn, 'CREATE ROLE "piw odd" SUPERUSER LOGIN')
    odd = redirect(empty_dsn, database_of(empty_dsn), "piwheels")
    monkeypatch.setattr("sys.stdin", io.StringIO("y"))  # no terminal
    for arguments, sentence in [
        (["-d", redirect(server_dsn, "piw_nosuch")], "createdb"),
        (["-d", odd], "piwheels is not a superuser"),
        (["-d", empty_dsn, "-u", "piw_nosuch"], "createuser piw_nosuch"),
        (["-d", empty_dsn, "-u", "piw odd"], "piw odd is a superuser"),
        (["-d", empty_dsn], "--yes"),
        (["-d", "mysql://x/y"], "PostgreSQL"),
    ]:
        assert initdb.main(arguments) == 1
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1, error
    with pytest.raises(SystemExit) as info:
        initdb.main(["--nosuch"])
    assert info.value.code == 2
    assert administer(empty_dsn, "SELECT to_regclass('packages')") == [(None,)]
    administer(empty_dsn, 'DROP ROLE "piw odd"')


def test_it_asks_before_changes(empty_dsn, monkeypatch):
    class Terminal:
        def __init__(self, answer):
            self.readline = lambda: answer
            self.isatty = lambda: True

    for answer, code in (("n\n", 1), ("", 1), ("y\n", 0)):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert initdb.main(["-d", empty_dsn]) == code
        made = administer(empty_dsn, "SELECT to_regclass('packages') IS NOT NULL")
        assert made == [(code == 0,)]


def test_foreign_tables_are_not_touched(empty_dsn, superuser_dsn, capsys):
    administer(superuser_dsn, "UPDATE configuration SET version = '9999+01234567'")
    assert main(superuser_dsn) == 1
    assert "newer" in capsys.readouterr().err
    administer(empty_dsn, "CREATE TABLE packages (package TEXT)")
    assert main(empty_dsn) == 1
    assert "another program" in capsys.readouterr().err
    administer(empty_dsn, "CREATE TABLE configuration (version TEXT)")
    assert main(empty_dsn) == 1
    assert "another program" in capsys.readouterr().err


def test_a_lock_on_the_tables_is_reported(superuser_dsn, capsys, monkeypatch):
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", 1)
    holder = psycopg2.connect(superuser_dsn)
    holder.cursor().execute("LOCK TABLE builds IN ROW EXCLUSIVE MODE")
    assert main(superuser_dsn) == 1
    holder.close()
    assert "stop piw-master" in capsys.readouterr().err
    assert main(superuser_dsn) == 0


def test_detection_of_versions(empty_dsn, superuser_dsn):
    for dsn, version in ((empty_dsn, None), (superuser_dsn, sql_files.version())):
        with initdb.get_connection(dsn) as conn:
            assert initdb.detect_version(conn) == version
            initdb.detect_users(conn, "piwheels")
            with pytest.raises(RuntimeError, match="no role"):
                initdb.detect_users(conn, "nosuch")
        conn.engine.dispose()
    with pytest.raises(RuntimeError, match="cannot open"):
        initdb.get_connection("postgresql:///x?host=/nonexistent")


def test_statements_are_split_at_their_ends():
    script = """
    -- a comment; with 'one quote
    SELECT ';', ''';', ";" FROM x;;
    CREATE FUNCTION f() AS $$ BEGIN; 'x; END $$; DO $a_b$ $$ ; $$ $a_b$;
    SELECT 1 -- no end;
    """
    statements = [each.split("\n")[-1].strip() for each in initdb.parse_statements(script)]
    assert statements[:3] == [
        """SELECT ';', ''';', ";" FROM x""",
        "CREATE FUNCTION f() AS $$ BEGIN; 'x; END $$",
        "DO $a_b$ $$ ; $$ $a_b$",
    ]
    assert len(statements) == 4
    assert list(initdb.parse_statements(" ; -- nothing;\n ;")) in ([], ["-- nothing;"])


@given(parts=st.lists(st.sampled_from(["a", "';'", '";"', "$$;$$", "$t$;$$;$t$", " "]), min_size=1))
def test_quoted_semicolons_do_not_split(parts):
    statement = " ".join(parts).strip()
    expected = [statement] * 2 if statement else []
    assert list(initdb.parse_statements(f"{statement};\n{statement};")) == expected


def test_the_script_of_an_upgrade_does_not_create_existing_tables():
    assert "CREATE TABLE packages" in initdb.get_script()
    newest = initdb.get_script(sql_files.version())
    assert "CREATE TABLE packages" not in newest
    assert "CREATE FUNCTION piwheels.log_builds" in newest


def test_a_wheel_finds_its_sql_inside_the_package(tmp_path, monkeypatch):
    (tmp_path / "piwheels" / "sql" / "migrations").mkdir(parents=True)
    (tmp_path / "piwheels" / "core").mkdir()
    monkeypatch.setattr(
        sql_files, "__file__", str(tmp_path / "piwheels" / "core" / "database" / "sql_files.py")
    )
    monkeypatch.setattr(sql_files, "folder", sql_files.folder.__wrapped__)
    assert sql_files.folder() == tmp_path / "piwheels" / "sql"
