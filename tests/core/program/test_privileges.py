import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from piwheels.core.errors import Fatal
from piwheels.core.program import privileges

HIDE = """
import pwd, sys
from pathlib import Path
from piwheels.core.program.privileges import _Drop
_Drop(pwd.getpwuid(0), [Path(arg) for arg in sys.argv[2:]])._hide()
for path in sorted(Path(sys.argv[1]).rglob("*")):
    print(path.relative_to(sys.argv[1]))
"""


@pytest.fixture
def place(short_dir):
    """A tree whose parents everyone may enter, with a closed directory in it."""
    path = short_dir / "place"
    for name in ("closed/kept/deep", "closed/secret", "open"):
        (path / name).mkdir(parents=True)
    (path / "closed").chmod(0o700)
    yield path
    shutil.rmtree(path)


def test_root_is_refused_unless_it_insists(monkeypatch):
    monkeypatch.delenv("PIW_ALLOW_ROOT", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Fatal, match=r"piw-x does not run as root.*piw-up"):
        privileges.refuse_root("piw-x")
    monkeypatch.setenv("PIW_ALLOW_ROOT", "1")
    privileges.refuse_root("piw-x")


def test_an_ordinary_user_keeps_its_privileges(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    privileges.refuse_root("piw-x")
    privileges.drop_root("no-such-user", Path("/nonexistent"))
    assert not Path("/nonexistent").exists()


def test_builds_without_a_user_of_their_own_are_reported(monkeypatch, caplog):
    def fail(*_):
        raise Fatal("there is no useradd")

    monkeypatch.setattr(privileges, "_ensure_user", fail)
    assert privileges._builder() is None
    assert "builds get no user of their own: there is no useradd" in caplog.text


def test_closed_ancestor(place):
    assert privileges.closed_ancestor(place / "closed" / "kept") == place / "closed"
    assert privileges.closed_ancestor(place / "closed") is None, "its parents may be entered"
    assert privileges.closed_ancestor(place / "open" / "not" / "there") is None


def test_hidden_names_no_directory_twice(place):
    kept = place / "closed" / "kept"
    dirs = [kept / "deep", kept, place / "open", kept, Path("/usr")]
    assert privileges.hidden(dirs) == [kept]


def test_hiding_leaves_only_what_is_needed(place):
    unshare = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no user namespaces")
    command = [*unshare, sys.executable, "-c", HIDE, place, place / "closed" / "kept"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.split() == ["closed", "closed/kept", "closed/kept/deep", "open"]
    assert (place / "closed" / "secret").exists(), "only its own view has changed"


def test_environment_is_the_new_users_own(tmp_path):
    owner = pwd.struct_passwd(("joe", "x", 1, 1, "", "/home/joe", "/bin/sh"))
    tmp_path.chmod(0o700)
    env = {
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "TMP": "/tmp",
        "XDG_RUNTIME_DIR": "/run/user/0",
        "XDG_CACHE_HOME": "/root/.cache",
        "XDG_CONFIG_DIRS": "/etc/xdg",
        "SUDO_USER": "x",
        "PATH": "/bin",
    }
    assert privileges.environment(env, owner) == {
        "HOME": "/home/joe",
        "USER": "joe",
        "LOGNAME": "joe",
        "TMP": "/tmp",
        "XDG_CONFIG_DIRS": "/etc/xdg",
        "PATH": "/bin",
    }


def test_pip_configuration_of_root_is_passed_on(tmp_path):
    path = tmp_path / ".config" / "pip" / "pip.conf"
    path.parent.mkdir(parents=True)
    path.write_text("[global]\nindex-url = https://index.example/50%\nfind-links =\n  /a\n  /b\n")
    owner = pwd.struct_passwd(("joe", "x", 1, 1, "", "/home/joe", "/bin/sh"))
    env = privileges.environment({"HOME": str(tmp_path), "PIP_FIND_LINKS": "/c"}, owner)
    assert env["PIP_INDEX_URL"] == "https://index.example/50%"
    assert env["PIP_FIND_LINKS"] == "/c", "the environment is stronger"


def test_broken_pip_configuration_is_left_to_pip(tmp_path):
    broken = tmp_path / "pip.conf"
    broken.write_bytes(b"no section\xff")
    assert privileges.pip_settings([broken, tmp_path / "missing"]) == {}


def test_interpreter_dirs():
    dirs = privileges.interpreter_dirs(sys.executable)
    assert {Path(sys.prefix), Path(sys.base_prefix)} <= set(dirs)
    with pytest.raises(Fatal, match="does not run"):
        privileges.interpreter_dirs("/nonexistent/bin/python")


def test_command_runs_and_a_missing_one_is_one_sentence():
    run = [sys.executable, "-m", "piwheels.core.program.privileges"]
    env = {**os.environ, "PIW_ALLOW_ROOT": "1"}
    code = subprocess.run([*run, sys.executable, "-c", "exit(7)"], check=False, env=env).returncode
    assert code == 7
    missing = subprocess.run(
        [*run, "no-such-program"], check=False, env=env, capture_output=True, text=True
    )
    assert missing.returncode == 1
    assert missing.stderr.strip().splitlines() == [
        "no-such-program: [Errno 2] No such file or directory"
    ]
