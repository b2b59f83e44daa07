"""What ``--check`` says about folders and addresses; the slave's and the server's check."""

import socket

import pytest

from piwheels.core.program import checking
from piwheels.serve.__main__ import main as serve
from piwheels.slave.app import main as slave


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_a_folder_that_can_be_made_is_good_and_is_not_made(tmp_path):
    assert checking.folder_problem(tmp_path / "a/b/c", "--dir") == ""
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert "--dir" in checking.folder_problem(tmp_path / "file/a", "--dir")


def test_an_address_must_be_free(port, tmp_path):
    busy = f"tcp://127.0.0.1:{port}"
    assert "is in use" in checking.address_problem(busy, "--log-queue")
    assert checking.address_problem(busy, "--log-queue", busy_is_good=True) == ""
    assert "cannot listen" in checking.address_problem("tcp://nonsense", "--log-queue")
    assert checking.address_problem("ipc://@abstract", "--log-queue") == ""
    assert "choose another --port" in checking.listening_problem("127.0.0.1", port)
    assert checking.listening_problem("127.0.0.1", port, busy_is_good=True) == ""
    assert "--monitor-host" in checking.listening_problem("no.example", 0, "monitor")


def test_something_must_answer(port, tmp_path):
    assert checking.reaching_problem(f"tcp://127.0.0.1:{port}", "--master") == ""
    assert checking.reaching_problem(f"ipc://{tmp_path}/none", "--master")
    assert "correct --master" in checking.reaching_problem("tcp://127.0.0.1:none", "--master")


def test_a_slave_and_a_server_are_checked(port, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PIW_ALLOW_ROOT", "1")
    queues = [f"--{name}-queue=tcp://127.0.0.1:{port}" for name in ("slave", "file")]
    assert slave(["--check", *queues]) == 0
    assert serve(["--check", "--output-path", str(tmp_path), "--port=0"]) == 0
    good = "the configuration is good"
    assert capsys.readouterr().out.splitlines() == [good, good]
    bad = ["--file-queue=tcp://127.0.0.1:1", f"--dir={tmp_path}/none", "--python=/none"]
    assert slave(["--check", queues[0], *bad]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"cannot build in {tmp_path}/none")
    assert lines[2].endswith("start the master, or correct --file-queue or the firewall")
    assert serve(["--check", "--output-path", f"{tmp_path}/none", f"--port={port}"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2
