"""The parts of piw-up, without a farm."""

import gzip
import io
import json
import os
import re
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clocks import StepClock
from helpers import patience
from piwheels.core import targets
from piwheels.core.clock import SYSTEM
from piwheels.core.database import Database
from piwheels.core.database.dsn import administer, redirect
from piwheels.core.database.rows import Quarantine, UpstreamPackage, UpstreamVersion
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import Fatal
from piwheels.core.farm import Done
from piwheels.core.host.interpreters import Interpreter
from piwheels.core.keys.files import parse_invitation
from piwheels.core.keys.ring import Role
from piwheels.core.paths import to_connect
from piwheels.core.program.builds import AUTO
from piwheels.core.program.command_line import load
from piwheels.core.protocols import (
    ENDED_BY_OPERATOR,
    STOPPED_BY_OPERATOR,
    SlaveEvent,
    mr_chase,
)
from piwheels.core.recipes import Recipe
from piwheels.core.states import Attempt, BuildState, FileState, Pending, Retry, SlaveInfo
from piwheels.core.targets import FIRST
from piwheels.slave.app import SlaveConfig
from piwheels.up import app, boards, database, registry, separation, site
from piwheels.up.boards import Boards
from piwheels.up.config import UpConfig, label_for, port_in_use, queues
from piwheels.up.processes import LOG_INTERVAL, Processes, Stopped, child_environment
from piwheels.up.progress import Screen
from piwheels.up.restarts import After, Restarts, after
from piwheels.up.summary import Row, Target, table
from piwheels.up.tracker import Tracker


class StoppedClock(StepClock):
    """A clock whose monotonic time only the test advances."""

    def monotonic(self):
        return self._ahead


