"""The classes of failures: who is at fault, and what its maintainer should do. Pure.

The site has a page about them (``failures.html``), as the documents do; the database stores the code.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

#: Who has to change something: the project; the tools that it builds with; the operator who can
#: install what the boards lack; or the farm itself, whose failures are none of the package's.
Fault = Literal["package", "tools", "environment", "farm"]


class Class(NamedTuple):
    """A class of failures.

    *title* is a noun for people. *sentence* tells the maintainer, or the operator, what to do;
    ``{}`` stands for the subject. *certain*: no other slave would change the result, so that it
    needs no second opinion. *suspends* is how many such failures in a row suspend their slave
    (0: none do); 1 or 2: the cause is hardly ever a package.
    """

    code: str
    title: str
    fault: Fault
    sentence: str
    certain: bool = False
    suspends: int = 0

    @property
    def page(self) -> str:
        """The address of its description, relative to the root of the site, or of the documents."""
        return f"failures.html#{self.code}"


class Diagnosis(NamedTuple):
    """The *reason* (a class's code) of a failure, and what it is about.

    *subject* is the name that the class speaks of (``portaudio.h``, ``libfoo``, ``setuptools``),
    or ``""``. *cause* is the decisive line of the log, whole. *confidence* is from 0 to 1.
    """

    reason: str
    subject: str = ""
    cause: str = ""
    confidence: float = 0.0

    @property
    def about(self) -> Class:
        """Its class; that of unknown causes if this version does not have it."""
        return CLASSES.get(self.reason, CLASSES["unknown"])

    @property
    def sentence(self) -> str:
        """What the maintainer or the operator should do."""
        return self.about.sentence.format(self.subject or "what is named there")


_CLASSES: Final = (
    # What boards lack: an operator can install it.
    Class("missing-header", "missing header", "environment", "Install the package that has the header {}."),
    Class("missing-library", "missing library", "environment", "Install the development package of the library {}."),
    Class("missing-tool", "missing program", "environment", "Install the program {}."),
    Class("missing-pkgconfig", "missing pkg-config module", "environment", "Install the development package that has {}.pc."),
    Class("missing-cmake", "missing CMake package", "environment", "Install the development package of {} (CMake looks for it)."),
    Class("missing-meson", "missing Meson dependency", "environment", "Install the development package of {} (Meson looks for it)."),
    Class("missing-compiler", "missing compiler", "farm", "Install a C compiler on the slave, as build-essential has it.", suspends=5),
    Class("missing-rust", "missing Rust", "environment", "Install Rust and cargo, in the version that the project needs."),
    Class("missing-fortran", "missing Fortran compiler", "environment", "Install gfortran."),
    # What the build is made with.
    Class("dependency-unavailable", "build dependency unavailable", "tools", "The build requires {}, which the index does not have for this Python."),
    Class("dependency-undeclared", "undeclared build dependency", "package", "Declare {} in build-system.requires of pyproject.toml (PEP 518)."),
    Class("tools-too-new", "build tools too new", "tools", "The source needs older build tools ({}): state that in build-system.requires of pyproject.toml."),
    Class("tools-too-old", "build tools too old", "tools", "The source needs a newer {} than it gets."),
    Class("python-too-new", "Python too new", "package", "The source does not support this Python: {}.", certain=True),
    Class("python-too-old", "Python too old", "package", "The release requires Python {}.", certain=True),
    Class("python-2", "written for Python 2", "package", "The source is written for Python 2.", certain=True),
    # The source.
    Class("no-source", "no source distribution", "package", "Upload a source distribution.", certain=True),
    Class("gone", "not there any more", "package", "The index does not have the file any more.", certain=True),
    Class("metadata-mismatch", "metadata mismatch", "package", "The source says that it is {}: name and version must be those of its file.", certain=True),
    Class("invalid-metadata", "invalid metadata", "package", "Correct the metadata: {}.", certain=True),
    Class("bad-backend", "broken build backend", "package", "The build backend {} does not work: correct build-system in pyproject.toml (PEP 517)."),
    Class("incomplete-source", "incomplete source", "package", "The source distribution lacks {}: include it."),
    Class("corrupt-source", "corrupt source", "package", "The source distribution cannot be unpacked: upload it again in a new release.", certain=True),
    Class("hash-mismatch", "hash mismatch", "farm", "The file that arrived is not the one that the index lists."),
    Class("refuses", "refuses to be built", "package", "Its own setup refuses the build: {}."),
    Class("unsupported-platform", "unsupported platform", "package", "It does not support this system: {}."),
    Class("setup-error", "error in its setup", "package", "Its setup raises {}."),
    Class("compile-error", "compile error", "package", "Its source does not compile here: {}."),
    Class("link-error", "link error", "package", "Its objects cannot be linked: {}."),
    Class("test-failure", "failing tests", "package", "It runs tests while it is built, and they fail: run them elsewhere."),
    Class("asks-input", "asks for input", "package", "Its build asks questions, and nobody answers: use defaults."),
    Class("network-denied", "network denied", "package", "Its build fetches from {}, which a build must not: include what it needs, or an operator allows the host."),
    Class("wheel-refused", "wheel refused", "package", "Its wheel is refused: {}.", certain=True),
    Class("held-back", "wheel held back", "package", "Its wheel lacks the extension that others have: {}."),
    # The farm, its slaves and their limits.
    Class("out-of-memory", "out of memory", "farm", "Give the slave more memory.", suspends=5),
    Class("killed", "killed", "farm", "Something killed the build ({}): see journalctl -k on the slave.", suspends=5),
    Class("crashed", "crashed", "package", "A program of the build crashed: {}."),
    Class("time-out", "time-out", "farm", "Give the build more time: --timeout."),
    Class("silence", "silent for too long", "package", "The build wrote nothing for long: have it show its progress."),
    Class("too-large", "limit exceeded", "package", "The build exceeded a limit: {}."),
    Class("disk-full", "disk full", "farm", "Make room in the build directory of the slave.", suspends=3),
    Class("index-unreachable", "index unreachable", "farm", "Check network and proxy of the slave.", suspends=2),
    Class("slave-broken", "slave broken", "farm", "Repair the slave: {}.", suspends=1),
    Class("incomplete-python", "incomplete Python", "farm", "Install all of Python on the slave, with its headers (python3-dev): {}.", suspends=5),
    Class("recipe-refused", "recipe not carried out", "farm", "The slave cannot carry out the recipe: {}."),
    Class("lost", "lost", "farm", "The supervisor of the build was killed: see journalctl -k on the slave.", suspends=5),
    Class("master-fault", "fault of the master", "farm", "The master could not store the build: see its log."),
    Class("unknown", "unknown", "package", "Read the log: the farm does not know this failure."),
)  # fmt: skip

#: The classes by their codes.
CLASSES: Final = {each.code: each for each in _CLASSES}
