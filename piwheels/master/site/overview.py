"""Writes the site-wide pages: the root of the index, home, stats, feed, search and sitemap."""

from __future__ import annotations

import gzip
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.site import FEED
from piwheels.master.logic import feeds, site_wide, web_pages
from piwheels.master.logic.reasons import reason_lines, suggested_release
from piwheels.master.logic.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from piwheels.core.clock import Clock
    from piwheels.core.database import Database
    from piwheels.master.logic.reasons import ReasonLine
    from piwheels.master.site.files import Site
    from piwheels.master.site.rendering import Renderer

#: How many of the most downloaded projects the pages list.
POPULAR: Final = 100
#: The failures that are counted by their reasons: of so many days, of so many subjects.
FAILED_DAYS: Final = timedelta(days=7)
MAX_SUBJECTS: Final = 1000
#: Counting visits each of these failures: it takes at most this share of the time. The seconds
#: until it is tried again after an error.
COUNT_SHARE: Final = 1 / 200
COUNT_AGAIN: Final = 3600.0


class Overview:
    """Keeps the set of projects, and writes the pages that list them.

    Each group of pages is written when it is out of date, at most once in *pause* seconds. A large
    site, where writing takes seconds, is written less often, except for removals. One call of
    :meth:`work` writes one group, so that other requests are served in between.

    The names and download counts are kept in memory: 600,000 projects take 100 MB.
    """

    def __init__(
        self,
        site: Site,
        renderer: Renderer,
        site_url: str,
        pause: float,
        clock: Clock = SYSTEM,
    ) -> None:
        self._site = site
        self._renderer = renderer
        self._url = site_url
        self._clock = clock
        #: The farm's statistics, and whether the database has newer ones.
        self._stats: Mapping[str, Any] = {}
        self._stats_stale = True
        #: The projects in the root of the index, and the downloads of each project whose page is
        #: listed; ``None`` until :meth:`_load` has read them.
        self._listed: set[str] | None = None
        self._shown: dict[str, tuple[int, int]] | None = None
        self._popular: list[str] = []
        self._downloads_known = False
        #: The ends of the logs of the failed builds in the feed whose cause nobody knows.
        self._ends: dict[int, str] = {}
        #: The failures by their reasons, and when they are counted again.
        self._failed: list[ReasonLine] = []
        self._count_due = 0.0
        #: The group that is written, or was last.
        self._current = ""
        self._root, self._search, self._home, self._sitemap = (Schedule(pause) for _ in range(4))
        self._summaries = Schedule(pause)
        #: The summaries whose compressed copies are known to be up to date: packing takes long.
        self._packed: set[Path] = set()
        self._writers = [
            (self._root, self._write_root),
            (self._search, self._write_search),
            (self._home, self._write_home),
            (self._sitemap, self._write_sitemap),
            (self._summaries, self._write_summaries),
        ]

    def __str__(self) -> str:
        return self._current

    # Changes --------------------------------------------------------------------------------------

    def set_listed(self, package: str, *, listed: bool) -> None:
        """Note whether the root of the index lists *package*."""
        if self._listed is None or listed == (package in self._listed):
            return
        (self._listed.add if listed else self._listed.discard)(package)
        self._root.touch(urgent=not listed)

    def set_shown(self, package: str, *, shown: bool) -> None:
        """Note whether the page of *package* is listed in the search and the sitemap."""
        if self._shown is None or shown == (package in self._shown):
            return
        if shown:
            self._shown[package] = (0, 0)
        else:
            del self._shown[package]
        for schedule in (self._search, self._home, self._sitemap, self._summaries):
            schedule.touch(urgent=not shown)

    def update_stats(self, stats: Mapping[str, Any] | None = None) -> None:
        """Note changed builds, or (with *stats*) new statistics."""
        self._stats = stats or self._stats
        self._stats_stale = stats is None
        self._home.touch()

    def update_summaries(self) -> None:
        """Note that the summary of a project may have changed."""
        self._summaries.touch()

    def rewrite_root(self) -> None:
        """Note that the root of the index may have been damaged."""
        self._root.touch(urgent=True)

    # Writing --------------------------------------------------------------------------------------

    def work(self, db: Database) -> None:
        """Write one group of pages that is due, if any; it stays due after a failure."""
        now = self._clock.monotonic()
        due = next((each for each in self._writers if each[0].is_due(now)), None)
        if due is None:
            return
        schedule, write = due
        self._current = write.__name__.removeprefix("_write_")
        try:
            self._load(db)
            schedule.begin()
            write(db)
        except Exception:
            schedule.failed(now)
            for other, _ in self._writers:
                other.wait(now)  # the cause, such as a full disk, usually affects all of them
            # The last one from now on: a page that always fails must not keep others waiting.
            self._writers.sort(key=lambda each: each[0] is schedule)
            raise
        schedule.done(now, self._clock.monotonic())

    def write_search(self, db: Database) -> None:
        """Write the search page now, with the download counts of the database."""
        self._load(db)
        self._set_downloads(db.get_search_index())
        self._write_search(db)
        self._packed.clear()
        self._write_summaries(db)

    def _load(self, db: Database) -> None:
        """Read the set of projects, unless that has happened."""
        if self._listed is None:
            self._listed = set(db.get_simple_index())
        if self._shown is None:
            hidden = set(db.get_quarantined())
            self._shown = {name: (0, 0) for name in self._site.pages() if name not in hidden}

    def _set_downloads(self, index: Mapping[str, tuple[int, int]]) -> None:
        self._downloads_known = True
        shown = self._shown or {}
        same: dict[tuple[int, int], tuple[int, int]] = {}  # share equal pairs: most are (0, 0)
        for name in shown:
            recent, ever = index.get(name, (0, 0))
            pair = (recent, ever)
            shown[name] = same.setdefault(pair, pair)
        self._summaries.touch()  # they are in the order of the downloads

    def _write_root(self, _: Database) -> None:
        folder, names = self._site.root / "simple", list(site_wide.by_name(self._listed or ()))
        self._site.write_pages(
            {
                folder / "index.v1_json": site_wide.root_json(names),
                folder / "index.html": self._renderer.simple_root(names),
            }
        )
        self._site.link_page(folder / "index.v1_html", "index.html")

    def _write_search(self, db: Database) -> None:
        if not self._downloads_known:
            self._set_downloads(db.get_search_index())
        shown = self._shown or {}
        names = site_wide.ranked(shown)
        popular = names[:POPULAR]
        if popular != self._popular:
            self._popular = popular
            self._home.touch()
        data = site_wide.search_json(names, shown)
        rows = list(site_wide.found(popular, shown))
        root = self._site.root
        page = self._renderer.packages(rows, len(shown))
        self._site.write_all(
            {
                root / "packages.json": data,
                # Equal data gives an equal file, because it contains no time
                root / "packages.json.gz": gzip.compress(data, 6, mtime=0),
            }
        )
        self._site.write_pages({root / "packages.html": page})

    def _write_summaries(self, db: Database) -> None:
        names, root = site_wide.ranked(self._shown or {}), self._site.root
        written = set()
        for part, some in enumerate(site_wide.summary_parts(names), start=1):
            path = root / f"summaries{part}.json"
            found = db.get_summaries(some, site_wide.SUMMARY)
            data = site_wide.summaries_json(some, found)
            known = path in self._packed
            self._packed.discard(path)
            if self._site.write(path, data) or not known:
                self._site.write_pages({path: data})
            self._packed.add(path)
            written.add(path)
        for path in root.glob("summaries*.json"):
            if path not in written:
                self._site.remove_page(path)

    def _write_home(self, db: Database) -> None:
        shown, root = self._shown or {}, self._site.root
        popular = [name for name in self._popular if name in shown]
        if self._stats_stale:
            self._stats = {**self._stats, **db.get_statistics()}
            self._stats_stale = False
        builds = db.get_recent_builds(feeds.FARM_SIZE)
        listed = [build for build in builds if build.package in shown]
        self._explain(feeds.unexplained(listed))
        self._count_failed(db)
        self._site.write_pages(
            {
                root / FEED: self._renderer.farm_feed(listed, self._ends),
                root / "index.html": self._renderer.home(self._stats, popular, builds, shown),
                root / "stats.html": self._renderer.stats(
                    self._stats,
                    db.get_activity(),
                    list(site_wide.found(popular[:20], shown)),
                    self._failed,
                ),
            }
        )

    def _count_failed(self, db: Database) -> None:
        if (began := self._clock.monotonic()) >= self._count_due:
            self._count_due = began + COUNT_AGAIN
            counts = db.count_reasons(self._clock.now() - FAILED_DAYS, MAX_SUBJECTS)
            self._failed = reason_lines(counts, suggested_release(db.get_targets()))
            ended = self._clock.monotonic()
            self._count_due = ended + (ended - began) / COUNT_SHARE

    def _explain(self, failed: Iterable[int]) -> None:
        """Keep the ends of the logs of these builds; read those that are new."""
        known, self._ends = self._ends, {}
        for number in failed:
            if number not in known:
                with suppress(OSError):  # a failure without a log has no end to show
                    log = self._site.read_log(number)
                    if log is not None:
                        known[number] = web_pages.reason(log)
            if number in known:
                self._ends[number] = known[number]

    def _write_sitemap(self, _: Database) -> None:
        files = site_wide.sitemap(self._url, self._shown or ()) if self._url else {}
        root = self._site.root
        self._site.write_all({root / name: data for name, data in files.items()})
        for path in root.glob("sitemap*.xml"):
            if path.name not in files:
                self._site.remove(path)
