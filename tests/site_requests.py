"""Requests to a server of the site, and the responses that all three servers must give."""

from __future__ import annotations

import gzip
import os

from piwheels.serve.site import HTML, JSON, POLICY

PIP = f"{JSON}, {HTML}; q=0.2, text/html; q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
WHEEL = "holygrail-1.0-py3-none-any.whl"
BIG = bytes(range(256)) * 4096  # 1 MiB
LOG = "built it: gr\u00fc\u00df\n" * 200
LONG = "<p>a long page</p>\n" * 500
NAMES = "[" + ",".join(f'["name-{number}",0,0]' for number in range(500)) + "]"


def plant(base):
    """Make a site in *base*, with a neighbour that must never be read; return its path."""
    site = base / "site"
    files = {
        "simple/index.html": "<root>",
        "simple/index.v1_json": '{"root": 1}',
        "simple/holy-grail/index.html": "<project>",
        "simple/holy-grail/index.v1_json": '{"project": 1}',
        f"simple/holy-grail/{WHEEL}.metadata": "Name: holygrail",
        "simple/old/index.html": "<old>",
        "simple/bare/other-1.0-py3-none-any.whl": "wheel",
        "simple/.work/index.html": "hidden",
        "project/holy-grail/index.html": "<page>",
        "project/holy-grail/json/index.json": "{}",
        "project/holy-grail/badge.svg": "<svg/>",
        "project/holy-grail/feed.atom": "<feed/>",
        "project/long/feed.atom": LONG,
        "feed.atom": "<feed/>",
        "preview.png": "picture",
        "simple/long/index.html": LONG,
        "simple/long/index.v1_json": LONG,
        "project/long/index.html": LONG,
        "project/long/json/index.json": LONG,
        "index.html": "<home>",
        "404.html": "<gone>",
        "packages.json": NAMES,
        "style.css": "a {}",
        "search.js": "1",
        "favicon.svg": "<svg/>",
        "favicon.ico": "icon",
        "sitemap.xml": "<x/>",
        "robots.txt": "User-agent: *",
        ".hidden": "hidden",
        "space and ü.txt": "text",
    }
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (site / "simple/holy-grail" / WHEEL).write_bytes(BIG)
    (site / "packages.json.gz").write_bytes(gzip.compress(NAMES.encode()))
    long = [*site.glob("*/long/**/index.*"), site / "project/long/feed.atom"]
    for path in long:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(LONG.encode()))
    (site / "simple/long/index.v1_html.gz").symlink_to("index.html.gz")
    (site / "logs/0000/0000").mkdir(parents=True)
    (site / "logs/0000/0000/0001.txt.gz").write_bytes(gzip.compress(LOG.encode()))
    for folder in ("simple", "simple/holy-grail", "simple/old", "simple/long"):
        (site / folder / "index.v1_html").symlink_to("index.html")
    (base / "secret.txt").write_text("secret")
    (base / "site-two").mkdir()
    (base / "site-two" / "index.html").write_text("secret")
    (site / "project/Holy_Grail").symlink_to("holy-grail")
    for path in site.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))  # Apache's tags of new files are weak ones
    return site


def plant_traps(base, site):
    """Add files to *site* that TheScribe never writes: links that lead out or loop, and a pipe."""
    (site / "project/out").symlink_to("../../site-two")
    (site / "project/work").symlink_to("../simple/.work")
    (site / "project/loop").symlink_to("loop")
    (site / "out.txt").symlink_to(base / "secret.txt")
    os.mkfifo(site / "pipe.txt")


