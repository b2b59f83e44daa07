"""Wheels an hour of one host: real packages from pip's index, built one by one and side by side.

Arguments choose the numbers of builds at once that are compared.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

from support import Farm, farm, free_port, program, table

from piwheels.core.database import Database
from piwheels.core.host.interpreters import probe

#: The builds at once that are compared.
JOBS = ("1", "2", "auto")
#: The seconds without a wheel after which the rest counts as failed.
IDLE = 120.0
QUEUE = ("status", "control", "console", "import", "log")
#: Small packages: a third has extensions in C or C++.
PACKAGES = """
    six==1.16.0 idna==3.7 certifi==2024.7.4 chardet==5.2.0 urllib3==2.2.2 toml==0.10.2
    tomli==2.0.1 colorama==0.4.6 click==8.1.7 itsdangerous==2.2.0 markupsafe==2.1.5 jinja2==3.1.4
    wrapt==1.16.0 attrs==23.2.0 pluggy==1.5.0 iniconfig==2.0.0 packaging==24.1 pyparsing==3.1.2
    python-dateutil==2.9.0.post0 pytz==2024.1 tzdata==2024.1 docutils==0.21.2 pygments==2.18.0
    simplejson==3.19.2 ujson==5.10.0 msgpack==1.0.8 psutil==6.0.0 blinker==1.8.2 decorator==5.1.1
    termcolor==2.4.0 tabulate==0.9.0 docopt==0.6.2 mccabe==0.7.0 pycodestyle==2.12.0
    pyflakes==3.2.0 isodate==0.6.1 lazy-object-proxy==1.10.0 multidict==6.0.5 frozenlist==1.4.1
    zipp==3.19.2 importlib-metadata==8.0.0 filelock==3.15.4 platformdirs==4.2.2 distlib==0.3.8
    more-itertools==10.3.0 toolz==0.12.1 sortedcontainers==2.4.0 cachetools==5.3.3
    bitarray==2.9.2 greenlet==3.0.3 python-dotenv==1.0.1 pyasn1==0.6.0 ply==3.11
    pycparser==2.22 webencodings==0.5.1 soupsieve==2.5 html5lib==1.1 markdown==3.6 xxhash==3.4.1
    pyrsistent==0.20.0
"""


def build_all(ours: Farm, jobs: list[tuple[str, str]], at_once: str) -> tuple[int, float]:
    """Have one slave build *jobs*, *at_once* of them; return the wheels and the seconds."""
    ports = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    queues = [f"--slave-queue={ports[0]}", f"--file-queue={ports[1]}"]
    options = [f"--{name}-queue=ipc://{ours.home}/{name}" for name in QUEUE]
    options += [*queues, f"--dsn={ours.dsn}", f"-o={ours.home}/site", "--source=none"]
    builds = ours.home / "builds"
    builds.mkdir()
    with (
        Database(ours.dsn) as db,
        program(ours.home, "piwheels.master", *options),
        program(ours.home, "piwheels.slave", *queues, f"--jobs={at_once}", f"--dir={builds}"),
    ):
        began = last = time.perf_counter()
        wheels = 0
        while wheels < len(jobs) and time.perf_counter() - last < IDLE:
            time.sleep(0.2)
            found = sum(build.status for build in db.get_builds(jobs))
            if found > wheels:
                wheels, last = found, time.perf_counter()
                began = began if wheels > 1 else last  # without the start of the programs
        return wheels - 1, last - began


def main(*choice: str) -> int:
    """Build the packages with each number of builds at once, and print the measurements."""
    jobs = [_split(each) for each in PACKAGES.split()]
    rows = []
    for at_once in choice or JOBS:
        with farm() as ours:
            with Database(ours.dsn) as db:
                db.add_build_abi(probe().abi)
                for name, version in jobs:
                    db.add_new_package(name)
                    db.add_new_package_version(name, version, datetime.now(UTC))
            load = os.getloadavg()[0]
            wheels, seconds = build_all(ours, jobs, at_once)
            what = f"--jobs {at_once}: {wheels + 1} of {len(jobs)} built (load before: {load:.1f})"
            rows.append((what, f"{3600 * wheels / seconds:,.0f}", "wheels/h"))
    table("One host with real packages", rows)
    return 0


def _split(text: str) -> tuple[str, str]:
    name, _, version = text.partition("==")
    return name, version


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
