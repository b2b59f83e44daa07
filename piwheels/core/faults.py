"""Why builds fail: faults of their slaves, and causes that another slave would not change. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Fault(NamedTuple):
    """A fault of a slave: what is wrong with it, the cure, and how far the farm trusts the sign.

    *patterns* match lines of a build's log; without any, only the slave itself reports it.
    *suspends* is how many builds in a row have to fail before the slave gets no more work; 1 or 2:
    no package causes this. *tries* is how often a version is built again before its failure counts.
    """

    code: str
    what: str
    cure: str
    suspends: int
    tries: int
    patterns: tuple[str, ...]

    @property
    def is_certain(self) -> bool:
        """Whether the package is not to blame, even if no other slave can try it."""
        return self.suspends <= 2 or not self.patterns

    def __str__(self) -> str:
        return f"{self.what} ({self.cure})"


#: The fault of a slave whose build was *lost*: nobody saw how it ended.
LOST: Final = Fault(
    "supervisor", "the supervisor of its build was killed",
    "see in journalctl -k whether memory ran out, and give it more, or builds less: --memory", 5, 3,
    (),
)  # fmt: skip
#: The faults that a log shows. The first one whose pattern matches is the cause.
FAULTS: Final = (
    Fault(
        "ssl", "its Python has no ssl module", "install a Python that was built with OpenSSL", 1, 6,
        (
            r"ssl module (in Python )?is not available", r"SSL module is not available",
            r"No module named '?_ssl\b",
        ),
    ),
    Fault(
        "pip", "its pip does not work or is too old", "install a newer pip for its Python", 1, 6,
        (r"no such option: --", r": No module named '?pip\b"),
    ),
    Fault(
        "disk", "its disk is full or cannot be written", "make room in its build directory", 1, 3,
        (
            r"No space left on device", r"Disk quota exceeded", r"Read-only file system",
            r"its disk (is|was) full",
        ),
    ),
    Fault(
        "network", "it cannot reach the index", "check its network and its proxy", 2, 6,
        (r"WARNING: Retrying \(Retry\(total=0\b", r"this slave cannot reach the index: "),
    ),
    Fault(
        "memory", "its memory ran out", "give it more memory or swap", 5, 3,
        (
            r"did memory run out\?", r"Killed signal terminated program",
            r"virtual memory exhausted", r"Cannot allocate memory", r"MemoryError\b",
        ),
    ),
    Fault(
        "modules", "its Python lacks a module of the standard library", "install all of Python", 5,
        3, (r"No module named '?(zlib|_?bz2|_?lzma|_ctypes|ensurepip|distutils|venv)\b",),
    ),
    Fault(
        "headers", "it lacks the headers of Python", "install python3-dev", 5, 3,
        (r"Python\.h: No such file", r"'Python\.h' file not found"),
    ),
    Fault(
        "compiler", "it lacks a C compiler", "install a C compiler, as build-essential has it", 5,
        3,
        (
            r"unable to execute '?[\w./+-]{0,100}(cc|\+\+|clang)\b",
            r"command '[\w./+-]{0,100}(cc|\+\+|clang)' failed: No such file",
            r"no acceptable C compiler", r"C compiler cannot create executables",
            r"No CMAKE_C(XX)?_COMPILER could be found",
        ),
    ),
)  # fmt: skip

#: How much of the end of a log is searched, in characters.
_TAIL: Final = 100_000
#: One by one, and with a text at the beginning: much faster than one pattern with alternatives.
_FAULTS: Final = tuple((fault, tuple(map(re.compile, fault.patterns))) for fault in FAULTS)


def slave_fault(log: str) -> Fault | None:
    """Return the fault of its slave that the *log* of a failed build shows; ``None``: none."""
    end = log[-_TAIL:]
    found = (fault for fault, patterns in _FAULTS if any(each.search(end) for each in patterns))
    return next(found, None)


class Cause(NamedTuple):
    """A cause in the package alone. *patterns* match lines at the end of a log."""

    what: str
    patterns: tuple[str, ...]


#: The causes that make a failure final without a second opinion. What depends on the machine, its
#: memory, its network or the time is none.
CAUSES: Final = (
    Cause("it requires another Python", (r"ERROR: Package '.*' requires a different Python: ",)),
    Cause("it has no source distribution", (r"ERROR: No matching distribution found for ",)),
    Cause(
        "its source names another version or project",
        (
            r".* has inconsistent (version|name): ",
            r"piwheels: \S+ is not a file of ",
        ),
    ),
    Cause(
        "it is written for Python 2",
        (
            r"\s*SyntaxError: Missing parentheses in call to '(print|exec)'",
            r"\s*SyntaxError: multiple exception types must be parenthesized",
            r"\s*(ModuleNotFoundError|ImportError): No module named"
            r" '(ConfigParser|StringIO|__builtin__|cPickle|commands|httplib|urllib2|urlparse)'$",
            r"\s*NameError: name '(execfile|raw_input|unicode|xrange)' is not defined",
            r".*error in .* setup command: use_2to3 is invalid",
        ),
    ),
)

#: How many lines at the end of a log are searched for a cause (tests print errors, too), and how
#: many characters of each.
_LAST: Final = 40
_LONGEST: Final = 1000
_CAUSES: Final = tuple(
    (cause, re.compile("|".join(f"(?:{each})" for each in cause.patterns))) for cause in CAUSES
)


def certain_cause(log: str) -> Cause | None:
    """Return the cause that the *log* of a failed build shows, if no other slave could build it."""
    # A long line could take these patterns long.
    lines = [line[:_LONGEST] for line in log[-_TAIL:].splitlines()[-_LAST:]]
    found = (cause for cause, pattern in _CAUSES if any(map(pattern.match, lines)))
    cause = next(found, None)
    return cause if cause is not None and slave_fault(log) is None else None
