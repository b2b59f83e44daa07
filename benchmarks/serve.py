"""The speed of piw-serve and of nginx (docs/deploy/nginx.conf) on the same site, in turns."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from support import free_port, program, table

from piwheels.core.database.rows import SimpleFile, SimpleProject
from piwheels.master.logic import simple_index
from piwheels.master.site.files import Site
from piwheels.master.site.rendering import Renderer

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECTS, FILES, TURNS, CONNECTIONS = 1_000, 60, 3, 16
#: Turns before that of each kind with many pages, which do not count.
WARM = 3
#: Seconds of each measurement.
SECONDS = 2
JSON = "Accept: application/vnd.pypi.simple.v1+json"
GZIP = "Accept-Encoding: gzip"
SMALL, LARGE = "small-1.0-py3-none-any.whl", "large-1.0-py3-none-any.whl"
NGINX = """
daemon off; pid {home}/pid; error_log {home}/error.log; events {{}} {user}
worker_processes auto;
http {{
    access_log off;
    client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
    uwsgi_temp_path {home}; scgi_temp_path {home};
    include {home}/site.conf;
}}
"""
# wrk requests the paths in random order, each of them equally often, with the headers.
SCRIPT = """
local paths = {{{paths}}}
function request() return wrk.format("GET", paths[math.random(#paths)]) end
"""
# No request equals an earlier one, so that no response is repeated.
FIRST = """
local number = 0
function request()
    number = number + 1
    wrk.headers["X-Number"] = number
    return wrk.format("GET", paths[math.random(#paths)])
end
"""


def write_site(home: Path) -> Path:
    """Write the simple index of :data:`PROJECTS` and two wheels; return its folder."""
    site, renderer = Site(home / "site", home / "work"), Renderer()
    site.check_writable()
    now, folder = datetime.now(UTC), site.root / "simple"
    for number in range(PROJECTS):
        name = f"load{number}"
        files = [
            SimpleFile(
                f"{name}-1.{version}-cp311-cp311-linux_armv7l.whl", 10**6,
                os.urandom(32).hex(), ">=3.9", yanked=False, yank_reason="",
                metadata_hash=os.urandom(32).hex(), published_at=now, builder_abi="cp311",
                version=f"1.{version}", apt_dependencies=["libc6"],
            )
            for version in range(FILES)
        ]  # fmt: skip
        project = SimpleProject(name, "active", "", [file.version for file in files], files)
        pages = {
            folder / name / "index.v1_json": simple_index.project_json(project),
            folder / name / "index.html": renderer.simple_project(project),
        }
        site.write_pages(pages)
    for wheel, size in ((SMALL, 40_000), (LARGE, 10**6)):
        (folder / "load0" / wheel).write_bytes(os.urandom(size))
    return site.root


@contextmanager
def nginx(home: Path, site: Path) -> Iterator[int]:
    """Run nginx with the configuration of the documents; yield its port."""
    port = free_port()
    text = (Path(__file__).parents[1] / "docs/deploy/nginx.conf").read_text()
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    (home / "site.conf").write_text(text.replace("/var/www/piwheels", str(site)))
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(NGINX.format(home=home, user=user))
    command = ["nginx", "-p", home, "-e", home / "error.log", "-c", "nginx.conf"]
    with subprocess.Popen(command) as process:
        try:
            yield port
        finally:
            process.terminate()


def wait(port: int) -> None:
    """Wait until a server listens on *port*."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"no server listens on port {port}")


def measure(port: int, script: Path, headers: list[str], status: int) -> float:
    """Return the requests per second that wrk counts; each must be answered with *status*."""
    options = [f"-t1 -c{CONNECTIONS} -d{SECONDS}s -s{script}", *(f"-H{each}" for each in headers)]
    command = ["wrk", *options[0].split(), *options[1:], f"http://127.0.0.1:{port}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Socket errors" in said or ("Non-2xx" in said) != (status >= 400):
        sys.exit(f"the server on port {port} has not answered everything:\n{said}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])


def etag(port: int, path: str) -> str:
    """Return the entity tag of *path*."""
    with socket.create_connection(("127.0.0.1", port), 10) as stream:
        stream.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n{JSON}\r\n\r\n".encode())
        return re.findall(r"(?i)etag: (.+?)\r\n", stream.recv(65536).decode())[0]


def main() -> int:
    """Measure each kind of request with both servers in turns; print the medians."""
    pages = [f"/simple/load{number}/" for number in range(PROJECTS)]
    one, small, large = pages[:1], [f"/simple/load0/{SMALL}"], [f"/simple/load0/{LARGE}"]
    kinds: list[tuple[str, list[str], list[str], int]] = [
        ("one page, JSON", one, [JSON], 200),
        ("one page, JSON, gzip", one, [JSON, GZIP], 200),
        ("first requests, JSON", pages, [JSON], 200),
        ("first requests, JSON, gzip", pages, [JSON, GZIP], 200),
        (f"{PROJECTS:,} pages, JSON", pages, [JSON], 200),
        (f"{PROJECTS:,} pages, JSON, gzip", pages, [JSON, GZIP], 200),
        (f"{PROJECTS:,} pages, HTML", pages, ["Accept: text/html"], 200),
        (f"{PROJECTS:,} pages, HTML, gzip", pages, ["Accept: text/html", GZIP], 200),
        ("one page, JSON, not modified", one, [JSON], 304),
        ("missing page", ["/simple/missing/"], [JSON], 404),
        ("wheel of 40 kB", small, [], 200),
        ("wheel of 1 MB", large, [], 200),
        ("the last 16 kB of it", large, ["Range: bytes=-16000"], 206),
    ]
    with TemporaryDirectory(prefix="piw-bench-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        site = write_site(home)
        port = free_port()
        with (
            program(home, "piwheels.serve", f"-o={site}", f"--port={port}"),
            nginx(home, site) as other,
        ):
            wait(port)
            wait(other)
            rows = []
            for what, paths, headers, status in kinds:
                script = home / "paths.lua"
                text = SCRIPT.format(paths=", ".join(f"'{path}'" for path in paths))
                script.write_text(text + FIRST if what.startswith("first") else text)
                found: dict[int, list[float]] = {port: [], other: []}
                # The first request of each page takes longest
                for turn in range(-WARM if len(paths) > 1 else 0, TURNS):
                    for each, results in found.items():
                        tag = [f"If-None-Match: {etag(each, paths[0])}"] if status == 304 else []
                        rate = measure(each, script, headers + tag, status)
                        if turn >= 0:
                            results.append(rate)
                ours, theirs = median(found[port]), median(found[other])
                rows.append((what, f"{ours:,.0f} / {theirs:,.0f}", f"{ours / theirs:.2f}"))
    table("piw-serve / nginx, requests a second, and the ratio", rows)
    return 0


if __name__ == "__main__":
    for needed in ("nginx", "wrk"):
        if shutil.which(needed) is None:
            sys.exit(f"this needs {needed} (Debian: apt install {needed})")
    sys.exit(main())
