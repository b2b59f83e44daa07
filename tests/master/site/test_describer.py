"""A METADATA is read in a process of its own, which hostile ones cannot keep busy."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from piwheels.master.site import describer
from piwheels.master.site.describer import Describer

HEAD = b"Name: x\nSummary: A search\nDescription-Content-Type: text/markdown\n\n"


@pytest.fixture
def describe():
    it = Describer()
    yield it.describe
    it.close()
    assert it._process is None


def test_metadata_and_description_are_returned(describe):
    found = describe(b"Requires-Dist: !\n" + HEAD + b"*well*")
    assert found.metadata.summary == "A search"
    assert found.html == "<p><em>well</em></p>"
    assert (found.left_out, found.failed) == (("requires-dist",), False)
    assert describe(HEAD + b"x" * 10**6).html.startswith("<p>xxx")  # larger than a pipe


def test_a_description_that_takes_too_long_is_shown_as_plain_text(monkeypatch):
    # The process stops at once, as if it had used all of its time, when it renders
    code = (
        "import os, signal\nfrom piwheels.master.site import describer, descriptions\n"
        "descriptions.render = lambda *_: os.kill(os.getpid(), signal.SIGPROF)\ndescriber.main()"
    )
    start = subprocess.Popen
    started = []

    def popen(command, **more):
        started.append(start([command[0], "-c", code], **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    it = Describer()
    for _ in range(2):
        found = it.describe(HEAD + b"<b>hostile")
        assert found.metadata.summary == "A search"
        assert found.html == "<pre>\n&lt;b&gt;hostile</pre>"
        assert found.failed
    it.close()
    assert [each.returncode for each in started] == [-signal.SIGPROF]  # it is not tried again


def test_the_process_limits_its_own_time_and_memory(monkeypatch):
    monkeypatch.setattr(describer, "CPU_SECONDS", 0.2)
    code = (
        "from piwheels.master.site import describer, descriptions\n"
        "describer.CPU_SECONDS = 0.2\n"
        "def render(*_):\n    while True: pass\n"
        "descriptions.render = render\ndescriber.main()"
    )
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **more: start([command[0], "-c", code], **more)
    )
    it = Describer()
    assert it.describe(HEAD + b"busy").failed
    it.close()


def test_a_process_that_ended_without_work_is_started_again(describe):
    it = describe.__self__
    assert describe(HEAD + b"one").html == "<p>one</p>"
    it._process.stdin.close()  # it ends as after a minute without work
    it._process.wait(30)
    assert it._process.returncode == 0
    assert describe(HEAD + b"two").html == "<p>two</p>"
    first = it._process.pid
    os.kill(first, signal.SIGKILL)
    it._process.wait(30)
    assert describe(HEAD + b"three").html == "<p>three</p>"
