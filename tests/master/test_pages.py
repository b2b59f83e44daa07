"""What the pages say: as the standards have it, and as pip reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from pip._internal.index.collector import IndexContent, parse_links

from piwheels.core.rows import SimpleFile, SimpleProject
from piwheels.master.logic import pages
from piwheels.master.rendering import MAX_NAMES, Renderer, static_files

NOW = datetime(2026, 11, 1, 11, 0, tzinfo=timezone(timedelta(hours=1)))
RENDERER = Renderer()
EVIL = "\"'><script>alert('${1/0}')</script>&amp;\u202e\n${structure: x}<?python 1/0 ?>"
BASE = "https://index.example/simple/holygrail/"


def file(version="1.0", abi="cp311", **changes):
    name = f"holygrail-{version}-{abi}-{abi}-linux_armv7l.whl"
    values = {
        "filename": name,
        "filesize": 1337,
        "filehash": "ab" * 32,
        "requires_python": ">=3.9",
        "yanked": False,
        "yank_reason": "",
        "metadata_hash": "cd" * 32,
        "published_at": NOW,
        "builder_abi": abi,
        "version": version,
        "apt_dependencies": [],
    }
    return SimpleFile(**{**values, **changes})


def project(*files, versions=(), status="active", package="holygrail"):
    return SimpleProject(package, status, "A search", list(versions), list(files))


def parsed(project):
    return json.loads(pages.project_json(project))


def links(data, kind):
    return list(
        parse_links(
            IndexContent(data, f"{kind}; charset=utf-8", "utf-8", BASE, cache_link_parsing=False)
        )
    )


def html_links(project):
    return links(RENDERER.simple_project(project), "text/html")


def json_links(project):
    return links(pages.project_json(project), "application/vnd.pypi.simple.v1+json")


def test_the_json_is_that_of_the_design():
    one = file(yanked=True, yank_reason="Had a vulnerability", apt_dependencies=["libb", "liba"])
    assert parsed(project(one, versions=["1.1", "1.0"])) == {
        "meta": {"api-version": "1.4"},
        "name": "holygrail",
        "project-status": {"status": "active"},
        "versions": ["1.0", "1.1"],
        "files": [
            {
                "filename": one.filename,
                "url": one.filename,
                "hashes": {"sha256": "ab" * 32},
                "requires-python": ">=3.9",
                "size": 1337,
                "upload-time": "2026-11-01T10:00:00.000000Z",
                "yanked": "Had a vulnerability",
                "core-metadata": {"sha256": "cd" * 32},
                "_builder-abi": "cp311",
                "_apt-dependencies": ["liba", "libb"],
            }
        ],
    }


def test_the_root_lists_the_projects_by_name():
    expected = {"meta": {"api-version": "1.4"}, "projects": [{"name": "a"}, {"name": "b"}]}
    assert json.loads(pages.root_json(["b", "a"])) == expected
    page = RENDERER.simple_root({"b", "a"}).decode()
    assert page.index('<a href="a/">a</a>') < page.index('<a href="b/">b</a>')
    assert '<meta name="pypi:repository-version" content="1.4">' in page


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({}, "yanked", None),
        ({"yanked": True}, "yanked", True),
        ({"yanked": True, "yank_reason": "  "}, "yanked", True),
        ({"yanked": False, "yank_reason": "old"}, "yanked", None),
        ({"requires_python": None}, "requires-python", None),
        ({"requires_python": " "}, "requires-python", None),
        ({"requires_python": ">=3.6.*"}, "requires-python", None),
        ({"requires_python": ">=3,<4 "}, "requires-python", ">=3,<4"),
        ({"metadata_hash": None}, "core-metadata", None),
        ({}, "dist-info-metadata", None),
        ({}, "_apt-dependencies", None),
    ],
)
def test_what_is_absent_is_left_out(changes, key, value):
    assert parsed(project(file(**changes)))["files"][0].get(key) == value


def test_a_bad_specifier_is_reported():
    bad = file(requires_python=">=3.6.*")
    assert pages.bad_specifiers(project(bad, file("2.0"))) == [(bad.filename, ">=3.6.*")]


def test_a_quarantined_project_offers_nothing():
    made = project(file(), versions=["1.0"], status="quarantined")
    assert parsed(made)["project-status"] == {"status": "quarantined"}
    assert parsed(made)["files"] == html_links(made) == []
    assert b'<meta name="pypi:project-status" content="quarantined">' in RENDERER.simple_project(
        made
    )


def test_an_unknown_status_is_no_new_word():
    assert parsed(project(status="odd"))["project-status"] == {"status": "active"}


@pytest.mark.parametrize("read", [html_links, json_links])
def test_pip_reads_what_we_mean(read):
    made = project(
        file("1.0+local.1"),
        file("2.0", requires_python=None, yanked=True),
        file("3.0", yanked=True, yank_reason='no "good" & <b>bad</b>'),
        file("4.0", metadata_hash=None),
    )
    first, second, third, fourth = read(made)
    assert first.filename == "holygrail-1.0+local.1-cp311-cp311-linux_armv7l.whl"
    assert first.url.startswith(BASE)
    assert first.hash == "ab" * 32
    assert first.requires_python == ">=3.9"
    assert (first.is_yanked, second.is_yanked, third.is_yanked) == (False, True, True)
    assert third.yanked_reason == 'no "good" & <b>bad</b>'
    assert second.requires_python is None
    metadata = first.metadata_link()
    assert metadata.url_without_fragment == first.url_without_fragment + ".metadata"
    assert metadata.hash == "cd" * 32
    assert fourth.metadata_link() is None


def test_a_yank_without_a_reason_is_an_empty_attribute_not_a_bare_one():
    page = RENDERER.simple_project(project(file(yanked=True))).decode()
    assert 'data-yanked=""' in page


def test_files_are_by_version_then_name():
    made = project(file("1.10"), file("1.9", "cp311"), file("1.9", "cp310"))
    assert [each["filename"].split("-")[1:3] for each in parsed(made)["files"]] == [
        ["1.9", "cp310"],
        ["1.9", "cp311"],
        ["1.10", "cp311"],
    ]


FILES = [file(f"1.{minor}", abi) for minor in range(4) for abi in ("cp311", "cp313")]
VERSIONS = [f"1.{minor}" for minor in range(12)]


@given(st.permutations(FILES), st.permutations(VERSIONS))
def test_equal_state_is_equal_bytes(files, versions):
    made, usual = project(*files, versions=versions), project(*FILES, versions=VERSIONS)
    assert pages.project_json(made) == pages.project_json(usual)
    assert pages.file_rows(made) == pages.file_rows(usual)


def test_a_version_can_be_taken_out():
    made = project(file("1.0"), file("1.0.0", "cp313"), file("1.1"))
    assert [each.version for each in pages.without_version(made, "1.0").files] == ["1.1"]


@given(st.lists(st.text(max_size=8) | st.sampled_from(["1.0", "1.10", "1.9", "2rc1", "2"])))
def test_any_versions_have_an_order(versions):
    made = sorted(versions, key=pages.version_key)
    assert sorted(made) == sorted(versions)
    known = [Version(each) for each in made if pages.version_key(each)[0]]
    assert known == sorted(known)


# For people ---------------------------------------------------------------------------------------


def release(files=(), builds=(), **changes):
    values = {"released": NOW, "yanked": False, "yank_reason": "", "skip": ""}
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
        }
        for name in files
    }
    attempts = [
        {
            "build_id": 12345678,
            "abi_tag": abi,
            "status": status,
            "built_at": NOW,
            "duration": timedelta(seconds=125),
        }
        for abi, status in builds
    ]
    return {**values, "files": made, "builds": attempts, **changes}


def data(skip="", description="A search", **releases):
    named = {name.strip("v").replace("_", "."): each for name, each in releases.items()}
    return {"name": "holygrail", "description": description, "skip": skip, "releases": named}


def test_releases_are_shown_newest_first_with_their_state():
    blocks = pages.release_blocks(
        data(
            v1_9=release(builds=[("cp313", False), ("cp39", True)]),
            v1_10=release(["holygrail-1.10-py3-none-any.whl"], [("cp311", True)]),
            v0_1=release(skip="too old", yanked=True, yank_reason="bad"),
            v0_2=release(),
        )
    )
    assert [(block.version, block.state, block.note) for block in blocks] == [
        ("1.10", "built", ""),
        ("1.9", "failed", ""),
        ("0.2", "waiting", ""),
        ("0.1", "skipped", "bad; too old"),
    ]
    assert [build.abi for build in blocks[1].builds] == ["cp39", "cp313"]
    assert blocks[0].builds[0].log == "logs/0000/1234/5678.txt.gz"
    assert blocks[0].builds[0].when == "2026-11-01 10:00 UTC"


class Reader(HTMLParser):
    """Reads a page as a browser does: its tags, and where it leads."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.leads = [], []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.leads += [value for name, value in attrs if name in {"href", "src"}]

    def handle_pi(self, data):
        self.tags.append("?")


