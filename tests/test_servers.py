"""piw-serve, nginx and Apache serve the site alike, with the unchanged files of docs/deploy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from helpers import free_port, installed, listens, patience, until
from piwheels.serve.site import JSON
from site_requests import (
    BIG,
    GUARDS,
    LOG,
    LONG,
    MISSING,
    MOVED,
    MOVED_FAR,
    NAMES,
    NEGOTIATION,
    PACKED,
    PIP,
    RANGES,
    TYPES,
    WHEEL,
    plant,
)

DEPLOY = Path(__file__).parents[1] / "docs/deploy"
PROGRAMS = {"nginx": installed("nginx"), "apache": installed("apache2")}
MODULES = (
    "mpm_event", "authz_core", "allowmethods", "deflate", "dir", "env", "filter", "headers", "mime",
    "rewrite", "setenvif",
)  # fmt: skip
NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
    uwsgi_temp_path {home}; scgi_temp_path {home};
    include {home}/site.conf;
}}
"""
APACHE = """
ServerRoot {home}
ServerName localhost
PidFile {home}/pid
ErrorLog {home}/error.log
Mutex file:{home}
Listen 127.0.0.1:{port}
StartServers 1
TypesConfig /dev/null
IncludeOptional /etc/apache2/mods-available/mime.con[f]
"""
# As root, servers drop privileges, but a single nginx process keeps them.
UNPRIVILEGED = "User nobody\nGroup nogroup\n"


def configured(name, home, port, site):
    """Write the configuration of the server *name*, with our file in it; return the command."""
    text = (DEPLOY / f"{name}.conf").read_text().replace("/var/www/piwheels", str(site))
    own = home / "site.conf"
    if name == "nginx":
        own.write_text(text.replace("listen 80;", f"listen 127.0.0.1:{port};"))
        (home / "nginx.conf").write_text(NGINX.format(home=home))
        return [PROGRAMS[name], "-p", str(home), "-e", f"{home}/error.log", "-c", "nginx.conf"]
    own.write_text(text.replace("*:80", f"127.0.0.1:{port}"))
    main = APACHE.format(home=home, port=port) + (UNPRIVILEGED if os.geteuid() == 0 else "")
    folder = Path("/usr/lib/apache2/modules")
    main += "".join(f"LoadModule {each}_module {folder}/mod_{each}.so\n" for each in MODULES)
    (home / "apache.conf").write_text(f"{main}Include {own}\n")
    return [PROGRAMS[name], "-d", str(home), "-f", f"{home}/apache.conf", "-DFOREGROUND"]


