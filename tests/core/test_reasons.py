from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.reasons import last_lines, last_reason


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
    assert last_reason("x\npiwheels: the build was stopped after 0:05:00: that is its time-out\n")[
        :10
    ] == ("piwheels: ")
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


@given(st.text(), st.integers(1, 9))
def test_any_log_has_last_lines(log, most):
    lines = last_lines(log, most)
    assert len(lines) <= most
    assert bool(lines) == bool(log.strip())
    assert all(line.strip() in log for line in lines)
