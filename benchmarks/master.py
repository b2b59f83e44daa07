"""Builds a second, how soon heart-beats are answered, and megabytes a second, of one piw-master."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from support import ABI, farm, fill, free_port, percentile, program, table
from support.slaves import BEATING, BUILDING, Crowd, send_wheels

from piwheels.core.database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM, SECONDS = 1.0, 4.0
BLOB_BYTES = 50 * 10**6
QUEUE = ("status", "control", "console", "import", "log")

Rows = list[tuple[str, str, str]]


def latency(what: str, values: Sequence[float]) -> Rows:
    """Return the rows of a latency's median and 99th percentile."""
    return [
        (f"{what}, p{percent}", f"{1000 * percentile(values, percent):.1f}", "ms")
        for percent in (50, 99)
    ]


def builds(address: str, count: int) -> Rows:
    """Have *count* slaves fail to build as fast as they can."""
    crowd = Crowd(address, count, BUILDING)
    crowd.run(WARM)
    seconds = crowd.run(SECONDS)
    done = crowd.latency["BUILT", "DONE"]
    crowd.close()
    what = f"{count} slave{'s' * (count > 1)}"
    return [
        (f"{what}: failed builds, 10 KiB log", f"{len(done) / seconds:,.0f}", "builds/s"),
        *latency(f"{what}: BUILT to DONE", done),
    ]


def beats(address: str, files: str) -> Rows:
    """Have 500 slaves say BUSY twice a second, while nothing and while much else happens."""
    blob = os.urandom(BLOB_BYTES)
    crowd = Crowd(address, 500, BEATING, 0.5)
    crowd.run(2 * WARM)
    crowd.run(SECONDS)
    rows = latency("500 slaves, 2 beats/s: BUSY to CONT, quiet", crowd.latency["BUSY", "CONT"])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(int).result()  # it has started
        future = pool.submit(send_wheels, address, files, blob, SECONDS)
        crowd.run(SECONDS)
        beaten = list(crowd.latency["BUSY", "CONT"])
        sent = future.result(60)
    crowd.close()
    size, on_the_way, checked = (sum(column) for column in zip(*sent, strict=True))
    return [
        *rows,
        *latency("the same, while wheels of 50 MB come", beaten),
        ("transfer of those", f"{size / on_the_way / 1e6:,.0f}", "MB/s"),
        ("SENT to DONE of those (verified, on the disk)", f"{checked / len(sent):.2f}", "s"),
    ]


def main() -> int:
    """Start a master, load it, and print what was measured."""
    with farm() as ours:
        with Database(ours.dsn) as db:
            db.add_build_abi(ABI)
        fill(ours.superuser, 5_000, 10)
        ports = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
        options = [f"--{name}-queue=ipc://{ours.home}/{name}" for name in QUEUE]
        options += [f"--slave-queue={ports[0]}", f"--file-queue={ports[1]}", f"--dsn={ours.dsn}"]
        options += ["--pypi-simple=https://index.example/simple", f"-o={ours.home}/site"]
        with program(ours.home, "piwheels.master", *options):
            first = Crowd(ports[0], 1, BUILDING)
            while not first.latency["BUILT", "DONE"]:  # it has started
                first.run(1.0)
            first.close()
            rows = [row for count in (1, 50, 500) for row in builds(ports[0], count)]
            rows += beats(*ports)
    table("One master", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
