"""Descriptions as HTML: whatever the authors write, the page stays safe, valid and tidy."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import html5lib
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from piwheels.master.logic import wheel_metadata
from piwheels.master.site.descriptions import render

MARKDOWN, RST = "text/markdown", "text/x-rst"


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.ids = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]


def check(html):
    """Check what is true for each description; return its parts."""
    found = Reader(html)
    assert not {"h1", "h2", "img", "script", "style", "svg", "form", "input", "iframe"} & {
        *found.tags
    }
    names = {name for name, _ in found.attributes}
    assert names <= {"href", "rel", "id", "start", "colspan", "rowspan"}
    assert len(set(found.ids)) == len(found.ids)
    assert all(ident.startswith("readme-") for ident in found.ids)
    for name, value in found.attributes:
        if name == "href":
            assert re.match(r"https?://|#readme-", value), value
            assert value[0] != "#" or value[1:] in found.ids
    levels = [2, *(int(tag[1]) for tag in found.tags if re.fullmatch(r"h\d", tag))]
    assert all(b <= a + 1 for a, b in pairwise(levels))
    return found


def test_a_heading_without_text_has_no_level():
    html = render("# <h2># ", "text/markdown")
    check(html)
    assert "<h3>#</h3>" in html


@pytest.mark.parametrize("evil", [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))",
    "[a](data:text/html,x)", "<a href='vbscript:x'>a</a>", "<svg onload=alert(1)>", "<h1 id=main>A",
    "<div id=main></div><div id=main></div>", "<form action=https://e.example><input name=q>",
    "<iframe src=https://e.example></iframe>", "<p style='position:fixed' class=skip>a",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=a()'>",
    "![pixel](https://spy.example/p.png)", "<base href=https://e.example>", "${1/0}",
    "<meta http-equiv=refresh content=0>", "</div></details></main><h1>x</h1>", "<template><b>",
    "[a](../../simple/)", "[a](//e.example)", "# A\n\n[a](#nowhere) [b](#a)",
])  # fmt: skip
def test_hostile_markdown_is_harmless(evil):
    check(render(f"before\n\n{evil}\n\nafter", MARKDOWN))


@pytest.mark.parametrize("evil", [
    ".. raw:: html\n\n   <script>alert(1)</script>", ".. include:: /etc/passwd",
    ".. raw:: html\n   :file: /etc/passwd", ".. csv-table:: x\n   :file: /etc/passwd",
    ".. csv-table:: x\n   :url: file:///etc/passwd", ".. include:: /etc/passwd\n   :literal:",
    "`a <javascript:alert(1)>`_", ".. role:: raw-html(raw)\n   :format: html\n\n:raw-html:`<b>`",
])  # fmt: skip
def test_hostile_restructuredtext_is_harmless(evil):
    html = render(f"before\n\n{evil}\n\nafter\n", RST)
    check(html)
    assert "root:" not in html
    assert "after" in html


def test_a_description_becomes_a_part_of_the_page():
    html = render(
        "# Grail\n\n[![Build](https://x.example/b.svg)](https://ci.example/) ![logo](https://x.example/l)"
        "\n\n### Parts\n\n- [x] [up](#grail)\n\n| |b|\n|-|-|\n|1|2|\n\n```python\nx = 1\n```\n",
        MARKDOWN,
    )  # fmt: skip
    found = check(html)
    assert '<h3 id="readme-user-content-grail">Grail</h3>' in html
    assert '<h4 id="readme-user-content-parts">Parts</h4>' in html
    assert '<a href="https://ci.example/" rel="nofollow noopener">Build</a>' in html
    assert '<a href="https://x.example/l" rel="nofollow noopener">logo</a>' in html
    assert '<a href="#readme-user-content-grail" rel="nofollow noopener">up</a>' in html
    assert found.tags.count("th") == 1  # a header cell without text is none
    assert "<pre>x = 1\n</pre>" in html


def test_restructuredtext_is_the_default_and_invalid_text_is_shown_as_it_is():
    text = "Grail\n=====\n\n``code`` and `a link <https://x.example/>`__\n"
    assert render(text, "") == render(text, RST)
    assert "<h3>Grail</h3>" in render(text, "")
    assert "<code>code</code>" in render(text, "")
    assert render("Grail\n==\n\n`x <y", "") == "<pre>\nGrail\n==\n\n`x &lt;y</pre>"
    assert render("*a* <b>", "text/plain") == "<pre>\n*a* &lt;b&gt;</pre>"
    assert render("*a*", "no/such; type; \ud800") == "<pre>\n*a*</pre>"
    assert render("", MARKDOWN) == ""
    assert "<del>" in render("~~a~~", "Text/Markdown; charset=UTF-8; variant=GFM")
    assert "<del>" not in render("~~a~~", "text/markdown; variant=CommonMark")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(
    st.text().map(wheel_metadata.text) | st.lists(st.sampled_from(
        ["<a href=#x>", "</a>", "<h2>", "</h2>", "# ", "[", "](https://x.example)", "![", "<p>",
         "\n", "</div>", "<table>", "<td id=x>", "<li>", "a", "`", "* ", "<ul>", "<summary>",
         "&lt;", "<th>", "&#8;", "&#x202e;", "&#xffff;"]
    )).map("".join),
    st.sampled_from([MARKDOWN, RST]),
)  # fmt: skip
@example("<a href=#x># <table><td id=x>", MARKDOWN)
@example("<a href=https://x.example><table><td><a href=https://y.example>a", MARKDOWN)
def test_any_text_gives_valid_html(text, media_type):
    html = render(text, media_type)
    check(html)
    page = "<!DOCTYPE html><html><head><title>x</title></head><body><div>{}</div></body></html>"
    html5lib.HTMLParser(strict=True).parse(page.format(html))  # raises the first error
