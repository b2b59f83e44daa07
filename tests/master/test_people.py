"""The pages for people and the site-wide lists, with trusted and with hostile data."""

from __future__ import annotations

import html
import json
import re
import struct
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from unittest import mock
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.database.rows import Activity, EndedBuild, SimpleFile, SimpleProject
from piwheels.core.diagnosis import CLASSES
from piwheels.core.diagnosis.advice import ADVICE
from piwheels.core.protocols import Why
from piwheels.core.states import Fetch
from piwheels.master.logic import site_wide, web_pages
from piwheels.master.logic.wheel_metadata import Metadata
from piwheels.master.site.rendering import NAMES, Renderer, static_files

NOW = datetime(2026, 11, 1, 11, 0, tzinfo=timezone(timedelta(hours=1)))
RENDERER = Renderer()
EVIL = "\"'><script>alert('${1/0}')</script>&amp;\u202e\n${structure: x}<?python 1/0 ?>"


UNDIAGNOSED = {
    "label": "", "reason": "", "subject": "", "cause": "", "counts": True, "recipe": None,
    "next": None, "retry_at": None, "fetched": 0, "refused": [],
}  # fmt: skip
UNTRIED = {"installs": None, "imports": None, "trial_why": "", "connects": "", "starts": ""}


def release(files=(), builds=(), **changes):
    values = {
        "released": NOW, "yanked": False, "yank_reason": "", "yanked_upstream": False,
        "skip": "", "quarantined": False, "requires_python": None, "excluded": [],
    }  # fmt: skip
    made = {
        name: {
            "hash": "ab" * 32,
            "size": 1_337_000,
            "abi_builder": "cp311",
            "file_abi": "cp311",
            "platform": "linux_armv7l",
            "requires_python": ">=3.9",
            "apt_dependencies": ["libb", "liba"],
            "build_id": 12345678,
            **UNTRIED,
        }
        for name in files
    }
    attempts = [
        {
            "build_id": 12345678,
            "abi_tag": abi,
            "platform": "",
            "status": status,
            "built_at": NOW,
            "duration": timedelta(seconds=125),
            **UNDIAGNOSED,
        }
        for abi, status in builds
    ]
    return {**values, "files": made, "builds": attempts, **changes}


def data(skip="", description="A search", status="active", **releases):
    named = {name.strip("v").replace("_", "."): each for name, each in releases.items()}
    about = {"name": "holygrail", "description": description, "status": status, "skip": skip}
    about["recipe"] = None
    return {**about, "releases": named}


def built(package, version="1.0", abi="cp311", *, status=True, files=1, when=NOW):
    return EndedBuild(1, 1, "", package, version, abi, status, timedelta(1), files, when)


def test_releases_are_shown_newest_first_with_their_state():
    blocks = web_pages.release_blocks(
        data(
            v1_9=release(builds=[("cp313", False), ("cp39", True)]),
            v1_10=release(["holygrail-1.10-py3-none-any.whl"], [("cp311", True)]),
            v0_1=release(skip="too old", yanked=True, yank_reason="bad"),
            v0_2=release(),
        ),
        {},
    )
    shown = [(block.version, block.state, block.yank_reason, block.skip) for block in blocks]
    assert shown == [
        ("1.10", "built", "", ""),
        ("1.9", "failed", "", ""),
        ("0.2", "waiting", "", ""),
        ("0.1", "skipped", "bad", "too old"),
    ]
    assert blocks[3].yanked_by == "by this farm's operator"
    theirs = data(v1=release(yanked=True, yanked_upstream=True))
    assert web_pages.release_blocks(theirs, {})[0].yanked_by == "upstream"
    assert blocks[1].marks == [("cp39", "ok"), ("cp313", "failed")]
    assert [build.abi for build in blocks[1].builds] == ["cp39", "cp313"]
    assert blocks[0].builds[0].log == "logs/0000/1234/5678.txt.gz"
    assert blocks[0].builds[0].when == "2026-11-01 10:00 UTC"


