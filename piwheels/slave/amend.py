"""Adds requirements to the source of a build, in its sandbox, then becomes the build.

It runs as a text, ``python -I -c TEXT ARCHIVE FOLDER REQUIREMENTS COMMAND...``, with the Python of
pip (3.7 or later). It unpacks ARCHIVE, a source distribution, to FOLDER, and adds REQUIREMENTS
(JSON: a list of texts) to ``build-system.requires`` in its ``pyproject.toml``.

The build may do whatever unpacking may do: the sandbox confines both.
"""

import json
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

try:
    import tomllib
except ImportError:  # before Python 3.11
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]

#: What builds a source without ``[build-system]`` (PEP 517).
LEGACY = "setuptools.build_meta:__legacy__"
#: The most bytes of ``pyproject.toml``, and the most places that look like its requirements.
MAX_SIZE, MAX_PLACES = 2**20, 100
#: The beginning of a list of requirements.
_LIST = re.compile(r"\brequires[\"']?[ \t]{0,100}=[ \t]{0,100}\[")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack *archive* to *folder*, without the directory that contains everything."""
    whole = folder.with_suffix(".unpacked")
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            file.extractall(whole)  # noqa: S202 (see above)
    else:
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(whole, filter="data")
            else:
                tar.extractall(whole)  # noqa: S202 (see above)
    archive.unlink()
    top = list(whole.iterdir())
    (top[0] if len(top) == 1 and top[0].is_dir() else whole).rename(folder)


def amended(text: str, requirements: list[str]) -> str:
    """Return the ``pyproject.toml`` *text* with *requirements* added to those of the build.

    Raises ``ValueError`` if that is not possible.
    """
    wanted = tomllib.loads(text)
    added = ", ".join(json.dumps(each, ensure_ascii=False) for each in requirements)
    if "build-system" not in wanted:
        system = {"requires": [*requirements, "setuptools"], "build-backend": LEGACY}
        wanted["build-system"] = system
        table = f'requires = [{added}, "setuptools"]\nbuild-backend = "{LEGACY}"'
        candidates = [f"{text}\n[build-system]\n{table}\n"]
    else:
        system = wanted["build-system"]
        if not isinstance(system, dict) or not isinstance(system.get("requires"), list):
            raise ValueError("it has no list build-system.requires")
        system["requires"] = [*requirements, *system["requires"]]
        places = [match.end() for match in _LIST.finditer(text)][:MAX_PLACES]
        candidates = [f"{text[:at]}{added}, {text[at:]}" for at in places]
    for candidate in candidates:
        try:
            if tomllib.loads(candidate) == wanted:
                return candidate
        except ValueError:
            continue
    raise ValueError("the list build-system.requires is written in an unusual way")


def amend(path: Path, requirements: list[str]) -> None:
    """Add *requirements* to the ``pyproject.toml`` at *path*, if there is one, or make one.

    Raises ``OSError`` and ``ValueError``.
    """
    if path.exists() and path.stat().st_size > MAX_SIZE:
        raise ValueError(f"it has more than {MAX_SIZE} bytes")
    data = path.read_bytes() if path.exists() else b""
    path.write_bytes(amended(data.decode(), requirements).encode())


def main(archive: str, folder: str, requirements: str, *command: str) -> None:
    """Carry out the arguments of the command line."""
    try:
        unpack(Path(archive), Path(folder))
    except Exception as error:  # noqa: BLE001 (an archive of strangers can cause any)
        sys.exit(f"piwheels: requires: the source cannot be unpacked: {error!r}")
    try:
        amend(Path(folder, "pyproject.toml"), json.loads(requirements))
    except (OSError, ValueError, RecursionError) as error:
        sys.exit(f"piwheels: requires: pyproject.toml cannot be changed: {error}")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
