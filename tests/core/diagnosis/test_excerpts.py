"""The lines of a log that people should read."""

from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.diagnosis import Diagnosis, diagnose, excerpt, last_reason
from piwheels.core.diagnosis.excerpts import last_lines


def test_notes_of_the_farm_about_its_recipe_are_no_reason():
    note = "piwheels: the index does not say when files of numpy were uploaded: the build gets all"
    assert last_reason(f"It does not work.\n{note}\npiwheels: the build failed: no\n") == (
        "It does not work."
    )


def test_the_reason_is_the_last_line_of_the_build_itself():
    log = """
  Running command Getting requirements to build wheel
  This backport is for Python 2.7 only.
  error: subprocess-exited-with-error

  \u00d7 Getting requirements to build wheel did not run successfully.
  \u2502 exit code: 1
  \u2570\u2500> No available output.

  note: This error originates from a subprocess, and is likely not a problem with pip.
  full command: /bin/python
ERROR: Failed to build 'functools32' when getting requirements to build wheel
piwheels: the build failed: pip ended with status 1
"""
    assert last_reason(log) == "This backport is for Python 2.7 only."
    stopped = "x\npiwheels: the build was stopped after 0:05:00: that is its time-out\n"
    assert last_reason(stopped)[:10] == "piwheels: "
    assert last_reason("") == "the log is empty"
    assert last_reason("Failed to build x\n") == "Failed to build x"


LOG = """\
  Building wheel for toy (pyproject.toml): started
      toy.c:1:10: fatal error: tin.h: No such file or directory

          1 | #include <tin.h>
      error: command '/usr/bin/gcc' failed with exit code 1
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
  ERROR: Failed building wheel for toy
"""


def test_the_last_lines_are_those_of_the_build_itself():
    lines = [line.strip() for line in last_lines(LOG, 8)]
    assert lines[0].startswith("toy.c:1:10")
    assert lines[-1] == "error: command '/usr/bin/gcc' failed with exit code 1"
    assert len(lines) == 3
    assert [line.strip() for line in last_lines(LOG, 2)] == lines[1:]


def test_an_excerpt_has_the_cause_and_the_lines_around_it():
    log = f"  first\n  second\n  third\n{LOG}"
    lines = [line.strip() for line in excerpt(log, diagnose(log))]
    assert lines == [
        "first", "second", "third", "toy.c:1:10: fatal error: tin.h: No such file or directory",
        "1 | #include <tin.h>", "error: command '/usr/bin/gcc' failed with exit code 1",
    ]  # fmt: skip
    assert [line.strip() for line in excerpt(log, diagnose(log), 2)] == lines[2:4]
    assert [line.strip() for line in excerpt(log, diagnose(log), 1)] == lines[3:4]


def test_an_excerpt_may_be_in_the_middle():
    log = "  x.c:1:10: fatal error: ffi.h: No such file or directory\n" + "  more\n" * 100_000
    lines = excerpt(log, diagnose(log))
    assert "ffi.h" in lines[0]
    assert len(lines) == 8


def test_an_excerpt_without_a_cause_has_the_last_lines():
    assert excerpt(LOG) == last_lines(LOG, 8)
    assert excerpt(LOG, Diagnosis("unknown", "", "not there")) == last_lines(LOG, 8)


def test_a_cause_in_a_frame_of_pip_is_in_the_excerpt():
    log = "  compiling\n  \u00d7 Building wheel did not run.\n  \u2502 exit code: -9\n  more\n"
    assert [line.strip() for line in excerpt(log, diagnose(log))] == [
        "compiling", "\u2502 exit code: -9", "more",
    ]  # fmt: skip


@given(st.text(), st.integers(1, 9))
def test_any_log_has_last_lines(log, most):
    lines = last_lines(log, most)
    assert len(lines) <= most
    assert bool(lines) == bool(log.strip())
    assert all(line.strip() in log for line in lines)


@given(st.text() | st.text("error: ab\n"), st.integers(1, 9))
def test_any_log_has_an_excerpt(log, most):
    assert len(excerpt(log, diagnose(log), most)) <= most
