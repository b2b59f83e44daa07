"""Imports: several at the same time, repeated if necessary; a failed one leaves nothing."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
import zmq

from helpers import patience, until, wheel_bytes
from peers import Files, send_file
from piwheels import importer
from piwheels.core.codec import NoData
from piwheels.core.protocols import FIRST_IMPORT
from piwheels.core.protocols import mr_chase as protocol
from piwheels.core.states import BuildState, FileState
from piwheels.core.targets import Target
from piwheels.core.transport import Context
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.logic import imports
from piwheels.master.messages import RewritePages, WriteLog
from piwheels.master.mr_chase import MrChase

PURE = "foo-1.0-py3-none-any.whl"
NATIVE = "foo-1.0-cp311-cp311-linux_x86_64.whl"
OURS = FIRST_IMPORT + 5


class Tool:
    """An importer of protocol level 0, controlled by the test."""

    def __init__(self, config):
        self.config = config
        self.socket = Context().socket(zmq.REQ, reversed(protocol))
        self.socket.connect(config.import_queue)

    def ask(self, msg, data=NoData):
        self.socket.send_msg(msg, data)
        return self.answer()

    def answer(self):
        assert self.socket.poll(patience(20)), "no answer"
        return self.socket.recv_msg()

    def receives_nothing(self):
        return not self.socket.poll(0.2)

    def send(self, number, content):
        send_file(self.config, number, content)


@pytest.fixture
def farm(with_db, db, *, secretary, driver, running, monkeypatch):
    """A farm that knows ``foo 1.0`` and builds for two ABIs."""
    monkeypatch.setattr(MrChase, "check_interval", timedelta(seconds=0.05))
    for abi in ("cp312", "cp311"):
        db.add_build_abi(abi)
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    with running(FileJuggler(with_db), MrChase(with_db)):
        yield with_db


@pytest.fixture
def tool(farm):
    made = Tool(farm)
    yield made
    made.socket.close()


@pytest.fixture
def other(farm):
    made = Tool(farm)
    yield made
    made.socket.close()


def state_of(files, number=0, abi="cp311", package="foo", version="1.0", **changes):
    """Return the message for a build with *files* (their contents by name)."""
    states = {
        name: FileState(
            name, len(data), sha256(data).hexdigest(), "x", "1", "x", "x", "x", None,
            {"apt": ["libc6"]}, "/simple",
        )
        for name, data in files.items()
    }  # fmt: skip
    build = BuildState(
        number, package, version, abi, True, timedelta(seconds=7), "a log\n", states
    )  # fmt: skip
    for key, value in changes.items():
        setattr(build, key, value)
    return build.as_message()


def site(config):
    root = config.output_path / "simple"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def nothing_left(config, db):
    assert site(config) == set()
    assert not list(config.work_path.glob("*.part"))
    assert db.get_all_build_ids() == set()
    return True


def published(*names):
    return {f"foo/{name}{more}" for name in names for more in ("", ".metadata")}


def test_a_build_is_imported_with_all_its_files(tool, farm, db, secretary):
    files = {
        NATIVE: wheel_bytes(blob=b"x" * 700_000),
        NATIVE.replace("cp311-cp311", "cp37-abi3"): wheel_bytes(requires=["six"]),
    }
    target = Target("linux_x86_64", "cp311")
    db.grant_lease("foo", "1.0", target, "a slave", datetime.now(UTC) + timedelta(hours=1))
    assert tool.ask("IMPORT", state_of(files, OURS, package="Foo")) == ("SEND", NATIVE)
    tool.send(OURS, files[NATIVE])
    msg, name = tool.ask("SENT")
    assert (msg, name) == ("SEND", [*files][1])
    assert db.get_all_build_ids() == set(), "nothing is committed before all files have arrived"
    tool.send(OURS, files[name])
    assert tool.ask("SENT") == ("DONE", "IMPORT")

    assert site(farm) == published(*files)
    [build] = db.get_builds([("foo", "1.0")])
    assert (build.abi_tag, build.status) == ("cp311", True)
    release = db.get_project_data("foo")["releases"]["1.0"]
    assert release["files"].keys() == files.keys()
    assert release["files"][NATIVE]["apt_dependencies"] == ["libc6"]
    ended = db.get_recent_builds(1)[0]
    assert (ended.slave_id, ended.label) == (0, "import")
    assert [lease.label for lease in db.get_leases()] == ["a slave"], (
        "the slave continues its build"
    )
    assert db.get_build_log(build.build_id, 0, 99) == ("a log\n", 6)
    until(lambda: len(secretary.asked) == 2)
    assert secretary.asked == [WriteLog(build.build_id, "a log\n"), RewritePages("BOTH", "foo")]


@pytest.mark.parametrize(("number", "hello"), [(0, 0), (7, 0), (7, 7)])
def test_importers_with_the_same_number_take_turns(tool, other, farm, *, number, hello):
    second = NATIVE.replace("311", "312")
    content = wheel_bytes()
    assert tool.ask("IMPORT", state_of({NATIVE: content}, number)) == ("SEND", NATIVE)
    other.socket.send_msg("IMPORT", state_of({second: content}, number, "cp312"))
    assert other.receives_nothing()
    tool.send(hello, content)
    assert tool.ask("SENT") == ("DONE", "IMPORT")
    assert other.answer() == ("SEND", second)
    other.send(hello, content)
    assert other.ask("SENT") == ("DONE", "IMPORT")
    assert site(farm) == published(NATIVE, second)


def test_imports_with_different_numbers_run_at_the_same_time(tool, other, farm, db):
    second = NATIVE.replace("311", "312")
    one, two = wheel_bytes(blob=b"1" * 600_000), wheel_bytes(blob=b"2" * 600_000)
    assert tool.ask("IMPORT", state_of({NATIVE: one}, OURS)) == ("SEND", NATIVE)
    assert other.ask("IMPORT", state_of({second: two}, OURS + 1, "cp312")) == ("SEND", second)
    other.send(OURS + 1, two)
    tool.send(OURS, one)
    assert tool.ask("SENT") == ("DONE", "IMPORT")
    assert other.ask("SENT") == ("DONE", "IMPORT")
    assert {path.read_bytes() for path in farm.output_path.glob("simple/foo/*.whl")} == {one, two}


def test_other_requests_are_answered_during_an_import(tool, other, farm, db):
    content = wheel_bytes()  # made once, because a wheel contains its creation time
    assert tool.ask("IMPORT", state_of({PURE: content}, OURS))[0] == "SEND"
    assert other.ask("ADDPKG", ["bar", "", "", False, []]) == ("DONE", "NEWPKG")
    tool.send(OURS, content)
    assert tool.ask("SENT") == ("DONE", "IMPORT")


def test_a_file_that_does_not_verify_is_sent_again(tool, farm, db):
    content = wheel_bytes()
    wrong = content[:-1] + b"?"
    assert tool.ask("IMPORT", state_of({PURE: content}, OURS)) == ("SEND", PURE)
    tool.send(OURS, wrong)
    assert tool.ask("SENT") == ("SEND", PURE)
    tool.send(OURS, content)
    assert tool.ask("SENT") == ("DONE", "IMPORT")
    assert site(farm) == published(PURE)


def test_a_file_that_never_verifies_is_refused(tool, farm, db):
    content = wheel_bytes()
    reply = tool.ask("IMPORT", state_of({PURE: content}, OURS))
    for _ in range(3):
        assert reply == ("SEND", PURE)
        reply = tool.ask("SENT")  # the tool sent no data
    assert reply[0] == "ERROR"
    assert "bytes are missing" in reply[1]
    assert nothing_left(farm, db)
    assert db.get_build_queue()["cp311"] == [("foo", "1.0")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (wheel_bytes("bar"), "'bar-1.0.dist-info', which is not foo 1.0"),
        (wheel_bytes(version="2.0"), "'foo-2.0.dist-info', which is not foo 1.0"),
        (b"PK\x03\x04 and so on", "not a valid zip archive"),
    ],
)
def test_a_wheel_with_wrong_metadata_is_refused_and_leaves_nothing(tool, farm, db, content, words):
    good = wheel_bytes()
    assert tool.ask("IMPORT", state_of({NATIVE: good, PURE: content}, OURS)) == ("SEND", NATIVE)
    tool.send(OURS, good)
    assert tool.ask("SENT") == ("SEND", PURE)
    assert site(farm) == published(NATIVE)
    tool.send(OURS, content)
    msg, why = tool.ask("SENT")
    assert msg == "ERROR"
    assert words in why
    assert nothing_left(farm, db)


def test_existing_files_are_unchanged_when_an_import_fails(tool, farm, db):
    good, bad = wheel_bytes(), wheel_bytes("bar")
    assert tool.ask("IMPORT", state_of({PURE: good}, OURS))[0] == "SEND"
    tool.send(OURS, good)
    assert tool.ask("SENT") == ("DONE", "IMPORT")
    assert tool.ask("IMPORT", state_of({PURE: good, NATIVE: bad}, OURS)) == ("SEND", PURE)
    tool.send(OURS, good)
    assert tool.ask("SENT") == ("SEND", NATIVE)
    tool.send(OURS, bad)
    assert tool.ask("SENT")[0] == "ERROR"
    assert site(farm) == published(PURE)
    assert db.get_package_files("foo").keys() == {PURE}


def test_a_file_of_the_same_name_with_new_content_gets_a_build_tag(tool, farm, db):
    for content in (wheel_bytes(), wheel_bytes(), wheel_bytes(blob=b"new")):
        assert tool.ask("IMPORT", state_of({PURE: content}, OURS)) == ("SEND", PURE)
        tool.send(OURS, content)
        assert tool.ask("SENT") == ("DONE", "IMPORT")
    tagged = "foo-1.0-1-py3-none-any.whl"
    assert site(farm) == published(PURE, tagged)
    assert db.get_package_files("foo").keys() == {PURE, tagged}


def test_an_importer_that_disappears_leaves_nothing(tool, other, farm, db, monkeypatch):
    monkeypatch.setattr(imports, "SILENCE", 0.4)
    files = {NATIVE: wheel_bytes(), PURE: wheel_bytes(blob=b"x" * 10**6)}
    assert tool.ask("IMPORT", state_of(files))[0] == "SEND"
    tool.send(0, files[NATIVE])
    assert tool.ask("SENT") == ("SEND", PURE)
    other.socket.send_msg("IMPORT", state_of({PURE: files[PURE]}))
    with Context().socket(zmq.DEALER) as wire:
        wire.connect(farm.file_queue)
        wire.send_multipart([b"HELLO", b"0"])
        assert wire.poll(patience(20))
        _, offset, length = wire.recv_multipart()
        wire.send_multipart([b"CHUNK", offset, files[PURE][: int(length)]])
    assert other.answer() == ("SEND", PURE), "the importer that waits gets its turn"
    assert site(farm) == set()
    assert tool.ask("SENT") == (
        "ERROR", "no file is expected: begin again with IMPORT",
    )  # fmt: skip
    other.send(0, files[PURE])
    assert other.ask("SENT") == ("DONE", "IMPORT")
    assert site(farm) == published(PURE)
    assert len(db.get_all_build_ids()) == 1


def test_another_request_of_the_importer_cancels_its_import(tool, farm, db):
    files = {NATIVE: wheel_bytes(), PURE: wheel_bytes(blob=b"2")}
    assert tool.ask("IMPORT", state_of(files, OURS))[0] == "SEND"
    tool.send(OURS, files[NATIVE])
    assert tool.ask("SENT") == ("SEND", PURE)
    assert tool.ask("REBUILD", ["HOME"]) == ("DONE", "REBUILD")
    until(lambda: site(farm) == set())
    assert tool.ask("SENT")[0] == "ERROR"
    assert tool.ask("IMPORT", state_of(files, OURS)) == ("SEND", NATIVE)
    assert len(list(farm.work_path.glob("*.part"))) == 1
    assert site(farm) == set() == db.get_all_build_ids()


def test_an_import_that_is_not_possible_is_refused_with_a_reason(tool, farm, db):
    def error(files=(PURE,), **changes):
        msg, why = tool.ask("IMPORT", state_of(dict.fromkeys(files, wheel_bytes()), **changes))
        assert msg == "ERROR"
        return why

    assert error(package="bar") == "NOPKG"
    assert error(version="3.0") == "NOVER"
    assert "does not build for cp399 (it builds for: cp311, cp312)" in error(abi="cp399")
    assert "only a build that has succeeded" in error(status=False)
    assert "made no wheel" in error(files=())
    db.add_new_package_version("foo", "2.0", skip="deleted")
    assert error(version="2.0") == "SKIPVER"
    db.add_new_package_version("foo", "1.1")
    assert f"{PURE} is not a file of version 1.1" in error(version="1.1")
    db.hold_builds("foo", "1.0", True)
    assert error() == "SKIPVER"
    db.hold_builds("foo", None, True)
    assert error() == "SKIPPKG"
    db.hold_builds("foo", None, False)
    db.skip_package("foo", "deleted")
    assert error() == "SKIPPKG"
    assert nothing_left(farm, db)


@pytest.mark.parametrize("version", ["1.0", "1.0.0"])
def test_a_skip_or_a_yank_does_not_forbid_an_import(tool, farm, db, version):
    db.skip_package("foo", "needs a compiler that no slave has")
    db.skip_package_version("foo", "1.0", "this one, too")
    db.yank_version("foo", "1.0")
    content = wheel_bytes()
    state = state_of({PURE: content}, OURS, version=version)
    assert tool.ask("IMPORT", state) == ("SEND", PURE)
    tool.send(OURS, content)
    assert tool.ask("SENT") == ("DONE", "IMPORT")
    assert db.get_package_files("foo").keys() == {PURE}


@pytest.mark.parametrize(
    ("name", "abi", "built_for"),
    [
        (PURE, "none", "cp311"),
        ("foo-1.0-py2.py3-none-any.whl", "none", "cp311"),
        ("foo-1.0-cp312-none-any.whl", "none", "cp312"),
        ("foo-1.0-cp37-abi3-linux_x86_64.whl", "abi3", "cp311"),
        ("foo-1.0-cp312-abi3-linux_x86_64.whl", "abi3", "cp312"),
        (PURE, "cp312", "cp312"),
    ],
)
def test_a_build_without_an_abi_is_recorded_for_the_first_compatible_abi(
    tool, farm, db, *, name, abi, built_for
):
    content = wheel_bytes()
    assert tool.ask("IMPORT", state_of({name: content}, OURS, abi)) == ("SEND", name)
    tool.send(OURS, content)
    assert tool.ask("SENT") == ("DONE", "IMPORT")
    assert [build.abi_tag for build in db.get_builds([("foo", "1.0")])] == [built_for]


def test_files_that_no_abi_can_use_are_refused(tool, farm, db):
    for name, abi in (
        ("foo-1.0-py2-none-any.whl", "none"),
        ("foo-1.0-cp313-abi3-linux_x86_64.whl", "abi3"),
    ):
        msg, why = tool.ask("IMPORT", state_of({name: wheel_bytes()}, OURS, abi))
        assert msg == "ERROR"
        assert "no ABI of this farm can use all these files (it builds for: cp311, cp312)" in why


@pytest.mark.parametrize("late", [False, True])
def test_an_import_does_not_replace_a_file_that_a_slave_sent(tool, farm, db, *, late):
    """A slave has sent a file of the same name, and its build is not committed yet."""
    theirs, ours = wheel_bytes(), wheel_bytes(blob=b"ours")

    def slave_sends():
        slave.expect(1, state_of({PURE: theirs})[-1][0])
        tool.send(1, theirs)
        slave.verify(1, "foo")

    slave = Files(farm)
    if not late:
        slave_sends()
    reply = tool.ask("IMPORT", state_of({PURE: ours}, OURS))
    if late:
        slave_sends()
        assert reply == ("SEND", PURE)
        tool.send(OURS, ours)
        reply = tool.ask("SENT")
    assert reply == ("SEND", PURE)
    tool.send(OURS, ours)
    assert tool.ask("SENT") == ("DONE", "IMPORT")
    assert (farm.output_path / "simple/foo" / PURE).read_bytes() == theirs
    assert db.get_package_files("foo").keys() == {"foo-1.0-1-py3-none-any.whl"}
    slave.close()


@pytest.fixture
def run(farm, tmp_path, capsys):
    """Run piw-import on files (contents by name); return status, last line and stderr."""
    folder = tmp_path / "wheels"
    folder.mkdir()

    def run_it(files, *args):
        for name, content in files.items():
            (folder / name).write_bytes(content)
        queues = [f"--import-queue={farm.import_queue}", f"--file-queue={farm.file_queue}"]
        status = importer.main(["--yes", *queues, *args, *(str(folder / name) for name in files)])
        captured = capsys.readouterr()
        return status, captured.out.splitlines()[-1], captured.err

    run_it.folder = folder
    return run_it


def test_piw_import_imports_the_valid_files_of_many(run, farm, db):
    files = {}
    for number in range(12):
        db.add_new_package(f"p{number}")
        db.add_new_package_version(f"p{number}", "1.0")
        files[f"p{number}-1.0-py3-none-any.whl"] = wheel_bytes(f"p{number}", blob=b"x" * 10**5)
    files[NATIVE] = wheel_bytes()
    files[PURE] = wheel_bytes(blob=b"?")
    files["unknown-1.0-py3-none-any.whl"] = wheel_bytes("unknown")
    files["foo-9.0-py3-none-any.whl"] = wheel_bytes(version="9.0")
    files["p1-1.0-cp311-cp311-any.whl"] = wheel_bytes("p2")
    status, last, err = run(files, "--jobs=4", "--delete")
    assert status == 1
    assert last == "imported 14 files, 3 refused"
    for words in (
        "piw-add unknown adds it",
        "foo has no version 9.0 here",
        "which is not p1 1.0",
    ):
        assert words in err
    assert len(db.get_all_build_ids()) == 13, "both files of foo are one build"
    assert {path.name for path in farm.output_path.glob("simple/*/*.whl")} == {*files} - {
        "unknown-1.0-py3-none-any.whl", "foo-9.0-py3-none-any.whl", "p1-1.0-cp311-cp311-any.whl",
    }  # fmt: skip
    assert len(list(run.folder.iterdir())) == 3, "imported files are deleted"
    assert list(farm.work_path.glob("*.part")) == []


def test_piw_import_takes_package_version_and_abi_from_options(run, farm, db):
    db.add_new_package_version("foo", "1.0.post1")
    content = wheel_bytes(version="1.0.post1")
    wrong = run({"foo-1.0.post1-py3-none-any.whl": content}, "--package-version=1.0")
    assert wrong[:2] == (1, "imported 0 files, 1 refused")
    assert run({"foo-1.0.post1-py3-none-any.whl": content}, "--abi=cp399")[0] == 1
    assert nothing_left(farm, db)
    more = ["--abi=cp312", "--package=FOO", "--package-version=1.0.post1", "--duration=1h"]
    assert run({"foo-1.0.post1-py3-none-any.whl": content}, *more)[:2] == (0, "imported 1 file")
    [build] = db.get_builds([("foo", "1.0.post1")])
    assert build.abi_tag == "cp312"
    assert db.get_recent_builds(1)[0].duration == timedelta(hours=1)


def test_a_bug_at_one_import_refuses_only_that(tool, farm, db, monkeypatch):
    real, calls = imports.Imports.answered, []

    def buggy(self, number, result, error):
        calls.append(number)
        if len(calls) == 2:
            raise RuntimeError("a bug")
        return real(self, number, result, error)

    monkeypatch.setattr(imports.Imports, "answered", buggy)
    content = wheel_bytes()
    msg, why = tool.ask("IMPORT", state_of({PURE: content}, OURS))
    assert (msg, "a bug" in why) == ("ERROR", True)
    assert nothing_left(farm, db)
    assert tool.ask("IMPORT", state_of({PURE: content}, OURS)) == ("SEND", PURE)