class Reader(HTMLParser):
    """Parses a page as a browser does: its tags and its links."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src", "action"}]

    def handle_pi(self, data):
        self.tags.append("?")


def project(about, **logs):
    known = web_pages.unexplained(about)
    numbers = {int(number.strip("b")): log for number, log in logs.items()}
    ends = {number: web_pages.reason(log, known[number]) for number, log in numbers.items()}
    return RENDERER.project(about, ends)


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ({}, []),
        ({"installs": True}, ["ok installs"]),
        ({"installs": True, "imports": True}, ["ok installs", "ok imports"]),
        (
            {"installs": True, "imports": False, "trial_why": "x: <b>"},
            ["ok installs", "failed import failed: x: &lt;b&gt;"],
        ),
        (
            {"installs": True, "trial_why": "needs numpy"},
            ["ok installs", "ok not imported: needs numpy"],
        ),
        (
            {"installs": True, "imports": True, "connects": "a:1", "starts": "ls"},
            [
                "ok installs", "ok imports", "failed its import connects to a:1",
                "failed its import starts ls",
            ],
        ),
    ],
)  # fmt: skip
def test_a_project_page_says_what_came_of_a_file(trial, words):
    made = release(["foo-1.0-py3-none-any.whl"])
    made["files"]["foo-1.0-py3-none-any.whl"] |= trial
    page = RENDERER.project(data(**{"1.0": made}), {}).decode()
    found = re.findall(r'<span class="tag (\w+)"><bdi>(.*?)</bdi>', page)
    assert [" ".join(each) for each in found] == words


def test_a_project_page_says_who_tries_again():
    about = data(v1_0=release(builds=[("cp311", False), ("cp39", False)]))
    about["releases"]["1.0"]["builds"][0]["retry_at"] = NOW + timedelta(hours=24)
    page = project(about).decode()
    assert page.count("to be tried again") == 1
    assert (
        "<bdi>to be tried again by another slave, or after 2026-11-02 10:00 UTC by the same" in page
    )


MISSING = {
    "reason": "missing-header",
    "subject": "grail<b>.h",
    "cause": f"grail.c:1:10: fatal error: {'x' * 300}/grail<b>.h: No such file or directory",
}
FULL_DISK = {"reason": "disk-full", "cause": "no space left", "counts": False, "label": "board<7>"}


def with_build(**changes):
    """Return the data of a project with one failed build."""
    found = data(v1_0=release(builds=[("cp311", False)]))
    found["releases"]["1.0"]["builds"][0] |= changes
    return found


def words(page):
    """Return the text of a page, as people read it."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page.decode())).split())


def test_a_project_page_says_why_a_build_failed_and_what_to_do():
    page = project(with_build(**MISSING), b12345678="all of it\n")
    assert b'<a href="../../failures.html#missing-header">missing header</a>' in page
    shown = words(page)
    assert "Install the package that has the header grail<b>.h." in shown
    assert MISSING["cause"] in shown, "the cause is whole"
    assert "all of it" in shown
    assert "<b>.h" not in page.decode()


def test_a_cause_is_shown_once():
    page = project(with_build(**{**MISSING, "cause": "no cup"}), b12345678="no cup\n")
    assert words(page).count("no cup") == 1


def test_the_pages_of_many_releases_are_short():
    count = web_pages.FULL
    many = {f"v1_{number}": release(builds=[("cp311", False)]) for number in range(count)}
    about = data(**many)
    for each in about["releases"].values():
        each["builds"][0] |= MISSING
    page = words(project(about))
    assert page.count("missing header") == count
    assert page.count(MISSING["cause"]) == web_pages.CAUSES


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (FULL_DISK, "put off: disk full on board<7> (the fault of the farm) after 2 min 5 s"),
        (
            {**FULL_DISK, "reason": "compile-error", "label": ""},
            "put off: compile error (its slave is in quarantine) after",
        ),
        (
            {**MISSING, "next": {"due": NOW, "attempt": 1, "recipe": {"apt": ["libgrail-dev"]}}},
            "failed: missing header after 2 min 5 s;"
            " to be tried again (Debian packages: libgrail-dev) next",
        ),
        (
            {
                **FULL_DISK,
                "recipe": {"constraints": ["cython<3"]},
                "next": {"due": NOW + timedelta(hours=1), "attempt": 1, "recipe": None},
            },
            "after 2 min 5 s with cython<3; to be tried again after 2026-11-01 11:00 UTC",
        ),
        (
            {**FULL_DISK, "next": {"due": None, "attempt": 1, "recipe": None}},
            "waits until an operator has it tried again",
        ),
        ({"reason": "of-the-future", "subject": "x", "cause": "c"}, "failed after 2 min 5 s"),
    ],
)
def test_a_project_page_says_what_follows_a_failure(changes, sentence):
    assert sentence in words(project(with_build(**changes)))


