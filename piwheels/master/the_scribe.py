"""TheScribe, who writes the site: the simple index, the pages for people, and the builds' logs."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, DatabaseError, PiWheelsError, Refused, Unavailable
from piwheels.core.rpc import recv_request, send_error, send_result
from piwheels.core.tags import canonical
from piwheels.core.tasks import PauseableTask
from piwheels.master.files import Site
from piwheels.master.logic import pages
from piwheels.master.rendering import Renderer, static_files
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import web

if TYPE_CHECKING:
    from pathlib import Path

    from piwheels.core.database import Database
    from piwheels.core.rows import SimpleProject
    from piwheels.core.rpc import Request
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: The names of a project's page in the simple index, in the order of publication.
_INDEX: Final = ("index.v1_json", "index.html", "index.v1_html")
#: What one package, or a full disk, can do to us; the request is answered with it.
_FAILURES: Final = (PiWheelsError, OSError, ValueError, TypeError, LookupError, ArithmeticError)
#: How many logs may be on the way to the disk before the database is told that they are there.
_MAX_LOGS: Final = 100
#: How many logs that an earlier master left are written at a time (each up to 15 MiB).
_LEFT_LOGS: Final = 50


class TheScribe(PauseableTask):
    """Writes what TheSecretary asks for, and answers when it is on the disk.

    A package's pages are written in the order of site.md: JSON, HTML, the page for people; the root
    of the index only when the set of projects has changed, and at most once a minute. The logs of
    builds are written as they come; what a crash kept from it is found in the database.
    """

    name = "the_scribe"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.db: Database | None = None
        self.site = Site(config.output_path, config.work_path)
        self._renderer = Renderer()
        #: The projects that the root lists, once the database has told us; whether it shows them.
        self._projects: set[str] | None = None
        self._root_stale = True
        self._root_due = 0.0
        self._stats: dict[str, Any] = {}
        #: Logs that are written, and the folders that have to be synced before the database hears.
        self._logs: dict[int, Path] = {}
        self._sweep_due = 0.0
        self._root_pause = 0.2 if config.dev_mode else 60.0
        work = self.socket(zmq.ROUTER)
        work.hwm = 100_000
        work.bind(config.scribe_queue)
        self.register(work, self.handle_request)
        beat = timedelta(seconds=0.1 if config.dev_mode else 0.5)
        self.every(beat, self.see_to_root)
        self.every(beat, self.see_to_logs)

    def once(self) -> None:
        """Connect to the database, and write what is the same always."""
        if self.db is None:
            self.db = DbClient(self.config, self.logger)
        for name, data in {**static_files(), "404.html": self._renderer.not_found()}.items():
            self.site.write(self.site.root / name, data)

    def close(self) -> None:
        """Tell the database of the last logs, and close the connection to it."""
        super().close()
        if self.db is not None:
            self._report_logs()
            self.db.close()

    # Requests -----------------------------------------------------------------------------------

    def handle_request(self, queue: Socket) -> None:
        """Do what is asked and answer; no package can end the task."""
        request = recv_request(queue)
        try:
            self._do(request)
        except BadMessage as exc:
            self.note_bad_message(exc)
            send_error(queue, request, exc)
        except _FAILURES as exc:
            expected = isinstance(exc, (PiWheelsError, OSError))
            self.logger.error(
                "could not do %s %.120r: %s", request.msg, request.data, exc,
                exc_info=None if expected else exc,
            )  # fmt: skip
            send_error(queue, request, exc)
        else:
            send_result(queue, request)

    def _do(self, request: Request) -> None:
        data = web.received(request.msg, request.data)
        match request.msg:
            case "PROJECT":
                self.write_page(canonical(data))
            case "BOTH":
                self.write_index(canonical(data))
                self.write_page(canonical(data))
                self.see_to_root()
            case "LOG":
                self.write_log(*data)
            case "HOME":
                self._stats = self._stats if data is NoData else data
                self._root_stale = True
                self.see_to_root()
            case "SEARCH":
                self.write_search({} if data is NoData else data)
            case "DELPKG":
                self.delete_package(canonical(data))
            case "DELVER":
                self.delete_version(canonical(data[0]), data[1])
            case _:
                raise BadMessage(f"unknown message {request.msg[:40]!r}")

    # A package ----------------------------------------------------------------------------------

    def write_index(self, package: str) -> None:
        """Write the page of *package* in the simple index, or remove it if there is nothing.

        Of a package that the database does not know, everything is removed: a crash may have come
        between its removal there and here.
        """
        project = self._db.get_simple_project(package)
        if project is None:
            self.delete_package(package)
        elif not (project.files or project.status != "active"):
            self._remove_index(package)
        else:
            self._write_index(project)
        self._list(package, listed=project is not None and bool(project.files))

    def _write_index(self, project: SimpleProject) -> None:
        folder = self.site.project_dir(project.package)
        changed = self._write_all(
            {
                folder / "index.v1_json": pages.project_json(project),
                folder / "index.html": self._renderer.simple_project(project),
            }
        )
        self.site.link(folder / "index.v1_html", "index.html")
        if changed:
            for filename, text in pages.bad_specifiers(project):
                self.logger.warning(
                    "%s: left out Requires-Python %.200r, which no installer can read",
                    filename, text,
                )  # fmt: skip

    def write_page(self, package: str) -> None:
        """Write the page of *package* for people and its JSON, or remove them if it is unknown."""
        folder = self.site.page_dir(package)
        data = self._db.get_project_data(package)
        if data is None:
            self._remove_page(package)
            return
        self._write_all(
            {
                folder / "json" / "index.json": pages.builds_json(data),
                folder / "index.html": self._renderer.project(data),
            }
        )
        for alias in self._db.get_package_aliases(package):
            try:
                self.site.link_alias(package, alias)
            except (ValueError, OSError) as exc:
                self.logger.warning("%s: cannot make the alias %.200r: %s", package, alias, exc)

    def delete_package(self, package: str) -> None:
        """Remove all of *package* from the site: the index first, the files last."""
        self._list(package, listed=False)
        self._remove_index(package)
        self._remove_page(package)
        if self.site.remove_folder(self.site.project_dir(package)):
            self.logger.info("removed all files of %s", package)
        self.see_to_root()

    def delete_version(self, package: str, version: str) -> None:
        """Remove one version of *package*: first from the pages, then its files."""
        files = self.site.files_of(package, version)
        project = self._db.get_simple_project(package)
        if project is not None:
            # The database may still have them, or not: what is asked for holds either way.
            project = pages.without_version(project, version)
        if project is None or not project.files:
            self._remove_index(package)
        else:
            self._write_index(project)
        self._list(package, listed=project is not None and bool(project.files))
        self.write_page(package)
        for file in files:
            self.site.remove(file)
        self.logger.info("removed %d files of %s %s", len(files), package, version)
        self.see_to_root()

    def _remove_index(self, package: str) -> None:
        for name in reversed(_INDEX):
            self.site.remove(self.site.project_dir(package) / name)

    def _remove_page(self, package: str) -> None:
        for alias in self.site.aliases_of(package):
            self.site.remove(alias)
        self.site.remove_folder(self.site.page_dir(package))

    def _list(self, package: str, *, listed: bool) -> None:
        if self._projects is None or listed == (package in self._projects):
            return
        self._root_stale = True
        if not listed:  # what is gone leaves the index sooner than what is new comes in
            self._root_due = min(self._root_due, time.monotonic() + self._root_pause / 2)
        (self._projects.add if listed else self._projects.discard)(package)

    # The site's own pages -----------------------------------------------------------------------

    def see_to_root(self) -> None:
        """Write the root of the index and the first page, if they have changed and it is time."""
        if not self._root_stale or time.monotonic() < self._root_due:
            return
        self._root_due = time.monotonic() + self._root_pause
        try:
            if self._projects is None:
                self._stats = self._stats or self._db.get_statistics()
                self._projects = set(self._db.get_simple_index())
            self._write_root(self._projects)
        except (PiWheelsError, OSError) as exc:
            self.logger.error("could not write the root of the index, trying again: %s", exc)
            self._root_due = time.monotonic() + 5
        else:
            self._root_stale = False

    def _write_root(self, projects: set[str]) -> None:
        folder = self.site.root / "simple"
        self._write_all(
            {
                folder / "index.v1_json": pages.root_json(projects),
                folder / "index.html": self._renderer.simple_root(projects),
                self.site.root / "index.html": self._renderer.home(self._stats, projects),
            }
        )
        self.site.link(folder / "index.v1_html", "index.html")

    def _write_all(self, files: dict[Path, bytes]) -> bool:
        """Write *files* in this order and see them safe; tell whether any has changed."""
        changed = {
            path.parent for path, data in files.items() if self.site.write(path, data, sync=False)
        }
        self.site.sync(changed)
        return bool(changed)

    def write_search(self, index: dict[str, tuple[int, int]]) -> None:
        """Write the list of packages with their downloads; empty: as the database has them."""
        data = pages.search_json(index or self._db.get_search_index())
        self.site.write(self.site.root / "packages.json", data)

    # Logs ---------------------------------------------------------------------------------------

    def write_log(self, build_id: int, text: str) -> None:
        """Write the log of a build; the database is told when it is safe."""
        self._logs[build_id] = self.site.write_log(build_id, text)
        if len(self._logs) >= _MAX_LOGS:
            self._report_logs()

    def see_to_logs(self) -> None:
        """Tell the database which logs are written; now and then, ask for what was left over."""
        self._report_logs()
        now = time.monotonic()
        if now < self._sweep_due:
            return
        self._sweep_due = now + 60
        try:
            for _ in range(_LEFT_LOGS):
                # One at a time: a log may be as large as a message.
                left = self._db.get_unwritten_logs(1)
                if not left:
                    return
                for build_id, text in left:
                    self.write_log(build_id, text)
                self._report_logs(strict=True)
        except (PiWheelsError, OSError) as exc:
            self.logger.error("could not write the logs that are left, trying again: %s", exc)
        else:
            self._sweep_due = now  # there may be more; first whatever else has come

    def _report_logs(self, *, strict: bool = False) -> None:
        if not self._logs:
            return
        try:
            self.site.sync(set(self._logs.values()))
            self._db.logs_written(list(self._logs))
        except (DatabaseError, Unavailable, Refused, OSError) as exc:
            if strict:
                raise
            # The files are there; the database will offer them again, and they will be the same.
            self.logger.error("could not tell the database of %d logs: %s", len(self._logs), exc)
        self._logs.clear()

    @property
    def _db(self) -> Database:
        if self.db is None:
            raise Unavailable("the task has not started")
        return self.db
