"""Parse the ``User-Agent`` header of installers. Pure.

pip (since version 6) and uv send JSON after their name. Poetry, pdm, twine and old versions of pip
send a list such as ``poetry/1.8.3 CPython/3.11.2 Linux/6.1.0``. Browsers start with ``Mozilla/``.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from piwheels.core.text import clean


class Agent(NamedTuple):
    """A client: the fields of ``DownloadState`` from *arch* on (``None``: not stated)."""

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
#: Products that are not installers.
_PYTHONS: Final = frozenset({"CPython", "PyPy", "GraalPy", "GraalVM", "Jython", "IronPython"})
_SYSTEMS: Final = frozenset({"Linux", "Darwin", "Windows", "FreeBSD", "OpenBSD", "NetBSD", "SunOS"})
_LIBRARIES: Final = frozenset({"Python-urllib", "python-requests", "requests", "setuptools"})


@lru_cache(4096)
def parse(agent: str) -> Agent:
    """Return the client that *agent* describes; unknown text gives empty fields."""
    name, brace, rest = agent.partition(" {")
    found = _parse_json(brace[1:] + rest) if brace else Agent()
    if agent.startswith("Mozilla/"):
        return Agent(installer_name="Browser")
    products = _PRODUCT.findall(name)
    fields = found._asdict()
    for product, version in products:
        kind = "py" if product in _PYTHONS else "os" if product in _SYSTEMS else ""
        if kind and fields[f"{kind}_name"] is None:
            fields |= {f"{kind}_name": product, f"{kind}_version": version}
        elif product == "setuptools":
            fields["setuptools_version"] = fields["setuptools_version"] or version
    installers = [each for each in products if each[0] not in _PYTHONS | _SYSTEMS]
    if installers and fields["installer_name"] is None:
        # An HTTP library may precede the installer that uses it.
        chosen = next((each for each in installers if each[0] not in _LIBRARIES), installers[-1])
        fields |= {"installer_name": chosen[0], "installer_version": chosen[1]}
    return Agent(**{key: value and clean(value) for key, value in fields.items()})


def _parse_json(text: str) -> Agent:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # for example cut off
        return Agent()

    def field(*path: str) -> str | None:
        value: Any = data
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if value and isinstance(value, str) else None

    return Agent(
        arch=field("cpu"),
        distro_name=field("distro", "name"),
        distro_version=field("distro", "version"),
        os_name=field("system", "name"),
        os_version=field("system", "release"),
        py_name=field("implementation", "name"),
        py_version=field("python") or field("implementation", "version"),
        installer_name=field("installer", "name"),
        installer_version=field("installer", "version"),
        setuptools_version=field("setuptools_version"),
    )
