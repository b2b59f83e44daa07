"""The site: pages of packages per second, the site-wide pages, and requests to piw-serve."""

from __future__ import annotations

import gzip
import hashlib
import logging
import random
import selectors
import socket
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from support import ABI, LOG, farm, fill, free_port, program, table

from piwheels.core.database import Database
from piwheels.core.states import BuildState, FileState
from piwheels.master.logic import catalog
from piwheels.master.messages import RewritePages, WriteHome
from piwheels.master.ports import Ports
from piwheels.master.seraph import Seraph
from piwheels.master.site.rendering import Renderer
from piwheels.master.the_oracle import TheOracle
from piwheels.master.the_scribe import TheScribe
from piwheels.master.wiring import WIRES, MasterConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PACKAGES, VERSIONS = 300, 8
PROJECTS = 600_000
CLIENTS, SECONDS = 8, 5.0
ASK = (
    b"GET /simple/load1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Accept: application/vnd.pypi.simple.v1+json\r\n\r\n"
)


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
        "the root, JSON": lambda: catalog.root_json(names),
        "the root, HTML": lambda: renderer.simple_root(catalog.by_name(names)),
        "packages.json": lambda: catalog.search_json(catalog.ranked(downloads), downloads),
        "a sitemap": lambda: b"".join(catalog.sitemap("https://index.example/", names).values()),
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


def requests(port: int) -> float:
    """Request a page on several connections; return the answers per second."""
    size = 0
    with socket.create_connection(("127.0.0.1", port), 10) as first:
        first.sendall(ASK)
        head, _, body = first.recv(2**20).partition(b"\r\n\r\n")
        lines = [line.split(b":") for line in head.lower().split(b"\r\n")]
        length = next(int(value[1]) for value in lines if value[0] == b"content-length")
        size = len(head) + 4 + length
        if b" 200 " not in head or len(body) > length:
            sys.exit(f"piw-serve answered {head!r}")
    done, selector = 0, selectors.DefaultSelector()
    missing: dict[int, int] = {}
    for _ in range(CLIENTS):
        connection = socket.create_connection(("127.0.0.1", port), 10)
        selector.register(connection, selectors.EVENT_READ, connection)
        missing[connection.fileno()] = size
        connection.sendall(ASK)
    start = time.perf_counter()
    while time.perf_counter() < start + SECONDS:
        for key, _ in selector.select(1):
            missing[key.fd] -= len(key.data.recv(2**20))
            if missing[key.fd] == 0:  # the same request, so the same length
                done, missing[key.fd] = done + 1, size
                key.data.sendall(ASK)
    taken = time.perf_counter() - start
    for key in list(selector.get_map().values()):
        key.data.close()
    return done / taken


def serve(site: Path, home: Path) -> float:
    """Start piw-serve; return its answers per second."""
    port = free_port()
    with program(home, "piwheels.serve", f"-o={site}", f"--port={port}"):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return requests(port)
    sys.exit("piw-serve does not listen")


def main() -> int:
    """Write a site twice, serve it, and print the measurements."""
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
        answered = serve(config.output_path, ours.home)
    what = f"of {VERSIONS} versions: index, page and JSON"
    rows = [
        (f"packages {what}, new", f"{new:,.0f}", "packages/s"),
        ("the same, unchanged", f"{unchanged:,.0f}", "packages/s"),
        (f"piw-serve, a JSON page, {CLIENTS} clients", f"{answered:,.0f}", "requests/s"),
    ]
    table("The site", [*rows, *overview()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