def test_a_failure_of_the_farm_is_none_of_the_package():
    about = with_build(**FULL_DISK)
    [block] = web_pages.release_blocks(about, {})
    assert (block.state, block.marks) == ("waiting", [("cp311", "waiting")])
    assert web_pages.badge(about)[0] == "waiting"
    [first] = about["releases"]["1.0"]["builds"]
    earlier = {**first, "counts": True, "build_id": 1}
    about["releases"]["1.0"]["builds"].insert(0, earlier)
    [block] = web_pages.release_blocks(about, {})
    assert (block.state, block.marks) == ("failed", [("cp311", "failed")])
    assert [*web_pages.unexplained(about)] == [1]


def test_a_release_says_for_which_targets_it_has_no_wheel_and_why():
    answers = [
        Why("1.0", "linux_armv7l", abi, state, text, "", 3 if state == "failed" else 0)
        for abi, state, text in (
            ("cp311", "built", "built: a.whl"), ("cp39", "waiting", "waiting"),
            ("cp312", "failed", "failed: <b>"), ("cp313", "waiting", "waiting"),
        )
    ]  # fmt: skip
    about = data(v1_0=release(), v0_9=release())
    [new, old] = web_pages.release_blocks(about, {}, answers=answers)
    assert new.lacks == [("cp39 armv7l, cp313 armv7l", "waiting"), ("cp312 armv7l", "failed: <b>")]
    assert old.lacks == []
    page = RENDERER.project(about, {}, answers=answers)
    assert "cp312 armv7l failed: <b>" in words(page.replace(b"<dd>", b" <dd>"))
    with mock.patch.object(web_pages, "FULL", 0):
        assert "failed: <b>" in words(RENDERER.project(about, {}, answers=answers))
    made = json.loads(web_pages.builds_json(about, answers=answers))
    assert made["releases"]["1.0"]["why"][2] == {
        "platform": "linux_armv7l", "abi": "cp312", "state": "failed", "text": "failed: <b>",
        "build_id": 3,
    }  # fmt: skip
    assert made["releases"]["1.0"]["why"][0]["build_id"] is None
    assert made["releases"]["0.9"]["why"] == []


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (None, ""),
        ({"content": {}, "by_operator": True}, ""),
        (
            {
                "content": {"constraints": ["cython<3"], "apt": ["libgrail-dev"]},
                "by_operator": False,
            },
            "Builds begin with: with cython<3; Debian packages: libgrail-dev (found by the farm).",
        ),
        (
            {"content": {"timeout": 60}, "by_operator": True},
            "Builds begin with: time-out 0:01:00 (an operator has written it).",
        ),
    ],
)
def test_a_project_page_says_how_builds_begin(recipe, text):
    page = words(project({**data(), "recipe": recipe}))
    assert text in page
    assert ("Builds begin with" in page) == bool(text)


def test_a_cured_release_says_how():
    about = data(v1_0=release(["holygrail-1.0-py3-none-any.whl"], [("cp311", True)]))
    about["releases"]["1.0"]["builds"][0]["recipe"] = {"constraints": ["setuptools<58"]}
    page = words(project(about))
    assert "built with setuptools<58" in page
    assert "succeeded after 2 min 5 s with setuptools<58" in page


def test_a_project_page_says_what_builds_fetched():
    about = data(
        v1_0=release(["a.whl"], [("cp311", True)]), v0_9=release(builds=[("cp311", False)])
    )
    old, new = (about["releases"][version]["builds"][0] for version in ("0.9", "1.0"))
    old |= {"fetched": 2, "build_id": 5}
    new |= {"fetched": 1, "refused": ["github.com:443", "b:1", "c:1", "d:1", "e:1"]}
    assert web_pages.newest_builds(about) == [new["build_id"], 5]
    fetches = [Fetch("https://x.example/<a>.zip", 2000, "ab" * 32), Fetch("d:1", 0, None, "no <b>")]
    page = RENDERER.project(about, {}, fetches={new["build_id"]: fetches}).decode()
    text = "fetched 1 file; asked for github.com, b:1, c:1 and 2 more: refused"
    assert f'<summary class="dim">{text}</summary>' in page
    assert "<code>https://x.example/&lt;a&gt;.zip</code>" in page
    assert f"2.0 kB {'ab' * 32}" in page
    assert '<span class="failed">no &lt;b&gt;</span>' in page
    assert '<span class="full dim">fetched 2 files</span>' in page


