"""Rules for what the farm notes, and for what its machines ran out of. Pure."""

from __future__ import annotations

import re
from typing import Final

from piwheels.core.diagnosis.rule import LIKELY, NOTE, RESOURCE, UNREACHABLE, Context, Rule

_HOST: Final = re.compile(r"(?:\w+://)?(?:[^/@\s]*@)?([^/:\s]+)")


def host(match: re.Match[str], _: Context) -> str | None:
    """Return the host of the address that the first group has."""
    found = _HOST.match(match[1] or "")
    return found[1] if found else ""


def _limit(what: str) -> str:
    return rf"piwheels: the build was stopped: {what}"


RULES: Final = (
    # What the slave saw. No build can write these lines: they are the last ones.
    Rule("note-timeout", "time-out", "its time-out",
         r"piwheels: the build was stopped after ([\w:., ]+?)[,:] (?:that is )?its time-out", "{0}", NOTE, 1, "end"),
    Rule("note-silence", "silence", "piwheels: ", _limit(r"it wrote nothing for ([\d:]+)"), "{0}", NOTE, 1, "end"),
    Rule("note-memory", "out-of-memory", "piwheels: ", _limit(r"it used more than (.+) of memory"), "{0}", NOTE, 1, "end"),
    Rule("note-disk", "too-large", "piwheels: ", _limit(r"it used more than (.+) of disk"), "{0} of disk (--disk)", NOTE, 1, "end"),
    Rule("note-cpu", "too-large", "piwheels: ",
         _limit(r"it used more than (.+) of processor time"), "{0} of processor time (--cpu-time)", NOTE, 1, "end"),
    Rule("note-processes", "too-large", "piwheels: ",
         _limit(r"it ran more than (\d+) processes"), "{0} processes (--processes)", NOTE, 1, "end"),
    Rule("note-full", "disk-full", "piwheels: ", r"piwheels: the build was stopped because its disk is full", "", NOTE, 1, "end"),
    Rule("note-was-full", "disk-full", "piwheels: ", r"; its disk was full", "", LIKELY, 0.7, "end"),
    Rule("note-killed", "killed", "piwheels: ", r"piwheels: the build was killed from outside", "signal 9", NOTE, 0.9, "end"),
    Rule("note-kill-signal", "killed", "piwheels: ", r"pip was killed by signal (9|15)\b", "signal {0}", NOTE, 0.9, "end"),
    Rule("note-signal", "crashed", "piwheels: ", r"pip was killed by signal (\d+)", "signal {0}", NOTE, 0.9, "end"),
    Rule("note-unreachable", "index-unreachable", "piwheels: ",
         r"piwheels: this slave cannot reach the index: (.*)", "{0}", UNREACHABLE, 1, "note"),
    Rule("note-hash", "hash-mismatch", "piwheels: asked for ",
         r"piwheels: asked for \S+: refused \(its \w+ is not the one that the index lists", "", NOTE, 1, "note"),
    Rule("note-refused", "network-denied", "piwheels: asked for ",
         r"piwheels: asked for (\S+): refused", host, LIKELY, 0.7, "note"),
    Rule("note-supervision", "slave-broken", "piwheels: ", r"the build could not be supervised: (.*)", "{0}", NOTE, 1, "end"),
    Rule("note-internal", "slave-broken", "piwheels: ", r"internal error of the farm, please report it: (.*)", "{0}", NOTE, 1, "note"),
    Rule("note-no-space", "disk-full", "piwheels: ", r"piwheels: \[Errno (?:28|122)\] ", "", NOTE, 1, "note"),
    Rule("note-system", "slave-broken", "piwheels: ", r"piwheels: (\[Errno \d+\] .*)", "{0}", NOTE, 0.9, "note"),
    Rule("note-other-file", "metadata-mismatch", "is not a file of ", r"([\w.+!-]{1,250}\.whl)\W? is not a file of ", "{0}", NOTE, 1, "note"),
    Rule("note-bad-version", "invalid-metadata", "piwheels: ",
         r"piwheels: '(.{0,300})' is not a version that pip can build", "the version {0} is not one of PEP 440", NOTE, 1, "note"),
    Rule("note-bad-name", "invalid-metadata", "piwheels: ",
         r"piwheels: '(.{0,300})' is not the name of a package", "the name {0} is not one of PEP 508", NOTE, 1, "note"),
    Rule("note-broken-wheel", "wheel-refused", "piwheels: ",
         r"piwheels: the build made a broken wheel, '.*?': (.*)", "{0}", NOTE, 1, "note"),
    Rule("note-no-wheel", "wheel-refused", "piwheels: ", r"piwheels: the build made no wheel", "there is none", NOTE, 1, "note"),
    Rule("note-wheels", "wheel-refused", "piwheels: ",
         r"piwheels: the build made (\d+) wheels instead of one", "{0} wheels instead of one", NOTE, 1, "note"),
    Rule("note-link", "wheel-refused", "piwheels: ",
         r"piwheels: the build replaced its folder for wheels by a link", "its folder is a link", NOTE, 1, "note"),
    Rule("note-recipe", "recipe-refused", "piwheels: ", r"piwheels: this slave cannot carry out the recipe: (.*)", "{0}", NOTE, 1, "note"),
    Rule("note-packages", "recipe-refused", "piwheels: ", r"piwheels: the build cannot have the packages (.*)", "packages {0}", NOTE, 1, "note"),
    Rule("note-requires", "recipe-refused", "piwheels: ", r"piwheels: requires: (.*)", "requires: {0}", NOTE, 1, "note"),
    Rule("note-source", "recipe-refused", "piwheels: ", r"piwheels: (the source of \S+ \S+ cannot be fetched: .*)", "{0}", NOTE, 1, "note"),
    Rule("note-trial", "wheel-refused", "piwheels: ",
         r"piwheels: pip cannot install \S+?: (.*)", "pip cannot install it: {0}", NOTE, 1, "note"),
    # pip itself, of which the slave has an old or a broken one.
    Rule("note-made-for", "wheel-refused", "piwheels: ", r"piwheels: \S+ is made for (.{1,200}?): no installer for", "it is made for {0}", NOTE, 1, "note"),
    Rule("note-other-abi", "wheel-refused", "piwheels: ", r"piwheels: \S+ is not for the ABI of the build \((\w+)\)", "it is not for {0}", NOTE, 1, "note"),
    Rule("note-other-platform", "wheel-refused", "piwheels: ", r"piwheels: \S+ is for another platform than the builder's \((\w+)\)", "it is not for {0}", NOTE, 1, "note"),
    Rule("note-file-refused", "wheel-refused", "piwheels: ", r"piwheels: \S+ was refused: (.*)", "{0}", NOTE, 1, "note"),
    Rule("note-made-nothing", "wheel-refused", "piwheels: ", r"piwheels: the build ended without an error but made no wheel", "there is none", NOTE, 1, "note"),
    Rule("note-many-files", "wheel-refused", "piwheels: ", r"piwheels: the build made (\d+ files)", "{0}", NOTE, 1, "note"),
    Rule("note-dependencies", "wheel-refused", "piwheels: ", r"piwheels: the build names too many dependencies", "too many dependencies", NOTE, 1, "note"),
    Rule("note-recipe-trial", "wheel-refused", "piwheels: ", r"was built with a recipe, so it must install and import: (.*)", "it does not import: {0}", NOTE, 1, "note"),
    Rule("note-held-back", "held-back", "piwheels: ", r"piwheels: the wheel is held back: it has no extension, but (.{1,200}?) have one", "{0}", NOTE, 1, "note"),
    Rule("note-report", "slave-broken", "piwheels: ", r"piwheels: the slave's report of the build is invalid: (.*)", "its report of the build is invalid: {0}", NOTE, 1, "note"),
    Rule("note-not-ended", "time-out", "piwheels: ", r"piwheels: the build exceeded its time-out", "", NOTE, 1, "end"),
    Rule("python-without-ssl", "slave-broken", "ssl module in", r"ssl module in Python is not available", "its Python has no ssl module", NOTE, 1, "pip"),
    Rule("pip-without-ssl", "slave-broken", "SSL module is not", r"SSL module is not available",
         "its Python has no ssl module", NOTE, 1, "pip"),
    Rule("old-pip", "slave-broken", "no such option: --", r"^no such option: (--[\w-]+)",
         "its pip is too old: no option {0}", NOTE, 1, "pip"),
    Rule("no-pip", "slave-broken", "No module named ", r"^(?!\w*Error)\S+: No module named '?pip\b", "its Python has no pip", NOTE, 1, "pip"),
    Rule("no-sandbox", "slave-broken", "bwrap: ", r"^bwrap: (.*)", "its sandbox does not start: {0}", RESOURCE, 0.9, "pip"),
    # What ran out. The line has nothing else, so that no other text with these words counts.
    Rule("no-space", "disk-full", "No space left on device",
         r"(?:\[Errno 28\] No space left on device(?:$|: '[^']*'$)|^(?!.*\bwarning\b)[^\"]*: No space left on device\.?$)", "", RESOURCE, 0.9),
    Rule("no-space-rust", "disk-full", "(os error 28)", r"No space left on device \(os error 28\)", "", RESOURCE, 0.9),
    Rule("database-full", "disk-full", "disk is full", r"OperationalError: database or disk is full", "", RESOURCE, 0.85),
    Rule("quota", "disk-full", "Disk quota exceeded", r"(?:^|[:\]] )Disk quota exceeded(?:$|: '[^']*'$)", "", RESOURCE, 0.9),
    Rule("read-only", "disk-full", "Read-only file system", r"\[Errno 30\] Read-only file system: '?(/tmp|/var/tmp)\b", "", RESOURCE, 0.7),
    Rule("compiler-killed", "out-of-memory", "Killed signal terminated program",
         r"fatal error: Killed signal terminated program (\S+)", "{0}", RESOURCE, 0.95),
    Rule("compiler-killed-old", "out-of-memory", "nternal compiler error: Killed",
         r"internal compiler error: Killed \(program (\S+)\)", "{0}", RESOURCE, 0.95),
    Rule("virtual-memory", "out-of-memory", "memory exhausted",
         r"(?:^|: )(?:virtual memory exhausted|memory exhausted|final link failed: memory exhausted)", "", RESOURCE, 0.9),
    Rule("cannot-allocate", "out-of-memory", "annot allocate memory",
         r"(?:\[Errno 12\] |: )Cannot allocate memory(?:$| \(os error 12\)|: '[^']*'$)", "", RESOURCE, 0.9),
    Rule("memory-error", "out-of-memory", "MemoryError", r"^(?:\w+\.)*(?:_Array)?MemoryError(?:$|: )", "", RESOURCE, 0.9),
    Rule("out-of-memory", "out-of-memory", "ut of memory",
         r"(?:^|\b(?:error|ERROR|terminated|failed|fatal): )(?:.{0,60}\b)?[Oo]ut of memory", "", RESOURCE, 0.8),
    Rule("bad-alloc", "out-of-memory", "std::bad_alloc", r"(?:terminate called after throwing an instance of 'std::bad_alloc'|what\(\): +std::bad_alloc)", "", RESOURCE, 0.8),
    Rule("rust-allocation", "out-of-memory", "memory allocation of ", r"memory allocation of (\d+) bytes failed", "", RESOURCE, 0.9),
    Rule("java-heap", "out-of-memory", "OutOfMemoryError", r"OutOfMemoryError\b", "", RESOURCE, 0.8),
    Rule("rustc-killed", "out-of-memory", "(signal: 9, SIGKILL", r"\(signal: 9, SIGKILL: kill\)", "rustc", RESOURCE, 0.8),
    Rule("backend-killed", "killed", "exit code: -9", r"^exit code: -9$", "signal 9", RESOURCE, 0.9),
    Rule("old-pip-killed", "killed", "xit status -9", r"exit(?:ed with)? status -9\b", "signal 9", RESOURCE, 0.8),
    Rule("command-killed", "killed", "SIGKILL", r"died with <Signals\.SIGKILL: 9>", "signal 9", RESOURCE, 0.85),
    Rule("command-killed-distutils", "killed", "terminated by signal ", r"command '[^']*' terminated by signal 9\b", "signal 9", RESOURCE, 0.85),
    Rule("command-killed-code", "killed", "failed with exit code -9", r"^error: command '[^']*' failed with exit code -9$", "signal 9", RESOURCE, 0.85),
    Rule("make-killed", "killed", "Killed", r"^make(?:\[\d+\])?: \*\*\* \[.*\] Killed$", "signal 9", RESOURCE, 0.85),
    Rule("shell-killed", "killed", "Killed", r"(?:^|: line \d+: +\d+ )Killed(?: {2,}|$)", "signal 9", RESOURCE, 0.75),
    Rule("make-killed-code", "killed", "rror 137", r"^make(?:\[\d+\])?: \*\*\* \[.*\] Error 137$", "signal 9", RESOURCE, 0.85),
    # Limits of the build.
    Rule("file-too-large", "too-large", "File size limit exceeded", r"File size limit exceeded", "the size of a file", RESOURCE, 0.8),
    Rule("large-file", "too-large", "[Errno 27]", r"\[Errno 27\] File too large", "the size of a file", RESOURCE, 0.8),
    Rule("no-processes", "too-large", "esource temporarily unavailable",
         r"(?:[Ff]ork|Cannot fork|\[Errno 11\]|clone|vfork).{0,60}Resource temporarily unavailable", "processes (--processes)", RESOURCE, 0.7),
    Rule("open-files", "too-large", "Too many open files", r"(?:\[Errno 24\] |: )Too many open files", "open files", RESOURCE, 0.8),
)  # fmt: skip