def processes_with(tmp_path, monkeypatch, text, clock=SYSTEM):
    """Return processes that can start the daemon ``sleeper``, which runs *text*."""
    (tmp_path / "sleeper.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Processes(tmp_path / "farm", clock)


def test_a_second_piw_up_for_one_farm_is_refused(tmp_path):
    with Processes(tmp_path / "farm"), pytest.raises(Fatal, match="is running already"):
        Processes(tmp_path / "farm")
    Processes(tmp_path / "farm").__exit__()


def test_an_unwritable_folder_is_refused():
    with pytest.raises(Fatal, match="--dir"):
        Processes(Path("/proc/farm"))


def ended(farm, number=0):
    """Wait until a daemon of *farm* has ended, and return what the next check reports."""
    farm.daemons[number].process.wait(patience(20))
    return farm.check()


def test_a_daemon_that_ends_is_started_again_and_named_with_the_end_of_its_log(
    tmp_path, monkeypatch
):
    clock = StoppedClock()
    text = "import sys; sys.exit('the last word\\x07')"
    with processes_with(tmp_path, monkeypatch, text, clock) as farm:
        farm.start("slave-x", "sleeper", [], os.environ)
        for pause in (1, 2, 4, 8, 16):
            [event] = ended(farm)
            assert re.fullmatch(
                rf"piw-slave-x ended \(1\): starting it again in {pause} s; the end of .*:\n"
                r"  the last word\ufffd",
                event.sentence,
            )
            assert (event.name, event.bad) == ("slave-x", True)
            clock.advance(pause - 0.1)
            assert farm.check() == []
            clock.advance(0.2)
            assert farm.check() == [("slave-x", "started piw-slave-x again", False)]
        words = r"piw-slave-x ended \(1\) after 5 restarts within 10 minutes(.|\n)*the last word"
        with pytest.raises(Fatal, match=words):
            ended(farm)


def test_a_daemon_that_cannot_be_started_is_tried_again(tmp_path, monkeypatch):
    clock = StoppedClock()
    with processes_with(tmp_path, monkeypatch, "", clock) as farm:
        farm.start("serve", "sleeper", [], os.environ)
        ended(farm)
        monkeypatch.setattr(Processes, "_launch", raising(OSError(12, "no memory")))
        clock.advance(1.1)
        [event] = farm.check()
        assert event.sentence.startswith(
            "piw-serve could not be started (no memory): starting it again in 2 s;"
        )


def raising(error):
    def function(*_):
        raise error

    return function


def test_a_wrong_command_line_is_not_tried_again(tmp_path, monkeypatch):
    with processes_with(tmp_path, monkeypatch, "import sys; sys.exit(2)") as farm:
        farm.start("serve", "sleeper", [], os.environ)
        with pytest.raises(Fatal, match=r"piw-serve ended \(2\); the end of"):
            ended(farm)


@pytest.mark.parametrize(
    ("status", "is_master", "by_operator", "result"),
    [
        (0, False, True, After.WITHOUT),
        (0, False, False, After.RESTART),  # SIGTERM
        (0, True, True, After.STOP),
        (0, True, False, After.RESTART),
        (1, True, True, After.RESTART),
        (-9, False, False, After.RESTART),
        (2, False, False, After.FAIL),
    ],
)
def test_what_follows_the_end_of_a_daemon(status, is_master, by_operator, result):
    assert after(status, is_master=is_master, by_operator=by_operator) is result


def test_only_frequent_ends_of_one_daemon_stop_the_farm():
    restarts = Restarts()
    assert [restarts.pause("a", now) for now in (0, 1, 2, 3, 4)] == [1, 2, 4, 8, 16]
    assert restarts.pause("b", 5) == 1
    assert restarts.pause("a", 599) is None
    seldom = Restarts()
    assert {seldom.pause("a", 121.0 * number) for number in range(100)} == {1, 2, 4, 8, 16}


OPERATOR = f"""import sys, time
if 'stay' in sys.argv: time.sleep(60)
print("master: {STOPPED_BY_OPERATOR}")
print("slave 1: {ENDED_BY_OPERATOR}")
print("a debug message\\n" * 100)
"""


def test_a_daemon_that_an_operator_stopped_is_not_started_again(tmp_path, monkeypatch):
    with processes_with(tmp_path, monkeypatch, OPERATOR) as farm:
        farm.start("slave-one", "sleeper", [], os.environ)
        farm.start("slave-two", "sleeper", ["stay"], os.environ)
        words = "an operator has stopped slave-one; the farm continues without it"
        assert ended(farm) == [("slave-one", words, False)]
        assert farm.check() == []
        farm.start("master", "sleeper", [], os.environ)
        with pytest.raises(Stopped, match="the master"):
            ended(farm, -1)
    with processes_with(tmp_path, monkeypatch, OPERATOR) as farm:
        farm.start("slave-one", "sleeper", [], os.environ)
        with pytest.raises(Stopped, match="the last slave"):
            ended(farm)


def test_a_slave_that_a_signal_stopped_is_started_again(tmp_path, monkeypatch):
    with processes_with(tmp_path, monkeypatch, "print('ending: stopped by SIGTERM')") as farm:
        farm.logs.joinpath("slave-one.log").write_text(OPERATOR)  # from an earlier slave
        farm.start("slave-one", "sleeper", [], os.environ)
        [event] = ended(farm)
        assert event.bad
        assert "ending: stopped by SIGTERM" in event.sentence


def test_a_daemon_that_does_not_end_is_killed(tmp_path, monkeypatch):
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
    with processes_with(tmp_path, monkeypatch, text + "time.sleep(60)") as farm:
        farm.patience = 0.2
        farm.start("master", "sleeper", [], os.environ)
        process = farm.daemons[0].process
        while not farm.daemons[0].log.read_text():
            farm.check()
    assert process.returncode == -9


def test_the_size_of_every_log_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr("piwheels.up.processes.LOG_LIMIT", 10)
    clock = StoppedClock()
    with processes_with(tmp_path, monkeypatch, "import time; time.sleep(60)", clock) as farm:
        log, database = farm.logs / "serve.log", tmp_path / "postgres.log"
        log.write_text("a log that is too long")
        farm.start("serve", "sleeper", [], os.environ)
        assert (log.read_text(), log.with_name("serve.log.1").read_text()) == ("", "s too long")
        farm.more_logs.append(database)
        for each in (log, database, farm.logs / "up.log"):
            each.write_text("too long again")
        clock.advance(LOG_INTERVAL + 1)
        farm.check()
        for each in (log, database, farm.logs / "up.log"):
            assert (each.read_text(), each.with_name(f"{each.name}.1").read_text()) == (
                "",
                "long again",
            )


def test_daemons_do_not_inherit_the_options_of_piw_up(monkeypatch):
    environ = {"PIW_DIR": "/x", "PIW_TIMEOUT": "3", "PIW_PG_BIN": "/pg", "PIW_DSN": "a"}
    env = child_environment(UpConfig(), environ, "postgresql:///b")
    assert env == {"PIW_PG_BIN": "/pg", "PIW_DSN": "postgresql:///b"}


def test_socket_paths_are_private_and_short(tmp_path, monkeypatch):
    config = UpConfig(slave_queue="tcp://*:5555")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    short = queues(config, tmp_path)
    assert short["slave"] == "tcp://*:5555"
    assert to_connect(short["slave"]) == "tcp://127.0.0.1:5555"
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0
    long = queues(config, tmp_path / ("x" * 80))
    other = queues(config, tmp_path / ("y" * 80))
    assert long["file"] != other["file"]
    assert max(map(len, long.values())) < 107
    Path(long["file"].removeprefix("ipc://")).parent.rmdir()
    Path(other["file"].removeprefix("ipc://")).parent.rmdir()


def test_the_name_of_the_slave_has_the_abi_if_it_is_the_only_one():
    found = [
        Interpreter(Path(f"/{abi}"), abi[2:], abi, "linux_x86_64") for abi in ("cp311", "cp312")
    ]
    assert [label_for(found[:1]), label_for(found)] == ["slave-cp311", "slave"]


def test_pages_and_logs_of_the_site_can_be_read(tmp_path):
    assert not site.lists(tmp_path, "toy", ["a.whl"])
    page = tmp_path / "simple/toy/index.v1_json"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps({"files": [{"filename": "a.whl"}]}))
    assert site.lists(tmp_path, "toy", ["a.whl"])
    assert not site.lists(tmp_path, "toy", ["a.whl", "b.whl"])
    page.write_text('{"files": [')
    assert not site.lists(tmp_path, "toy", ["a.whl"])
    assert site.read_log(tmp_path, 70012) == ""
    log = tmp_path / "logs/0000/0007/0012.txt.gz"
    log.parent.mkdir(parents=True)
    log.write_bytes(gzip.compress(b"words"))
    assert site.read_log(tmp_path, 70012) == "words"
    log.write_bytes(gzip.compress(b"words")[:-4])
    assert site.read_log(tmp_path, 70012) == ""


