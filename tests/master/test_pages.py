"""The simple index follows the standards, and pip reads it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from pip._internal.index.collector import IndexContent, parse_links

from piwheels.core.database.rows import SimpleFile, SimpleProject
from piwheels.master.logic import simple_index
from piwheels.master.site.rendering import Renderer

NOW = datetime(2026, 11, 1, 11, 0, tzinfo=timezone(timedelta(hours=1)))
RENDERER = Renderer()
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
    return json.loads(simple_index.project_json(project))


def links(data, kind):
    return list(
        parse_links(
            IndexContent(data, f"{kind}; charset=utf-8", "utf-8", BASE, cache_link_parsing=False)
        )
    )


def html_links(project):
    return links(RENDERER.simple_project(project), "text/html")


def json_links(project):
    return links(simple_index.project_json(project), "application/vnd.pypi.simple.v1+json")


def test_the_json_of_a_project():
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
def test_absent_values_are_omitted(changes, key, value):
    assert parsed(project(file(**changes)))["files"][0].get(key) == value


def test_a_bad_specifier_is_reported():
    bad = file(requires_python=">=3.6.*")
    assert simple_index.bad_specifiers(project(bad, file("2.0"))) == [(bad.filename, ">=3.6.*")]


def test_a_quarantined_project_offers_no_files():
    made = project(file(), versions=["1.0"], status="quarantined")
    assert parsed(made)["project-status"] == {"status": "quarantined"}
    assert parsed(made)["files"] == html_links(made) == []
    assert b'<meta name="pypi:project-status" content="quarantined">' in RENDERER.simple_project(
        made
    )


def test_an_unknown_status_is_shown_as_active():
    assert parsed(project(status="odd"))["project-status"] == {"status": "active"}


@pytest.mark.parametrize("read", [html_links, json_links])
def test_pip_reads_the_page(read):
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
def test_equal_state_gives_equal_bytes(files, versions):
    made, usual = project(*files, versions=versions), project(*FILES, versions=VERSIONS)
    assert simple_index.project_json(made) == simple_index.project_json(usual)
    assert simple_index.file_rows(made) == simple_index.file_rows(usual)


def test_a_version_can_be_left_out():
    made = project(file("1.0"), file("1.0.0", "cp313"), file("1.1"))
    assert [each.version for each in simple_index.without_version(made, "1.0").files] == ["1.1"]


@given(st.lists(st.text(max_size=8) | st.sampled_from(["1.0", "1.10", "1.9", "2rc1", "2"])))
def test_any_versions_have_an_order(versions):
    made = sorted(versions, key=simple_index.version_key)
    assert sorted(made) == sorted(versions)
    known = [Version(each) for each in made if simple_index.version_key(each)[0]]
    assert known == sorted(known)