def test_a_project_page_links_to_files_and_logs():
    page = project(data(v1_0=release(["holygrail-1.0+x-py3-none-any.whl"], [("x", True)])))
    links = Reader(page).links
    assert "../../simple/holygrail/holygrail-1.0%2Bx-py3-none-any.whl" in links
    assert "../../logs/0000/1234/5678.txt.gz" in links
    assert "../../style.css" in links
    assert b"sudo apt install liba libb" in page
    assert b"1.3 MB" in page


@pytest.mark.parametrize(
    "render",
    [
        lambda: project(
            data(EVIL, EVIL, v1=release([EVIL], [(EVIL, False)], yanked=True, yank_reason=EVIL))
            | {"name": EVIL},
            b12345678=EVIL,
        ),
        lambda: project(
            data(v1=release([], [(EVIL, False)], skip=EVIL)) | {"status": EVIL}, b12345678=EVIL
        ),
        lambda: RENDERER.simple_project(
            SimpleProject(
                EVIL,
                EVIL,
                "",
                [],
                [SimpleFile(EVIL, 1, EVIL, EVIL, True, EVIL, EVIL, NOW, EVIL, EVIL, [EVIL])],
            )
        ),
        lambda: RENDERER.simple_root([EVIL]),
        lambda: RENDERER.home(
            {"packages_built": 1, "files_count": EVIL}, [EVIL], [built(EVIL, EVIL, EVIL)], {EVIL: 1}
        ),
        lambda: RENDERER.packages([site_wide.Found(EVIL, 1, 2)], 1),
        lambda: RENDERER.stats(
            {}, Activity({EVIL: (1, 2)}, {EVIL: 3}), [site_wide.Found(EVIL, 1, 2)]
        ),
    ],
    ids=["project", "other project", "simple project", "simple root", "home", "search", "stats"],
)
def test_hostile_text_is_escaped(render):
    page = render()
    scripts = re.findall(rb"<script[^>]*>", page)
    assert all(re.fullmatch(rb'<script src="[./]*\w+\.js" defer(="")?>', each) for each in scripts)
    assert not set(Reader(page).tags) & {"?", "structure"}
    assert b"<script>" not in page
    assert b"${1/0}" in page.replace(b"%24%7B1/0%7D", b"${1/0}")


def test_the_home_page_shows_statistics_and_builds():
    stats = {"packages_built": 1234, "builds_time": timedelta(hours=30)}
    builds = [
        built("spam", "2.0", "cp313"), built("spam", "2.0", "cp311"), built("eggs", status=False),
        built("ham", files=0), built("gone"),
    ]  # fmt: skip
    page = RENDERER.home(stats, ["spam"], builds, dict.fromkeys(["spam", "eggs", "ham"]))
    assert b"1,234" in page
    assert b"1 d 6 h" in page
    assert Reader(page).links.count("project/spam/") == 2
    assert b"for cp311, cp313" in page
    assert not any(name in page for name in (b"eggs", b"ham", b"gone"))
    assert b"No projects have been built yet" in RENDERER.home({}, [], [], {})
    names = [f"p{number}" for number in range(NAMES + 9)]
    many = RENDERER.home({}, names, [], dict.fromkeys(names))
    assert sum(link.startswith("project/") for link in Reader(many).links) == NAMES
    assert b"Most downloaded" in many


def test_the_stats_are_by_abi_and_day():
    lines = web_pages.abi_lines({"cp313": (3, 1), "cp39": (0, 0)}, {"cp310": 5})
    assert [(line.abi, line.share, line.waiting) for line in lines] == [
        ("cp39", "", 0), ("cp310", "", 5), ("cp313", "75 %", 0),
    ]  # fmt: skip
    assert web_pages.days({"2026-11-02": 5, "2026-11-01": 10}) == [
        ("2026-11-01", 10, 100.0), ("2026-11-02", 5, 50.0),
    ]  # fmt: skip
    assert web_pages.days({"2026-11-01": 0}) == [], "no chart without downloads"


