"""The requests in the log that count."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from piwheels.core.states import DownloadState, JSONState, PageState, ProjectState, SearchState
from piwheels.logger.hits import KINDS, Entry, entry_of
from piwheels.logger.lines import Hit

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WHEEL = "Foo_Bar-1.0+local.1-cp311-cp311-linux_armv7l.whl"
HIT = Hit("::1", NOW, "GET", "/", 200, "poetry/1.8.3 CPython/3.11.2 Linux/6.1")
AGENT = (None, None, None, "Linux", "6.1", "CPython", "3.11.2", "poetry", "1.8.3", None)


def entry(path, **more):
    return entry_of(HIT._replace(path=path, **more))


@pytest.mark.parametrize(
    ("path", "msg", "data"),
    [
        (f"/simple/foo-bar/{WHEEL}", "LOGDOWNLOAD", DownloadState(WHEEL, "::1", NOW, *AGENT)),
        (
            f"/simple/foo-bar/{WHEEL}.metadata",
            "LOGDOWNLOAD",
            DownloadState(WHEEL + ".metadata", "::1", NOW, *AGENT),
        ),
        ("/simple/Foo_Bar/", "LOGSEARCH", SearchState("foo-bar", "::1", NOW, *AGENT)),
        ("/project/Foo.Bar/", "LOGPROJECT", ProjectState("foo-bar", "::1", NOW, HIT.agent)),
        ("/project/six/json/", "LOGJSON", JSONState("six", "::1", NOW, HIT.agent)),
        ("/faq.html", "LOGPAGE", PageState("/faq.html", "::1", NOW, HIT.agent)),
    ],
)
def test_each_kind(path, msg, data):
    found = entry(path)
    assert (found.msg, found.data) == (msg, data)


@pytest.mark.parametrize(
    ("path", "kind", "what"),
    [
        ("/simple/a/a-1-py3-none-any.whl?x=1#sha256=ab", "download", "a-1-py3-none-any.whl"),
        ("/simple/a/a-1.0%2Blocal-py3-none-any.whl", "download", "a-1.0+local-py3-none-any.whl"),
        ("http://www.example/simple/six/", "search", "six"),
        ("HTTPS://www.example:443//simple//six//", "search", "six"),
        ("//simple/six/index.v1_json", "search", "six"),
        ("/simple/six/index.html", "search", "six"),
        ("/simple/json/", "search", "json"),
        ("/project/json/", "project", "json"),
        ("/project/json/json/index.json", "json", "json"),
        ("/project/s%69x/index.html", "project", "six"),
        ("/?q=six", "page", "/"),
        ("/index.html", "page", "/"),
        ("/packages.html?q=%00", "page", "/packages.html"),
        ("/simple/", "page", "/simple/"),
    ],
)  # fmt: skip
def test_addresses_in_any_spelling(path, kind, what):
    found = entry(path)
    assert (found.kind, found.data[0]) == (kind, what)
    assert found.kind in KINDS


@pytest.mark.parametrize(
    "path",
    [
        "", "-", "*", "/static/site.css", "/favicon.ico", "/packages.json", "/robots.txt",
        "/sitemap.xml", "/logs/0000/0000/0001.txt.gz", "/simple/six", "/project/six",
        "/project/six/json", "/simple/../etc/passwd", "/simple/%2e%2e/", "/simple/six/.whl",
        "/simple/six/six-1.0.tar.gz", "/simple/six/a b.whl", "/simple/six/%00.whl", "/simple/-six/",
        "/simple/" + "x" * 201 + "/", "/" + "x" * 60_000 + ".html", "/wp-login.php", "/a/b.html",
        "/simple/six/" + "x" * 300 + ".whl",
        "ftp://x/simple/six/", "/simple/s\u00eex/", "/simple/six\n/",
    ],
)  # fmt: skip
def test_other_requests_are_ignored(path):
    assert entry(path) is None


@pytest.mark.parametrize("path", ["/simple/six/", "/project/six/", "/project/six/json/", "/"])
def test_pages_count_when_they_are_answered(path):
    counts = [status for status in (0, 200, 206, 301, 304, 404, 499, 503)
              if entry(path, status=status)]  # fmt: skip
    assert counts == [200, 304]
    assert not any(entry(path, method=method) for method in ("HEAD", "POST", "", "get"))


@pytest.mark.parametrize("path", [f"/simple/a/{WHEEL}", f"/simple/a/{WHEEL}.metadata"])
def test_files_count_when_sent_completely(path):
    counts = [status for status in (0, 200, 206, 304, 404, 416, 500) if entry(path, status=status)]
    assert counts == [200]
    assert entry(path, method="HEAD") is None


def test_a_client_without_a_user_agent():
    assert entry("/simple/six/", agent="").data == SearchState("six", "::1", NOW, *[None] * 10)
    assert entry("/", agent="") == Entry("page", "LOGPAGE", PageState("/", "::1", NOW, ""))