def test_dependencies_that_the_site_lacks_are_reported(tmp_path):
    folder = tmp_path / "simple/toy"
    folder.mkdir(parents=True)
    needs = [
        "Here>=1",
        "Not_Here<9",
        "backport; python_version < '3.10'",
        "odd; os_name == 'none'",
        "more; extra == 'x'",
        "bad >= =",
        "%",
    ]
    text = "Metadata-Version: 2.1\n" + "".join(f"Requires-Dist: {need}\n" for need in needs)
    (folder / "toy.whl.metadata").write_text(text)
    for name, files in ("here", '[{"filename": "here.whl"}]'), ("not-here", "[]"):
        (tmp_path / "simple" / name).mkdir()
        (tmp_path / "simple" / name / "index.v1_json").write_text(f'{{"files": {files}}}')
    assert site.missing(tmp_path, "toy", "toy.whl", ["3.11"]) == {"not-here": "not-here<9"}
    assert site.missing(tmp_path, "toy", "other.whl", ["3.11"]) == {}
    old = site.missing(tmp_path, "toy", "toy.whl", ["3.11", "3.9"])
    assert old == {"not-here": "not-here<9", "backport": "backport"}


def test_hosts_are_classified_and_a_port_in_use_is_refused():
    assert site.host_in_url("0.0.0.0") == "127.0.0.1"  # noqa: S104 (nothing is bound)
    assert site.host_in_url("::1") == "[::1]"
    assert [site.is_everywhere(h) for h in ("::", "::1", "a")] == [True, False, False]
    assert [site.needs_trust(h) for h in ("127.0.0.1", "[::1]", "localhost", "10.0.0.1", "a")] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert site.free_port("127.0.0.1", 0) > 0
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Fatal, match="--port"):
        site.free_port("127.0.0.1", taken.getsockname()[1])


