"""Copies of the schema's database for tests: emptied and used again, since a new one is dear."""

from __future__ import annotations

import io
import itertools
from contextlib import closing, contextmanager, suppress

import psycopg2

from piwheels.core.database.dsn import database_of, redirect

# What a test changes in these has a newer transaction, or another number of rows.
_CATALOGS = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_index",
    # The schemas of temporary tables come with their first table.
    "(SELECT xmin FROM pg_namespace WHERE nspname NOT LIKE 'pg%') AS schemas",
    "pg_proc", "pg_rewrite", "pg_sequence", "pg_statistic_ext", "pg_trigger", "pg_type",
)  # fmt: skip
_ALL = " UNION ALL ".join(f"SELECT xmin FROM {name}" for name in _CATALOGS)  # noqa: S608
# All ages grow with each transaction, so only a difference of two is constant.
_SCHEMA = f"SELECT count(*), min(age(xmin)) - age('3'::xid) FROM ({_ALL}) AS catalogs"  # noqa: S608
_OUR_TABLES = "relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'piwheels'::regnamespace)"
_TABLES = f"SELECT oid::regclass::text FROM pg_class WHERE {_OUR_TABLES}"  # noqa: S608
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value),
    last_value IS NOT NULL FROM pg_sequences WHERE schemaname IN ('public', 'piwheels')
"""
#: A copy whose tables have grown by more bytes is not worth emptying.
_GROWTH = 4 * 1024 * 1024
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


@contextmanager
def _cursor(dsn):
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        yield cursor


class Copies:
    """Copies of the database *template*. Each has a new name, so that no old client finds it."""

    def __init__(self, server, template):
        self.server, self.template = server, template
        self._connection = psycopg2.connect(server)
        self._connection.autocommit = True
        self.spare = []  # names, each with its state as created
        self.names = (f"{database_of(template)}_{number}" for number in itertools.count(1))
        with _cursor(template) as cursor:
            cursor.execute(_SEQUENCES)
            self.sequences = cursor.fetchall()
            cursor.execute(_TABLES)
            self.rows = {}
            for (table,) in cursor.fetchall():
                text = io.StringIO()
                cursor.copy_expert(f"COPY {table} TO STDOUT", text)
                self.rows[table] = text.getvalue()

    @contextmanager
    def one(self):
        """Yield a superuser's address of a copy that holds what the template holds."""
        name, state = self._take()
        yield redirect(self.server, name)
        self._do(_END, name)
        self.spare.append((name, state))

    def _take(self):
        if self.spare:
            old, state = self.spare.pop()
            new = next(self.names)
            with suppress(psycopg2.Error):  # a test may have made it unusable
                # It waits until the ended clients are gone.
                self._do(f"ALTER DATABASE {old} RENAME TO {new}")
                if self._empty(new, state):
                    return new, state
            self._drop(old)
            self._drop(new)
        new = next(self.names)
        self._do(f"CREATE DATABASE {new} TEMPLATE {database_of(self.template)}")
        with _cursor(redirect(self.server, new)) as cursor:
            return new, _state(cursor)

    def _empty(self, name, before):
        """Restore all rows of the copy; return whether that is enough."""
        with _cursor(redirect(self.server, name)) as cursor:
            schema, size = _state(cursor)
            if schema != before[0] or size > before[1] + _GROWTH:
                return False
            cursor.execute("SET session_replication_role = replica")  # no triggers
            cursor.execute(";".join(f"DELETE FROM {table}" for table in self.rows))  # noqa: S608
            for table, rows in self.rows.items():
                if rows:
                    cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(rows))
            for sequence in self.sequences:
                cursor.execute("SELECT setval(%s, %s, %s)", sequence)
        return True

    def _drop(self, name):
        self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _do(self, statement, *values):
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)

    def close(self):
        """Remove all copies."""
        for name, _ in self.spare:
            self._drop(name)
        self._connection.close()


def _state(cursor):
    """Return the state of the database's schema, and the size of its tables in bytes."""
    cursor.execute(_SCHEMA)
    schema = cursor.fetchone()
    cursor.execute(f"SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE {_OUR_TABLES}")  # noqa: S608
    return schema, cursor.fetchone()[0]
