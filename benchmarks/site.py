"""The site: pages of packages per second, and the site-wide pages."""

from __future__ import annotations

import gzip
import hashlib
import logging
import random
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from support import ABI, LOG, farm, fill, table

from piwheels.core.database import Database
from piwheels.core.states import BuildState, FileState
from piwheels.master.logic import site_wide
from piwheels.master.messages import RewritePages, WriteHome
from piwheels.master.ports import Ports
from piwheels.master.seraph import Seraph
from piwheels.master.site.rendering import Renderer
from piwheels.master.the_oracle import TheOracle
from piwheels.master.the_scribe import TheScribe
from piwheels.master.wiring import WIRES, MasterConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGES, VERSIONS = 300, 8
PROJECTS = 600_000


def built(package: str, version: str) -> BuildState:
    """Return a build with one wheel."""
    tags = ("cp311", ABI, "linux_x86_64")
    name = f"{package}-{version}-{'-'.join(tags)}.whl"
    digest = hashlib.sha256(name.encode()).hexdigest()
    needs = {"apt": ("libc6", "zlib1g")}
    file = FileState(name, 10**6, digest, package, version, *tags, ">=3.9", needs)  # type: ignore[arg-type]
    file.metadata_hash = digest
    return BuildState(1, package, version, ABI, True, timedelta(seconds=5), LOG, {name: file})


@contextmanager
def scribe(config: MasterConfig) -> Iterator[Ports]:
    """Run TheScribe and the tasks that it uses; yield TheSecretary's ports to it."""
    cast = [Seraph(config), TheOracle(config), TheOracle(config), TheScribe(config)]
    wires = [wire for wire in WIRES if wire.name == "scribe"]
    ports = Ports("TheSecretary", config, logging.getLogger("bench"), wires=wires)
    for task in cast:
        task.start()
    try:
        yield ports
    finally:
        for task in reversed(cast):
            task.quit()
            task.join(15)
        ports.close()


def rewrite(ports: Ports) -> float:
    """Rewrite the pages of all packages; return the packages per second."""
    start, results = time.perf_counter(), []
    for number in range(1, PACKAGES + 1):
        ports.ask("scribe", RewritePages("BOTH", f"load{number}"), results.append, 300)
    ports.finish("scribe", 300)
    if len(results) < PACKAGES:
        sys.exit("TheScribe does not answer")
    for result in results:
        if result.error:
            sys.exit(f"TheScribe refused: {result.error}")
    return PACKAGES / (time.perf_counter() - start)


@contextmanager
def _waiting() -> Iterator[list[float]]:
    """Measure the longest wait of another thread for its turn, in seconds."""
    longest, done = [0.0], threading.Event()

    def measure() -> None:
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            longest[0], last = max(longest[0], now - last), now

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield longest
    finally:
        done.set()
        thread.join()


def overview() -> list[tuple[str, str, str]]:
    """Generate the site-wide pages for :data:`PROJECTS`; return rows of the table."""
    random.seed(1)
    words = ("auto", "async", "data", "fast", "flow", "kit", "lib", "net", "py", "test", "web", "x")
    names = {f"{'-'.join(random.sample(words, 3))}-{number}" for number in range(PROJECTS)}
    downloads = {name: (len(name) // 20, len(name) // 18) for name in names}
    renderer = Renderer()
    renderer.simple_root(["compiled"])
    jobs: dict[str, Callable[[], bytes]] = {
        "the root, JSON": lambda: site_wide.root_json(names),
        "the root, HTML": lambda: renderer.simple_root(site_wide.by_name(names)),
        "packages.json": lambda: site_wide.search_json(site_wide.ranked(downloads), downloads),
        "a sitemap": lambda: b"".join(site_wide.sitemap("https://index.example/", names).values()),
    }
    rows = []
    for what, job in jobs.items():
        start = time.perf_counter()
        with _waiting() as longest:
            data = job()
        taken = time.perf_counter() - start
        size = f"{len(data) / 1e6:.0f} MB, packed {len(gzip.compress(data)) / 1e6:.0f}"
        result = f"{taken:.1f} s, others wait {longest[0] * 1000:.0f} ms"
        rows.append((f"{what} of {PROJECTS:,} projects ({size})", result, ""))
    return rows


def main() -> int:
    """Write a site twice, and print the measurements."""
    with farm() as ours:
        with Database(ours.dsn) as db:
            db.add_build_abi(ABI)
            fill(ours.superuser, PACKAGES, VERSIONS)
            jobs = db.get_build_queue(PACKAGES * VERSIONS)[ABI]
            for start in range(0, len(jobs), 100):
                db.log_builds([built(*job) for job in jobs[start : start + 100]])
            db.logs_written(db.get_all_build_ids())  # otherwise TheScribe would write them now
        config = MasterConfig(dsn=ours.dsn, output_path=ours.home / "site")
        with scribe(config) as ports:
            ports.call("scribe", WriteHome({}))  # wait until it has started and written the root
            new, unchanged = rewrite(ports), rewrite(ports)
    what = f"of {VERSIONS} versions: index, page and JSON"
    rows = [
        (f"packages {what}, new", f"{new:,.0f}", "packages/s"),
        ("the same, unchanged", f"{unchanged:,.0f}", "packages/s"),
    ]
    table("The site", [*rows, *overview()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