#: The header Accept, the type of the response, its body.
NEGOTIATION = [
    (PIP, JSON, '{"project": 1}'),
    (JSON, JSON, '{"project": 1}'),
    ("application/vnd.pypi.simple.latest+json", JSON, '{"project": 1}'),
    ("APPLICATION/VND.PYPI.SIMPLE.V1+JSON", JSON, '{"project": 1}'),
    (HTML, HTML, "<project>"),
    ("application/vnd.pypi.simple.latest+html", HTML, "<project>"),
    (f"{JSON};q=0, */*", "text/html", "<project>"),
    (f"{JSON};q=0.0,{HTML}", HTML, "<project>"),
    (f"*/*;q=0.9, {JSON}", JSON, '{"project": 1}'),
    (BROWSER, "text/html", "<project>"),
    ("*/*", "text/html", "<project>"),
    ("image/png", "text/html", "<project>"),
    ("", "text/html", "<project>"),
    (None, "text/html", "<project>"),
    (";;,,=q;q=1", "text/html", "<project>"),
]
#: The requested path, and the location of the redirect.
MOVED = [
    ("/simple", "/simple/"),
    ("/simple/holy-grail", "/simple/holy-grail/"),
    ("/simple/holy.grail", "/simple/holy-grail/"),
    ("/simple/holy._-grail/", "/simple/holy-grail/"),
    ("/simple/holy--grail/", "/simple/holy-grail/"),
    ("/simple/unknown", "/simple/unknown/"),
    ("/project/holy-grail", "/project/holy-grail/"),
    ("/project/holy-grail/json", "/project/holy-grail/json/"),
    ("/project/holy.grail/", "/project/holy-grail/"),
    ("/project/holy.grail", "/project/holy-grail/"),
    ("/project/holy-_grail", "/project/holy-grail/"),
    ("/project/unknown.one/", "/project/unknown-one/"),
]
#: Pages with a compressed copy: the path, the header Accept, the content type.
PACKED = [
    ("/simple/long/", PIP, JSON),
    ("/simple/long/", HTML, HTML),
    ("/simple/long/", BROWSER, "text/html"),
    ("/project/long/", BROWSER, "text/html"),
    ("/project/long/json/", "*/*", "application/json"),
    ("/project/long/json/index.json", "*/*", "application/json"),
    ("/project/long/feed.atom", "*/*", "application/atom+xml"),
]
#: Redirects that need more than patterns: nginx cannot make them.
MOVED_FAR = [
    ("/simple/Holy_Grail", "/simple/holy-grail/"),
    ("/simple/Holy._-Grail/", "/simple/holy-grail/"),
    ("/project/HOLY.Grail/", "/project/holy-grail/"),
    ("/project/HOLY.Grail", "/project/holy-grail/"),
    ("/simple/a.b_c--d/", "/simple/a-b-c-d/"),
    (f"/simple/{'a.' * 120}b", f"/simple/{'a-' * 120}b/"),
    (f"/simple/Holy_Grail/{WHEEL}", f"/simple/holy-grail/{WHEEL}"),
]
#: Paths that are absent or private.
MISSING = [
    "/simple/unknown/", "/simple/bare/", "/simple/.work/", "/.hidden", "/simple/.work/index.html",
    "/%2ehidden", "/simple//evil.example/", "/project/", "/project/unknown/", "/logs/", "/404",
    "/logs/0000/0000/0002.txt.gz", f"/simple/holy-grail/x-{WHEEL}", "//secret.txt",
    "//evil.example/", "/index.html/", "/simple/holy-grail/index.html/x", "/simple/%c3%bc/",
    f"/simple/{'a' * 300}/", f"/simple/{'a.' * 300}!/", f"/project/{'a' * 300}/",
]  # fmt: skip
#: The content type of each path.
TYPES = [
    ("/", "text/html; charset=utf-8"),
    ("/packages.json", "application/json"),
    ("/style.css", "text/css; charset=utf-8"),
    ("/search.js", "text/javascript; charset=utf-8"),
    ("/favicon.svg", "image/svg+xml"),
    ("/project/holy-grail/badge.svg", "image/svg+xml"),
    ("/preview.png", "image/png"),
    ("/feed.atom", "application/atom+xml"),
    ("/project/holy-grail/feed.atom", "application/atom+xml"),
    ("/favicon.ico", "image/x-icon"),
    ("/sitemap.xml", "application/xml"),
    ("/robots.txt", "text/plain; charset=utf-8"),
    ("/project/holy-grail/", "text/html; charset=utf-8"),
    ("/project/Holy_Grail/", "text/html; charset=utf-8"),
    ("/project/holy-grail/json/", "application/json"),
    (f"/simple/holy-grail/{WHEEL}", "application/octet-stream"),
    (f"/simple/holy-grail/{WHEEL}.metadata", "text/plain; charset=utf-8"),
]
#: What Range says, the first byte that comes, the last one.
RANGES = [
    ("bytes=0-0", 0, 0),
    ("bytes=10-19", 10, 19),
    ("bytes=1048000-", 1048000, 1048575),
    ("bytes=-100", 1048476, 1048575),
    ("bytes=5-99999999", 5, 1048575),
    ("bytes=300-700000", 300, 700000),
]
#: Headers that every response has.
GUARDS = {"x-content-type-options": "nosniff", "content-security-policy": POLICY}
