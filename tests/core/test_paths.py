"""Where sockets are: a user's own folder, or that of a service."""

import socket
import tempfile
from pathlib import Path

from piwheels.core import paths


def test_a_service_has_the_folder_that_systemd_made(monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/piwheels:/run/other")
    assert paths.runtime_dir() == Path("/run/piwheels")
    assert paths.address("ipc://{run}/status") == "ipc:///run/piwheels/status"


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
