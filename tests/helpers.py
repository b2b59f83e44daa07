"""Helpers for tests of several folders: waiting, processes, sources that can be built."""

import io
import json
import logging
import os
import shutil
import socket
import tarfile
import time
import uuid
from contextlib import suppress
from dataclasses import fields
from http.server import SimpleHTTPRequestHandler
from itertools import count
from pathlib import Path
from types import MappingProxyType

from piwheels.core.database.dsn import administer
from piwheels.master.ports import Ports
from piwheels.master.wiring import WIRES, MasterConfig
from wheels import zip_wheel

LOGGER = logging.getLogger("test")
_NUMBERS = count()

# A build backend (PEP 517) without requirements; it runs *before* and *after* around a build.
BACKEND = """
import base64, hashlib, os, sys, time, zipfile
NAME, VERSION = {name!r}, {version!r}
INFO = NAME + "-" + VERSION + ".dist-info"
METADATA = "Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: " + VERSION + "\\n"
def row(file):
    name, data = file[0], file[1].encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return name + ",sha256=" + digest + "," + str(len(data)) + "\\n"
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.makedirs(os.path.join(folder, INFO))
    with open(os.path.join(folder, INFO, "METADATA"), "w") as file:
        file.write(METADATA)
    return INFO
def build_wheel(folder, config_settings=None, metadata_directory=None):
    metadata, tag = METADATA + "Requires-Python: >=3.8\\nRequires-Dist: Six\\n", "py3-none-any"
    filename = NAME + "-" + VERSION + "-" + tag + ".whl"
    path = os.path.join(folder, filename)
    {before}
    with zipfile.ZipFile(path, "w") as archive:
        about = "Wheel-Version: 1.0\\nTag: " + tag + "\\n"
        files = {{NAME + ".py": "", INFO + "/METADATA": metadata, INFO + "/WHEEL": about}}
        record = "".join(map(row, files.items())) + INFO + "/RECORD,,\\n"
        for name, text in {{**files, INFO + "/RECORD": record}}.items():
            archive.writestr(name, text)
    {after}
    return filename
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def write_sdist(folder, name, version, files):
    """Write a source distribution to *folder*, with *files* (text by name) and the usual ones."""
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for path, text in {"pyproject.toml": PROJECT, "PKG-INFO": about, **files}.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


def add_source(folder, name="demo", version="1.0", *, before="pass", after="pass", more=""):
    """Put the source of a pure package into *folder*; its build runs *before* and *after*.

    *more* are further lines of its metadata.
    """
    backend = BACKEND.format(name=name, version=version, before=before, after=after)
    about = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n{more}"
    write_sdist(folder, name, version, {"backend.py": backend, "PKG-INFO": about})


def list_files(index, name, *names):
    """Write the pages of project *name* in the folder simple of *index*: its files *names*."""
    folder = index / "simple" / name
    links = (f'<a href="{name}">{name}</a>' for name in names)
    (folder / "index.html").write_text("<!DOCTYPE html>" + "".join(links))
    files = [{"filename": name, "url": name, "hashes": {}} for name in names]
    page = {"meta": {"api-version": "1.0"}, "name": name, "files": files}
    (folder / "index.json").write_text(json.dumps(page))


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves the pages of :func:`list_files`, as JSON to those who ask for it."""

    extensions_map = MappingProxyType(
        {".json": "application/vnd.pypi.simple.v1+json", ".html": "text/html"}
    )

    def translate_path(self, path):
        json_too = path.endswith("/") and "json" in self.headers.get("Accept", "")
        return super().translate_path(f"{path}index.json" if json_too else path)

    def log_message(self, *_):
        pass


#: An option of a master that never asks its index: otherwise it starts pip to find it.
INDEX = "--pypi-simple=https://index.example/simple"


def patience(seconds):
    """Return a limit of *seconds* on an idle machine, scaled to how busy this one is now.

    The environment variable PIW_TEST_PATIENCE gives the least factor.
    """
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, float(os.environ.get("PIW_TEST_PATIENCE") or 1), waiting)


def until(condition, seconds=15.0, why="it has not happened", pause=0.005):
    """Wait until *condition* holds and return its value; fail if the patience ends before.

    *why* is the text of the failure, or a function that returns it. The first *pause* is short, and
    each later one longer, since some conditions ask a database.
    """
    begin = time.monotonic()
    while not (value := condition()):
        if time.monotonic() - begin > patience(seconds):
            raise AssertionError(why() if callable(why) else why)
        time.sleep(pause)
        pause = max(pause, min(pause * 1.25, 0.05))
    return value


def own_config(**options):
    """Return the configuration of a master in this process that shares no wire with another."""
    mark = uuid.uuid4().hex
    queues = [field.name for field in fields(MasterConfig) if field.name.endswith("_queue")]
    return MasterConfig(**{queue: f"inproc://{queue}-{mark}" for queue in queues} | options)


def wire(name):
    """Return the row of the table of wires that has this name."""
    return next(each for each in WIRES if each.name == name)


def reject_rows(dsn, table, condition):
    """Have the database reject the rows of *table* for which *condition* is false.

    They pass all checks of our programs. *dsn* is the address for the superuser.
    """
    administer(dsn, f"ALTER TABLE {{}} ADD CHECK ({condition})", names=[table])


class Connected:
    """The connecting side of one wire between a master's tasks."""

    def __init__(self, config, name):
        self.name = name
        self.ports = Ports(wire(name).connects[0], config, LOGGER, wires=[wire(name)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, request, limit=30):
        return self.ports.call(self.name, request, limit)

    def ask(self, request, limit=30):
        """Ask without blocking; return a list to which :meth:`all` adds the result."""
        results = []
        self.ports.ask(self.name, request, results.append, limit)
        return results

    def all(self, *asked):
        """Collect the received answers; return whether all of *asked* are answered."""
        self.ports.expire()
        return all(asked)

    def push(self, message):
        assert self.ports.push(self.name, message)

    def close(self):
        self.ports.close()


def alive(pid):
    """Return whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except OSError:
        return False


def installed(program):
    """Return the path of *program*, also in folders for daemons, or None."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")


def free_port():
    """Return a port of the loopback address that no one listens on.

    It is below those that the system gives to clients, and each process of the tests has its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = 10_000 + worker % 10 * 2000 + (os.getpid() + next(_NUMBERS)) % 2000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port):
    """Return whether someone listens on *port* of the loopback address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wheel_bytes(name="foo", version="1.0", *, blob=b"", requires=(), files=()):
    """Return the content of a wheel of *name* and *version*, which holds *blob* and *files*."""
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    about = {f"{info}/METADATA": "\n".join(lines) + "\n", f"{info}/WHEEL": "Wheel-Version: 1.0\n"}
    return zip_wheel({f"{name}.py": blob, **dict(files), **about}, info)
