"""The settings of pip that a build gets, and those that stay on the slave."""

import sys
from pathlib import Path

import pytest

from piwheels.core.host.pip_config import pip_settings
from piwheels.slave.egress.gate import Egress, environment, sources
from piwheels.slave.egress.mirror import Upstream

SETTINGS = {
    "index-url": "https://us:pw@index.example/simple",
    "extra-index-url": "file:///srv/simple http://more.example/simple",
    "find-links": "/srv/wheels https://links.example/page.html",
    "proxy": "http://us:pw@proxy.example", "client-cert": "/home/us/key.pem",
    "cert": "/etc/ca.pem", "trusted-host": "a b:1", "keyring-provider": "subprocess",
    "no-binary": "numpy", "constraint": "/srv/constraints.txt", "timeout": "5",
}  # fmt: skip


def test_the_mirror_replaces_addresses(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://us:pw@proxy.example")
    monkeypatch.setenv("ALL_PROXY", "http://us:pw@proxy.example")
    monkeypatch.setenv("PIP_INDEX_URL", "https://us:pw@index.example/simple")
    made = environment(Egress(SETTINGS), Path("/b/home"), Path("/b/tmp"), 8128)
    pip = {name: text for name, text in made.items() if name.startswith("PIP_")}
    assert pip == {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_CONSTRAINT": "/srv/constraints.txt",
        "PIP_DEFAULT_TIMEOUT": "3600",
        "PIP_EXTRA_INDEX_URL": "http://127.0.0.1:8128/1/ http://127.0.0.1:8128/2/",
        "PIP_FIND_LINKS": "/srv/wheels http://127.0.0.1:8128/3/",
        "PIP_INDEX_URL": "http://127.0.0.1:8128/0/",
        "PIP_NO_BINARY": "numpy",
    }
    assert "pw" not in str(made)
    proxies = {made[name] for name in made if "proxy" in name.lower() and "NO_" not in name.upper()}
    assert proxies == {"http://127.0.0.1:8128"}
    assert made["no_proxy"] == "127.0.0.1,localhost"


def test_the_upstreams_of_the_mirror():
    found = sources(Egress(SETTINGS), 1, None, ["https://extra.example/simple"])
    assert found.upstreams == (
        Upstream("https://us:pw@index.example/simple"),
        Upstream("file:///srv/simple"),
        Upstream("http://more.example/simple"),
        Upstream("https://extra.example/simple"),
        Upstream("https://links.example/page.html", is_list=True),
    )
    given = sources(Egress({}, "https://default.example/simple"), 1, "https://master.example/")
    assert given.upstreams == (Upstream("https://master.example/"),)
    default = sources(Egress({}, "https://default.example/simple"), 1, None)
    assert default.upstreams == (Upstream("https://default.example/simple"),)


def test_what_a_build_requires_can_come_from_an_index_of_its_own():
    egress = Egress(SETTINGS, requirements="http://127.0.0.1:8080/simple/")
    found = sources(egress, 1, None, package="Own.Project")
    assert found.links == ()
    assert found.extra == tuple(f"http://127.0.0.1:1/{number}/" for number in (1, 2, 3))
    *others, farm = found.upstreams
    assert [each.only for each in others] == ["own-project"] * 3
    assert [others[0].has(name) for name in ("own_project", "setuptools")] == [True, False]
    assert [farm.has(name) for name in ("own_project", "setuptools")] == [False, True]


def test_the_slave_reaches_indexes_as_pip_would():
    access = Egress(SETTINGS, "https://default.example/simple").access
    assert (access.cert, access.client_cert) == ("/etc/ca.pem", "/home/us/key.pem")
    assert (access.proxy, access.trusted_hosts) == ("http://us:pw@proxy.example", ["a", "b:1"])
    assert (access.timeout, Egress({"timeout": "odd"}).access.timeout) == (5, 15)


def test_an_open_build_has_all_settings(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    made = environment(Egress(SETTINGS, is_open=True), Path("/h"), Path("/t"), 0)
    assert made["PIP_INDEX_URL"] == SETTINGS["index-url"]
    assert made["PIP_CLIENT_CERT"] == SETTINGS["client-cert"]
    assert made["https_proxy"] == "http://proxy.example"


@pytest.mark.parametrize(
    ("lines", "settings"),
    [
        (
            "global.index-url='https://a.example'\nwheel.index-url=\"https://b.example\"\n"
            "install.index-url='https://c.example'\n:env:.no-binary='x\\ny'\n",
            {"index-url": "https://b.example", "no-binary": "x\ny"},
        ),
        ("global.index-url='a'\n:env:.index-url='b'", {"index-url": "b"}),
        ("nonsense\nglobal.x=y z\nglobal.y\n", {}),
        ("", {}),
    ],
)
def test_settings_are_what_pip_says(lines, settings):
    say = f"import sys; assert sys.argv[1:] == ['config', 'list']; print({lines!r})"
    assert pip_settings([sys.executable, "-c", say]) == settings


def test_a_pip_that_does_not_work_has_no_settings():
    assert pip_settings(["/nonexistent"]) == {}
