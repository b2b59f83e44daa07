"""The faults of slaves that the logs of failed builds show."""

import pytest

from piwheels.core.faults import CAUSES, FAULTS, certain_cause, slave_fault

LOGS = {
    "WARNING: pip is configured with locations that require TLS/SSL, however the ssl module in"
    " Python is not available.\nERROR: No matching distribution found for six": "ssl",
    "Can't connect to HTTPS URL because the SSL module is not available.": "ssl",
    "Usage:\n  pip wheel [options]\n\nno such option: --use-pep517": "pip",
    "/usr/bin/python3: No module named pip": "pip",
    "OSError: [Errno 28] No space left on device": "disk",
    "piwheels: the build was stopped because its disk is full (less than 64 MiB free)": "disk",
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken": "network",
    "piwheels: this slave cannot reach the index: https://index.example/: 502": "network",
    "piwheels: the build was killed from outside (did memory run out?)": "memory",
    "gcc: fatal error: Killed signal terminated program cc1plus": "memory",
    "ModuleNotFoundError: No module named '_ctypes'": "modules",
    "src/x.c:1:10: fatal error: Python.h: No such file or directory": "headers",
    "x.c:1:10: fatal error: 'Python.h' file not found": "headers",
    "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory": "compiler",
    "unable to execute 'gcc': No such file or directory": "compiler",
    "configure: error: no acceptable C compiler found in $PATH": "compiler",
}


@pytest.mark.parametrize(("log", "code"), LOGS.items())
def test_a_fault_of_the_slave_is_found(log, code):
    fault = slave_fault(f"Collecting six\n{log}\nERROR: the end\n")
    assert fault is not None
    assert fault.code == code


@pytest.mark.parametrize(
    "log",
    [
        "",
        "error: command 'gcc' failed with exit code 1",
        "src/x.c:1:10: fatal error: ffi.h: No such file or directory",
        "ModuleNotFoundError: No module named 'numpy'",
        "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken",
        "piwheels: the build was stopped after 3:00:00, its time-out",
        "No space left on device" + "\n" * 200_000,
    ],
)
def test_other_failures_are_those_of_the_package(log):
    assert slave_fault(log) is None


def test_the_worst_fault_is_the_cause():
    assert slave_fault("Python.h: No such file\nNo space left on device").code == "disk"


CERTAIN = {
    "ERROR: Package 'six' requires a different Python: 3.11.2 not in '<3'": "another Python",
    "ERROR: No matching distribution found for six==1.0": "no source",
    "Requested six==1 from file:///six-1.zip has inconsistent version: expected '1', but metadata"
    " has '1.1'": "another version",
    "piwheels: six-2-py3-none-any.whl is not a file of version 1": "another version",
    "    SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?": "Python 2",
    "    ModuleNotFoundError: No module named 'ConfigParser'": "Python 2",
    "    NameError: name 'execfile' is not defined": "Python 2",
    "error in six setup command: use_2to3 is invalid.": "Python 2",
}


@pytest.mark.parametrize(("log", "words"), CERTAIN.items())
def test_a_certain_cause_is_found_at_the_end_of_a_log(log, words):
    frame = "note: This error originates from a subprocess\npiwheels: the build failed\n"
    assert words in certain_cause(f"Collecting six\n{log}\n{frame}").what
    assert certain_cause(log + "\nlater" * 50) is None


def test_each_certain_cause_is_found():
    assert {certain_cause(log) for log in CERTAIN} == set(CAUSES)


@pytest.mark.parametrize(
    "log",
    [
        *LOGS,
        "",
        "piwheels: the build was stopped after 3:00:00, its time-out",
        "  ERROR: No matching distribution found for setuptools>=99",  # what the build needs
        "ModuleNotFoundError: No module named 'numpy'",
        "    NameError: name 'x' is not defined",
        "error: command 'gcc' failed with exit code 1",
    ],
)
def test_other_causes_are_not_certain(log):
    assert certain_cause(log) is None


def test_each_fault_has_a_name_of_its_own():
    assert len({fault.code for fault in FAULTS}) == len(FAULTS)