def test_empty_statistics_are_not_shown():
    stats = {"packages_built": 2, "files_count": 0, "downloads_all": 0, "builds_time": timedelta(0)}
    stats["builds_pending"] = {"cp311": 0}
    assert web_pages.farm_facts(stats) == [("packages", "2")]
    unused = [site_wide.Found("spam", 0, 0)]
    page = Renderer().stats(stats, Activity({}, {"2026-11-01": 0}), unused).decode()
    assert "Most downloaded" not in page
    assert "Downloads per day" not in page


def test_the_apt_line_has_no_library_that_each_machine_has():
    about = data(**{"1.0": release(["a-1.0-py3-none-any.whl"])})
    for file in about["releases"]["1.0"]["files"].values():
        file["apt_dependencies"] = ["libc6", "libgrail1", "libstdc++6"]
    assert b"sudo apt install libgrail1</code>" in project(about)
    for file in about["releases"]["1.0"]["files"].values():
        file["apt_dependencies"] = ["libc6"]
    assert b"apt install" not in project(about)


def test_only_the_newest_releases_are_shown_in_full():
    many = {f"v1_{number}": release([f"a-1.{number}-py3-none-any.whl"]) for number in range(105)}
    page = project(data(**many))
    assert b"5 older releases" in page
    assert b"a-1.104-py3-none-any.whl" in page
    assert b"a-1.4-py3-none-any.whl" not in page


def test_a_project_page_lists_the_hashes_in_the_format_of_sha256sum():
    names = ["holygrail-1.0-py3-none-any.whl", "holygrail-1.0-cp311-cp311-linux_armv7l.whl"]
    page = RENDERER.project(data(v1_0=release(names)), {}).decode()
    [listed] = re.findall(r"<details class=\"hashes\">.*?<code>(.*?)</code>", page, re.DOTALL)
    assert listed == "".join(f"{'ab' * 32}  {name}\n" for name in sorted(names))
    assert "hashes" not in RENDERER.project(data(v1_0=release()), {}).decode()


WHEEL = ["holygrail-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("project", "text"),
    [
        (data(v2_0=release(), v1_0=release(WHEEL)), "1.0"),
        (data(v2_0=release(builds=[("cp311", False)])), "failed"),
        (data(v2_0=release(skip="no")), "skipped"),
        (data(), "no releases"),
        (data(status="quarantined", v1_0=release(WHEEL)), "quarantined"),
        (data(**{f"v{'1_' * 40}1": release(WHEEL)}), f"{'1.' * 14}1…"),
        (data(**{EVIL: release(WHEEL)}), f"{EVIL[:29]}…".replace("_", ".")),
    ],
)
def test_a_badge_says_what_installers_get(project, text):
    badge = RENDERER.badge(project)
    assert len(badge) < 1000  # no compressed copy
    picture = ET.fromstring(badge)  # noqa: S314 (our own)
    words = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["piwheels", text]


def test_the_head_of_a_page_describes_it():
    def described(page):
        found = re.findall(
            r'<meta (?:name|property)="([a-z:_]+)" content="([^"]*)">', page.decode()
        )
        return dict(found)

    known = Renderer("https://wheels.example/")
    head = described(known.project(data(description="A \n search\u202e " + "x" * 500), {}))
    assert head["og:title"] == "holygrail"
    assert head["og:url"] == "https://wheels.example/project/holygrail/"
    assert head["description"] == head["og:description"]
    assert head["description"].startswith("A search xxx")
    assert len(head["description"]) <= 200
    unknown = described(RENDERER.project(data(description=""), {}))
    assert unknown["description"] == "Wheels of holygrail."
    assert "og:url" not in unknown
    assert described(RENDERER.fixed()["faq.html"])["description"].startswith("Python wheels")


def test_previews_of_links_have_a_picture_if_the_address_is_known():
    known = Renderer("https://wheels.example/pi/")
    for page in (known.fixed()["404.html"], known.project(data(), {}), known.home({}, [], [], {})):
        head = dict(re.findall(r'<meta (?:name|property)="([a-z:_]+)" content="(.*?)">', str(page)))
        assert head["twitter:card"] == "summary_large_image"
        assert "Wheels, ready to install" in head["og:image:alt"]
        place, _, name = head["og:image"].rpartition("/")
        assert place == "https://wheels.example/pi"
        picture = static_files()[name]
        assert len(picture) < 60_000
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        sizes = (head["og:image:width"], head["og:image:height"])
        assert struct.unpack(">II", picture[16:24]) == tuple(map(int, sizes)) == (1200, 630)
    assert b"preview.png" not in RENDERER.fixed()["faq.html"]
    assert b"twitter:" not in RENDERER.project(data(), {})