def test_an_existing_server_gets_role_and_database(server_dsn):
    name = f"piw_up_{os.getpid()}"
    try:
        with database.server(redirect(server_dsn, name), Path("/nowhere")) as server:
            assert server.cluster is None
            assert not database.is_current(server)
            env = {**os.environ, "PIW_DSN": server.superuser, "PIW_YES": "1"}
            done = subprocess.run([sys.executable, "-m", "piwheels.initdb"], env=env, check=False)
            assert done.returncode == 0
            assert database.is_current(server)
        with database.server(redirect(server_dsn, name), Path("/nowhere")) as again:
            assert again == server
    finally:
        administer(server_dsn, "DROP DATABASE IF EXISTS {} WITH (FORCE)", names=[name])


def test_a_missing_server_gives_an_error_message(tmp_path):
    with (
        pytest.raises(Fatal, match="--dsn"),
        database.server(f"postgresql:///x?host={tmp_path}", tmp_path),
    ):
        pass


def test_leases_and_abis_of_a_killed_farm_are_cleared(db: Database):
    db.add_build_abi("cp39")
    db.add_new_package("toy")
    for version in "12":
        db.add_new_package_version("toy", version)
        later = datetime.now(UTC) + timedelta(hours=1)
        db.grant_lease("toy", version, targets.Target("any", "cp311"), f"slave-{version}", later)
    board, local = (Quarantine(owner, "one", "cp311", "why") for owner in ("board1", ""))
    db.save_quarantines([board, local])
    ours = {targets.Target("linux_x86_64", abi) for abi in ("cp311", "cp313")}
    database.prepare(db, ours, ["slave-1"], alone=False)
    assert db.get_quarantines() == [board]
    assert db.get_build_abis(exclude_skipped=True) == {"cp39", "cp311", "cp313"}
    database.prepare(db, ours, ["slave-1"], alone=True)
    assert db.get_build_abis(exclude_skipped=True) == {"cp311", "cp313"}
    assert [lease.label for lease in db.get_leases()] == ["slave-2"]
    assert db.get_pending([("toy", "1")]) == [
        Pending("toy", "1", *FIRST, "version", db.get_target_queue()[0].due)
    ]


PC, BOARD = (targets.Target(f"linux_{machine}", "cp311") for machine in ("x86_64", "armv7l"))


def tracker_for(folder, *own, **options):
    """Return a tracker of toy 1."""
    wanted = [Target("toy==1", "toy", "1")]
    return Tracker(wanted, own, ["3.11"], folder, Screen(io.StringIO(), {}), **options)


def log_build(db, target, *, file=True):
    name = f"toy-1-{target.abi}-{target.abi}-{target.platform}.whl"
    tags = "toy", "1", target.abi, target.abi, target.platform
    files = {name: FileState(name, 1, f"{len(name):064x}", *tags, None, {})} if file else {}
    about = "toy", "1", target.abi, file, timedelta(seconds=5), "log", files
    db.log_build(BuildState(1, *about, platform=target.platform))
    return name


def test_all_is_done_once_nothing_waits_for_another_platform(db, tmp_path):
    db.add_new_package("toy")
    db.add_new_package_version("toy", "1")
    db.add_targets([PC])
    tracker = tracker_for(tmp_path, PC)
    [target] = tracker.targets
    assert not tracker.update(db)
    name = log_build(db, PC)
    assert tracker.update(db)
    assert re.search(r"^toy +1 +cp311 +built ", tracker.report(""), re.M)
    db.add_targets([BOARD])
    assert not tracker.update(db)
    assert re.search(r"^toy +1 +cp311 armv7l +waiting$", tracker.report(""), re.M)
    assert tracker.wheel(target) == name
    without_boards = tracker_for(tmp_path, PC, for_all=False)
    assert without_boards.update(db)
    without_boards.ours.add(BOARD)
    assert not without_boards.update(db)
    log_build(db, BOARD, file=False)
    assert tracker.update(db)
    report = tracker.report("")
    assert re.search(r"^toy +1 +cp311 x86_64 +built .*x86_64.whl$", report, re.M)
    assert re.search(r"^toy +1 +cp311 armv7l +failed +5\.0$", report, re.M)
    assert "toy 1 for cp311 armv7l: " in report
    assert tracker.wheel(target) == name
    assert not tracker.all_built


