from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import zmq

from helpers import BACKEND, add_source, alive, patience, until
from piwheels.core.errors import BadWheel, Unavailable
from piwheels.core.host.interpreters import probe
from piwheels.core.host.supervision import descendants
from piwheels.core.protocols import slave_driver
from piwheels.core.states import Trial
from piwheels.core.transport import Context, Socket
from piwheels.core.wheels import built
from piwheels.core.wheels.dependencies import System
from piwheels.core.wheels.integrity import verify_wheel
from piwheels.slave.builder import RESERVE, Builder, Wheel, clean_stale, why_unusable
from piwheels.slave.trials.wheels import Trials

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def build(work: Path, package: str, version: str = "1.0", seconds: float = 60) -> Builder:
    builder = Builder(
        package, version, timeout=timedelta(seconds=seconds), dir=work, system=System(work)
    )
    builder.start()
    builder.join(patience(90))
    assert not builder.is_alive()
    return builder


def failed(builder: Builder, work: Path, *words: str, ending: str = "") -> None:
    assert builder.status is False
    assert builder.ending
    assert not ending or builder.ending == ending
    assert builder.wheels == []
    assert all(word in builder.output for word in words), builder.output
    message = reversed(slave_driver).to_send("BUILT", builder.as_message())
    assert message[0] is False
    assert list(work.iterdir()) == []
    builder.close()


