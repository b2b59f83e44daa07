"""The duration of an import by ``piw-initdb --from-peer``, without a site, and the sizes."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from support import table

from piwheels import initdb
from piwheels.core.database.dsn import administer, redirect
from piwheels.core.host.postgres import Cluster
from piwheels.core.paths import DAEMON

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from peer_farm import enlarge

#: A large farm; the first argument is the share of it that is imported.
VERSIONS, BUILDS, FILES, DOWNLOADS = 500_000, 2_000_000, 2_500_000, 10_000_000


def main(share: float = 0.05) -> int:
    """Fill a database of the existing implementation, and import it."""
    counts = [int(count * share) for count in (VERSIONS, BUILDS, FILES, DOWNLOADS)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        with Cluster(place / "pg", user="nobody") as cluster:
            for name in ("old", "new"):
                administer(cluster.dsn(), "CREATE DATABASE {} TEMPLATE template0", names=[name])
            old, new = (redirect(cluster.dsn(), name) for name in ("old", "new"))
            versions, builds, files, downloads = counts
            enlarge(old, versions=versions, builds=builds, files=files, downloads=downloads)
            began = time.perf_counter()
            options = ["--dsn", new, "--user", DAEMON, "--yes", "--report", str(place / "report")]
            if initdb.main([*options, "--from-peer", old]):
                return 1
            took = time.perf_counter() - began
            sizes = [
                administer(each, "SELECT pg_size_pretty(pg_database_size(current_database()))")
                for each in (old, new)
            ]
    titles = ("versions", "builds", "files", "downloads")
    table(
        "An import: " + ", ".join(f"{n:,} {what}" for n, what in zip(counts, titles, strict=True)),
        [
            ("piw-initdb --from-peer", f"{took / 60:.1f}", "min"),
            ("size of the database there", sizes[0][0][0], ""),
            ("size of the database here", sizes[1][0][0], ""),
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