def requiring(db, requires):
    change = UpstreamVersion("toy", "1", requires_python=requires)
    db.follow_upstream([UpstreamPackage("toy")], [change])


def test_a_release_for_other_pythons_is_no_failure(db, tmp_path):
    newer = targets.Target("linux_x86_64", "cp313")
    db.add_new_package("toy")
    db.add_new_package_version("toy", "1")
    db.add_targets([PC, newer])
    tracker = tracker_for(tmp_path, PC, newer)
    log_build(db, PC, file=False)  # before the index has answered
    requiring(db, ">=3.12")
    assert not tracker.update(db)
    assert re.search(r"^toy +1 +cp313 +waiting$", tracker.report(""), re.M)
    log_build(db, newer)
    assert tracker.update(db)
    assert tracker.all_built
    report = tracker.report("")
    assert re.search(r"^toy +1 +cp311 +not for this Python \(requires >=3\.12\)$", report, re.M)
    assert "logs/" not in report
    record = next(tracker.records(""))
    assert (record["abi"], record["requires"], record["wheel"]) == ("cp311", ">=3.12", "")
    assert tracker.problems() == ["toy 1 for cp311: not for this Python (requires >=3.12)"]


def test_a_release_for_none_of_the_pythons_is_done_at_once(db, tmp_path):
    db.add_new_package("toy")
    db.add_new_package_version("toy", "1")
    db.add_targets([PC])
    requiring(db, ">=3.12")
    tracker = tracker_for(tmp_path, PC)
    assert tracker.update(db)
    assert not tracker.all_built
    assert "not for this Python (requires >=3.12)" in tracker.report("")
    assert tracker.targets[0].problem == ""


def test_a_failure_is_a_result_although_the_farm_wants_a_second_opinion(db, tmp_path):
    db.add_new_package("toy")
    db.add_new_package_version("toy", "1")
    db.add_build_abi("cp311")
    tracker = tracker_for(tmp_path, PC)
    assert not tracker.update(db)
    spent = timedelta(seconds=5)
    db.log_build(BuildState(1, "toy", "1", "cp311", False, spent, "log", {}, final=False))
    assert db.get_pending([("toy", "1")])
    assert tracker.update(db)
    assert "failed" in tracker.report("http://localhost/")
    assert not tracker.all_built


MISSING = Diagnosis("missing-header", "tin.h", f"fatal error: {'x' * 300}/tin.h: no such file")
FULL_DISK = Diagnosis("disk-full", "", "no space left")


def log_failure(db, diagnosis, **about):
    made = BuildState(1, "toy", "1", "cp311", False, timedelta(seconds=5), "log", {})
    made.platform, made.diagnosis = PC.platform, diagnosis
    for name, value in about.items():
        setattr(made, name, value)
    return db.log_build(made)


def retry(**delay):
    return Retry(Attempt(1, ("at slave-1",)), Recipe(), timedelta(**delay))


