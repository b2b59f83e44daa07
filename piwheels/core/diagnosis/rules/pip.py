"""Rules for pip's own messages: about the index, the file, the metadata and the requirements. Pure."""

from __future__ import annotations

import re
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from piwheels.core.diagnosis.rule import (
    GENERAL,
    LIKELY,
    NOTHING,
    RESOURCE,
    SPECIFIC,
    UNREACHABLE,
    VERDICT,
    Context,
    Rule,
)

_ASKED: Final = re.compile(r"No matching distribution found for \S+?==(\S+)")
_EXCLUDED: Final = re.compile(r"(?:^|[;:] ?)([^\s;]+) Requires-Python ([^;]+)")
#: How long the list of excluded versions may be, in characters.
_LONG: Final = 100_000
_NESTED: Final = re.compile(r"\n +ERROR: (?:Failed building wheel for|Failed to build) '?([\w.-]+)")


def _allows_newer(specifier: str, python: str) -> bool | None:
    """Return whether *specifier* allows a newer Python than *python*; ``None``: invalid."""
    try:
        wanted, this = SpecifierSet(specifier), Version(python)
    except (InvalidSpecifier, InvalidVersion):
        return None
    newer = [f"{this.major}.{this.minor + step}" for step in range(1, 400)]
    return any(wanted.contains(each) for each in newer)


def older(match: re.Match[str], _: Context) -> str | None:
    """Return the Pythons that a release requires, if the running one is too new for it."""
    return match[2] if _allows_newer(match[2], match[1]) is False else None


def newer(match: re.Match[str], _: Context) -> str | None:
    """Return the Pythons that a release requires, if the running one is too old for it."""
    return match[2] if _allows_newer(match[2], match[1]) is not False else None


def _excluded(match: re.Match[str], around: Context) -> str | None:
    """Return the Pythons that the requested version requires, from the list of the excluded ones."""
    asked = _ASKED.search(around.after(_LONG))
    if asked is None:
        return None
    listed = match[1] + around.after(_LONG).partition("\n")[0]
    return dict(_EXCLUDED.findall(listed)).get(asked[1], "").strip() or None


def excluded_older(match: re.Match[str], around: Context) -> str | None:
    """Return what :func:`_excluded` does, if the running Python is too new."""
    wanted = _excluded(match, around)
    python = ".".join(map(str, around.python or (3, 11)))
    return wanted if wanted and _allows_newer(wanted, python) is False else None


def excluded_newer(match: re.Match[str], around: Context) -> str | None:
    """Return what :func:`_excluded` does, if the running Python is too old."""
    wanted = _excluded(match, around)
    python = ".".join(map(str, around.python or (3, 11)))
    return wanted if wanted and _allows_newer(wanted, python) is not False else None


def _nested(_: re.Match[str], around: Context) -> str | None:
    """Return the requirement of the build that could not be built."""
    found = _NESTED.findall(around.before(20_000))
    return found[-1] if found else None


_DIFFERENT: Final = r"ERROR: Package '[^']*' requires a different Python: (\S+) not in '([^']*)'"
_IGNORED: Final = (
    r"^ERROR: Ignored the following versions that require a different python version: (.*)"
)

