"""Where sockets are: a user's own folder, or that of a service."""

import pwd
import socket
import tempfile
from pathlib import Path

import pytest
import zmq

from helpers import patience
from piwheels.core import paths
from piwheels.core.errors import Fatal
from piwheels.core.transport import Context


def test_a_service_has_the_folder_that_systemd_made(monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/piwheels:/run/other")
    assert paths.runtime_dir() == Path("/run/piwheels")
    assert paths.address("ipc://{run}/status") == "ipc:///run/piwheels/status"


def test_data_stay_in_a_home_that_exists(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.data_dir() == tmp_path / ".local/share/piwheels"
    monkeypatch.setenv("HOME", str(tmp_path / "nonexistent"))
    account = pwd.struct_passwd(("me", "x", 1, 1, "", str(tmp_path / "account"), ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: account)
    assert paths.data_dir() == tmp_path / "nonexistent/.local/share/piwheels"
    (tmp_path / "account").mkdir()
    assert paths.data_dir() == tmp_path / "account/.local/share/piwheels"


def test_the_service_is_found_where_the_user_has_no_master(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with tempfile.TemporaryDirectory(prefix="piw-p-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        service = Path(name, "service")
        service.mkdir()
        monkeypatch.setattr(paths, "SERVICE", service)
        assert paths.master_socket("import") == f"ipc://{name}/piwheels/import"
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(service / "import"))
            bound.listen()
            assert paths.master_socket("import") == f"ipc://{service}/import"
        Path(name, "piwheels").mkdir()
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"{name}/piwheels/import")
            bound.listen()
            assert paths.master_socket("import") == f"ipc://{name}/piwheels/import"
        # What a master that was killed has left is passed over.
        (service / "import").unlink()
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(service / "import"))
            bound.listen()
            assert paths.master_socket("import") == f"ipc://{service}/import"


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("farm.example", "farm.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
    ],
)
def test_a_host_is_a_name_or_an_ip_address(text, bare):
    assert paths.host(text) == bare


@pytest.mark.parametrize(
    "text",
    ["", "localhost:19055", "10.0.0.1:80", "[::1]:80", "tcp://a", "[a]", "[10.0.0.1]", "a b"],
)
def test_anything_else_is_no_host(text):
    with pytest.raises(ValueError, match="is not a host: write a name or an IP address, without"):
        paths.host(text)


@pytest.mark.parametrize(
    "text",
    ["tcp://*:5555", "tcp://a:*", "tcp://[::]:1", "tcp://eth0:65535", "ipc:///a", "inproc://a"],
)
def test_an_address_has_a_host_and_a_port_or_a_path(text):
    assert paths.address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "tcp://a",
        "tcp://localhost:1:5555",
        "tcp://::1:5",
        "tcp://a:65536",
        "tcp://:5",
        "ipc://",
        "a:5",
    ],
)
def test_any_other_address_is_refused(text):
    with pytest.raises(ValueError, match="write tcp://HOST:PORT or ipc://PATH"):
        paths.address(text)


def test_a_socket_reaches_an_ipv6_address():
    context = Context()
    with context.socket(zmq.REP) as server, context.socket(zmq.REQ) as client:
        try:
            server.bind("tcp://[::1]:*")
        except Fatal:
            pytest.skip("this machine has no IPv6")
        client.connect(server.address)
        client.send_msg("HELLO")
        assert server.poll(patience(10))
        assert server.recv_msg()[0] == "HELLO"