def test_a_report_says_why_a_build_failed_what_to_do_and_how_it_was_cured(db, tmp_path):
    db.add_new_package("toy")
    db.add_new_package_version("toy", "1")
    db.add_targets([PC])
    tracker = tracker_for(tmp_path, PC)
    said = tracker._screen._stream
    number = log_failure(db, MISSING)
    assert tracker.update(db)
    report = tracker.report("http://localhost/")
    assert f"toy 1 for cp311: missing header: {MISSING.cause}\n" in report
    assert "\n  Install the package that has the header tin.h.\n" in report
    assert "\n  http://localhost/failures.html#missing-header\n" in report
    assert f"failed toy 1 for cp311 after 5.0 s: missing header: {MISSING.cause}" in said.getvalue()
    record = next(tracker.records("http://localhost/"))
    json.dumps(record)
    assert record["build_id"] == number
    assert [record[key] for key in ("result", "reason", "subject", "cause", "retry_at")] == [
        "failed", *MISSING[:3], None,
    ]  # fmt: skip
    assert record["about"] == "http://localhost/failures.html#missing-header"
    assert record["message"] == f"missing header: {MISSING.cause}"
    for older in ("cython<3", "setuptools<81"):
        log_failure(db, FULL_DISK, recipe=Recipe(constraints=(older,)))
    assert tracker.update(db)
    report = tracker.report("http://localhost/")
    assert "toy 1 for cp311: missing header: " in report
    assert "\n  also failed with cython<3, with setuptools<81\n" in report
    name = "toy-1-cp311-cp311-linux_x86_64.whl"
    files = {
        name: FileState(name, 1, "ab" * 32, "toy", "1", "cp311", "cp311", PC.platform, None, {})
    }
    cure = Recipe(constraints=("setuptools<58",))
    log_failure(db, Diagnosis(""), status=True, files=files, recipe=cure)
    assert tracker.update(db)
    assert re.search(r"^toy +1 +cp311 +built with setuptools<58 +5\.0 ", tracker.report(""), re.M)
    assert "built toy 1 for cp311 with setuptools<58 in" in said.getvalue()
    record = next(tracker.records(""))
    assert (record["result"], record["recipe"]) == ("built", "with setuptools<58")
    assert (record["reason"], record["message"]) == (None, None)


@pytest.mark.parametrize(
    ("delay", "waits"), [({"seconds": 0}, True), ({"seconds": 50}, True), ({"hours": 1}, False)]
)
def test_a_failure_of_the_farm_is_put_off_and_awaited_for_a_minute(delay, waits, db, tmp_path):
    db.add_new_package("toy")
    db.add_new_package_version("toy", "1")
    db.add_targets([PC])
    tracker = tracker_for(tmp_path, PC)
    log_failure(db, FULL_DISK, counts=False, retry=retry(**delay))
    assert tracker.update(db) is not waits
    report = tracker.report("")
    assert re.search(r"^toy +1 +cp311 +put off ", report, re.M)
    assert "toy 1 for cp311: put off: disk full: no space left\n" in report
    assert ("\n  it is tried again\n" if waits else "\n  it will be tried again in 0:59:") in report
    assert not tracker.all_built
    assert tracker.problems() == ["toy 1 for cp311: put off: disk full: no space left"]
    assert datetime.fromisoformat(next(tracker.records(""))["retry_at"])


def test_an_invalid_port_is_refused():
    with pytest.raises(SystemExit) as end:
        load("piw-up", UpConfig, ["--port", "70000"])
    assert end.value.code == 2


def test_a_version_that_no_message_can_hold_is_refused_alone(monkeypatch):
    def answer(registrar, msg, data, limit=0):
        reversed(mr_chase).to_send(msg, data)  # as the socket does before it sends
        return "DONE", next(iter(Done)).value

    monkeypatch.setattr(registry.Registrar, "_request", answer)
    targets = [Target("long", "long", "3." + "14" * 100), Target("six", "six", "1.0")]
    targets.append(Target("x", "x" * 201, "1.0"))
    with registry.Registrar("ipc:///nonexistent", lambda: None, follow=False) as registrar:
        for target in targets:
            registrar.register(target)
    assert [target.problem for target in targets] == ["refused", "", "refused"]
    assert targets[0].detail == "its name or version is longer than 200 characters"
    assert all(len(line) < 120 for line in table([Row(*targets[0].key, "", "refused")], str))


