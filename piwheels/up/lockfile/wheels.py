"""Fetches the upstream wheels of versions with pip: ``python -m piwheels.up.lockfile.wheels``.

No code of a package runs. Arguments are the interpreter, a folder, and questions in JSON (name,
version, hashes). It prints a line of JSON for each: its number, and the file (``""``: no wheel).
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from piwheels.core.host.commands import ask
from piwheels.core.host.pip_config import INDEX_SECONDS, pip_command

#: The number of wheels to fetch at the same time, and the seconds that each may take.
PARALLEL, SECONDS = 4, 1800.0
_OPTIONS: Final = (
    "--no-deps", "--only-binary=:all:", "--no-input", "--no-color", "--progress-bar=off",
    "--disable-pip-version-check", "--retries=1", f"--timeout={INDEX_SECONDS}",
)  # fmt: skip


def main(python: str, folder: str, *questions: str) -> None:
    """Fetch the wheels that *questions* name into sub-folders of *folder*."""
    pip = pip_command(Path(python))

    def fetch(item: tuple[int, str]) -> str:
        number, question = item
        name, version, hashes = json.loads(question)
        place = Path(folder, f"{name}-{version}")
        place.mkdir(parents=True, exist_ok=True)
        wanted = place / "wanted.txt"
        wanted.write_text(" ".join([f"{name}=={version}", *(f"--hash={each}" for each in hashes)]))
        command = [*pip, "download", *_OPTIONS, f"--dest={place}", f"--requirement={wanted}"]
        try:
            status = ask(command, SECONDS).returncode
        except (OSError, subprocess.TimeoutExpired):
            status = 1
        found = "" if status else next(map(str, place.glob("*.whl")), "")
        return json.dumps([number, found])

    with ThreadPoolExecutor(PARALLEL) as pool:
        for line in pool.map(fetch, enumerate(questions)):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