RULES: Final = (
    # The project does not support this Python.
    Rule("requires-older-python", "python-too-new", "requires a different Python", "^" + _DIFFERENT, older, VERDICT, 0.95, "pip"),
    Rule("running-python-older", "python-too-old", "but the running Python is", r"requires Python '(>[^']*)' but the running Python is", "{0}", SPECIFIC + 1, 0.93),
    Rule("running-python", "python-too-new", "but the running Python is", r"requires Python '([^']*)' but the running Python is", "{0}", SPECIFIC + 1, 0.85),
    Rule("requires-newer-python", "python-too-old", "requires a different Python", "^" + _DIFFERENT, newer, VERDICT, 0.95, "pip"),
    Rule("index-requires-older-python", "python-too-new", "ERROR: Ignored the following", _IGNORED, excluded_older, VERDICT, 0.95, "pip"),
    Rule("index-requires-newer-python", "python-too-old", "ERROR: Ignored the following", _IGNORED, excluded_newer, VERDICT, 0.95, "pip"),
    # What pip says of the file.
    Rule("inconsistent", "metadata-mismatch", "has inconsistent ",
         r"has inconsistent (?:version|Version|name|Name): (?:filename has|expected) '[^']*', but metadata has '([^']*)'", "{0}", VERDICT, 0.98, "pip"),
    Rule("different-metadata", "metadata-mismatch", "in metadata: ", r"has different (?:version|name) in metadata: '([^']*)'", "{0}", VERDICT, 0.97, "pip"),
    Rule("invalid-requirement", "invalid-metadata", "nvalid requirement: ", r"^ERROR: Invalid requirement: (.*)", "the requirement {0}", VERDICT, 0.9, "pip"),
    Rule("invalid-metadata", "invalid-metadata", "has invalid metadata: ", r"has invalid metadata: (.*)", "{0}", VERDICT, 0.95, "pip"),
    Rule("invalid-file-name", "invalid-metadata", "Invalid metadata entry", r"Invalid metadata entry '?(\w+)", "{0}", VERDICT, 0.9, "pip"),
    Rule("missing-metadata-field", "invalid-metadata", "METADATA ", r"(?:No METADATA file|METADATA not found|no metadata)", "its METADATA", VERDICT, 0.8, "pip"),
    Rule("hashes", "hash-mismatch", "DO NOT MATCH THE HASHES", r"^ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "", VERDICT, 0.98, "pip"),
    Rule("not-found", "gone", "rror 404 while getting", r"^ERROR: HTTP error 404 while getting (\S+)", "{0}", VERDICT, 0.95, "pip"),
    Rule("not-found-old", "gone", "404 Client Error", r"404 Client Error: Not Found for url: (\S+)", "{0}", VERDICT, 0.95, "pip"),
    Rule("gone-for-good", "gone", "410 Client Error", r"410 Client Error: \w+ for url: (\S+)", "{0}", VERDICT, 0.95, "pip"),
    Rule("cannot-unpack", "corrupt-source", "Cannot unpack file", r"Cannot unpack file (\S+)", "{0}", VERDICT, 0.95, "pip"),
    Rule("not-an-archive", "corrupt-source", "annot determine archive format", r"[Cc]annot determine archive format of (\S+)", "{0}", VERDICT, 0.95, "pip"),
    Rule("bad-zip", "corrupt-source", "BadZipFile", r"^(?:ERROR: )?(?:\w+\.)*BadZipFile: (.*)", "{0}", VERDICT, 0.95, "pip"),
    Rule("bad-tar", "corrupt-source", "tarfile.", r"^(?:ERROR: .*)?tarfile\.\w*Error: (.*)", "{0}", VERDICT, 0.95, "pip"),
    Rule("bad-gzip", "corrupt-source", "gzip", r"^(?:ERROR: )?(?:gzip\.)?BadGzipFile: (.*)|^(?:ERROR: )?OSError: Not a gzipped file", "not gzip", VERDICT, 0.95, "pip"),
    Rule("truncated", "corrupt-source", "end-of-stream marker", r"^EOFError: Compressed file ended before the end-of-stream marker", "it ends too early", VERDICT, 0.95, "pip"),
    Rule("bad-deflate", "corrupt-source", "while decompressing", r"^zlib\.error: (Error -\d while decompressing data.*)", "{0}", VERDICT, 0.95, "pip"),
    Rule("bad-xz", "corrupt-source", "LZMAError", r"^(?:_?lzma\.)?LZMAError: (.*)", "{0}", VERDICT, 0.95, "pip"),
    Rule("outside-of-archive", "corrupt-source", "outside target directory", r"has a file \((.*?)\) trying to install outside target directory", "{0}", VERDICT, 0.95, "pip"),
    Rule("not-a-project", "incomplete-source", "does not appear to be a Python project",
         r"does not appear to be a Python project: neither 'setup\.py' nor 'pyproject\.toml' found", "setup.py or pyproject.toml", VERDICT, 0.95, "pip"),
    Rule("not-installable", "incomplete-source", "is not installable", r"is not installable\. (?:Neither 'setup\.py' nor 'pyproject\.toml'|File 'setup\.py') (?:not )?found", "setup.py or pyproject.toml", VERDICT, 0.95, "pip"),
    Rule("no-setup", "incomplete-source", "setup.py", r"^ERROR: File \"?setup\.py\"? (?:or \"?setup\.cfg\"? )?not found", "setup.py", VERDICT, 0.95, "pip"),
    # What pip found in the index.
    Rule("no-distribution", "no-source", "ERROR: No matching distribution found for ", r"^ERROR: No matching distribution found for (\S+)", "{0}", NOTHING, 0.9, "pip"),
    Rule("retries-over", "index-unreachable", "Retry(total=0", r"^WARNING: Retrying \(Retry\(total=0\b", "", UNREACHABLE, 0.95, "pip"),
    Rule("retries-over-for-requirements", "index-unreachable", "Retry(total=0", r"WARNING: Retrying \(Retry\(total=0\b", "", SPECIFIC + 2, 0.85, "any", "when installing build dependencies"),
    Rule("max-retries", "index-unreachable", "Max retries exceeded", r"^ERROR: .*host='([^']*)'.*Max retries exceeded", "{0}", UNREACHABLE, 0.95, "pip"),
    Rule("unverified", "index-unreachable", "There was a problem confirming", r"^Could not fetch URL (\S+): There was a problem confirming the ssl certificate", "{0}", UNREACHABLE, 0.95, "pip"),
    Rule("timed-out", "index-unreachable", "ead timed out", r"^(?:ERROR: )?(?:\w+\.)*(?:ReadTimeoutError|ConnectTimeoutError|ReadTimeout): (.*)|^ERROR: .{0,300}HTTPS?ConnectionPool\(.*Read timed out", "{0}", UNREACHABLE, 0.95, "pip"),
    Rule("broken-connection", "index-unreachable", "rotocolError", r"^(?:ERROR: )?(?:\w+\.)*ProtocolError: (.*)", "{0}", UNREACHABLE, 0.95, "pip"),
    Rule("incomplete-download", "index-unreachable", "incomplete-download", r"^error: incomplete-download", "", UNREACHABLE, 0.9, "pip"),
    Rule("index-fails", "index-unreachable", "Server Error", r"^ERROR: .*\b(5\d\d Server Error)", "{0}", UNREACHABLE, 0.9, "pip"),
    Rule("index-fails-now", "index-unreachable", "rror 5", r"^ERROR: HTTP error (5\d\d) while getting", "HTTP error {0}", UNREACHABLE, 0.9, "pip"),
    # What the build requires.
    Rule("requirement-unavailable", "dependency-unavailable", "ERROR: No matching distribution found for ",
         r"ERROR: No matching distribution found for ([^()]+?)(?: \(from .*)?$", "{0}"),
    Rule("requirement-for-other-python", "dependency-unavailable", "requires a different Python", r"ERROR: Package '([^']*)' requires a different Python", "{0}"),
    Rule("requirement-fails", "dependency-unavailable", "when installing build dependencies",
         r"^ERROR: Failed to build '.*' when installing build dependencies", _nested, LIKELY, 0.7, "pip"),
    Rule("conflict", "dependency-unavailable", "conflicting dependencies", r"ERROR: Cannot install (.*?) because these package versions have conflicting dependencies", "{0}"),
    Rule("resolution", "dependency-unavailable", "ResolutionImpossible", r"^ERROR: ResolutionImpossible", "", LIKELY),
    Rule("requirements-missing", "dependency-unavailable", "Some build dependencies for ", r"Some build dependencies for \S+ (?:are missing|conflict with [^:]*): '?([^',]+)", "{0}"),
    Rule("suitable-distribution", "dependency-unavailable", "ould not find suitable distribution", r"Could not find suitable distribution for Requirement\.parse\('([^']*)'\)", "{0}"),
    Rule("no-download-links", "dependency-unavailable", "working download links found", r"No local packages or working download links found for (\S+)", "{0}"),
    Rule("setup-requires", "dependency-undeclared", "'--no-deps'", r"Command .*'wheel', '--no-deps'.*, ['\"]+([A-Za-z0-9][\w.-]*)[^'\"]*['\"]+\]' returned non-zero", "{0}"),
    Rule("setup-requires-fails", "dependency-unavailable", "ailed to fetch requirement", r"[Ff]ailed to fetch requirement '?([^' ]+)", "{0}"),
    # pip's own crash.
    Rule("pip-option-unknown", "slave-broken", "rror: no such option", r"^(?:pip|\S*python\S*) ?(?:wheel|download)?: error: no such option: (--[\w-]+)", "its pip is too old: no option {0}", RESOURCE, 0.9, "pip"),
    Rule("requirement-invalid", "invalid-metadata", "InvalidRequirement", r"(?:InvalidRequirement|RequirementParseError): (.*)", "{0}", GENERAL + 3, 0.8),
)  # fmt: skip
