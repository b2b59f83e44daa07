import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from helpers import alive, patience, until
from hostile import house, inside
from piwheels.core.database.dsn import administer
from piwheels.core.errors import DatabaseError, Fatal
from piwheels.core.host import postgres
from piwheels.core.host.postgres import Cluster

LAUNCHER = """
import sys, time
from pathlib import Path
from piwheels.core.host.postgres import Cluster
cluster = Cluster(Path(sys.argv[1]), user=sys.argv[2] or None)
cluster.start()
print(cluster.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="session")
def _numbers():
    return itertools.count(1)


@pytest.fixture
def home(short_dir, _numbers):
    return short_dir / f"c{next(_numbers)}"


@pytest.fixture(scope="module")
def stopped(short_dir, system_user):
    """The folder of a cluster that has stopped, to be copied: to create one costs a second."""
    with Cluster(short_dir / "stopped", user=system_user, options={"fsync": "off"}) as cluster:
        pass
    return cluster.home


@pytest.fixture
def existing(stopped, home):
    """A cluster that exists in *home* already."""
    subprocess.run(["cp", "-a", stopped, home], check=True)


@pytest.fixture
def make(home, system_user):
    """A maker of clusters in one home; stops them all."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            cluster = Cluster(home, user=system_user, options={"fsync": "off", **options})
            stack.callback(cluster.stop)
            return cluster

        yield make


