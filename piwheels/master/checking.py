"""``piw-master --check``: what is wrong with a configuration, found without a start."""

from __future__ import annotations

import os
import stat
from dataclasses import fields
from typing import TYPE_CHECKING

from piwheels.core.database import Database
from piwheels.core.errors import DatabaseError, Fatal, Unavailable
from piwheels.core.host.machine import disk_space
from piwheels.core.host.pip_config import index_access
from piwheels.core.program.checking import address_problem, folder_problem, listening_problem
from piwheels.core.program.locks import is_locked
from piwheels.core.program.privileges import refuse_root
from piwheels.core.site import LOCK_FILE
from piwheels.core.words import size_text
from piwheels.master.monitoring.webhooks import read_secret
from piwheels.master.upstream.pypi import Upstream
from piwheels.master.wiring import exposed, is_tcp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from piwheels.master.wiring import MasterConfig


def problems(config: MasterConfig, tasks: Collection[str]) -> Iterator[str]:
    """Yield everything that is wrong with *config*, each with its remedy.

    *tasks* are the names of the tasks. If a master runs with this site, its addresses are in use,
    and that is no problem.
    """
    try:
        refuse_root("piw-master")
    except Fatal as exc:
        yield str(exc)
    yield from debug_problems(config, tasks)
    yield from access_problems(config)
    yield from _folders(config)
    yield from _addresses(config, running=is_locked(config.work_path / LOCK_FILE))
    yield from _database(config)
    yield from _index(config)
    try:
        read_secret(config)
    except Fatal as exc:
        yield str(exc)


def debug_problems(config: MasterConfig, tasks: Collection[str]) -> Iterator[str]:
    """Yield the problem of each ``--debug`` that names no task."""
    for name in config.debug:
        if name not in tasks:
            yield f"--debug {name}: there is no such task, only {', '.join(sorted(tasks))}"


def access_problems(config: MasterConfig) -> Iterator[str]:
    """Yield what is wrong with the choice of those who are admitted."""
    if config.insecure and config.keys is not None:
        yield "--keys and --insecure exclude each other: leave one out"
    elif not config.insecure and (addresses := exposed(config)):
        yield (
            f"other machines can reach {', '.join(addresses)}, and would be admitted without a key:"
            " give --keys DIR (piw-keys enrols slaves), or --insecure on a network where everyone"
            " may publish wheels"
        )
    for name in ("slave", "file"):
        address = getattr(config, f"keyless_{name}_queue")
        if is_tcp(address) and not config.allow_from and not config.insecure:
            yield f"nobody is admitted at --keyless-{name}-queue: add --allow-from NETWORK"


def _folders(config: MasterConfig) -> Iterator[str]:
    site, work = config.output_path.absolute(), config.work_path
    found = [problem for path in (site, work) if (problem := folder_problem(path, "--output-path"))]
    yield from dict.fromkeys(found)
    if found:
        return
    if site.exists() and site.stat().st_dev != _existing(work).stat().st_dev:
        yield (
            f"{site} and {work} are on different file systems: "
            "choose an --output-path whose parent folder is on its own file system"
        )
    (size, free), reserve = disk_space(_existing(site)), config.disk_reserve
    if size and free < reserve:
        yield (
            f"the disk of {site} has only {size_text(free)} free, and no work is handed out below"
            f" {size_text(reserve)}: free some space, or change --disk-reserve"
        )


def _existing(path: Path) -> Path:
    """Return *path*, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _addresses(config: MasterConfig, *, running: bool) -> Iterator[str]:
    seen: dict[str, str] = {}
    for field in fields(config):
        if not field.name.endswith("_queue"):
            continue
        name, address = f"--{field.name.replace('_', '-')}", getattr(config, field.name)
        if not address:
            continue
        if address in seen:
            yield f"{seen[address]} and {name} are both {address}: choose another for one of them"
        elif problem := address_problem(address, name, busy_is_good=running):
            yield problem
        seen.setdefault(address, name)
    port = config.monitor_port
    if port is not None and (
        problem := listening_problem(config.monitor_host, port, "monitor", busy_is_good=running)
    ):
        yield problem


def _database(config: MasterConfig) -> Iterator[str]:
    try:
        with Database(config.dsn, 0) as database:
            database.get_statistics()
    except Fatal as exc:
        yield str(exc)
    except DatabaseError as exc:
        yield (
            f"this role cannot use the database: {exc}; run piw-initdb --user with the role that"
            " --dsn connects as"
        )


def _index(config: MasterConfig) -> Iterator[str]:
    if config.watch_file is not None:
        if config.source != "watch":
            yield "--watch-file is only used with --source watch: add that, or remove the file"
        try:
            mode = config.watch_file.stat().st_mode
            readable = os.access(config.watch_file, os.R_OK)
        except OSError as exc:
            yield f"cannot read --watch-file {config.watch_file}: {exc.strerror}"
        else:
            if not stat.S_ISREG(mode) or not readable:
                yield f"cannot read --watch-file {config.watch_file}: it is no readable file"
    if config.source == "none":
        return
    try:
        access = index_access()
        if config.pypi_simple:
            access = access._replace(url=config.pypi_simple)
        Upstream(access, config.pypi_xmlrpc).close()
    except (Fatal, Unavailable) as exc:
        yield f"the upstream index cannot be followed: {exc}"
