"""``piw-master --check`` says all that is wrong with a configuration, and changes nothing."""

import json
import socket

import pytest

from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.core.host.pip_config import IndexAccess
from piwheels.master import checking
from piwheels.master.__main__ import main
from piwheels.master.site.files import Site


@pytest.fixture
def check(tmp_path, db_dsn, capsys, monkeypatch):
    """Run the check with more options; return its status and its lines."""
    queues = ("status", "control", "console", "import", "log")
    args = [f"--{name}-queue=ipc://{tmp_path}/{name}" for name in queues]
    args += [f"--{name}-queue=tcp://127.0.0.1:*" for name in ("slave",)]
    args += ["--file-queue=tcp://127.0.0.1:0", f"--output-path={tmp_path}/site"]
    monkeypatch.setenv("PIW_ALLOW_ROOT", "1")

    def run(*more):
        status = main(["--check", f"--dsn={db_dsn}", *args, *more])
        return status, capsys.readouterr().out.splitlines()

    return run


def test_a_good_configuration_is_good_and_nothing_is_made(check, tmp_path):
    assert check() == (0, ["the configuration is good"])
    assert list(tmp_path.iterdir()) == []
    status, [line] = check("--json")
    assert (status, json.loads(line)["event"]) == (0, "good")


def test_all_problems_are_reported_at_once(check, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, lines = check(
            "--disk-reserve=900000T",
            "--debug=nobody", f"--slave-queue=tcp://127.0.0.1:{port}", f"--monitor-port={port}",
            f"--log-queue=ipc://{tmp_path}/{'x' * 120}", f"--control-queue=ipc://{tmp_path}/status",
            "--file-queue=tcp://192.0.2.1:5556", f"--watch-file={tmp_path}/missing",
            "--webhook=https://hooks.example/", "--dsn=postgresql://nobody@127.0.0.1:1/nowhere",
        )  # fmt: skip
    assert status == 1
    expected = (
        "--debug nobody", "no work is handed out below", "--slave-queue: tcp://127.0.0.1",
        f"cannot listen on 127.0.0.1 port {port}", "--log-queue", "-queue are both",
        "--file-queue: tcp://192.0.2.1",
        "other machines can reach tcp://192.0.2.1:5556,",
        "--watch-file is only used", "cannot read --watch-file",
        "--webhook needs", "cannot use the database",
    )  # fmt: skip
    found = {text: [line for line in lines if text in line] for text in expected}
    assert [text for text, matches in found.items() if not matches] == []
    assert len(lines) == len(expected)


def test_the_addresses_of_a_running_master_are_not_a_problem(check, tmp_path):
    site = Site(tmp_path / "site", tmp_path / ".site.work")
    site.check_writable()
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_UNIX) as path:
        path.bind(f"{tmp_path}/status")
        path.listen()
        port = taken.getsockname()[1]
        busy = (f"--slave-queue=tcp://127.0.0.1:{port}", f"--monitor-port={port}")
        assert len(check(*busy)[1]) == 3
        site.lock()
        try:
            assert check(*busy)[0] == 0
        finally:
            site.close()
        path.settimeout(0)
        path.accept()[0].close()  # the check did not replace the socket


def test_the_schema_and_the_rights_of_the_role_are_checked(check, server_dsn, superuser_dsn):
    [line] = check(f"--dsn={server_dsn}")[1]
    assert "run piw-initdb" in line
    administer(server_dsn, "CREATE ROLE stranger LOGIN PASSWORD 'known'")
    administer(superuser_dsn, "GRANT SELECT ON configuration TO stranger")
    try:
        dsn = redirect(superuser_dsn, database_of(superuser_dsn), "stranger")
        [line] = check(f"--dsn={dsn}&password=known")[1]
    finally:
        administer(superuser_dsn, "REVOKE ALL ON configuration FROM stranger")
        administer(server_dsn, "DROP ROLE stranger")
    assert "this role cannot use the database: permission denied" in line


def test_the_folders_must_be_usable(check, tmp_path):
    (tmp_path / "file").touch()
    [line] = check(f"--output-path={tmp_path}/file/site")[1]
    assert line == f"{tmp_path}/file is not a folder: choose another --output-path"


def test_the_index_must_be_usable(check, monkeypatch):
    access = IndexAccess("file:///srv/index")
    monkeypatch.setattr(checking, "index_access", lambda: access)
    [line] = check("--source=watch")[1]
    assert line.startswith("the upstream index cannot be followed: file:///srv/index")
    assert check("--source=watch", "--pypi-simple=https://index.example/simple/")[0] == 0
