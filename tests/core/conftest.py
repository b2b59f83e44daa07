"""What the tests of the database share."""

from __future__ import annotations

import psycopg2
import pytest


@pytest.fixture
def cursor(superuser_dsn):
    """A superuser's cursor on this test's copy of the schema; each statement is a transaction."""
    connection = psycopg2.connect(superuser_dsn)
    connection.autocommit = True
    yield connection.cursor()
    connection.close()
