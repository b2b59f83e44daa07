"""Recognition of clients by real user agents."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.logger.agents import Agent, parse

PIP = {
    "ci": None,
    "cpu": "aarch64",
    "distro": {
        "id": "bookworm",
        "libc": {"lib": "glibc", "version": "2.36"},
        "name": "Debian GNU/Linux",
        "version": "12",
    },
    "implementation": {"name": "CPython", "version": "3.11.2"},
    "installer": {"name": "pip", "version": "24.0"},
    "openssl_version": "OpenSSL 3.0.11 19 Sep 2023",
    "python": "3.11.2",
    "rustc_version": "1.63.0",
    "setuptools_version": "66.1.1",
    "system": {"name": "Linux", "release": "6.1.0-rpi7-rpi-v8"},
}
UV = {
    "installer": {"name": "uv", "version": "0.5.1", "subcommand": ["pip", "install"]},
    "python": "3.12.7",
    "implementation": {"name": "CPython", "version": "3.12.7"},
    "distro": {"name": "Ubuntu", "version": "24.04", "id": "noble", "libc": None},
    "system": {"name": "Linux", "release": "6.8.0-48-generic"},
    "cpu": "x86_64",
    "openssl_version": None,
    "setuptools_version": None,
    "rustc_version": None,
    "ci": True,
}
PYPY = {"python": "3.9.18", "implementation": {"name": "PyPy", "version": "7.3.15"}}


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (
            f"pip/24.0 {json.dumps(PIP)}",
            ("aarch64", "Debian GNU/Linux", "12", "Linux", "6.1.0-rpi7-rpi-v8", "CPython", "3.11.2",
             "pip", "24.0", "66.1.1"),
        ),
        (
            f"uv/0.5.1 {json.dumps(UV, separators=(',', ':'))}",
            ("x86_64", "Ubuntu", "24.04", "Linux", "6.8.0-48-generic", "CPython", "3.12.7", "uv",
             "0.5.1", None),
        ),
        (f"pip/24.0 {json.dumps(PYPY)}",
         (*[None] * 5, "PyPy", "3.9.18", "pip", "24.0", None)),
        ("poetry/1.8.3 CPython/3.11.2 Linux/6.1.0-26-amd64",
         (*[None] * 3, "Linux", "6.1.0-26-amd64", "CPython", "3.11.2", "poetry", "1.8.3", None)),
        ("pip/1.5.4 CPython/2.7.6 Linux/3.13.0-24-generic",
         (*[None] * 3, "Linux", "3.13.0-24-generic", "CPython", "2.7.6", "pip", "1.5.4", None)),
        ("pdm/2.20.1 CPython/3.12.3 Darwin/23.5.0",
         (*[None] * 3, "Darwin", "23.5.0", "CPython", "3.12.3", "pdm", "2.20.1", None)),
        ("twine/5.1.1 CPython/3.11.9", (*[None] * 5, "CPython", "3.11.9", "twine", "5.1.1", None)),
        ("Python-urllib/2.7 setuptools/5.3", (*[None] * 7, "setuptools", "5.3", "5.3")),
        ("setuptools/38.5.1 Python-urllib/3.6", (*[None] * 7, "Python-urllib", "3.6", "38.5.1")),
        ("bandersnatch/6.5.0 (CPython 3.11.2-final0, Linux 6.1.0 x86_64)",
         (*[None] * 7, "bandersnatch", "6.5.0", None)),
        ("python-requests/2.31.0", (*[None] * 7, "python-requests", "2.31.0", None)),
        ("curl/8.5.0", (*[None] * 7, "curl", "8.5.0", None)),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
         (*[None] * 7, "Browser", None, None)),
        # Truncated or nonsense: only the name is recognised, or nothing.
        ('pip/24.0 {"ci":null,"cpu":"aarc', (*[None] * 7, "pip", "24.0", None)),
        ("pip/24.0 []", (*[None] * 7, "pip", "24.0", None)),
        ('pip/24.0 {"cpu": 7, "distro": [], "system": {"name": {}}, "python": null}',
         (*[None] * 7, "pip", "24.0", None)),
        ("pip/24.0 {" + "[" * 60_000, (*[None] * 7, "pip", "24.0", None)),
        ("", Agent()),
        ("-", Agent()),
        ("sqlmap", Agent()),
        ('pip/1 {"cpu": "a\\u0000' + "b" * 300 + '"}',
         ("a\ufffd" + "b" * 198, *[None] * 6, "pip", "1", None)),
    ],
)  # fmt: skip
def test_agent(agent, expected):
    assert parse(agent) == Agent(*expected)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*PIP, "name"]), inner),
)


@given(st.text() | anything.map(lambda data: f"pip/1 {json.dumps(data)}"))
def test_hostile_user_agents_do_no_harm(agent):
    for value in parse(agent):
        assert value is None or (0 < len(value) <= 200 and value.encode())
