"""Lines of web servers' logs become hits, or are refused; no input does any harm."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.protocols import lumberjack
from piwheels.logger.hits import entry_of
from piwheels.logger.lines import FORMATS, MAX_LINE, BadLine, Hit, Lines

WHEN = datetime(2026, 10, 10, 20, 55, 36, tzinfo=UTC)
HEAD = b'192.0.2.1 - frank [10/Oct/2026:13:55:36 -0700] "GET /simple/six/ HTTP/1.1" 200 2326'
HIT = Hit("192.0.2.1", WHEN, "GET", "/simple/six/", 200, "pip/24.0")
JSON = (
    b'{"time":"2026-10-10T13:55:36-07:00","host":"192.0.2.1","method":"GET","uri":"/simple/six/",'
    b'"status":"200","agent":"pip/24.0"}'
)


@pytest.mark.parametrize(
    ("form", "line", "hit"),
    [
        ("common", HEAD, HIT._replace(agent="")),
        ("combined", HEAD + b' "-" "pip/24.0"', HIT),
        ("combined", HEAD + b' "https://a.example/" "-"', HIT._replace(agent="")),
        ("combined", HEAD + b' "-" "pip/24.0" 0.003 "more of one\'s own"\r', HIT),
        ("vhost", b"www.x:443 " + HEAD + b' "-" "pip/24.0"', HIT._replace(site="www.x")),
        ("vhost", b"www.x " + HEAD + b' "-" "pip/24.0"', HIT._replace(site="www.x")),
        ("vhost", b"[::1]:80 " + HEAD + b' "-" "pip/24.0"', HIT._replace(site="[::1]")),
        ("json", JSON, HIT),
        ("json", JSON.replace(b'"200"', b"200").replace(b"}", b',"site":"a"}'),
         HIT._replace(site="a")),
        ("json", JSON.replace(b"-07:00", b"").replace(b"T13", b"T20"), HIT),
    ],
)  # fmt: skip
def test_each_format(form, line, hit):
    assert FORMATS[form](line) == hit


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"a \"b\" \\ \x22\x5C", r'a "b" \ "' + "\\"),  # Apache's way and nginx's
        (rb"caf\xc3\xa9 \xFF", "café \ufffd"),
        ("café".encode() + b"\xff", "café\ufffd"),
        (rb"tab\tnew\nline\x00", "tab\ufffdnew\ufffdline\ufffd"),
        (b"\xe2\x80\xa8", "\ufffd"),
        (rb"\q", "q"),
        (b"x" * 9000, "x" * 8192),
    ],
)
def test_client_text_is_unchanged_except_for_line_breaks(raw, text):
    assert FORMATS["combined"](HEAD + b' "-" "' + raw + b'"').agent == text


def test_json_has_its_own_escapes():
    line = JSON.replace(b"pip/24.0", rb"\u0022\ud800\u0000 caf\u00e9" + b"\xff")
    assert FORMATS["json"](line).agent == '"\ufffd\ufffd café\ufffd'


@pytest.mark.parametrize(
    ("host", "request_", "expected"),
    [
        (b"2001:db8::1", b"GET / HTTP/1.1", ("2001:db8::1", "GET", "/")),
        (b"client.example", b"HEAD /a b HTTP/1.0", ("client.example", "HEAD", "/a b")),
        (b"-", b"-", ("-", "", "")),
        (b"::1", rb"\x16\x03\x01\x02", ("::1", "", "")),
        (b"::1", b"GET /", ("::1", "GET", "/")),
        (b"::1", b"", ("::1", "", "")),
    ],
)
def test_hosts_and_requests(host, request_, expected):
    line = HEAD.replace(b"192.0.2.1", host).replace(b"GET /simple/six/ HTTP/1.1", request_)
    hit = FORMATS["common"](line)
    assert (hit.host, hit.method, hit.path) == expected


def test_a_status_may_be_missing():
    assert FORMATS["common"](HEAD.replace(b" 200 2326", b" - -")).status == 0


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("combined", HEAD),
        ("combined", HEAD + b' "-" "pip/24.0'),  # cut off
        ("combined", HEAD + b' "-" "pip/24.0\\"'),
        *[("common", HEAD[:size]) for size in (0, 9, 40, len(HEAD) - 5)],
        ("common", HEAD.replace(b"Oct", b"Okt")),
        ("common", HEAD.replace(b"[10/", b"[32/")),
        ("common", HEAD.replace(b"-0700", b"-9900")),
        ("common", HEAD.replace(b"2026:13", b"0000:13")),
        ("common", HEAD.replace(b"10/Oct/2026:13:55:36 -0700", b"01/Jan/0001:00:00:00 +0100")),
        ("common", b"\0" * 500),
        ("json", JSON[:-1]),
        ("json", JSON.replace(b'"192.0.2.1"', b"null")),
        ("json", JSON.replace(b"2026-10-10T13:55:36", b"yesterday")),
        ("json", JSON.replace(b"2026-10-10T13:55:36-07:00", b"9999-12-31T23:00:00-07:00")),
        ("json", JSON.replace(b'"200"', b"1" * 5000)),
        ("json", JSON.replace(b'"200"', b"1e999")),
        ("json", JSON.replace(b'"200"', b'"000x"')),
        ("json", b"[" * 60_000),
        ("json", b'"host time method uri status agent"'),
        ("json", b"[]"),
        ("json", b"7"),
    ],
)  # fmt: skip
def test_lines_of_another_format_are_refused(form, line):
    with pytest.raises(BadLine):
        FORMATS[form](line)


def test_a_leap_second_is_a_time():
    assert FORMATS["common"](HEAD.replace(b":36 ", b":60 ")).when.second == 59


@given(form=st.sampled_from(sorted(FORMATS)), line=st.binary(max_size=200))
def test_any_bytes_are_a_hit_or_refused(form, line):
    with suppress(BadLine):
        FORMATS[form](line)


values = st.text(max_size=30) | st.binary(max_size=30).map(lambda raw: raw.decode("latin-1"))
agents = values | values.map(lambda text: f'pip/1 {{"cpu": "{text}", "installer": {text}}}')
paths = values | st.tuples(
    st.sampled_from(["/simple/%s/", "/simple/six/%s.whl", "/project/%s/json/", "/%s.html", "//%s"]),
    st.text(max_size=300),
).map(lambda parts: parts[0] % parts[1])  # fmt: skip


@given(path=paths, agent=agents, form=st.sampled_from(["combined", "json"]))
def test_any_client_text_is_valid_on_the_wire(path, agent, form):
    """A hit that is reported is reported in a message that the master accepts."""
    if form == "json":
        hit = FORMATS["json"](_as_json(path, agent))
    else:
        raw = _escaped(f"GET {path} HTTP/1.1"), _escaped(agent)
        line = HEAD.replace(b"GET /simple/six/ HTTP/1.1", b"%s") + b' "-" "%s"'
        hit = FORMATS["combined"](line % raw)
    if entry := entry_of(hit):
        assert lumberjack.received(entry.msg, entry.data) == entry.data


def _escaped(text):
    raw = text.encode("utf-8", "surrogateescape")
    return b"".join(b"\\x%02x" % byte if byte in b'"\\' or byte < 32 else bytes([byte])
                    for byte in raw)  # fmt: skip


def _as_json(path, agent):
    import json  # noqa: PLC0415 (only here)

    found = json.loads(JSON) | {"uri": path, "agent": agent}
    return json.dumps(found).encode()


@given(st.lists(st.binary(max_size=20)), st.integers(1, 9))
def test_lines_are_split_alike_in_pieces_of_any_size(parts, size):
    data = b"".join(parts)
    lines = Lines()
    found = [line for start in range(0, len(data), size)
             for line in lines.feed(data[start : start + size])]  # fmt: skip
    found += lines.end()
    assert b"\n".join(found) == data.removesuffix(b"\n")


@pytest.mark.parametrize("size", [100, 65_536, 10**6])
def test_a_line_that_is_too_long_is_dropped(size):
    long, longest = b"x" * MAX_LINE, b"y" * (MAX_LINE + 1)
    data = b"\n".join([b"a", longest, b"b", long, b"y" * 10**6, b"c", longest])
    lines, found = Lines(), []
    for start in range(0, len(data), size):
        found += lines.feed(data[start : start + size])
        assert len(lines._rest) <= MAX_LINE + size
    assert [*found, *lines.end()] == [b"a", None, b"b", long, None, b"c", None]