def test_a_quarantined_project_offers_no_files():
    whole = data(status="quarantined", v1=release(["a-1-py3-none-any.whl"]))
    page = project(web_pages.offered(whole))
    assert b"In quarantine" in page
    assert b".whl" not in page
    assert b"pip install" not in page
    assert web_pages.offered(data(v1=release(["a"])))["releases"]["1"]["files"]


def test_a_quarantined_release_is_marked_and_not_waiting():
    found = data(v2=release(quarantined=True), v1=release(["a-1-py3-none-any.whl"]))
    page = project(found)
    assert b'<span class="badge quarantined">quarantined</span>' in page
    assert page.count(b"In quarantine") == 1
    assert b"Not built yet" not in page
    assert b"waiting" not in page
    assert json.loads(web_pages.builds_json(found))["releases"]["2"]["quarantined"] is True
    assert [
        each.state for each in web_pages.release_blocks({**found, "status": "quarantined"}, {})
    ] == ["quarantined"] * 2


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("archived", b"do not plan further releases"),
        ("deprecated", b"consider it obsolete"),
        ("quarantined", b"considers this project unsafe"),
    ],
)
def test_the_status_of_a_project_is_explained(status, sentence):
    page = project(data(status=status))
    assert f'<span class="badge {status}">{status}</span></h1>'.encode() in page
    assert sentence in page
    assert b"</h1>" in project(data())
    assert b"badge active" not in project(data())


def test_the_install_command_is_for_the_newest_version_that_is_not_yanked():
    yanked, old, newest = release(["b"], yanked=True), release(["a"]), release()
    blocks = web_pages.release_blocks(data(v3=newest, v2=yanked, v1=old), {})
    assert web_pages.install_version(blocks).version == "1"
    assert web_pages.install_version(blocks[:2]).version == "2"
    assert web_pages.install_version(blocks[:1]) is None
    early = web_pages.release_blocks(data(v4rc1=release(["c"]), v3=newest, v2=yanked, v1=old), {})
    assert web_pages.install_version(early).version == "1"
    assert web_pages.install_version(early[:3]).version == "4rc1"
    assert b"/simple/ holygrail==2<" in project(data(v3=newest, v2=yanked))
    assert b"/simple/ holygrail<" in project(data(v2=yanked, v1=old))


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("", ""),
        ("one\ntwo\n\n", "one\ntwo"),
        ("  a\n    b\n  [end of output]\n\n  note: pip\n", "a\n  b"),
        ("Getting it\nno\nerror: some-thing-failed\npiwheels: the build failed: x", "no"),
        ("\x1b[31mred\x1b[0m\tx\0y", "red x y"),
        ("\n".join(f"line {number}" for number in range(99)), "\n".join(
            f"line {number}" for number in range(91, 99))),
        ("x" * 999, "x" * 199 + "…"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure_is_the_end_of_the_build_output(log, why):
    assert web_pages.reason(log) == why


@given(st.text())
def test_the_reason_is_printable_for_any_log(log):
    why = web_pages.reason(log)
    assert len(why) < 2000
    assert all(char.isprintable() or char == "\n" for char in why)


def test_only_the_last_failure_for_each_abi_of_the_newest_releases_is_explained():
    builds = [("cp311", False), ("cp313", True)]
    many = {f"v1_{number}": release(builds=builds) for number in range(9)}
    for number, each in enumerate(many.values()):
        each["builds"][0]["build_id"] = number
    assert len(web_pages.unexplained(data(**many))) == web_pages.EXPLAINED
    healed = release()
    healed["builds"] = [
        {
            "build_id": number, "abi_tag": "cp311", "platform": "linux_armv7l",
            "status": number == 2, **UNDIAGNOSED,
        }
        for number in (2, 1)
    ]  # fmt: skip
    assert web_pages.unexplained(data(v1=healed)) == {}
    healed["builds"][0]["platform"] = "linux_aarch64"
    assert [*web_pages.unexplained(data(v1=healed))] == [1], "another target"


@pytest.mark.parametrize(
    ("platform", "words"),
    [("linux_armv7l", "cp311 armv7l"), ("musllinux_x86_64", "cp311 musl x86_64"), ("", "cp311")],
)
def test_a_build_says_for_what_it_was_made(platform, words):
    assert web_pages.target_words({"abi_tag": "cp311", "platform": platform}) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a-1-cp313-cp313-linux_armv7l.whl", ["Python 3.13", "linux_armv7l"]),
        ("a-1-cp39-abi3-linux_x86_64.whl", ["Python 3.9", "abi3", "linux_x86_64"]),
        ("a-1-py2.py3-none-any.whl", ["Python 2, 3", "any machine"]),
        ("a-1-pp310-pypy310_pp73-any.whl", ["Python pp310", "pypy310_pp73", "any machine"]),
        ("nonsense", []),
    ],
)
def test_tags_are_described(name, words):
    assert web_pages.tag_words(name) == words


