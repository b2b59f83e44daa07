"""What METADATA says: any bytes give bounded, printable values."""

from __future__ import annotations

import html
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piwheels.master.logic import wheel_metadata
from piwheels.master.logic.wheel_metadata import parse

GOOD = b"""\
Metadata-Version: 2.4
Name: Holy.Grail
Version: 1.0
Summary: What knights\tsearch for
License-Expression: MIT OR Apache-2.0
Author-email: Sir Robin <robin@camelot.example>, nobody@camelot.example
Maintainer: Sir Lancelot (lance@camelot.example), Sir Galahad
Keywords: cup,quest
Requires-Python: >=3.9
Requires-Dist: Shrubbery[nice]>=2; python_version < "3.12"
Requires-Dist: coconut; extra == "swallow"
Provides-Extra: swallow
Classifier: Programming Language :: Python :: 3.12
Classifier: Programming Language :: Python :: 3.9
Classifier: Programming Language :: Python :: Implementation :: CPython
Project-URL: Source, https://grail.example/source
Home-page: https://grail.example/
Description-Content-Type: text/markdown; variant=GFM

# Grail
"""


def about(*lines):
    return parse("\n".join(["Name: x", *lines, "", ""]).encode()).metadata


def test_all_of_a_good_metadata_is_taken():
    found = parse(GOOD)
    assert found.metadata == wheel_metadata.Metadata(
        summary="What knights search for",
        license="MIT OR Apache-2.0",
        authors=("Sir Robin",),
        maintainers=("Sir Lancelot", "Sir Galahad"),
        keywords=("cup", "quest"),
        requires_python=">=3.9",
        requires_dist=(
            'Shrubbery[nice]>=2; python_version < "3.12"', 'coconut; extra == "swallow"',
        ),
        provides_extra=("swallow",),
        pythons=("3.9", "3.12"),
        links=(("Homepage", "https://grail.example/"), ("Source", "https://grail.example/source")),
        needs=(("shrubbery", '[nice]>=2; python_version < "3.12"'),),
    )  # fmt: skip
    assert found.description == "# Grail\n"
    assert (found.media_type, found.left_out) == ("text/markdown; variant=gfm", [])


@pytest.mark.parametrize(
    "line",
    [
        "Project-URL: Home, javascript:alert(1)", "Project-URL: Home, https://",
        "Project-URL: Home, https://bank.example@evil.example/", "Home-page: data:text/html,x",
        "Project-URL: Home, https://x.example/\u202eelgoog", "Project-URL: Home, //x.example",
        "Requires-Dist: !", "Requires-Dist: evil @ https://evil.example/evil.whl",
        "Requires-Dist: a\u202eb", f"Requires-Dist: a{'>=1,' * 1000}<2",
        f"Requires-Dist: a; {'(' * 400}extra == 'x'{')' * 400}", "Requires-Python: three",
        "Provides-Extra: <b>",
    ],
)  # fmt: skip
def test_invalid_values_are_left_out_and_named(line):
    field = line.partition(":")[0].lower().replace("home-page", "project-url")
    found = parse(f"Name: x\n{line}\nSummary: kept\n\n".encode())
    assert found.metadata == wheel_metadata.Metadata(summary="kept")
    assert found.left_out == [field]


@pytest.mark.parametrize(
    ("lines", "license_"),
    [
        (["License: MIT"], "MIT"),
        (["License: UNKNOWN"], ""),
        (["License: UNKNOWN", "Classifier: License :: OSI Approved :: MIT License"], "MIT License"),
        (["License: Copyright", "        by me", "Classifier: License :: Free"], "Free"),
        (["License: The Licence", "        of mine"], "The Licence"),
    ],
)
def test_the_license_is_a_short_name(lines, license_):
    assert about(*lines).license == license_


def test_long_lists_are_cut():
    lines = [f"Requires-Dist: a{number}" for number in range(1000)]
    lines += [f"Project-URL: L{number}, https://x.example/{number}" for number in range(1000)]
    found = parse("\n".join(["Name: x", *lines, "", ""]).encode())
    assert len(found.metadata.requires_dist) == wheel_metadata.REQUIREMENTS
    assert len(found.metadata.links) == wheel_metadata.LINKS
    assert found.left_out == ["project-url", "requires-dist"]


def test_a_description_is_cut_and_has_no_control_characters():
    data = b"Name: x\n\n" + "a\0b\x1b[31m\u202ec".encode() + b"d" * 10**6
    for text in (parse(data).description, wheel_metadata.body(data)):
        assert text.startswith("a\ufffdb\ufffd[31mcd")
        assert len(text) <= wheel_metadata.MAX_TEXT


FIELDS = st.sampled_from(
    [
        "Summary", "Author", "Author-email", "License", "Classifier", "Keywords", "Project-URL",
        "Requires-Dist", "Requires-Python", "Provides-Extra", "Description-Content-Type",
        "Home-page",
    ]
)  # fmt: skip


@given(st.binary() | st.lists(st.tuples(FIELDS, st.text())).map(
    lambda some: "".join(f"{key}: {value}\n" for key, value in some).encode(errors="surrogatepass")
))  # fmt: skip
@example(b"Summary: \0\xed\xa0\x80\n\n")
@example("Summary: \u202e\ufeff\nAuthor: a\u2028b\n\n".encode())
def test_any_bytes_give_bounded_printable_values(data):
    found = parse(data)
    metadata = found.metadata
    values = [*metadata[:2], *(each for some in metadata[2:5] for each in some)]
    values += [metadata.requires_python, *metadata.requires_dist, *metadata.provides_extra]
    values += [text for pair in (*metadata.links, *metadata.needs) for text in pair]
    assert all(text.isprintable() and len(text) <= wheel_metadata.LONG for text in values)
    assert all(link.startswith(("http://", "https://")) for _, link in metadata.links)
    for text in (found.description, wheel_metadata.body(data)):
        text.encode()  # no halves of characters
        assert "\0" not in text
    assert json.loads(json.dumps(found)) is not None


def test_preformatted_text_is_escaped():
    text = "\n<b>&amp;\n\n x"
    shown = wheel_metadata.preformatted(text)
    assert shown == f"<pre>\n{html.escape(text.lstrip())}</pre>"
    assert wheel_metadata.preformatted(" \n") == ""