def test_a_build_succeeds(index: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIW_DSN", "hidden")
    add_source(
        index,
        "demo",
        before="print(sorted(os.environ)); os.write(1, b'to out\\n'); os.write(2, b'to err\\n')",
    )
    builder = build(work, "Demo")
    assert builder.status, builder.output
    (wheel,) = builder.wheels
    assert wheel.filename == "demo-1.0-py3-none-any.whl"
    assert wheel.requires_python == ">=3.8"
    assert wheel.dependencies == {"pip": {"six"}}
    assert wheel.metadata.startswith(b"Metadata-Version")
    assert "PIW_" not in builder.output
    assert 0 <= builder.output.index("to out\n") < builder.output.index("to err\n")
    assert timedelta(0) < builder.duration < timedelta(seconds=60)
    message = builder.as_message()
    assert message[3] == [wheel.as_message()]
    assert message[5] == [Trial(wheel.filename, True, True)]
    assert f"piwheels: {wheel.filename}: installs, imports\n" in builder.output
    assert reversed(slave_driver).to_send("BUILT", message)
    assert len(list(work.iterdir())) == 1
    assert clean_stale(work) == 0
    builder.close()
    builder.close()
    assert list(work.iterdir()) == []


def test_a_wheel_that_pip_cannot_install_fails_its_build(index: Path, work: Path) -> None:
    script = "INFO + '/entry_points.txt', '[console_scripts]\\nx = demo\\n'"
    add_source(
        index, after=f"with zipfile.ZipFile(path, 'a') as archive: archive.writestr({script})"
    )
    words = "pip cannot install demo-1.0-py3-none-any.whl", "Invalid script entry point"
    failed(build(work, "demo"), work, *words, ending="trial")


def test_a_trial_that_is_not_possible_fails_no_build(
    index: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_source(index)

    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Trials, "run", refuse)
    with build(work, "demo") as builder:
        assert builder.status
        assert "demo-1.0-py3-none-any.whl could not be tried: no room" in builder.output
        assert builder.as_message()[5] == [Trial("demo-1.0-py3-none-any.whl")]


def test_a_build_that_is_stopped_tries_nothing_more(
    index: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_source(index)
    begun, stopped = threading.Event(), threading.Event()

    def run(*_: object) -> Trial:
        begun.set()
        assert stopped.wait(patience(60))
        return Trial("demo-1.0-py3-none-any.whl")

    monkeypatch.setattr(Trials, "run", run)
    monkeypatch.setattr(Trials, "stop", lambda _: stopped.set())
    with Builder("demo", "1.0", dir=work, system=System(work)) as builder:
        builder.start()
        assert begun.wait(patience(60))
        builder.stop()
        assert stopped.is_set()


def test_a_missing_or_invalid_version_fails(index: Path, work: Path) -> None:
    failed(build(work, "nothing"), work, "nothing", "pip ended with status 1", ending="exit 1")
    failed(build(work, "demo", "1.0; x"), work, "is not a version", ending="request")
    failed(build(work, "demo", "1.*"), work, "is not a version")
    failed(build(work, "--help"), work, "is not the name")


@pytest.mark.parametrize(
    ("before", "after", "words", "ending"),
    [
        ("raise OSError(28, 'No space left on device')", "", ["disk was full"], "exit 1"),
        ("os.kill(os.getppid(), 9)", "", ["killed from outside"], "signal 9"),
        ("os.kill(os.getpid(), 9)", "", ["programs was killed by signal 9 (did mem"], "exit 1"),
        ("os.kill(os.getpid(), 11)", "", ["one of its programs crashed by signal 11"], "exit 1"),
        ("", "os.unlink(path)", ["pip ended"], "exit 1"),
        ("", "open(path, 'w').write('no zip')", ["pip ended"], "exit 1"),
        (
            "out = os.environ['TMPDIR'] + '/../out'; os.rmdir(out); "
            "os.mkdir(out + '2'); os.symlink('out2', out)",
            "",
            ["by a link"],
            "wheel",
        ),
        # pip accepts these wheels; the slave does not.
        ("", "open(path, 'ab').write(b'more')", ["broken wheel", "data after its end"], "wheel"),
        (
            "",
            "zipfile.ZipFile(path, 'a').writestr('../evil', '')",
            ["broken wheel", "outside"],
            "wheel",
        ),
    ],
)
def test_a_broken_build_fails_with_a_reason(  # noqa: PLR0917
    index: Path, work: Path, before: str, after: str, words: list[str], ending: str
) -> None:
    add_source(index, "demo", before=before, after=after)
    failed(build(work, "demo"), work, *words, ending=ending)


def test_a_wheel_with_programs_is_for_the_platform_that_built_it(index: Path, work: Path) -> None:
    add_source(
        index, "demo", after="zipfile.ZipFile(path, 'a').writestr('demo/run', b'\\x7fELF\\2\\1')"
    )
    builder = build(work, "demo")
    assert [wheel.filename for wheel in builder.wheels] == [
        f"demo-1.0-py3-none-{probe().platform}.whl"
    ]
    assert "demo-1.0-py3-none-any.whl has native programs" in builder.output
    builder.close()


def test_a_wheel_with_dynamic_requirements_is_for_one_python(index: Path, work: Path) -> None:
    add_source(index, "demo", more="Dynamic: Requires-Dist\n")
    builder = build(work, "demo")
    (wheel,) = builder.wheels
    python = f"cp{probe().py_version}"
    assert wheel.filename == f"demo-1.0-{python}-none-any.whl"
    assert verify_wheel(wheel.path).tags == (f"{python}-none-any",)
    assert wheel.trial.installs
    assert "requirements that may differ between Pythons" in builder.output
    builder.close()
    assert list(work.iterdir()) == []


def test_a_build_ends_at_its_timeout_with_a_message(index: Path, work: Path) -> None:
    add_source(index, "demo", before="time.sleep(60)")
    builder = build(work, "demo", seconds=3)
    failed(builder, work, "0:00:03", "time-out", ending="timeout")
    assert builder.duration >= timedelta(seconds=3)


def test_stop_ends_a_running_build(index: Path, work: Path) -> None:
    add_source(index, "demo", before="print('sleeping', flush=True); time.sleep(60)")
    before = set(descendants(os.getpid()))
    builder = Builder("demo", "1.0", dir=work)
    builder.start()
    until(lambda: "sleeping" in builder.output)
    builder.stop()
    builder.join(patience(10))
    assert not builder.is_alive()
    failed(builder, work, "sleeping", "was stopped", ending="stopped")
    assert set(descendants(os.getpid())) <= before


def test_a_build_can_be_stopped_before_it_starts(index: Path, work: Path) -> None:
    with Builder("demo", "1.0", dir=work) as builder:
        builder.stop()
        builder.start()
        builder.join(patience(10))
        failed(builder, work, "was stopped", ending="stopped")
    Builder("demo", "1.0", dir=work).close()


def test_an_unwritable_folder_fails_the_build(tmp_path: Path) -> None:
    builder = build(tmp_path / "none", "demo")
    assert builder.status is False
    assert "No such file" in builder.output


def test_kill_9_of_the_slave_leaves_neither_processes_nor_files(index: Path, work: Path) -> None:
    add_source(index, "demo", before="print('sleeping', flush=True); time.sleep(60)")
    script = (
        "import sys, time\nfrom piwheels.slave.builder import Builder\n"
        "b = Builder('demo', '1.0', dir=sys.argv[1]); b.start()\n"
        "while 'sleeping' not in b.output: time.sleep(0.05)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(work)], stdout=subprocess.PIPE
    ) as slave:
        assert slave.stdout is not None
        assert slave.stdout.readline() == b"up\n"
        tree = descendants(slave.pid)
        assert len(tree) >= 3
        os.kill(slave.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, tree)))
    assert list(work.iterdir()) == []


