import pytest

from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.core.errors import DatabaseError


@pytest.mark.parametrize(
    ("dsn", "user", "want"),
    [
        ("postgresql:///a?host=/run/x&user=postgres", None, "postgresql:///b?host=/run/x&user=postgres"),
        ("postgresql:///a?host=/run/x&user=postgres", "me", "postgresql:///b?host=/run/x&user=me"),
        ("postgresql://joe:secret@db:5433/a", None, "postgresql://joe:secret@db:5433/b"),
        ("postgresql://joe:secret@db:5433/a", "me", "postgresql://db:5433/b?user=me"),
        ("postgresql://db?dbname=a&password=x", "me", "postgresql://db/b?user=me"),
        ("postgresql:///", None, "postgresql:///b"),
    ],
)  # fmt: skip
def test_redirect(dsn, user, want):
    assert redirect(dsn, "b", user) == want


def test_odd_names_survive():
    dsn = redirect("postgresql:///a?host=/run/x", "b/c ?d")
    assert database_of(dsn) == "b/c ?d"


def test_database_of_dsn_without_one():
    assert database_of("postgresql:///") == ""
    assert database_of("postgresql:///?dbname=x") == "x"


def test_unreachable_server_is_one_sentence(tmp_path):
    with pytest.raises(DatabaseError, match=r"SELECT 1.*No such file"):
        administer(f"postgresql:///x?host={tmp_path}", "SELECT 1")


def test_values_and_names_are_quoted(server_dsn):
    odd = "a'b\"c"
    assert administer(server_dsn, "SELECT %s AS {}", odd, names=[odd]) == [(odd,)]