def test_the_page_of_a_project_leads_to_its_files_and_logs():
    page = RENDERER.project(data(v1_0=release(["holygrail-1.0+x-py3-none-any.whl"], [("x", True)])))
    leads = Reader(page).leads
    assert "../../simple/holygrail/holygrail-1.0%2Bx-py3-none-any.whl" in leads
    assert "../../logs/0000/1234/5678.txt.gz" in leads
    assert "../../style.css" in leads
    assert b"sudo apt install liba libb" in page
    assert b"1.3 MB" in page


@pytest.mark.parametrize(
    "page",
    [
        RENDERER.project(
            data(EVIL, EVIL, v1=release([EVIL], [(EVIL, False)], yanked=True, yank_reason=EVIL))
            | {"name": EVIL}
        ),
        RENDERER.simple_project(
            project(file(filename=EVIL, yanked=True, yank_reason=EVIL), package=EVIL, status=EVIL)
        ),
        RENDERER.simple_root([EVIL]),
        RENDERER.home({"packages_built": 1, "files_count": EVIL}, [EVIL]),
    ],
    ids=["project", "simple project", "simple root", "home"],
)
def test_what_enemies_write_is_text(page):
    tags = set(Reader(page).tags)
    assert not tags & {"script", "?", "structure"}
    assert b"<script" not in page
    assert b"${1/0}" in page.replace(b"%24%7B1/0%7D", b"${1/0}")


