"""TheScribe: writes the site, that is the simple index, the project pages, and the build logs."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from piwheels.core.errors import DatabaseError, PiWheelsError, Refused, Unavailable
from piwheels.core.fetching import public
from piwheels.core.host.pip_config import default_index
from piwheels.core.site import FEED, INDEX
from piwheels.core.targets import Target
from piwheels.core.tasks import PauseableTask
from piwheels.core.wheels.tags import canonical
from piwheels.master.logic import feeds, simple_index, site_wide, web_pages
from piwheels.master.logic.reasons import suggested_release
from piwheels.master.logic.why import why
from piwheels.master.messages import (
    DeletePackage,
    DeleteVersion,
    RewritePages,
    ScribeRequest,
    WriteHome,
    WriteLog,
    WriteRoot,
    WriteSearch,
)
from piwheels.master.ports import Ports
from piwheels.master.site.describer import UNKNOWN, Describer
from piwheels.master.site.files import Site
from piwheels.master.site.layout import LayoutUpgrade
from piwheels.master.site.links import LinkUpdates
from piwheels.master.site.overview import Overview
from piwheels.master.site.rendering import Renderer, static_files
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from piwheels.core.database import Database
    from piwheels.core.database.rows import ProjectData, SimpleProject
    from piwheels.master.messages import Part
    from piwheels.master.ports import Inbox
    from piwheels.master.site.describer import Described
    from piwheels.master.wiring import MasterConfig

#: The most logs that are written before the files are synced and recorded in the database.
_MAX_LOGS: Final = 100
#: How many logs that an earlier master left are written at a time (each up to 15 MiB); how many
#: logs of deleted builds are removed at a time.
_UNWRITTEN_LOGS: Final = 50
_ORPHANED_LOGS: Final = 500


class TheScribe(PauseableTask):
    """Writes the files that TheSecretary requests, and answers when they are on the disk.

    A package's pages are written in this order: JSON, HTML, the project page. The site-wide pages
    are written after changes, at most once a minute (:class:`Overview`). The log of a build is
    written when it arrives, and removed after the build is deleted. After a crash, the database
    lists the logs that remain to be written or removed.
    """

    name = "the_scribe"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("TheScribe", config, self.logger, self)
        self.db: Database = DbClient(self.ports)
        self.site = Site(config.output_path, config.work_path)
        self._renderer = Renderer(config.site_url)
        self._index = public(config.pypi_simple or default_index())
        pause = 0.2 if config.dev_mode else 60.0
        self._overview = Overview(self.site, self._renderer, config.site_url, pause, self.clock)
        self._upgrade = LayoutUpgrade(self.site, self._refresh, self.clock)
        self._links = LinkUpdates(self.write_page, self.clock)
        #: The logs that are written but not yet recorded, with the folders to sync before that.
        self._logs: dict[int, Path] = {}
        self._describer = Describer(self.clock)
        self.own(self._describer)
        self._scan_due = 0.0
        self.ports.serve("scribe", self.handle_request)
        interval = timedelta(seconds=0.2 if config.dev_mode else 0.5)
        self.every(interval, self.write_overview)
        self.every(interval, self.maintain_logs)
        self.every(interval, self.upgrade_pages)
        self.every(interval, self.update_links)

    def once(self) -> None:
        """Write the files whose content never changes."""
        robots = {"robots.txt": site_wide.robots(self.config.site_url)}
        texts = {**static_files(), **self._renderer.fixed()}
        pictures = {name: texts.pop(name) for name in list(texts) if not _is_text(name)}
        self.site.write_pages({self.site.root / name: data for name, data in texts.items()})
        for name, data in {**pictures, **robots}.items():
            self.site.write(self.site.root / name, data)

    def close(self) -> None:
        """Report the last logs to the database, note the progress, then close everything."""
        self._report_logs()
        with suppress(OSError):  # otherwise the next master writes some pages once more
            self._upgrade.note()
        super().close()

    # Requests -----------------------------------------------------------------------------------

    def handle_request(self, queue: Inbox[ScribeRequest]) -> None:
        """Carry out a request and answer it; the data of a package never ends the task."""
        ticket = queue.recv_ticket()
        try:
            note = self._do(ticket.request)
        except (PiWheelsError, OSError) as exc:
            self.logger.error("could not do %.160s: %s", ticket.request, exc)
            ticket.refuse(exc)
        else:
            ticket.answer(note)

    def _do(self, request: ScribeRequest) -> int | None:
        """Carry out *request*; return the number of the note in the database that it settles."""
        match request:
            case RewritePages(part, name):
                return self._rewrite(part, canonical(name))
            case DeletePackage(name):
                note = self.db.get_rewrite_note(canonical(name), "BOTH")
                self.delete_package(canonical(name))
                self._scan_due = 0.0
                return note
            case DeleteVersion(name, version):
                note = self.db.get_rewrite_note(canonical(name), "BOTH")
                self.delete_version(canonical(name), version)
                self._scan_due = 0.0
                return note
            case WriteLog(build_id, text):
                self.write_log(build_id, text)
            case WriteHome(stats):
                self._overview.update_stats(stats)
            case WriteSearch():
                self._overview.write_search(self.db)
            case WriteRoot():
                self._overview.rewrite_root()
            case never:
                assert_never(never)
        return None

    def _rewrite(self, part: Part, package: str) -> int | None:
        # Read first: the pages may not show changes of later notes.
        note = self.db.get_rewrite_note(package, part)
        if part == "BOTH":
            self.write_index(package)
        self.write_page(package)
        return note

    # In the background --------------------------------------------------------------------------

    def upgrade_pages(self) -> None:
        """Write the pages of some projects that an earlier version of the master has written."""
        try:
            self._upgrade.work()
        except OSError as exc:
            self.logger.error("could not note which pages are written, trying again: %s", exc)

    def update_links(self) -> None:
        """Write some pages again that name a project whose page is new or gone."""
        try:
            self._links.work(self.db)
        except PiWheelsError as exc:
            self.logger.error("could not update links between projects, trying again: %s", exc)
        except Exception as exc:  # noqa: BLE001 (one page never ends the task)
            self.unexpected("updating links between projects", exc)

    def _refresh(self, package: str) -> None:
        """Write all pages of *package* again; nothing is removed if the database is another one."""
        project = self.db.get_simple_project(package)
        if project is not None:
            self._update_index(package, project)
            self.write_page(package)

    # A package ----------------------------------------------------------------------------------

    def write_index(self, package: str) -> None:
        """Write the page of *package* in the simple index, or remove it if the page would be empty.

        If the database does not know the package, all its files are removed: a crash may have
        interrupted its removal.
        """
        self._update_index(package, self.db.get_simple_project(package))

    def _update_index(self, package: str, project: SimpleProject | None) -> None:
        if project is None:
            self.delete_package(package)
        elif not (project.files or project.status != "active"):
            self._remove_index(package)
        else:
            self._write_index(project)
        self._list(package, project)

    def _write_index(self, project: SimpleProject) -> None:
        folder = self.site.project_dir(project.package)
        changed = self.site.write_pages(
            {
                folder / "index.v1_json": simple_index.project_json(project),
                folder / "index.html": self._renderer.simple_project(project),
            }
        )
        self.site.link_page(folder / "index.v1_html", "index.html")
        if changed:
            for filename, text in simple_index.bad_specifiers(project):
                self.logger.warning(
                    "%s: left out Requires-Python %.200r, which no installer can read",
                    filename, text,
                )  # fmt: skip

    def write_page(self, package: str) -> None:
        """Write the project page of *package* and its JSON, or remove them if it is unknown."""
        folder = self.site.page_dir(package)
        self._overview.update_stats()
        found = self.db.get_project_data(package)
        if found is None:
            self._remove_page(package)
            return
        data = web_pages.offered(found)
        version, files = web_pages.chosen(data) or ("", [])
        described = self._describe(package, files)
        metadata = described.metadata
        if metadata is not None or not files:  # otherwise the last known summary stays
            summary, needs = (metadata.summary, metadata.needs) if metadata else ("", ())
            if self.db.set_package_metadata(package, summary, [name for name, _ in needs]):
                data = web_pages.offered(self.db.get_project_data(package) or found)
        ends = self._ends(data)
        fetches = self.db.get_fetches(web_pages.newest_builds(data))
        rows = [row for row in self.db.get_targets() if not row.skip]
        targets = [Target(row.platform, row.abi_tag) for row in rows]
        answers = why(data, targets, release=suggested_release(rows))
        page = self._renderer.project(
            data, ends, described, self.site.has_page, fetches, answers=answers
        )
        if not self.site.has_page(package):
            self._links.changed(self.db, package)
        changed = self.site.write_pages(
            {
                folder / "json" / "index.json": web_pages.builds_json(
                    data,
                    version,
                    metadata,
                    self.config.site_url,
                    self._index,
                    answers=answers,
                ),
                folder / "badge.svg": self._renderer.badge(data),
                folder / FEED: self._renderer.project_feed(data, ends),
                folder / "index.html": page,
            }
        )
        if changed:
            self._overview.update_summaries()
            self._report(package, described)
        self._overview.set_shown(package, shown=data["status"] != "quarantined")
        for alias in self.db.get_package_aliases(package):
            try:
                self.site.link_alias(package, alias)
            except (ValueError, OSError) as exc:
                self.logger.warning("%s: cannot make the alias %.200r: %s", package, alias, exc)

    def _describe(self, package: str, files: Sequence[str]) -> Described:
        """Return what the first METADATA of the wheels *files* says; what is unknown is empty."""
        for filename in files:
            try:
                if (content := self.site.read_metadata(package, filename)) is not None:
                    return self._describer.describe(content)
            except (OSError, ValueError) as exc:
                self.logger.warning("cannot read the METADATA of %.200s: %s", filename, exc)
        return UNKNOWN

    def _report(self, package: str, described: Described) -> None:
        if described.left_out:
            fields = ", ".join(described.left_out)
            self.logger.info("%s: left out invalid METADATA: %.400s", package, fields)
        if described.failed:
            self.logger.warning(
                "%s: reading its METADATA takes too much time or memory, so its page shows the"
                " description as plain text",
                package,
            )

    def _ends(self, data: ProjectData) -> dict[int, str]:
        """Return the lines of the logs of failed builds that the page or the feed shows."""
        unexplained = dict.fromkeys(
            feeds.unexplained(feeds.project_builds(data)), web_pages.UNDIAGNOSED
        )
        ends = {}
        for build_id, diagnosis in (unexplained | web_pages.unexplained(data)).items():
            with suppress(OSError):  # a failure without a log has no lines to show
                if (log := self.site.read_log(build_id)) is not None:
                    ends[build_id] = web_pages.reason(log, diagnosis)
        return ends

    def delete_package(self, package: str) -> None:
        """Remove *package* from the site: the index first, the files last.

        If only its builds are deleted, its project page is written again.
        """
        self._overview.set_listed(package, listed=False)
        self._remove_index(package)
        self.write_page(package)
        if self.site.remove_folder(self.site.project_dir(package)):
            self.logger.info("removed all files of %s", package)

    def delete_version(self, package: str, version: str) -> None:
        """Remove one version of *package*: first from the pages, then its files."""
        files = self.site.files_of(package, version)
        project = self.db.get_simple_project(package)
        if project is not None:
            # The database may or may not have deleted them already.
            project = simple_index.without_version(project, version)
        if project is None or not project.files:
            self._remove_index(package)
        else:
            self._write_index(project)
        self._list(package, project)
        self.write_page(package)
        for file in files:
            self.site.remove(file)
        self.logger.info("removed %d files of %s %s", len(files), package, version)

    def _remove_index(self, package: str) -> None:
        for name in reversed(INDEX):
            self.site.remove_page(self.site.project_dir(package) / name)

    def _remove_page(self, package: str) -> None:
        self._overview.set_shown(package, shown=False)
        if self.site.has_page(package):
            self._links.changed(self.db, package)
        for alias in self.site.aliases_of(package):
            self.site.remove(alias)
        self.site.remove_folder(self.site.page_dir(package))

    def _list(self, package: str, project: SimpleProject | None) -> None:
        listed = project is not None and bool(simple_index.listed_files(project))
        self._overview.set_listed(package, listed=listed)

    # Site-wide pages ----------------------------------------------------------------------------

    def write_overview(self) -> None:
        """Write one group of site-wide pages that is out of date and due."""
        try:
            self._overview.work(self.db)
        except (PiWheelsError, OSError) as exc:
            self.logger.error("could not write the site-wide pages, trying again: %s", exc)
        except Exception as exc:  # noqa: BLE001 (one page never ends the task)
            self.unexpected(f"writing the site-wide pages ({self._overview})", exc)

    # Logs ---------------------------------------------------------------------------------------

    def write_log(self, build_id: int, text: str) -> None:
        """Write the log of a build, unless that has been done, or the build has been deleted.

        :meth:`_report_logs` records it in the database. If the build is deleted in the meantime,
        :meth:`maintain_logs` removes the log later.
        """
        if not self.db.log_waits(build_id):
            return
        self._logs[build_id] = self.site.write_log(build_id, text)
        if len(self._logs) >= _MAX_LOGS:
            self._report_logs()

    def maintain_logs(self) -> None:
        """Record the written logs; once a minute, write and remove the logs that remain."""
        self._report_logs()
        now = self.clock.monotonic()
        if now < self._scan_due:
            return
        self._scan_due = now + 60
        try:
            more = self._remove_orphaned_logs()
            more = self._write_unwritten_logs() or more
        except (PiWheelsError, OSError) as exc:
            self.logger.error("could not write or remove the remaining logs, trying again: %s", exc)
        except Exception as exc:  # noqa: BLE001 (one log never ends the task)
            self.unexpected("writing or removing the remaining logs", exc)
        else:
            if more:
                self._scan_due = now  # continue after the requests that have arrived

    def _remove_orphaned_logs(self) -> bool:
        """Remove some logs of deleted builds; return whether there may be more."""
        gone = self.db.get_logs_gone(_ORPHANED_LOGS)
        paths = [self.site.log_path(build_id) for build_id in gone]
        self.site.sync({path.parent for path in paths if self.site.remove(path)})
        if gone:
            self.db.logs_removed(gone)
        return len(gone) == _ORPHANED_LOGS

    def _write_unwritten_logs(self) -> bool:
        """Write some logs that only the database has; return whether there may be more."""
        for _ in range(_UNWRITTEN_LOGS):
            # One at a time: a log may be as large as a message.
            left = self.db.get_unwritten_logs(1)
            if not left:
                return False
            for build_id, text in left:
                self._logs[build_id] = self.site.write_log(build_id, text)
            self._report_logs(strict=True)
        return True

    def _report_logs(self, *, strict: bool = False) -> None:
        if not self._logs:
            return
        try:
            self.site.sync(set(self._logs.values()))
            self.db.logs_written(list(self._logs))
        except (DatabaseError, Unavailable, Refused, OSError) as exc:
            if strict:
                raise
            # The files exist. They will be written again, with the same content.
            self.logger.error("could not record %d logs in the database: %s", len(self._logs), exc)
        self._logs.clear()


def _is_text(name: str) -> bool:
    return name.endswith((".css", ".html", ".js"))
