"""What clients say of themselves in ``User-Agent``. Pure.

pip (since version 6) and uv send JSON behind their name; poetry, pdm, twine and old pips a list as
in ``poetry/1.8.3 CPython/3.11.2 Linux/6.1.0``; a browser claims to be Mozilla.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from piwheels.core.text import clean


class Agent(NamedTuple):
    """A client: the fields of ``DownloadState`` from *arch* on, ``None`` where it does not tell."""

    arch: str | None = None
    distro_name: str | None = None
    distro_version: str | None = None
    os_name: str | None = None
    os_version: str | None = None
    py_name: str | None = None
    py_version: str | None = None
    installer_name: str | None = None
    installer_version: str | None = None
    setuptools_version: str | None = None


_PRODUCT: Final = re.compile(r"([^\s/()<>,;{}\"]+)/([^\s()<>,;{}\"]+)")
#: Products that are no installer: the fields that each fills.
_PYTHONS: Final = frozenset({"CPython", "PyPy", "GraalPy", "GraalVM", "Jython", "IronPython"})
_SYSTEMS: Final = frozenset({"Linux", "Darwin", "Windows", "FreeBSD", "OpenBSD", "NetBSD", "SunOS"})
_LIBRARIES: Final = frozenset({"Python-urllib", "python-requests", "requests", "setuptools"})


@lru_cache(4096)
def parse(agent: str) -> Agent:
    """Return what a client says of itself; from nonsense comes nothing."""
    name, brace, rest = agent.partition(" {")
    found = _of_json(brace[1:] + rest) if brace else Agent()
    if agent.startswith("Mozilla/"):
        return Agent(installer_name="Browser")
    products = _PRODUCT.findall(name)
    told = found._asdict()
    for product, version in products:
        kind = "py" if product in _PYTHONS else "os" if product in _SYSTEMS else ""
        if kind and told[f"{kind}_name"] is None:
            told |= {f"{kind}_name": product, f"{kind}_version": version}
        elif product == "setuptools":
            told["setuptools_version"] = told["setuptools_version"] or version
    makers = [each for each in products if each[0] not in _PYTHONS | _SYSTEMS]
    if makers and told["installer_name"] is None:
        # A library's name stands first where the installer's stands behind it.
        chosen = next((each for each in makers if each[0] not in _LIBRARIES), makers[-1])
        told |= {"installer_name": chosen[0], "installer_version": chosen[1]}
    return Agent(**{key: value and clean(value) for key, value in told.items()})


def _of_json(text: str) -> Agent:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # cut off, perhaps
        return Agent()

    def told(*path: str) -> str | None:
        value: Any = data
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if value and isinstance(value, str) else None

    return Agent(
        arch=told("cpu"),
        distro_name=told("distro", "name"),
        distro_version=told("distro", "version"),
        os_name=told("system", "name"),
        os_version=told("system", "release"),
        py_name=told("implementation", "name"),
        py_version=told("python") or told("implementation", "version"),
        installer_name=told("installer", "name"),
        installer_version=told("installer", "version"),
        setuptools_version=told("setuptools_version"),
    )
