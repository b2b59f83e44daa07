"""Check the pages of packages and the root pages of the index against the database."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections import deque
from collections.abc import Callable  # noqa: TC003 (an annotation at run time)
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple
from urllib.parse import unquote

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from piwheels.audit.findings import Finding
from piwheels.audit.reading import elements, links
from piwheels.audit.tree import reason
from piwheels.core.site import ALIAS, FEED, FEED_SIZE, INDEX, INDEX_FILES, PACKED, log_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from piwheels.audit.packages import AuditContext
    from piwheels.core.database.audit import AuditBuild, AuditFile, AuditPackage

#: The size limit of a package's page, in bytes.
_MAX_PAGE: Final = 64 * 2**20
#: The links of a feed to logs. In texts, "<" is always escaped.
_LOG_LINK: Final = re.compile(rb'<link rel="related"[^<>]* href="[^"<>]*(logs/[0-9/]+\.txt\.gz)"')
#: The required pages at the site's root, and the optional file of the search.
MUST: Final = ("index.html", "404.html", FEED)
LIST: Final = "packages.json"


class Listed(NamedTuple):
    """A file as the index lists it."""

    sha256: str
    metadata: str
    requires_python: str
    yanked: bool


def check_index(context: AuditContext, package: AuditPackage) -> Iterator[Finding]:
    """Yield the findings about the pages of *package*."""
    if package.rewriting:
        return  # a rewrite is pending
    name, listed = package.package, [file for file in package.files if file.listed]
    folder = f"simple/{name}"
    if package.deleted or not (listed or package.status != "active"):
        yield from _must_not_exist(context, package, [f"{folder}/{each}" for each in INDEX_FILES])
    else:
        want = {file.filename: _listed(file) for file in listed}
        yield from _page(
            context, package, f"{folder}/{INDEX[0]}", lambda data: _json(data, package, want)
        )
        yield from _page(context, package, f"{folder}/{INDEX[1]}", lambda data: _html(data, want))
        yield from _link(context, f"{folder}/{INDEX[2]}", INDEX[1], name)
    page = f"project/{name}"
    there, found = context.tree.folder(page, name)
    if there and package.deleted:
        why = "is a page of a package that is marked as deleted"
        yield Finding("foreign-page", page, why, name)
    elif there or (package.builds and not package.deleted):
        hashes = {file.filename: file.filehash for file in listed}
        yield from _page(context, package, f"{page}/index.html", _whole)
        yield from _page(
            context, package, f"{page}/json/index.json", lambda data: _project(data, name, hashes)
        )
        yield from _page(context, package, f"{page}/badge.svg", _whole_badge)
        yield from _page(
            context, package, f"{page}/{FEED}", lambda data: _feed(data, package.builds)
        )
        known = _copied("index.html") | _copied(FEED) | {"badge.svg", "json"}
        yield from _foreign_entries(context, package, page, known)
        yield from _foreign_entries(context, package, f"{page}/json", _copied("index.json"))
        yield from _aliases(context, package)
    else:
        yield from found


def _must_not_exist(
    context: AuditContext, package: AuditPackage, paths: Iterable[str]
) -> Iterator[Finding]:
    for path in paths:
        if context.tree.about(path) is not None:
            why = "is a page of a package without published files"
            yield Finding("foreign-page", path, why, package.package)


def _page(
    context: AuditContext, package: AuditPackage, path: str, wrong: Callable[[bytes], str]
) -> Iterator[Finding]:
    """Yield the findings about the page at *path*; *wrong* checks its content."""
    about, found = context.tree.file(path, "missing-page", "is missing", package.package)
    yield from found
    if about is None:
        return
    try:
        data = context.tree.read(path, _MAX_PAGE)
        why = wrong(data)
    except OSError as exc:
        yield Finding("unreadable", path, reason(exc), package.package)
    except (ValueError, RecursionError, TypeError, LookupError, AttributeError) as exc:
        why = str(exc) if type(exc) is ValueError else f"has an unknown format ({exc!r:.80})"
        yield Finding("wrong-page", path, why, package.package)
    else:
        if why:
            yield Finding("wrong-page", path, why, package.package)
        else:
            yield from _packed(context, path, data, package.package)


def _packed(context: AuditContext, page: str, data: bytes, package: str) -> Iterator[Finding]:
    """Yield the finding about the compressed copy of *page*, whose content is *data*."""
    path = f"{page}{PACKED}"
    try:
        if context.tree.about(path) is None:
            return  # servers send the page itself

        packed = gzip.GzipFile(fileobj=io.BytesIO(context.tree.read(path, _MAX_PAGE)))
        same = packed.read(len(data) + 1) == data
    except (EOFError, OSError, zlib.error):
        same = False
    if not same:
        yield Finding("wrong-page", path, f"is not a compressed copy of {page}", package)


def _copied(name: str) -> set[str]:
    return {name, f"{name}{PACKED}"}


def _link(
    context: AuditContext, path: str, target: str, package: str, what: str = "page"
) -> Iterator[Finding]:
    """Yield the findings about *path*, which must be a link to *target*; *what* names it."""
    try:
        about = context.tree.about(path)
    except OSError as exc:
        yield Finding("unreadable", path, reason(exc), package)
        return
    if about is None:
        yield Finding(f"missing-{what}", path, f"is missing: a link to {target}", package)
    elif context.tree.target(path) != target:
        if context.tree.target(path) and context.tree.outside(path):
            yield context.tree.link(path, package)
        else:
            yield Finding(f"wrong-{what}", path, f"is not a link to {target}", package)


def _aliases(context: AuditContext, package: AuditPackage) -> Iterator[Finding]:
    for alias in package.names:
        if ALIAS.fullmatch(alias):
            path = f"project/{alias}"
            yield from _link(context, path, package.package, package.package, "alias")


def _foreign_entries(
    context: AuditContext, package: AuditPackage, folder: str, known: set[str]
) -> Iterator[Finding]:
    there, found = context.tree.folder(folder, package.package)
    yield from found
    if not there:
        return
    try:
        names = sorted(set(context.tree.names(folder)) - known)
    except OSError as exc:
        yield Finding("unreadable", folder, reason(exc), package.package)
        return
    for name in names:
        path = f"{folder}/{name}"
        yield foreign(context, path, package.package)


def foreign(context: AuditContext, path: str, package: str = "") -> Finding:
    """Return the finding that *path* is unknown."""
    if context.tree.target(path) and context.tree.outside(path):
        return context.tree.link(path, package)
    return Finding("foreign", path, "was not made by piwheels", package)


# Content of pages ---------------------------------------------------------------------------------


def _listed(file: AuditFile) -> Listed:
    python = _specifier(file.requires_python)
    return Listed(file.filehash, file.metadata_hash or "", python, file.yanked)


def _specifier(text: str | None) -> str:
    try:
        SpecifierSet(text or "")
    except InvalidSpecifier:
        return ""  # invalid specifiers are never published
    return (text or "").strip()


def _json(data: bytes, package: AuditPackage, want: dict[str, Listed]) -> str:
    found = json.loads(data)
    if (name := found["name"]) != package.package:
        return f"is the page of {name!r}"
    if (status := found["project-status"]["status"]) != package.status:
        return f"says the project is {status!r}, the database says {package.status}"
    sizes = {file.filename: file.filesize for file in package.files}
    for each in found["files"]:
        if each["filename"] in want and each["size"] != sizes[each["filename"]]:
            return f"gives {each['filename']} the size {each['size']!r}"
        if unquote(each["url"]) != each["filename"]:
            return f"leads to {each['url']!r} for {each['filename']}"
    listed = [
        (
            each["filename"],
            Listed(
                each["hashes"]["sha256"],
                each.get("core-metadata", {}).get("sha256", ""),
                each.get("requires-python", ""),
                bool(each.get("yanked", False)),
            ),
        )
        for each in found["files"]
    ]
    return _differences(listed, want)


def _html(data: bytes, want: dict[str, Listed]) -> str:
    found = []
    for text, attrs in links(io.BytesIO(data)):
        href, _, digest = (attrs.get("href") or "").partition("#sha256=")
        if unquote(href) != text:
            return f"leads to {href!r} for {text}"
        metadata = (attrs.get("data-core-metadata") or "").removeprefix("sha256=")
        python = attrs.get("data-requires-python") or ""
        found.append((text, Listed(digest, metadata, python, "data-yanked" in attrs)))
    return _differences(found, want)


def _whole(data: bytes) -> str:
    return "" if data.rstrip().endswith(b"</html>") else "is cut off"


def _whole_badge(data: bytes) -> str:
    return "" if data.rstrip().endswith(b"</svg>") else "is cut off"


def _feed(data: bytes, builds: Iterable[AuditBuild]) -> str:
    if not data.rstrip().endswith(b"</feed>"):
        return "is cut off"
    linked = {log_number(match[1].decode()) for match in _LOG_LINK.finditer(data)}
    newest = sorted((build.build_id for build in builds if build.shown), reverse=True)[:FEED_SIZE]
    if lacks := sorted(set(newest) - linked):
        return f"does not list build {lacks[-1]}"
    if linked - set(newest):
        return "lists builds that are not the last ones of the database"
    return ""


def _project(data: bytes, name: str, hashes: dict[str, str]) -> str:
    found = json.loads(data)
    if found["name"] != name:
        return f"is the page of {found['name']!r}"
    files = [
        (filename, file["hash"])
        for release in found["releases"].values()
        for filename, file in release["files"].items()
    ]
    return _differences(files, hashes)


def _differences(found: list[tuple[str, Any]], want: Mapping[str, Any]) -> str:
    """Return the first difference of a listing from the expected one (``""``: none)."""
    listed = dict(found)
    if len(listed) < len(found):
        return "lists a file twice"
    for filename in sorted(want.keys() - listed.keys()):
        return f"does not list {filename}"
    for filename in sorted(listed.keys() - want.keys()):
        return f"lists {filename}, which the database does not have"
    for filename, says in listed.items():
        if says != want[filename]:
            return (
                f"lists {filename} with {_short(says)}; the database has {_short(want[filename])}"
            )
    return ""


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


# The root -----------------------------------------------------------------------------------------


def check_root(
    context: AuditContext, published: Callable[[], Iterator[tuple[str, bool]]]
) -> Iterator[Finding]:
    """Yield the findings about the root pages.

    *published* yields the packages with files, sorted, each with whether any of its files is
    shown. The root must list a package with shown files, and may list one without.
    """
    for path in MUST:
        yield from context.tree.file(path, "missing-page", "is missing")[1]
    for path, read in _ROOTS.items():
        about, found = context.tree.file(path, "missing-page", "is missing")
        yield from found
        if about is None:
            continue
        try:
            with context.tree.open(path) as file:
                yield from _compare(path, read(file), published())
        except OSError as exc:
            yield Finding("unreadable", path, reason(exc))
        except (ValueError, RecursionError, TypeError, LookupError) as exc:
            yield Finding("wrong-page", path, str(exc) or repr(exc))
    yield from _link(context, f"simple/{INDEX[2]}", INDEX[1], "")
    if context.tree.about(LIST) is not None:
        about, found = context.tree.file(LIST, "missing-page", "has disappeared")
        yield from found
        try:
            if about is not None:
                with context.tree.open(LIST) as file:
                    deque(elements(file, "[", ""), maxlen=0)
        except (OSError, ValueError) as exc:
            why = reason(exc) if isinstance(exc, OSError) else str(exc)
            yield Finding("wrong-page", LIST, why)


def _compare(
    path: str, listed: Iterator[str], published: Iterator[tuple[str, bool]]
) -> Iterator[Finding]:
    """Compare two sorted sequences without loading either of them into memory."""
    want, shown = next(published, (None, False))
    last = ""
    for name in listed:
        if name <= last:
            raise ValueError(f"lists {name!r} after {last!r}: not sorted")
        last = name
        while want is not None and want < name:
            if shown:
                yield Finding("wrong-page", path, f"does not list {want}", want)
            want, shown = next(published, (None, False))
        if want == name:
            want, shown = next(published, (None, False))
        else:
            yield Finding("wrong-page", path, f"lists {name}, which has no files", name)
    while want is not None:
        if shown:
            yield Finding("wrong-page", path, f"does not list {want}", want)
        want, shown = next(published, (None, False))


_ROOTS: Final[dict[str, Callable[[BinaryIO], Iterator[str]]]] = {
    "simple/index.v1_json": lambda file: (
        str(each["name"]) for each in elements(file, '"projects":[', "}")
    ),
    "simple/index.html": lambda file: (text for text, _ in links(file)),
}