@contextmanager
def served(name, home, site):
    """Run the server *name* in the folder *home*; give its address."""
    home.mkdir()
    port = free_port()
    if name == "piw-serve":
        command = [sys.executable, "-m", "piwheels.serve", "-o", str(site), "--port", str(port)]
    else:
        command = configured(name, home, port, site)
    with (home / "out").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)

    def answers():
        error = home / "error.log"
        said = (home / "out").read_text() + (error.read_text() if error.exists() else "")
        assert process.poll() is None, said
        return listens(port)

    try:
        until(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(patience(10))
    assert "[warn]" not in (home / "out").read_text()


@pytest.fixture(scope="module")
def site(short_dir):
    base = short_dir / "served"
    base.mkdir()
    yield plant(base)
    shutil.rmtree(base)


@pytest.fixture(
    scope="module", params=["piw-serve", *(name for name, path in PROGRAMS.items() if path)]
)
def server(request, site, short_dir):
    """One server after another: its name, and how to ask it."""
    with (
        served(request.param, short_dir / f"run-{request.param}", site) as address,
        httpx.Client(trust_env=False) as client,
    ):
        client.headers.clear()

        def ask(path, method="GET", **headers):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.request(method, f"{address}{path}", headers=named)

        ask.name = request.param
        yield ask


@pytest.mark.parametrize(("accept", "kind", "body"), NEGOTIATION)
def test_negotiation(server, accept, kind, body):
    answer = server("/simple/holy-grail/", **({} if accept is None else {"accept": accept}))
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.text == body
    assert "Accept" in answer.headers["vary"].split(", ")
    assert answer.headers["cache-control"] == "max-age=60, must-revalidate"


def test_the_root_and_pages_without_json(server):
    assert server("/simple/", accept=PIP).json() == {"root": 1}
    assert server("/simple/").text == "<root>"
    assert server("/simple/old/", accept=PIP).text == "<old>"


@pytest.mark.parametrize(("path", "place"), [*MOVED, *MOVED_FAR])
def test_moved(server, path, place):
    answer = server(path)
    if server.name == "nginx" and (path, place) in MOVED_FAR:
        assert answer.status_code in {301, 404}
        return
    assert answer.status_code == 301
    assert httpx.URL(answer.headers["location"]).path == place


@pytest.mark.parametrize("path", MISSING)
def test_missing(server, path):
    answer = server(path)
    for _ in range(3):
        if answer.status_code == 301:  # to one spelling, to a slash
            answer = server(httpx.URL(answer.headers["location"]).path)
    assert (answer.status_code, answer.text) == (404, "<gone>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert GUARDS.items() <= dict(answer.headers).items()


@pytest.mark.parametrize(("path", "kind"), TYPES)
def test_types(server, path, kind):
    answer = server(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    ever = "max-age=31536000, immutable" if ".whl" in path else "max-age=60, must-revalidate"
    assert answer.headers["cache-control"] == ever
    assert GUARDS.items() <= dict(answer.headers).items()
    head = server(path, "HEAD")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == kind


@pytest.mark.parametrize(("asked", "first", "last"), RANGES)
def test_ranges(server, asked, first, last):
    answer = server(f"/simple/holy-grail/{WHEEL}", range=asked)
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(BIG)}"
    assert answer.content == BIG[first : last + 1]


def test_an_unsatisfiable_range_and_several_at_once(server):
    path = f"/simple/holy-grail/{WHEEL}"
    assert server(path, range="bytes=1048576-").status_code == 416
    assert server(path, range="bytes=0-1,5-6").content == BIG


def test_unchanged_files_are_not_sent_again(server):
    for path, accept in (("/simple/holy-grail/", PIP), (f"/simple/holy-grail/{WHEEL}", "*/*")):
        first = server(path, accept=accept, accept_encoding="gzip")
        tag, modified = first.headers["etag"], first.headers["last-modified"]
        assert tag.startswith('"'), "a strong one"
        assert parsedate_to_datetime(modified)
        again = server(path, accept=accept, accept_encoding="gzip", if_none_match=tag)
        assert (again.status_code, again.content) == (304, b"")
        assert server(path, accept=accept, if_modified_since=modified).status_code == 304
        assert server(path, accept=accept, if_none_match='"x"').status_code == 200
    assert server(path, range="bytes=0-1", if_range=tag).status_code == 206
    assert server(path, range="bytes=0-1", if_range='"x"').status_code == 200


def test_logs_and_the_list_of_names_are_decompressed_by_capable_clients(server):
    for path, text in (("/logs/0000/0000/0001.txt.gz", LOG), ("/packages.json", NAMES)):
        packed = server(path, accept_encoding="br, gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.text == text
        assert "Accept-Encoding" in packed.headers["vary"]
        kind = "text/plain; charset=utf-8" if "logs" in path else "application/json"
        assert packed.headers["content-type"] == kind
        plain = server(path, accept_encoding="gzip;q=0")
        assert plain.status_code == 200
        assert "content-encoding" not in plain.headers
    assert plain.text == NAMES


@pytest.mark.parametrize(("path", "accept", "kind"), PACKED)
def test_pages_are_compressed_on_disk(server, site, path, accept, kind):
    folder, _, name = path.strip("/").rpartition("/") if "." in path else (path.strip("/"), "", "")
    form = "index.json" if "json/" in path else "index.v1_json" if kind == JSON else "index.html"
    packed = server(path, accept=accept, accept_encoding="gzip")
    assert packed.headers["content-type"].partition(";")[0] == kind
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-length"] == str(
        (site / folder / f"{name or form}.gz").stat().st_size
    )
    assert packed.text == LONG
    plain = server(path, accept=accept)
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-type"] == packed.headers["content-type"]
    assert plain.headers["etag"] != packed.headers["etag"]
    assert plain.text == LONG
    for answer in (packed, plain):
        vary = {word.strip() for word in answer.headers["vary"].split(",")}
        assert vary == {"Accept-Encoding", *(["Accept"] if "simple" in path else [])}
        assert answer.headers["cache-control"] == "max-age=60, must-revalidate"


@pytest.mark.parametrize("path", ["/simple/", "/simple/long/", f"/simple/holy-grail/{WHEEL}"])
def test_programs_in_browsers_may_read_the_index(server, path):
    asked = server(path, "OPTIONS", origin="https://x.example", access_control_request_method="GET")
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert asked.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert "Range" in asked.headers["access-control-allow-headers"]
    for found in (path, "/simple/unknown/", "/simple/holy.grail/"):
        assert server(found).headers["access-control-allow-origin"] == "*"
    assert "ETag" in server(path).headers["access-control-expose-headers"]


def test_other_pages_are_for_this_site_only(server):
    asked = server("/project/long/", "OPTIONS")
    assert (asked.status_code, asked.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    for answer in (asked, server("/project/long/"), server("/")):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_not_allowed(server, method):
    assert server("/", method).status_code == 405