@pytest.fixture
def launcher(existing, home, system_user):
    """Another process that has started a cluster in *home*; with the server's pid."""
    command = [sys.executable, "-c", LAUNCHER, str(home), system_user or ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        process.server = int(process.stdout.readline())
        yield process
        process.kill()
    wait_for_end(process.server)


def wait_for_end(pid):
    until(lambda: not alive(pid), 10)


def fill(cluster):
    administer(cluster.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")


def rows(cluster):
    return administer(cluster.dsn(), "SELECT answer FROM kept")


def test_a_second_start_keeps_the_data_of_the_first(make, home):
    with make() as cluster:
        fill(cluster)
        pid = cluster.pid
    assert cluster.pid is None
    assert not alive(pid)
    with make() as cluster:
        assert rows(cluster) == [(42,)]
    assert not list(home.glob(".s.*")), "a socket was left"


@pytest.mark.usefixtures("existing")
def test_other_users_cannot_connect(make, home):
    with make() as cluster:
        assert home.stat().st_mode & 0o777 == 0o700
        assert administer(cluster.dsn(), "SHOW listen_addresses") == [("",)]


@pytest.mark.parametrize("user", ["postgres", "piwheels", "nobody", "root"])
@pytest.mark.usefixtures("existing")
def test_nobody_connects_without_the_password(make, user):
    with make() as cluster:
        address = cluster.dsn(user=user).partition("&passfile")[0]
        for given in (f"{address}&passfile=/dev/null", f"{address}&passfile=&password=postgres"):
            with pytest.raises(
                DatabaseError, match=r"no password supplied|password authentication"
            ):
                administer(given, "SELECT 1")
        assert cluster.passwords.stat().st_mode & 0o777 == 0o600
        assert administer(cluster.dsn(), "SELECT 1") == [(1,)]


@pytest.mark.parametrize("trusts", [True, False])
@pytest.mark.usefixtures("existing")
def test_the_attacks_of_builds_would_notice_a_server_that_trusts(make, home, trusts):
    hba = home / "trust.conf"
    hba.write_text("local all all trust\n")
    prelude = inside.PRELUDE + house.PRELUDE.replace("{home!r}", repr(str(home)))
    with make(**({"hba_file": str(hba)} if trusts else {})):
        for user in ("postgres", "piwheels"):
            code = f"{prelude}\nlog_in({str(home)!r}, {user!r})"
            done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
            assert (done.returncode == 0) == trusts, done.stderr


@pytest.mark.usefixtures("existing")
def test_a_cluster_of_an_earlier_version_gets_passwords_and_keeps_its_rows(make):
    with make() as cluster:
        fill(cluster)
        administer(cluster.dsn(), "ALTER ROLE piwheels SUPERUSER")
    cluster.passwords.unlink()
    (cluster.data / "pg_hba.conf").write_text("local all all trust\n")
    with make() as cluster:
        assert rows(cluster) == [(42,)]
        with pytest.raises(DatabaseError, match="no password supplied"):
            administer(f"{cluster.dsn()}&passfile=/dev/null", "SELECT 1")
        who = "SELECT usesuper FROM pg_user WHERE usename = current_user"
        assert administer(cluster.dsn(user="piwheels"), who) == [(False,)]


@pytest.mark.usefixtures("existing")
def test_daemon_may_log_in_and_is_no_superuser(make):
    with make() as cluster:
        cluster.ensure_database("it's")
        cluster.ensure_database("it's")
        dsn = cluster.dsn("it's", "piwheels")
        who = "SELECT current_user, usesuper FROM pg_user WHERE usename = current_user"
        assert administer(dsn, who) == [("piwheels", False)]


def test_second_launcher_is_refused_at_once(make, launcher):
    start = time.monotonic()
    with pytest.raises(Fatal, match="in use by another process"):
        make().start()
    assert time.monotonic() - start < patience(2)
    assert launcher.poll() is None


def test_a_killed_launcher_ends_its_server_and_the_next_start_succeeds(make, launcher):
    launcher.kill()
    with make() as cluster:
        assert cluster.pid != launcher.server
        wait_for_end(launcher.server)
        assert administer(cluster.dsn(), "SELECT 1") == [(1,)]
    assert "database system was shut down" in cluster.log.read_text().split("ready")[-2]


@pytest.mark.usefixtures("existing")
def test_killed_server_comes_back_with_its_rows(make):
    with make(fsync="on") as cluster:
        fill(cluster)
        os.kill(cluster.pid, signal.SIGKILL)
        wait_until_dead(cluster)
        with pytest.raises(DatabaseError):
            rows(cluster)
        cluster.start()
        assert rows(cluster) == [(42,)]


def wait_until_dead(cluster):
    until(lambda: cluster.pid is None, 10)


@pytest.mark.usefixtures("existing")
def test_reused_process_id_does_not_stop_a_start(make, home):
    with make() as cluster:
        pass
    stale = cluster.data / "postmaster.pid"
    stale.write_text(f"{os.getppid()}\n{cluster.data}\n1\n5432\n{home}\n\n 0 0\n")
    with make() as cluster:
        assert administer(cluster.dsn(), "SELECT 1") == [(1,)]


def test_an_incomplete_cluster_is_created_again(make, home):
    (home / "data.new").mkdir(parents=True)
    (home / "data.new" / "PG_VERSION").write_text("1\n")
    with make() as cluster:
        assert administer(cluster.dsn(), "SELECT 1") == [(1,)]
    assert not (home / "data.new").exists()


def test_long_path_gets_sockets_elsewhere(stopped, short_dir, system_user):
    home = short_dir / ("long, " * 20)
    subprocess.run(["cp", "-a", stopped, home], check=True)
    with Cluster(home, user=system_user, options={"fsync": "off"}) as cluster:
        sockets, dsn = cluster._sockets, cluster.dsn()
        assert administer(dsn, "SELECT 1") == [(1,)]
        os.kill(cluster.pid, signal.SIGKILL)
        until(lambda: cluster.pid is None)
        cluster.start()
        assert cluster.dsn() == dsn
        assert administer(dsn, "SELECT 1") == [(1,)]
    assert not sockets.exists()


@pytest.mark.usefixtures("existing")
def test_bad_setting_shows_what_the_server_said(make):
    with pytest.raises(Fatal, match=r"did not start(.|\n)*no_such_setting"):
        make(no_such_setting="1").start()


@pytest.mark.usefixtures("existing")
def test_the_size_of_the_log_is_limited(make, monkeypatch):
    monkeypatch.setattr(postgres, "LOG_LIMIT", 0)
    with make():
        pass
    with make() as cluster:
        pass
    assert cluster.log.read_text().count("starting PostgreSQL") == 1


def test_clusters_own_release_decides(make, home):
    home.mkdir()
    (home / "data").mkdir()
    (home / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(Fatal, match=r"no PostgreSQL 9 \(which created .*release \d+.*PIW_PG_BIN"):
        make().start()


def test_chosen_programs_come_first(tmp_path):
    first, *others = postgres.candidates({"PIW_PG_BIN": str(tmp_path)})
    assert first == tmp_path
    assert others == list(postgres.candidates({}))


def test_start_in_another_thread_is_our_bug(make):
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (here alone)

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(make().start).result()


def test_a_home_that_cannot_be_created(tmp_path, system_user):
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match="cannot live in"):
        Cluster(tmp_path / "file" / "pg", user=system_user).start()


def test_root_has_to_name_a_user(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Fatal, match="refuses to run as root"):
        Cluster(tmp_path)
    with pytest.raises(Fatal, match="no system user 'no-such-user'"):
        Cluster(tmp_path, user="no-such-user")
