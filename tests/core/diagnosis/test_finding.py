"""The diagnosis: which line decides, and what the ending of a build says."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.diagnosis import CLASSES, diagnose
from piwheels.core.diagnosis.finding import LONGEST

HEADER = "src/x.c:9:10: fatal error: portaudio.h: No such file or directory"
FRAME = """
  error: subprocess-exited-with-error

  \u00d7 Building wheel for toy (pyproject.toml) did not run successfully.
  \u2502 exit code: 1
  \u2570\u2500> No available output.

  note: This error originates from a subprocess, and is likely not a problem with pip.
  ERROR: Failed building wheel for toy
Failed to build toy
ERROR: Failed to build one or more wheels
piwheels: the build failed: pip ended with status 1
"""
WARNING = "  src/y.c:1:2: warning: unused variable [-Wunused]\n"
SIZE = 15 * 2**20

#: Logs of faults of slaves, and of the farm, each with the class.
FARM = {
    "WARNING: pip is configured with locations that require TLS/SSL, however the ssl module in"
    " Python is not available.\nERROR: No matching distribution found for six": "slave-broken",
    "Can't connect to HTTPS URL because the SSL module is not available.": "slave-broken",
    "Usage:\n  pip wheel [options]\n\nno such option: --use-pep517": "slave-broken",
    "/usr/bin/python3: No module named pip": "slave-broken",
    "OSError: [Errno 28] No space left on device": "disk-full",
    "piwheels: the build was stopped because its disk is full (less than 64 MiB free)": "disk-full",
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken": "index-unreachable",
    "piwheels: this slave cannot reach the index: https://index.example/: 502": "index-unreachable",
    "piwheels: the build was killed from outside (did memory run out?)": "killed",
    "gcc: fatal error: Killed signal terminated program cc1plus": "out-of-memory",
    "ModuleNotFoundError: No module named '_ctypes'": "incomplete-python",
    "src/x.c:1:10: fatal error: Python.h: No such file or directory": "incomplete-python",
    "x.c:1:10: fatal error: 'Python.h' file not found": "incomplete-python",
    "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory": "missing-compiler",
    "unable to execute 'gcc': No such file or directory": "missing-compiler",
    "configure: error: no acceptable C compiler found in $PATH": "missing-compiler",
}
#: Logs of failures that no other slave would change.
CERTAIN = {
    "ERROR: Package 'six' requires a different Python: 3.11.2 not in '<3'": "python-too-new",
    "ERROR: No matching distribution found for six==1.0": "no-source",
    "Requested six==1 from file:///six-1.zip has inconsistent version: expected '1', but metadata"
    " has '1.1'": "metadata-mismatch",
    "piwheels: six-2-py3-none-any.whl is not a file of version 1": "metadata-mismatch",
    "    SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?": "python-2",
    "    ModuleNotFoundError: No module named 'ConfigParser'": "python-2",
    "    NameError: name 'execfile' is not defined": "python-2",
}
#: Logs of failures of packages that look like those.
OTHERS = [
    "",
    "error: command 'gcc' failed with exit code 1",
    "src/x.c:1:10: fatal error: ffi.h: No such file or directory",
    "ModuleNotFoundError: No module named 'numpy'",
    "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken",
    "No space left on device" + "\n" * 200_000,
    "  tests/test_disk.py: 'No space left on device' is shown\n  ValueError: 1",
    "    NameError: name 'x' is not defined",
    "  no such option: --use-pep517",  # pip prints its own lines without a margin
    "  /usr/bin/python3: No module named pip_tools",
    "  WARNING: Retrying (Retry(total=0, connect=None)) after connection broken",
    "  piwheels: the build was killed from outside (did memory run out?)\n  error: no",
    "piwheels: the build was killed from outside (did memory run out?)\nERROR: no",
    "  print('MemoryError')\n  AssertionError: MemoryError is caught",
]


@pytest.mark.parametrize(("log", "reason"), FARM.items())
def test_a_fault_of_the_farm_is_found(log, reason):
    end = "" if log.startswith("piwheels: ") else "\nERROR: the end\n"
    assert diagnose(f"Collecting six\n{log}{end}").reason == reason
    assert CLASSES[reason].fault == "farm"


@pytest.mark.parametrize("log", [*OTHERS, *CERTAIN])
def test_other_failures_are_no_fault_of_the_farm(log):
    diagnosis = diagnose(log)
    assert diagnosis.about.fault != "farm"
    assert diagnosis.about.suspends == 0


@pytest.mark.parametrize(("log", "reason"), CERTAIN.items())
def test_a_certain_cause_is_found(log, reason):
    frame = "note: This error originates from a subprocess\n"
    end = "" if log.startswith("piwheels: ") else frame + "piwheels: the build failed\n"
    diagnosis = diagnose(f"Collecting six\n{log}\n{end}")
    assert diagnosis.reason == reason
    assert diagnosis.about.certain


@pytest.mark.parametrize("log", [*OTHERS, *FARM])
def test_other_causes_are_not_certain(log):
    assert not diagnose(log).about.certain


def test_the_worst_fault_is_the_cause():
    assert diagnose("Python.h: No such file\nError: No space left on device").reason == "disk-full"


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("timeout", "time-out"), ("silent", "silence"), ("memory", "out-of-memory"),
        ("disk", "too-large"), ("processes", "too-large"), ("cpu", "too-large"),
        ("full", "disk-full"), ("lost", "lost"), ("trial", "wheel-refused"),
        ("wheel", "wheel-refused"), ("signal 9", "killed"), ("signal 15", "killed"),
        ("signal 11", "crashed"), ("exit 137", "killed"), ("stopped", "unknown"),
        ("exit 1", "missing-header"), ("", "missing-header"),
        ("request", "recipe-refused"), ("error", "slave-broken"),
    ],
)  # fmt: skip
def test_a_decisive_ending_counts_more_than_the_log(ending, reason):
    diagnosis = diagnose(f"  {HEADER}\n  error: no", ending)
    assert diagnosis.reason == reason
    assert diagnosis.cause


def test_the_notes_of_the_farm_add_to_the_ending():
    note = "piwheels: the build was stopped: it used more than 20 GB of disk (--disk)"
    diagnosis = diagnose(f"  {HEADER}\n{note}\n", "disk")
    assert diagnosis == ("too-large", "20 GB of disk (--disk)", note, 1)
    note = "piwheels: six-2-py3-none-any.whl is not a file of version 1"
    assert diagnose(f"  {HEADER}\n{note}\n", "wheel").reason == "metadata-mismatch"
    assert diagnose("piwheels: [Errno 28] No space left on device: '/x'", "wheel").about.code == (
        "disk-full"
    )


def test_notes_are_the_last_lines():
    note = "piwheels: the build was stopped after 3:00:00, its time-out\n"
    assert diagnose(note).reason == "time-out"
    assert diagnose(f"  {HEADER}\n{note}").reason == "time-out"
    assert diagnose(f"{note}  {HEADER}\n{FRAME}").reason == "missing-header"


def test_a_build_cannot_print_how_it_ended():
    forged = "piwheels: the build was stopped after 3:00:00, its time-out\n"
    end = "piwheels: the build failed: pip ended with status 1\n"
    assert diagnose(forged + end).reason == "unknown"
    assert diagnose(f"  {HEADER}\n{forged}{end}", "exit 1").reason == "missing-header"
    assert diagnose("piwheels: the build was lost, because its supervisor was killed\n").reason == (
        "unknown"
    )


def test_a_silent_build_may_have_asked():
    log = "  building\n  Do you accept the licence? [y/N]\npiwheels: the build was stopped\n"
    assert diagnose(log, "silent").reason == "asks-input"
    assert diagnose(log, "timeout").cause == "Do you accept the licence? [y/N]"
    assert (
        diagnose("  compiling x.c\npiwheels: the build was stopped", "silent").reason == "silence"
    )


@pytest.mark.parametrize("place", [0, SIZE // 2])
@pytest.mark.parametrize("width", ["", "\u2502 "])
def test_the_cause_is_found_wherever_it_is(place, width):
    before, after = WARNING * (place // len(WARNING)), WARNING * ((SIZE - place) // len(WARNING))
    log = f"{before}{width}  {HEADER}\n{after}  make: *** [Makefile:3: x.o] Error 1\n{FRAME}"
    diagnosis = diagnose(log, "exit 1")
    assert (diagnosis.reason, diagnosis.subject) == ("missing-header", "portaudio.h")
    assert diagnosis.cause == HEADER


def test_the_cause_is_whole():
    text = "toy: " + "very " * 390 + "long"
    assert diagnose(f"  ValueError: {text}\n{FRAME}").cause == f"ValueError: {text}"
    assert len(diagnose(f"  ValueError: {text * 3}\n{FRAME}").cause) <= LONGEST


def test_escape_sequences_and_quotation_marks_do_not_matter():
    log = "\x1b[1mx.c:1:10:\x1b[0m \x1b[31mfatal error: \x1b[0mffi.h: No such file or directory\r\n"
    diagnosis = diagnose(log)
    assert diagnosis.subject == "ffi.h"
    assert diagnosis.cause == "x.c:1:10: fatal error: ffi.h: No such file or directory"
    cause = "x.c:1:10: error: \u2018PyThreadState\u2019 has no member named \u2018exc_type\u2019"
    assert diagnose(cause) == ("python-too-new", "exc_type", cause, 0.95)


def test_a_long_list_of_excluded_versions_is_read_whole():
    versions = "; ".join(f"1.{number} Requires-Python >=3.{number}" for number in range(300))
    head = (
        f"ERROR: Ignored the following versions that require a different python version: {versions}"
    )
    log = f"{head}\nERROR: No matching distribution found for toy==1.299\n"
    assert len(head) > 2 * LONGEST
    assert diagnose(log)[:2] == ("python-too-old", ">=3.299")


PROBES = "  x.c:1:10: fatal error: ffi.h: No such file or directory\n  AttributeError: {}\n"


def test_the_last_decisive_error_counts():
    log = PROBES.format("'build_ext' object has no attribute 'cython_sources'")
    assert diagnose(log + FRAME).reason == "tools-too-new"
    log = "  ModuleNotFoundError: No module named 'numpy'\n  TypeError: 'a' is no 'b'\n"
    assert diagnose(log + FRAME).subject == "numpy"


def test_of_compile_errors_the_first_counts():
    log = "  x.c:{0}:5: error: error number {0}\n"
    errors = "".join(log.format(number) for number in range(1, 9))
    assert diagnose(errors + FRAME).subject == "error number 1"


def test_old_shortages_are_not_the_cause():
    shortage = "  OSError: [Errno 12] Cannot allocate memory\n"
    assert diagnose(f"{shortage}  ValueError: 1\n{FRAME}").reason == "out-of-memory"
    late = WARNING * 2000 + "  ValueError: 1\n" + FRAME
    assert diagnose(shortage + late).reason == "setup-error"


def test_the_version_of_python_matters():
    log = (
        "  Using pip 26.3 from /lib/pip (python 3.{})\n  ModuleNotFoundError: No module named {}\n"
    )
    assert diagnose(log.format(11, "'distutils'")).reason == "incomplete-python"
    assert diagnose(log.format(12, "'distutils'"))[:2] == ("dependency-undeclared", "setuptools")


def test_pkg_resources_are_missing_with_or_without_setuptools():
    log = "  ModuleNotFoundError: No module named 'pkg_resources'\n"
    assert diagnose(log)[:2] == ("dependency-undeclared", "setuptools")
    log = "  Successfully installed setuptools-84.2.1\n" + log
    assert diagnose(log)[:2] == ("tools-too-new", "setuptools<81")


def test_a_module_of_the_project_is_not_undeclared():
    log = "Collecting holy-grail==1.0\n  ModuleNotFoundError: No module named '{}'\n"
    assert diagnose(log.format("holygrail.swallow")).reason == "incomplete-source"
    assert diagnose(log.format("versions_helper")).reason == "incomplete-source"
    assert diagnose(log.format("shrubbery"))[:2] == ("dependency-undeclared", "shrubbery")


def test_a_refused_address_explains_unclear_failures_only():
    notes = "piwheels: the build failed\npiwheels: asked for https://data.example/x: refused (no)\n"
    assert diagnose(f"  ValueError: no data\n{notes}")[:2] == ("network-denied", "data.example")
    assert diagnose(f"  {HEADER}\n{notes}").reason == "missing-header"


HOSTILE = {
    "one line": "x" * SIZE,
    "errors": "error: foo bar\n" * (SIZE // 15),
    "one line of errors": "error: " * (SIZE // 7),
    "long lines of errors": ("fatal error: " + "a" * 1900 + "\n") * (SIZE // 1914),
    "line ends": "\n" * SIZE,
    "spaces": " " * SIZE,
    "notes": "piwheels: x\n" * (SIZE // 12),
    "frames": "\u2502 gcc -c x.c\n" * (SIZE // 13),
    "escapes": "\x1b[1m" * (SIZE // 4),
    "words": ("Could not find the " * 100 + "\n") * (SIZE // 1901),
}


@pytest.mark.parametrize("log", HOSTILE.values(), ids=HOSTILE)
def test_a_long_log_takes_no_long_time(log):
    begin = time.process_time()
    diagnosis = diagnose(log, "exit 1")
    # 10 to 35 ms on a board of 2 cores; a scan of all lines takes seconds.
    assert time.process_time() - begin < 0.25
    assert len(diagnosis.cause) <= LONGEST


@given(st.text() | st.text("error: No module\n'.piwheels"), st.sampled_from(["", "exit 1", "full"]))
def test_any_log_has_a_diagnosis(log, ending):
    diagnosis = diagnose(log, ending)
    assert diagnosis.reason in CLASSES
    assert diagnosis.cause
    assert diagnosis.sentence.endswith(".")