def test_pages_contain_the_address_of_the_site_if_it_is_known():
    known = Renderer("https://wheels.example/pi/")
    about = data(v1=release(["a-1-py3-none-any.whl"]))
    page = known.project(about, {}).decode()
    assert "--index-url <var>https://wheels.example/pi</var>/simple/ holygrail" in page
    assert '<link rel="canonical" href="https://wheels.example/pi/project/holygrail/">' in page
    assert "ADDRESS" not in page
    assert "data-address" in RENDERER.project(about, {}).decode()
    links = Reader(known.fixed()["404.html"]).links
    assert all(link.startswith(("/pi/", "#")) for link in links)


def test_pages_are_not_in_quirks_mode():
    for page in (*RENDERER.fixed().values(), project(data()), RENDERER.simple_root([])):
        assert page.startswith(b"<!DOCTYPE html>\n<html lang")


def test_the_error_page_works_at_any_depth():
    links = Reader(RENDERER.fixed()["404.html"]).links
    assert all(link.startswith(("/", "#")) for link in links)
    for name in ("style.css", "site.js", "search.js", "favicon.svg"):
        assert name in static_files()


def test_the_page_of_failures_describes_each_class():
    page = RENDERER.fixed()["failures.html"].decode()
    for each in CLASSES.values():
        assert f'<h2 id="{each.page.partition("#")[2]}">' in page
        assert html.escape(ADVICE[each.code].means, quote=False) in page


def test_every_key_of_the_json_is_documented():
    about = data(v1=release(["a.whl"], [("cp311", True)]))
    answers = [Why("1", "linux_armv7l", "cp311", "waiting", "waiting")]
    made = json.loads(web_pages.builds_json(about, "1", Metadata(), answers=answers))
    [target] = made["releases"]["1"]["why"]
    page = RENDERER.fixed()["json.html"].decode()
    terms = set(re.findall(r"\w+", " ".join(re.findall(r"<dt>(.*?)</dt>", page))))
    [one] = made["releases"].values()
    keys = {
        *made,
        *made["metadata"],
        "content",
        "by_operator",
        "due",
        "attempt",
        *target,
        *one,
        *one["builds"][0],
        *one["files"]["a.whl"],
    }
    assert keys <= terms
    example = re.search(r"<pre><code>(\{.*?)</code>", page, re.DOTALL)[1]
    shown = json.loads(example.replace("&gt;", ">"))
    [release_shown] = shown["releases"].values()
    assert list(shown) == list(made)
    assert list(shown["metadata"]) == list(made["metadata"])
    assert release_shown.keys() == one.keys()
    assert release_shown["files"].popitem()[1].keys() == one["files"]["a.whl"].keys()


def test_the_json_of_a_project_has_plain_times_and_numbers():
    made = json.loads(web_pages.builds_json(data(v1_0=release(["a.whl"], [("cp311", True)]))))
    build = made["releases"]["1.0"]["builds"][0]
    assert build["sentence"] == ""
    assert (build["built_at"], build["duration"]) == ("2026-11-01T10:00:00.000000Z", 125.0)
    assert made["releases"]["1.0"]["files"]["a.whl"]["size"] == 1_337_000


