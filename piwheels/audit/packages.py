"""Check the files and logs of one package against the database."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.audit.findings import Finding
from piwheels.audit.tree import kind_of, reason
from piwheels.core.clock import file_age
from piwheels.core.errors import BadWheel
from piwheels.core.site import INDEX_FILES, log_name
from piwheels.core.wheels.inspection import MAX_METADATA, inspect_wheel
from piwheels.core.wheels.tags import parse_filename, same_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piwheels.audit.tree import Tree
    from piwheels.core.database.audit import AuditFile, AuditPackage

#: The size limit of a decompressed log, in bytes: 15 Mi characters of up to four bytes.
_MAX_LOG: Final = 60 * 2**20
#: How long a file may exist before the database lists it, in seconds.
YOUNG: Final = 900.0


@dataclass(slots=True)
class AuditContext:
    """The context of the checks. *quick*: read no files; *live*: a master runs on the site.

    *on_bytes* is called with the number of bytes read, from several threads.
    """

    tree: Tree
    quick: bool = False
    live: bool = False
    on_bytes: Callable[[int], None] = field(default=lambda _: None)


# Files --------------------------------------------------------------------------------------------


def check_files(context: AuditContext, package: AuditPackage) -> Iterator[Finding]:
    """Yield the findings about the files of *package*."""
    folder = f"simple/{package.package}"
    there, found = context.tree.folder(folder, package.package)
    yield from found
    names: set[str] = set()
    if there:
        try:
            names = set(context.tree.names(folder))
        except OSError as exc:
            yield Finding("unreadable", folder, reason(exc), package.package)
            return
    elif found:
        return
    known = set(INDEX_FILES)
    for file in package.files:
        if not package.deleted:
            known |= {file.filename, f"{file.filename}.metadata"}
            if file.shown:
                yield from _check_file(context, package.package, file)
    for name in sorted(names - known):
        if not _in_progress(context, package, name):
            yield _foreign(context, f"{folder}/{name}", package)


def _check_file(context: AuditContext, package: str, file: AuditFile) -> Iterator[Finding]:
    path = f"simple/{package}/{file.filename}"
    why = f"the database lists it ({file.filesize:,} bytes)"
    about, found = context.tree.file(path, "missing-file", why, package, file.version)
    yield from found
    if about is None:
        return
    if about.st_size != file.filesize:
        why = f"has {about.st_size:,} bytes, the database says {file.filesize:,}"
        yield Finding("wrong-size", path, why, package, file.version)
        return
    inside: bytes | None = None
    if not context.quick:
        try:
            digest = context.tree.digest(path, context.on_bytes)
        except OSError as exc:
            yield Finding("unreadable", path, reason(exc), package, file.version)
            return
        if digest != file.filehash:
            why = f"has the SHA-256 {digest}, the database says {file.filehash}"
            yield Finding("wrong-hash", path, why, package, file.version)
            return
        try:
            inside = inspect_wheel(Path(context.tree.full(path))).metadata
        except BadWheel as exc:
            yield Finding("bad-wheel", path, str(exc), package, file.version)
            return
    yield from _check_metadata(context, package, file, inside)


def _check_metadata(
    context: AuditContext, package: str, file: AuditFile, inside: bytes | None
) -> Iterator[Finding]:
    path = f"simple/{package}/{file.filename}.metadata"
    if file.metadata_hash is None and context.tree.about(path) is None:
        return  # the index promises none
    why = "the index promises it: installers fail without it"
    about, found = context.tree.file(path, "missing-metadata", why, package, file.version)
    yield from found
    if about is None or inside is None:
        return
    try:
        data = context.tree.read(path, MAX_METADATA)
    except OSError as exc:
        yield Finding("unreadable", path, reason(exc), package, file.version)
        return
    want = file.metadata_hash or hashlib.sha256(inside).hexdigest()
    if data != inside:
        why = "is not the wheel's METADATA"
    elif hashlib.sha256(data).hexdigest() != want:
        why = f"does not have the SHA-256 of the database, {want}"
    else:
        return
    yield Finding("wrong-metadata", path, why, package, file.version)


def _in_progress(context: AuditContext, package: AuditPackage, name: str) -> bool:
    """Return whether the file *name* may be in the process of publication or removal."""
    if package.rewriting:
        return True
    path = f"simple/{package.package}/{name}"
    try:
        version = parse_filename(name.removesuffix(".metadata")).version
        about = context.tree.about(path)
    except (BadWheel, OSError):
        return False
    leased = any(same_version(version, each) for each in package.leased)
    return leased or (
        context.live and about is not None and file_age(about.st_ctime) < YOUNG
    )  # st_ctime also changes by a rename


def _foreign(context: AuditContext, path: str, package: AuditPackage) -> Finding:
    if context.tree.target(path) and context.tree.outside(path):
        return context.tree.link(path, package.package)
    try:
        about = context.tree.about(path)
    except OSError as exc:
        return Finding("unreadable", path, reason(exc), package.package)
    what = "nothing" if about is None else kind_of(about)
    why = "its package is marked as deleted" if package.deleted else "the database has no such file"
    return Finding("foreign", path, f"is {what}: {why}", package.package)


# Logs ---------------------------------------------------------------------------------------------


def check_logs(context: AuditContext, package: AuditPackage) -> Iterator[Finding]:
    """Yield the findings about the logs of the builds of *package*."""
    for build in package.builds:
        path, about_it = log_name(build.build_id), (package.package, build.version)
        why = f"build {build.build_id} has no log, and none is pending"
        about, found = context.tree.file(path, "missing-log", why, *about_it)
        yield from (each for each in found if not (build.pending and each.kind == "missing-log"))
        if about is None:
            continue
        if about.st_size == 0:
            yield Finding("broken-log", path, "is empty", *about_it)
        elif not context.quick and (why := _broken(context, path)):
            yield Finding("broken-log", path, why, *about_it)


def _broken(context: AuditContext, path: str) -> str:
    size = 0
    try:
        with context.tree.open(path) as file, gzip.GzipFile(fileobj=file) as unpacked:
            while chunk := unpacked.read(2**18):
                size += len(chunk)
                if size > _MAX_LOG:
                    return "is longer than any log"
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        return f"is incomplete: {exc}"
    except OSError as exc:
        return reason(exc)
    return ""