def test_the_home_page_shows_what_is_known():
    page = RENDERER.home({"packages_built": 1234, "builds_time": timedelta(hours=30)}, ["spam"])
    assert b"1,234" in page
    assert b"1 d 6 h" in page
    assert "project/spam/" in Reader(page).leads
    assert b"Nothing has been built yet" in RENDERER.home({}, [])
    many = RENDERER.home({}, [f"p{number}" for number in range(MAX_NAMES + 1)])
    assert b"301 projects" in many
    assert not any(lead.startswith("project/") for lead in Reader(many).leads)


def test_the_page_for_what_is_not_there_works_at_any_depth():
    assert all(lead.startswith("/") for lead in Reader(RENDERER.not_found()).leads)
    assert "style.css" in static_files()


def test_the_json_of_a_project_is_plain():
    made = json.loads(pages.builds_json(data(v1_0=release(["a.whl"], [("cp311", True)]))))
    build = made["releases"]["1.0"]["builds"][0]
    assert (build["built_at"], build["duration"]) == ("2026-11-01T10:00:00.000000Z", 125.0)
    assert made["releases"]["1.0"]["files"]["a.whl"]["size"] == 1_337_000


def test_the_search_index_is_by_name():
    made = json.loads(pages.search_json({"b": (1, 2), "a": (3, 4)}))
    assert made == [["a", 3, 4], ["b", 1, 2]]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1337, "1.3 kB"),
        (999_949, "1.0 MB"),
        (10**16, "10000 TB"),
    ],
)
def test_sizes(size, text):
    assert pages.size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_durations(seconds, text):
    assert pages.duration_text(timedelta(seconds=seconds)) == text


def test_moments_are_in_utc():
    assert NOW.astimezone(UTC).hour == 10