def test_only_old_build_directories_are_removed(work: Path) -> None:
    old = work / "piw-build-old"
    old.mkdir()
    (work / "piw-build-link").symlink_to("/etc")
    (work / "other").mkdir()
    assert clean_stale(work) == 0  # it may have been created just now
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + 3600)
        assert clean_stale(work) == 1
    assert sorted(p.name for p in work.iterdir()) == ["other", "piw-build-link"]


# The file wire ------------------------------------------------------------------------------------


@pytest.fixture
def wheel(index: Path, work: Path) -> Wheel:
    add_source(index, "demo", before="metadata += '\\n' + 'x' * 3000")
    namespace: dict[str, object] = {}
    exec(BACKEND.format(name="demo", version="1.0", before="pass", after="pass"), namespace)  # noqa: S102
    namespace["build_wheel"](str(work))  # type: ignore[operator]
    return Wheel(work / "demo-1.0-py3-none-any.whl", {"libc6"})


class Master:
    """The master's end of the file wire, controlled by the test."""

    def __init__(self, wheel: Wheel) -> None:
        self.context = Context(zmq.Context())
        self.router = self.context.socket(zmq.ROUTER)
        self.router.bind("inproc://files")
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._send, args=(wheel,))
        self.thread.start()

    def _send(self, wheel: Wheel) -> None:
        dealer: Socket = self.context.socket(zmq.DEALER)
        dealer.connect("inproc://files")
        try:
            wheel.transfer(dealer, 7)
        except Unavailable as error:
            self.error = error
        finally:
            dealer.close(linger=1)

    def receive(self, seconds: float = 5) -> list[bytes]:
        assert self.router.poll(patience(seconds))
        self.address, *frames = self.router.recv_multipart()
        return frames

    def say(self, *frames: bytes) -> None:
        self.router.send_multipart([self.address, *frames])

    def end(self) -> None:
        self.thread.join(patience(10))
        assert not self.thread.is_alive()
        self.router.close()
        self.context._context.term()


def test_a_transfer_sends_the_whole_file(wheel: Wheel) -> None:
    master = Master(wheel)
    assert master.receive() == [b"HELLO", b"7"]
    data = wheel.path.read_bytes()
    received = b""
    for offset in range(0, len(data), 100):
        master.say(b"FETCH", str(offset).encode(), b"100")
        kind, at, chunk = master.receive()
        assert (kind, int(at)) == (b"CHUNK", offset)
        received += chunk
    master.say(b"DONE")
    master.end()
    assert received == data


@pytest.mark.parametrize(
    "frames",
    [
        (b"FETCH", b"-1", b"10"),
        (b"FETCH", b"0", b"0"),
        (b"FETCH", b"0", b"99999999999"),
        (b"FETCH", b"99999999", b"10"),
        (b"FETCH", b"0", b"9" * 5000),
        (b"FETCH", "\u0664".encode(), b"1"),
        (b"FETCH",),
        (b"",),
        (b"DONE", b"DONE"),
    ],
)
def test_invalid_requests_of_a_master_get_no_reply(wheel: Wheel, frames: tuple[bytes, ...]) -> None:
    master = Master(wheel)
    assert master.receive() == [b"HELLO", b"7"]
    master.say(*frames)
    master.say(b"FETCH", str(wheel.filesize - 1).encode(), b"10")
    assert master.receive() == [b"CHUNK", str(wheel.filesize - 1).encode(), b"\0"]
    master.say(b"DONE")
    master.end()


def test_a_transfer_fails_when_the_master_is_silent(
    wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(built, "HELLO_SECONDS", 0.05)
    monkeypatch.setattr(built, "SILENCE_SECONDS", 0.3)
    master = Master(wheel)
    for _ in range(3):
        assert master.receive() == [b"HELLO", b"7"]
    master.end()
    assert isinstance(master.error, Unavailable)


def test_a_wheel_has_tags_dependencies_and_a_hash(wheel: Wheel) -> None:
    assert wheel.package_tag == wheel.package_canon == "demo"
    assert wheel.package_version_tag == "1.0"
    assert (wheel.py_version_tag, wheel.abi_tag, wheel.platform_tag) == ("py3", "none", "any")
    assert wheel.build_tag is None
    assert wheel.apt_dependencies == {"libc6"}
    assert wheel.dependencies == {"apt": {"libc6"}, "pip": {"six"}}
    assert len(wheel.filehash) == 64
    with pytest.raises(BadWheel):
        Wheel(wheel.path, package="other")


def test_an_unusable_build_directory_is_reported_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why_unusable(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert "let this user write there" in why_unusable(tmp_path / "missing")
    small = os.statvfs_result((4096, 4096, *[RESERVE // 4096] * 6, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: small)
    assert "(64 MiB free): make room" in why_unusable(tmp_path)
