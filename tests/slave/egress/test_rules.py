"""What a build may ask for, and what the ledger notes of it."""

import pytest

from piwheels.core.program.builds import allowed_host, place
from piwheels.core.states import MAX_URL, Fetch
from piwheels.slave.egress.ledger import Ledger, public
from piwheels.slave.egress.rules import (
    Mirrored,
    allowance,
    allowances,
    mirrored,
    own_path,
    place_of,
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/0/demo/", Mirrored(0, "demo", "")),
        ("/12/zope.interface/x%2B1.zip", Mirrored(12, "zope.interface", "x+1.zip")),
        ("/3/", Mirrored(3, "", "")),
        ("/3/x.zip", Mirrored(3, "", "x.zip")),
        ("/", None), ("/0", None), ("/x/demo/", None), ("/0/demo/x/y", None), ("/0/.../", None),
        ("/0/-x/", None), ("/0/demo/x?y", None), ("//0/demo/", None), ("/\u0661/demo/", None),
    ],
)  # fmt: skip
def test_paths_of_the_mirror(path, found):
    assert mirrored(path) == found


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("/0/x/", "127.0.0.1:80", "/0/x/"),
        ("/0/x/", "localhost:80", "/0/x/"),
        ("/0/x/", "x.example", None),
        ("http://127.0.0.1:80/0/x/", "anything", "/0/x/"),
        ("http://127.0.0.1:80", "", "/"),
        ("https://127.0.0.1:80/0/x/", "127.0.0.1:80", None),
        ("http://x@127.0.0.1:80/0/x/", "127.0.0.1:80", None),
        ("http://127.0.0.1:8080/0/x/", "127.0.0.1:80", None),
    ],
)
def test_requests_to_the_proxy_itself(target, host, path):
    assert own_path(target, host, 80) == path


def test_places():
    assert str(place("GitHub.com.:443")) == "github.com:443"
    assert str(place("[2001:DB8::1]:80")) == "[2001:db8::1]:80"
    for text in (
        "x",
        "x:0",
        "x:65536",
        "x:-1",
        "x:y",
        ":1",
        "a@b:1",
        "x:1:2",
        "x:1\n",
        "2001::1:x",
    ):
        assert place(text) is None
    assert str(place_of("http://x.example/y")) == "x.example:80"
    assert str(place_of("http://[::1]:81/y")) == "[::1]:81"
    for url in (
        "https://x.example/",
        "http://",
        "http://u@x.example/",
        "http://[::",
        "http://x:y/",
    ):
        assert place_of(url) is None


def test_hosts_are_allowed_with_their_ports():
    allowed = {allowed_host(text) for text in ("A.example", "b.example:8443", "[::1]", "::2")}
    assert allowed == {"a.example", "b.example:8443", "[::1]", "[::2]"}
    allowed = allowances(allowed)
    good = ("a.example:443", "A.example.:80", "b.example:8443", "[::1]:80", "[::2]:443")
    assert all(allowance(place(text), allowed) is not None for text in good)
    bad = ("a.example:22", "b.example:443", "x.a.example:443", "a.example.x:443", "[::3]:80")
    assert all(allowance(place(text), allowed) is None for text in bad)
    with pytest.raises(ValueError, match="is not a host"):
        allowed_host("https://a.example")


def test_only_addresses_may_be_near():
    hosts = ["127.0.0.1", "[::1]", "localhost", "[::1]:8080", "intranet.example:81", "2130706433"]
    assert list(allowances(hosts).values()) == [2, 2, 2, 2, 1, 1]


def test_a_host_of_a_recipe_is_public_unless_the_operator_allows_it_too():
    found = allowances(["a.example"], ["a.example", "b.example:81"])
    assert found == {"a.example": 1, "b.example:81": 0}
    assert allowance(place("b.example:81"), found) == 0


def test_the_ledger_has_one_entry_for_each_address():
    ledger = Ledger()
    for size in (5, 7):
        ledger.fetched("https://u:p@x.example/f%20o?token=1#x", size, "ab" * 32)
        ledger.passed("y.example:443", size)
    assert ledger.refused("z.example:80", "no")
    assert not ledger.refused("z.example:80", "no")
    assert ledger.entries() == (
        Fetch("https://x.example/f%20o", 7, "ab" * 32),
        Fetch("y.example:443", 12),
        Fetch("z.example:80", 0, None, "no"),
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://x.example/\u202e<b>\n", "http://x.example/%E2%80%AE%3Cb%3E"),
        ("file:///srv/x.zip", "file:///srv/x.zip"),
        ("http://[::", "http://[::"),
        ("http://x.example/\ud800", "http://x.example/%3F"),
        ("http://x.example/" + "\u00e9" * 500, ("http://x.example/" + "%C3%A9" * 500)[:MAX_URL]),
    ],
)
def test_addresses_for_everybody(url, shown):
    assert public(url) == shown