def test_the_json_has_the_keys_of_piwheels_0_23():
    first = release(["a.whl"], [("cp311", True)], skip="too old", yanked=True)
    found = data(v1_0=first, v2_0rc1=release())
    about = {"site_url": "https://wheels.example/", "index": "https://index.example/simple"}
    made = json.loads(web_pages.builds_json(found, **about))
    assert made["package"] == found["name"]
    assert made["summary"] == found["description"]
    assert made["pypi_url"] == f"https://index.example/project/{found['name']}"
    assert made["piwheels_url"] == f"https://wheels.example/project/{found['name']}"
    assert json.loads(web_pages.builds_json(found))["piwheels_url"] == ""
    old, new = made["releases"]["1.0"], made["releases"]["2.0rc1"]
    assert (old["skip_reason"], old["yanked"], old["prerelease"]) == ("too old", True, False)
    assert new["prerelease"] is True
    assert datetime.strptime(old["released"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) == NOW
    file = old["files"]["a.whl"]
    assert file["filehash"] == "ab" * 32
    assert file["filesize"] == 1_337_000
    assert (file["builder_abi"], file["file_abi_tag"]) == ("cp311", "cp311")
    assert (file["platform"], file["apt_dependencies"]) == ("linux_armv7l", ["libb", "liba"])


# All projects -------------------------------------------------------------------------------------


def test_the_root_lists_the_projects_by_name():
    expected = {"meta": {"api-version": "1.4"}, "projects": [{"name": "a"}, {"name": "b"}]}
    assert json.loads(site_wide.root_json(["b", "a"])) == expected
    assert json.loads(site_wide.root_json([]))["projects"] == []
    assert json.loads(site_wide.root_json([EVIL]))["projects"] == [{"name": EVIL}]
    assert json.loads(site_wide.search_json([EVIL], {EVIL: (1, 2)})) == [[EVIL, 1, 2]]
    page = RENDERER.simple_root(["a", "b"]).decode()
    assert page.index('<a href="a/">a</a>') < page.index('<a href="b/">b</a>')
    assert '<meta name="pypi:repository-version" content="1.4">' in page


def test_the_search_data_has_one_line_per_project_most_downloaded_first():
    downloads = {"b": (1, 2), "a": (1, 2), "c": (3, 4), "d": (0, 9), "e": (0, 0)}
    made = site_wide.search_json(site_wide.ranked(downloads), downloads)
    assert json.loads(made) == [["c", 3, 4], ["a", 1, 2], ["b", 1, 2], ["d", 0, 9], ["e", 0, 0]]
    assert len(made.splitlines()) == 5
    assert json.loads(site_wide.search_json([], {})) == []


@given(st.permutations(["a", "b", "c", "d", "e", "f"]))
def test_equal_state_gives_equal_bytes(names):
    downloads = {name: (ord(name) % 2, ord(name) % 3) for name in names}
    usual = {name: downloads[name] for name in sorted(names)}
    assert site_wide.ranked(downloads) == site_wide.ranked(usual)
    assert site_wide.root_json(names) == site_wide.root_json(sorted(names))
    assert site_wide.sitemap("https://x/", names) == site_wide.sitemap("https://x/", sorted(names))


def test_a_large_sitemap_is_split(monkeypatch):
    monkeypatch.setattr(site_wide, "SITEMAP_SIZE", 4)
    files = site_wide.sitemap("https://x.example/a&b/", ["spam", "eggs"])
    assert list(files) == ["sitemap1.xml", "sitemap2.xml", "sitemap.xml"]
    trees = {name: ET.fromstring(text) for name, text in files.items()}  # noqa: S314 (our own)
    places = {
        name: [each.text for each in tree.iter() if each.tag.endswith("}loc")]
        for name, tree in trees.items()
    }
    assert places["sitemap.xml"] == [
        "https://x.example/a&b/sitemap1.xml", "https://x.example/a&b/sitemap2.xml",
    ]  # fmt: skip
    pages = places["sitemap1.xml"] + places["sitemap2.xml"]
    assert pages[0] == "https://x.example/a&b/"
    assert pages[-2:] == [
        "https://x.example/a&b/project/eggs/",
        "https://x.example/a&b/project/spam/",
    ]
    assert len(places["sitemap1.xml"]) == 4


# Words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_durations(seconds, text):
    assert web_pages.duration_text(timedelta(seconds=seconds)) == text


def test_times_are_in_utc():
    assert NOW.astimezone(UTC).hour == 10
