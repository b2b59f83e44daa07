"""Pages of indexes, and what the mirror makes of them."""

import json

import pytest

from piwheels.slave.egress.pages import (
    HTML,
    JSON,
    is_archive,
    link_to,
    listed,
    read_page,
    write_page,
)

BASE = "https://index.example/simple/demo/"
FULL = {
    "meta": {"api-version": "1.3"},
    "name": "demo",
    "project-status": {"status": "archived"},
    "files": [
        {
            "filename": "ignored", "url": "../../f/demo-1.0-py3-none-any.whl", "size": 9,
            "hashes": {"sha256": "AB" * 32, "odd": "1"}, "requires-python": ">=3.8, <4",
            "core-metadata": {"sha256": "cd" * 32}, "yanked": 'broken "badly"',
        },
        {"url": "https://files.example/demo%2B1.tar.gz?x=1", "hashes": {}, "yanked": True},
    ],
}  # fmt: skip
PAGE = b"""<!DOCTYPE html><html><head><base href="../../f/"></head><body>
<a href="demo-1.0-py3-none-any.whl#sha256=abab" data-requires-python="&gt;=3.8, &lt;4"
 data-core-metadata="sha256=cdcd" data-yanked>demo</a>
<a href="demo-1.0.tar.gz" data-dist-info-metadata="true" data-gpg-sig="false">x</a>
<a href="notes.html">notes</a><a name="top">top</a><A HREF='/abs.zip#egg=abs&amp;md5=00'>x</A>
"""


def test_a_page_in_json_is_listed_again_next_to_itself():
    page = read_page(JSON, json.dumps(FULL).encode(), BASE)
    files = listed(page)
    assert files["demo-1.0-py3-none-any.whl"] == (
        "https://index.example/f/demo-1.0-py3-none-any.whl", {"sha256": "ab" * 32}
    )  # fmt: skip
    assert files["demo-1.0-py3-none-any.whl.metadata"] == (
        "https://index.example/f/demo-1.0-py3-none-any.whl.metadata", {"sha256": "cd" * 32}
    )  # fmt: skip
    assert files["demo+1.tar.gz"] == ("https://files.example/demo%2B1.tar.gz?x=1", {})
    kind, body = write_page(page, f"{JSON}, text/html;q=0.1")
    made = json.loads(body)
    assert kind == JSON
    assert [file["url"] for file in made["files"]] == [
        "demo-1.0-py3-none-any.whl",
        "demo%2B1.tar.gz",
    ]
    assert made["files"][0]["core-metadata"] == {"sha256": "cd" * 32}
    assert made["project-status"] == FULL["project-status"]


def test_a_page_in_json_becomes_html_and_stays_the_same():
    page = read_page(JSON, json.dumps(FULL).encode(), BASE)
    kind, body = write_page(page, "text/html")
    assert kind.startswith("text/html")
    again = read_page(kind, body, "http://127.0.0.1:1/0/demo/")
    assert [file["yanked"] for file in again["files"]] == ['broken "badly"', True]
    assert again["files"][0]["requires-python"] == ">=3.8, <4"
    assert {name: file.hashes for name, file in listed(again).items()} == {
        name: file.hashes for name, file in listed(page).items()
    }


def test_a_page_in_html_is_understood():
    page = read_page("text/html; charset=utf-8", PAGE, BASE)
    assert listed(page) == {
        "demo-1.0-py3-none-any.whl": (
            "https://index.example/f/demo-1.0-py3-none-any.whl", {"sha256": "abab"}
        ),
        "demo-1.0-py3-none-any.whl.metadata": (
            "https://index.example/f/demo-1.0-py3-none-any.whl.metadata", {"sha256": "cdcd"}
        ),
        "demo-1.0.tar.gz": ("https://index.example/f/demo-1.0.tar.gz", {}),
        "demo-1.0.tar.gz.metadata": ("https://index.example/f/demo-1.0.tar.gz.metadata", {}),
        "abs.zip": ("https://index.example/abs.zip", {"md5": "00"}),
    }  # fmt: skip
    assert page["files"][0]["yanked"] is True
    assert json.loads(write_page(page, JSON)[1])["files"][1]["dist-info-metadata"] is True


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/x.zip", "ftp://x.example/x.zip", "javascript:x.zip", "//[::1/x.zip", "", "#",
        "https://x.example:0/x.zip", "https://x.example:99999/x.zip",
        "https://x.example/x.zip/", "https://x.example/x.exe", "https://x.example/%2e%2e%2fx%0a.zip",
        "https://x.example/" + "x" * 300 + ".zip", "https://x.example/\ud800.zip",
    ],
)  # fmt: skip
def test_files_that_cannot_be_fetched_are_left_out(url):
    document = {"files": [{"url": url}]}
    assert read_page(JSON, json.dumps(document).encode(), BASE)["files"] == []


def test_a_distant_page_cannot_list_files_of_this_machine():
    page = b'<base href="file:///root/"><a href="x-1.tar.gz">x</a><a href="file:///y-1.zip">y</a>'
    assert read_page(HTML, page, "https://index.example/simple/x/")["files"] == []


def test_a_page_of_this_machine_may_list_its_files():
    page = read_page("", b'<a href="../../files/x.zip#sha256=00">x</a>', "file:///srv/simple/x/")
    assert listed(page) == {"x.zip": ("file:///srv/files/x.zip", {"sha256": "00"})}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"files": {}}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_page_is_refused(body):
    with pytest.raises(ValueError, match=r"."):
        read_page(JSON, body, BASE)


def test_the_first_file_of_a_name_counts():
    document = {"files": [{"url": "https://a.example/x.zip"}, {"url": "https://b.example/x.zip"}]}
    page = read_page(JSON, json.dumps(document).encode(), BASE)
    assert listed(page)["x.zip"].url == "https://a.example/x.zip"


def test_a_single_file_is_a_page_too():
    url = "https://x.example/x-1.tar.gz"
    assert is_archive(url)
    assert not is_archive("https://x.example/simple/")
    page = read_page(HTML, link_to(f"{url}#sha256=00"), url)
    assert listed(page) == {"x-1.tar.gz": (url, {"sha256": "00"})}