def test_a_dependency_that_cannot_be_read_is_refused_alone(capsys):
    registry.main("3.11", ["not ? a name", "neither >>> 1"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [
        ("not ? a name", "refused"),
        ("neither >>> 1", "refused"),
    ]


def test_the_slaves_of_this_machine_may_emulate_another_platform_after_the_next_start(tmp_path):
    farm, now = Boards(tmp_path), SYSTEM.now()
    farm.unpin()
    slaves = farm.pair(boards.SLAVES)
    for platforms in ([PC.platform], [PC.platform, BOARD.platform]):
        farm.unpin()
        ring = farm.folder.change(lambda ring, each=platforms: ring.pin(slaves.public, each, now))
        assert ring.keys[slaves.public].platforms == tuple(platforms)


def test_a_farm_with_boards_has_keys_and_invites_them(tmp_path, monkeypatch):
    monkeypatch.setattr(boards, "own_address", lambda: "192.0.2.1")
    farm = Boards(tmp_path)
    own = farm.pair(boards.OWN)
    assert farm.pair(boards.OWN) == own
    slaves = farm.pair(boards.SLAVES)
    assert farm.folder.ring().keys[slaves.public].role is Role.SLAVE
    assert farm.folder.ring().keys[own.public].role is Role.ADMINISTER
    found = queues(UpConfig(file_queue="tcp://*:7"), tmp_path, boards=True)
    assert (found["slave"], found["file"]) == ("tcp://*:5555", "tcp://*:7")
    assert found["keyless-slave"] == f"ipc://{tmp_path}/run/slave"
    assert found["status"].startswith("ipc:")
    words = [farm.invite(found).split() for _ in range(2)]
    assert words[0][:5] == [
        "piw-slave",
        "--master",
        "192.0.2.1",
        "--file-queue",
        "tcp://192.0.2.1:7",
    ]
    assert parse_invitation(words[0][-1]).master == own.master
    ring = farm.folder.ring()
    assert {key.name for key in ring.keys.values()} == {
        "piw-up",
        "this-machine",
        "board1",
        "board2",
    }
    assert not farm.has_joined()
    [invitation] = ring.named["board1"]
    farm.folder.change(lambda ring: ring.redeem(invitation.public, "k" * 40, SYSTEM.now()))
    assert farm.has_joined()


def test_boards_join_unless_a_port_is_in_use_or_the_farm_is_private(monkeypatch):
    private = [{"once": True}, {"no_boards": True}, {"slave_queue": "ipc:///x"}]
    assert [UpConfig(**options).boards for options in ({}, *private)] == [True, False, False, False]
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("piwheels.up.config.PORTS", {"slave": port})
        assert port_in_use(UpConfig()) == port
        assert port_in_use(UpConfig(slave_queue="tcp://*:7")) is None
    assert port_in_use(UpConfig()) is None


@pytest.mark.parametrize(
    ("options", "taken", "words"),
    [
        ({}, None, "one board can join within an hour by this command:"),
        ({}, 5555, "no board can join: port 5555 is in use (--slave-queue)"),
        ({"once": True}, 5555, ""),
        ({"no_boards": True}, None, ""),
    ],
)
def test_a_farm_says_how_boards_join(options, taken, words, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "port_in_use", lambda _: taken)
    pythons = [Interpreter(Path("/i"), "311", "cp311", "linux_x86_64")]
    said = []
    with Processes(tmp_path / "farm") as processes:
        up = app.Up(UpConfig(port=0, **options), processes, pythons, launcher="one")
        monkeypatch.setattr(up.screen, "say", lambda text, *_: said.append(text))
        up._invite()
        assert up.queues["slave"].startswith("tcp://127.") == (not words.startswith("one"))
    assert [text.split("\n")[0] for text in said] == [words][: len(words)]
    assert ("--join" in "".join(said)) == words.startswith("one")


@pytest.mark.parametrize(("jobs", "at_once"), [(None, 2), (5, 5), (AUTO, AUTO)])
def test_the_slave_gets_the_options_of_builds(jobs, at_once, tmp_path, monkeypatch):
    pythons = [
        Interpreter(Path(f"/{abi}"), abi[2:], abi, "linux_x86_64") for abi in ("cp311", "cp312")
    ]
    options = {"sandbox": "landlock", "allow_host": ["a.example", "[::1]:8080"]}
    options["emulate"] = ["armhf,riscv64/trixie", "arm64"]
    config = UpConfig(port=0, once=True, offline_build=True, no_packages=True, jobs=jobs, **options)
    started = []
    with Processes(tmp_path / "farm") as processes:
        monkeypatch.setattr(processes, "start", lambda *args: started.append(args))
        app.Up(config, processes, pythons)._start_slave({}, [])
    [(name, module, args, _, launcher)] = started
    assert (name, module, launcher) == ("slave", "piwheels.slave", None)
    slave = load("piw-slave", SlaveConfig, args, {})
    assert {name: getattr(slave, name) for name in options} == options
    assert slave.offline_build
    assert slave.no_packages
    assert (slave.python, slave.jobs) == (["/cp311", "/cp312"], at_once)


def test_a_farm_waits_for_the_targets_that_its_slave_emulates(db, tmp_path):
    """Else ``--once`` would end if there are wheels of an earlier run, without emulation."""
    offers = [["311", "cp311", BOARD.platform]]
    about = timedelta(0), timedelta(0), "311", "cp311", PC.platform, "slave-cp311", *[""] * 4
    hello = SlaveInfo(*about, {"level": 1, "offers": offers})
    db.add_targets([PC, BOARD])
    db.retire_targets([BOARD], targets.NO_SLAVE)
    clock, ticks = StoppedClock(), []

    class Events:
        def receive(self, seconds):
            clock.advance(seconds)
            ticks.append(seconds)
            if len(ticks) == 3:
                return SlaveEvent(1, datetime.now(UTC), "HELLO", hello)
            if len(ticks) == 5:
                db.add_targets([BOARD])
            return None

    config = UpConfig(port=0, once=True, emulate=["armhf"], quiet=True)
    pythons = [Interpreter(Path("/i"), "311", *reversed(PC))]
    with Processes(tmp_path / "farm") as processes:
        farm = app.Up(config, processes, pythons, clock=clock)
        farm._await_targets(Events(), db)
    assert len(ticks) == 5


def test_what_a_daemon_has_logged_is_found(tmp_path, monkeypatch):
    text = "print('x: not emulating a: b; c'); print('emulating b')"
    with processes_with(tmp_path, monkeypatch, text) as farm:
        farm.start("slave-x", "sleeper", [], os.environ)
        ended(farm)
        assert farm.daemons[0].lines_with("not emulating ") == ["not emulating a: b; c"]


@pytest.mark.parametrize(
    ("sandboxes", "builder", "words"),
    [
        (["bwrap"], "", "in a sandbox (bubblewrap)"),
        (["bwrap"], "piw-build", "in a sandbox (bubblewrap), as the user piw-build"),
        (["landlock", "bwrap"], "", "in a sandbox (Landlock)"),
        (
            ["landlock, signals, sockets"],
            "",
            "in a sandbox (Landlock); not separated: processes of",
        ),
        (["landlock, sockets"], "b", "in a sandbox (Landlock), as the user b"),
        (
            ["none", "landlock"],
            "",
            "without a sandbox; not separated: all that belongs to this user",
        ),
        (["none"], "b", "without a sandbox, as the user b; not separated: other builds"),
    ],
)
def test_a_sentence_says_how_builds_are_separated(sandboxes, builder, words):
    found = separation.sentence(sandboxes, builder, chosen=False, is_root=False)
    assert found.startswith(f"builds run {words}")
    assert ("or a start as root" in found) == (not builder and "not separated" in found)
    chosen = separation.sentence(sandboxes, builder, chosen=True, is_root=True)
    assert ("better: --sandbox auto" in chosen) == ("not separated" in found)


def test_slaves_of_their_own_user_have_addresses_that_need_a_key(tmp_path):
    found = queues(UpConfig(file_queue="tcp://*:7"), tmp_path, keyed=True)
    assert re.fullmatch(r"tcp://127\.0\.0\.1:[123][0-9]{4}", found["slave"])
    first = site.free_port("127.0.0.1", next(site.free_ports()))
    with socket.create_server(("127.0.0.1", first)):
        assert first < next(site.free_ports()) < 32_768
    assert (found["file"], found["keyless-file"]) == ("tcp://*:7", f"ipc://{tmp_path}/run/file")
