"""What a sandbox, the proxy and the trial of its wheel cost a build: in each sandbox, in turns."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import statistics
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support import percentile, table

from piwheels.core.errors import Fatal
from piwheels.core.host.pip_config import pip_command
from piwheels.core.program.builds import SANDBOXES
from piwheels.slave.builder import Builder
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.sandbox.choice import choose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.slave.sandbox.choice import Sandbox

ROUNDS = 15

#: A package that needs nothing to be built: its backend is its own.
SETTINGS = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/demo-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("demo.py", "")
        info = "demo-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "demo.py,,\\n")
    return "demo-1.0-py3-none-any.whl"
"""
FILES = {
    "pyproject.toml": SETTINGS,
    "backend.py": BACKEND,
    "PKG-INFO": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
}


@contextlib.contextmanager
def index(home: Path) -> Iterator[str]:
    """Yield the address of an index that has the package."""
    folder = home / "simple/demo"
    folder.mkdir(parents=True)
    archive = folder / "demo-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in FILES.items():
            info = tarfile.TarInfo(f"demo-1.0/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<a href="{archive.name}#sha256={digest}">demo</a>')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Log nothing."""

    handler = functools.partial(Handler, directory=str(home))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def sandboxes(folder: Path, pip: list[str]) -> Iterator[tuple[str, Sandbox | None]]:
    """Yield the ways to build: without anything, then by the proxy in each sandbox."""
    yield "no sandbox, no proxy", None
    for mode in reversed(SANDBOXES):
        variables = environment(Egress({}), folder, folder, PORT)
        try:
            choice = choose(mode, Path(sys.executable), pip, folder, variables, PORT)
        except Fatal as error:
            sys.stderr.write(f"{mode} is left out: {error}\n")
        else:
            yield f"{mode}, with the proxy", choice.sandbox


def build(
    address: str, folder: Path, pip: list[str], sandbox: Sandbox | None
) -> tuple[float, float]:
    """Build the package; return the seconds until its wheel is there, and until it is tried."""
    egress = Egress({}, address, is_open=sandbox is None)
    start = time.perf_counter()
    with Builder(
        "demo", "1.0", index_url=address, dir=folder, pip=pip, sandbox=sandbox, egress=egress
    ) as builder:
        builder.start()
        builder.join()
        if not builder.status:
            sys.exit(f"the build has failed:\n{builder.output}")
        if not builder.wheels[0].trial.imports:
            sys.exit(f"the trial has failed: {builder.wheels[0].trial}")
        return builder.duration.total_seconds(), time.perf_counter() - start


def main() -> int:
    """Build in turns, and print the medians and what is added to the first of them."""
    with tempfile.TemporaryDirectory(prefix="piw-bench-") as place, contextlib.ExitStack() as stack:
        home = Path(place)
        address = stack.enter_context(index(home))
        folder = home / "builds"
        folder.mkdir()
        pip = list(pip_command(Path(sys.executable)))
        ways = dict(sandboxes(folder, pip))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        trials: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, sandbox in ways.items():
                built, tried = build(address, folder, pip, sandbox)
                seconds[name].append(built)
                trials[name].append(tried - built)
    first, *_ = seconds.values()
    rows = []
    for name, values in seconds.items():
        added = statistics.median(a - b for a, b in zip(values, first, strict=True))
        rows.append((f"{name}: a build, p50", f"{1000 * percentile(values, 50):.0f}", "ms"))
        rows.append((f"{name}: added, p50", f"{1000 * added:.0f}", "ms"))
        rows.append((f"{name}: the trial, p50", f"{1000 * percentile(trials[name], 50):.0f}", "ms"))
    table(f"A build with pip, {ROUNDS} times in turns", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
