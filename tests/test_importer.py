"""piw-import against a stand-in for the master; tests/master/test_importing.py has a real one."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from helpers import until, wheel_bytes
from peers import FakePeer
from piwheels import importer
from piwheels.core.codec import NoData
from piwheels.core.errors import BadWheel, Refused, Unavailable
from piwheels.core.states import BuildState
from piwheels.core.wheels.built import Wheel
from piwheels.importer import do_import, do_send, grouped, print_state


@pytest.fixture
def wheels(tmp_path):
    """Return a maker of wheels that are files here, by their names."""

    def make(*names):
        made = []
        for name in names:
            package, version, *_ = name.split("-")
            path = tmp_path / f"{name}.whl"
            path.write_bytes(wheel_bytes(package, version))
            made.append(Wheel(path))
        return made

    return make


def config_of(**options):
    return importer.ImportConfig(**options)


class Files(FakePeer):
    """Replaces FileJuggler: receives one file, and records its sender."""

    def __init__(self, address, size):
        super().__init__(address)
        self.size, self.number, self.content = size, None, b""

    def answer(self, socket):
        address, *frames = socket.recv_multipart()
        match frames:
            case [b"HELLO", number]:
                self.number = int(number)
                socket.send_multipart([address, b"FETCH", b"0", b"%d" % self.size])
            case [b"CHUNK", b"0", data]:
                self.content = data
                socket.send_multipart([address, b"DONE"])


@pytest.mark.parametrize(
    ("names", "abi", "builds"),
    [
        (["foo-1.0-py3-none-any"], "", {"none": 1}),
        (["foo-1.0-py2-none-any", "foo-1.0-py3-none-any"], "", {"none": 2}),
        (["foo-1.0-py3-none-any", "foo-1.0-cp39-abi3-any"], "", {"abi3": 2}),
        (["foo-1.0-py3-none-any", "foo-1.0-cp311-cp311-any"], "", {"cp311": 2}),
        (["foo-1.0-cp311-cp311-linux_armv6l", "foo-1.0-cp311-cp311-linux_armv7l"], "",
         {"cp311": 2}),
        (["foo-1.0-cp312-cp312-any", "foo-1.0-cp311-cp311-any", "foo-1.0-py3-none-any"], "",
         {"cp312": 1, "cp311": 1, "none": 1}),
        (["foo-1.0-py3-none-any", "foo-1.0-cp311-cp311-any"], "cp312", {"cp312": 2}),
    ],
)  # fmt: skip
def test_the_files_of_a_version_are_a_build_unless_their_abis_differ(wheels, names, abi, builds):
    found = grouped(wheels(*names), abi)
    assert {tag: len(group) for tag, group in found} == builds


def test_versions_and_packages_are_builds_of_their_own(wheels):
    names = ["foo-1.0-py3-none-any", "Foo-1.0.0-py2-none-any", "foo-2.0-py3-none-any"]
    found = grouped(wheels(*names, "bar-1.0-py3-none-any"))
    assert [[wheel.filename[:7] for wheel in group] for _, group in found] == [
        ["foo-1.0", "Foo-1.0"], ["foo-2.0"], ["bar-1.0"],
    ]  # fmt: skip


def state_of(wheels, abi="cp311", number=0):
    files = {wheel.filename: wheel for wheel in wheels}
    message = [
        number, "foo", "1.0", abi, True, timedelta(seconds=90), "log",
        [wheel.as_message() for wheel in files.values()],
    ]  # fmt: skip
    return BuildState.from_message(message)


def test_a_state_is_described(wheels, capsys):
    [wheel] = wheels("foo-1.0-py3-none-any")
    wheel.libraries = {"apt": ["libc6"], "": ["libodd.so.1"]}
    print_state(state_of([wheel]))
    said = capsys.readouterr().out
    assert said.startswith("foo 1.0, built for cp311 in 0:01:30:\n  foo-1.0-py3-none-any.whl (")
    for words in (wheel.filehash, "apt      libc6", "unknown  libodd.so.1"):
        assert words in said


@pytest.mark.parametrize("number", [0, 2**40])
def test_files_are_sent_under_the_states_own_number(wheels, mr_chase, tmp_path, number):
    [wheel] = wheels("foo-1.0-py3-none-any")
    mr_chase.answers = {"IMPORT": ("SEND", wheel.filename), "SENT": ("DONE", "IMPORT")}
    state = state_of([wheel], number=number)
    with Files(f"ipc://{tmp_path}/piwheels/file", wheel.filesize) as files:
        do_import(config_of(), [wheel], state)
    assert (files.number, files.content) == (number, wheel.path.read_bytes())
    assert mr_chase.asked == [("IMPORT", state), ("SENT", NoData)]


def test_a_master_lost_in_a_transfer_is_noticed(wheels, mr_chase, tmp_path):
    [wheel] = wheels("foo-1.0-py3-none-any")
    mr_chase.answers = {"IMPORT": ("SEND", wheel.filename)}
    with SilentJuggler(f"ipc://{tmp_path}/piwheels/file") as files:
        files.then = mr_chase.stop
        with pytest.raises(Unavailable, match="lost the master"):
            do_import(config_of(), [wheel], state_of([wheel]))


class SilentJuggler(FakePeer):
    """Replaces a FileJuggler that fetches no chunk; it calls *then* instead."""

    then = None

    def answer(self, socket):
        socket.recv_multipart()
        self.then()


def test_unsuitable_files_are_refused(wheels, tmp_path, monkeypatch):
    monkeypatch.setattr("piwheels.core.farm.CONNECT_LIMIT", 0.1)
    [wheel] = wheels("foo-1.0-py3-none-any")
    with pytest.raises(Refused, match="not among the files"):
        do_send([wheel], "bar-1.0-py3-none-any.whl")
    with pytest.raises(Unavailable, match="--file-queue"):
        do_send([wheel], wheel.filename, file_queue=f"ipc://{tmp_path}/nobody")


def test_other_files_than_wheels_are_refused_before_the_question(tmp_path, mr_chase, capsys):
    (tmp_path / "a\x1b[2J.whl").write_bytes(b"no")
    (tmp_path / "foo-1.0-py3-none-any.whl").write_bytes(wheel_bytes("bar"))
    (tmp_path / "foo-2.0-py3-none-any.whl").mkdir()
    paths = [str(path) for path in sorted(tmp_path.glob("*.whl"))]
    assert importer.main([*paths, str(tmp_path / "gone.whl"), "--yes"]) == 1
    captured = capsys.readouterr()
    why = ["not the name of a wheel", "not foo 1.0", "no such file", "no such file"]
    lines = captured.err.splitlines()
    assert [words in line for words, line in zip(why, lines, strict=True)] == [True] * 4
    assert captured.out == "imported 0 files, 4 refused\n"
    assert "\x1b" not in captured.err
    assert mr_chase.asked == []


def test_a_refused_import_does_not_stop_the_others(wheels, mr_chase, capsys):
    paths = [str(wheel.path) for wheel in wheels("foo-1.0-py3-none-any", "bar-1.0-py3-none-any")]
    mr_chase.answers = {"IMPORT": [("ERROR", "NOPKG"), ("DONE", "IMPORT")]}
    assert importer.main([*paths, "--yes", "-j1", "--delete"]) == 1
    captured = capsys.readouterr()
    assert "the package foo is not known here: piw-add foo adds it" in captured.err
    assert captured.out.endswith("imported 1 file, 1 refused\n")
    assert [state.package for _, state in mr_chase.asked] == ["foo", "bar"]
    numbers = {state.slave_id for _, state in mr_chase.asked}
    assert len(numbers) == 2
    assert min(numbers) >= 2**32
    assert [Path(path).exists() for path in paths] == [True, False], "only what is imported goes"


def test_a_name_that_is_too_long_is_refused_like_a_missing_file():
    with pytest.raises(BadWheel, match="cannot be read: File name too long"):
        importer._wheel(Path("x" * 300), importer.ImportConfig(), None, set())


def test_the_report_as_json(wheels, mr_chase, capsys):
    paths = [str(wheel.path) for wheel in wheels("foo-1.0-py3-none-any", "bar-1.0-py3-none-any")]
    mr_chase.answers = {"IMPORT": [("ERROR", "NOPKG"), ("DONE", "IMPORT")]}
    assert importer.main(["missing.whl", *paths, "--yes", "-j1", "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    files = ["missing.whl", *paths]
    assert [(each["event"], each["file"]) for each in found[:3]] == list(
        zip(["refused", "refused", "imported"], files, strict=True)
    )
    assert found[0]["message"] == "there is no such file"
    assert found[3:] == [
        {"event": "finished", "imported": 1, "refused": 2, "abandoned": 0,
         "message": "imported 1 file, 2 refused"},
    ]  # fmt: skip


def test_a_missing_master_ends_the_import_immediately(wheels, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("piwheels.core.farm.CONNECT_LIMIT", 0.1)
    paths = [str(wheel.path) for wheel in wheels("foo-1.0-py3-none-any", "bar-1.0-py3-none-any")]
    assert importer.main([*paths, "-y", "-j1", "--import-queue", f"ipc://{tmp_path}/no"]) == 1
    captured = capsys.readouterr()
    assert "start piw-master" in captured.err
    assert captured.out.endswith("imported 0 files, 2 abandoned\n")


def test_the_report_on_a_build(wheels, mr_chase, tmp_path):
    [wheel] = wheels("foo-1.0-py3-none-any")
    (tmp_path / "log").write_bytes(b"made by hand\xff\n")
    mr_chase.answers = {"IMPORT": ("DONE", "IMPORT")}
    more = ["--package", "Foo", "--package-version", "1.0.0", "--abi", "cp312"]
    more += ["--duration", "2m", "--output", str(tmp_path / "log")]
    assert importer.main([str(wheel.path), "-yq", *more]) == 0
    [(_, state)] = mr_chase.asked
    assert (state.package, state.version, state.abi_tag) == ("Foo", "1.0.0", "cp312")
    assert (state.duration, state.output) == (timedelta(minutes=2), "made by hand\ufffd\n")


def test_a_running_import_is_abandoned_after_its_limit(wheels, mr_chase, monkeypatch, capsys):
    """Ctrl+C while the master does not answer."""
    monkeypatch.setattr(importer, "STOP_LIMIT", 0.3)
    paths = [str(wheel.path) for wheel in wheels("foo-1.0-py3-none-any", "bar-1.0-py3-none-any")]
    mr_chase.answers = {"IMPORT": None}
    really = importer.wait

    def interrupted(futures):
        monkeypatch.setattr(importer, "wait", really)
        until(lambda: mr_chase.asked)
        raise KeyboardInterrupt

    monkeypatch.setattr(importer, "wait", interrupted)
    assert importer.main([*paths, "-y", "-j1"]) == 1
    captured = capsys.readouterr()
    assert "interrupted" in captured.err
    assert captured.out.endswith("imported 0 files, 2 abandoned\n")
    assert len(mr_chase.asked) == 1


@pytest.mark.parametrize(
    "args", [[], ["x.whl", "--output", "/nowhere/log"], ["x.whl", "--output", "/dev/zero"]]
)
def test_missing_arguments(mr_chase, args, capsys):
    assert importer.main([*args, "--yes"]) == 1
    assert mr_chase.asked == []
    assert capsys.readouterr().err.startswith("piw-import: ")


@pytest.mark.parametrize("args", [["-j", "0"], ["-j", "x"], ["--package", "a b"], ["--abi", "a b"]])
def test_wrong_usage(args):
    with pytest.raises(SystemExit) as caught:
        importer.main(["x.whl", *args])
    assert caught.value.code == 2
