"""The Atom feeds: valid whatever they contain, and the same entry for a build everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atom
from piwheels.core.database.rows import EndedBuild
from piwheels.core.site import FEED_SIZE
from piwheels.master.logic import feeds, web_pages
from piwheels.master.site.rendering import Renderer

NOW = datetime(2026, 11, 1, 12, 0, 7, 5000, tzinfo=UTC)
SITE = "https://wheels.example/pi/"
LOG = "start\n  cup.h:1: fatal error: no <cup> & no tea\n  compilation terminated.\n"


def build(number, version="1.2", abi="cp311", *, status=True, package="spam"):
    ended, took = NOW + timedelta(minutes=number), timedelta(seconds=125)
    return EndedBuild(number, 1, "pi", package, version, abi, status, took, 1, ended)


def project(builds):
    """Return the data of the project page with these *builds*."""
    releases = {}
    for each in builds:
        attempt = {
            name: getattr(each, name)
            for name in (
                "build_id", "abi_tag", "status", "built_at", "duration", "reason", "subject",
                "cause", "counts", "recipe",
            )
        }  # fmt: skip
        releases.setdefault(each.version, {"builds": []})["builds"].append(attempt)
    return {"name": "spam", "releases": releases}


BUILDS = [build(9, "1.3", "cp313", status=False), build(8), build(7, "1.0", status=False)]


@pytest.mark.parametrize("url", ["", SITE], ids=["unknown address", "known address"])
def test_a_feed_reports_builds_and_failures(url):
    name, entries = atom.read(
        Renderer(url).farm_feed(BUILDS, {9: "no <cup> & no tea"}), f"{SITE}feed.atom"
    )
    assert name == (f"{SITE}feed.atom" if url else feeds.feed_urn(""))
    titles = ["spam 1.3 failed for cp313", "spam 1.2 built for cp311", "spam 1.0 failed for cp311"]
    assert [each["title"] for each in entries] == titles
    assert [each["status"] for each in entries] == ["failed", "built", "failed"]
    assert [each["why"] for each in entries] == ["no <cup> & no tea", None, None]
    assert entries[0]["updated"] == "2026-11-01T12:09:07Z"
    assert entries[0]["alternate"] == f"{SITE}project/spam/"
    assert entries[0]["related"] == f"{SITE}logs/0000/0000/0009.txt.gz"
    assert entries[0]["summary"].startswith("Failed after 2 min 5 s")
    assert entries[1]["summary"].startswith("Succeeded after 2 min 5 s")


def test_the_feed_of_a_project_has_the_same_entries():
    data = project(BUILDS)
    assert feeds.unexplained(feeds.project_builds(data)) == [9, 7]
    place = f"{SITE}project/spam/feed.atom"
    for renderer in (Renderer(), Renderer(SITE)):
        name, entries = atom.read(renderer.project_feed(data, {9: web_pages.reason(LOG)}), place)
        shown = renderer.farm_feed(BUILDS, {9: web_pages.reason(LOG)})
        assert entries == atom.read(shown, f"{SITE}feed.atom")[1]
        assert entries[0]["why"].splitlines()[-1].strip() == "compilation terminated."
        assert name.startswith(("urn:uuid:", place))


def test_an_entry_says_what_to_do_about_a_failure_and_how_a_build_was_cured():
    missing = build(3, status=False)._replace(
        reason="missing-header", subject="cup.h", cause="no <cup>"
    )
    farm = build(4, status=False)._replace(reason="disk-full", cause="full", counts=False)
    cured = build(5)._replace(recipe={"constraints": ["cython<3"]})
    assert feeds.unexplained([missing, farm, cured, build(6, status=False)]) == [6]
    for place, shown in (
        ("", Renderer(SITE).farm_feed([cured, farm, missing], {})),
        ("project/spam/", Renderer(SITE).project_feed(project([cured, farm, missing]), {})),
    ):
        good, bad = atom.read(shown, f"{SITE}{place}feed.atom")[1]
        assert good["title"] == "spam 1.2 built with cython<3 for cp311"
        assert bad["title"] == "spam 1.2 failed for cp311: missing header"
        assert b"<p>Install the package that has the header cup.h.</p>" in shown
        assert bad["why"] == "no <cup>"


def test_an_entry_keeps_its_identity_and_no_other_build_has_it():
    (entry,) = feeds.entries([build(1)], {})
    for same in (
        build(1, status=False),
        build(1)._replace(duration=timedelta(1)),
        build(1)._replace(built_at=build(1).built_at.astimezone()),
    ):
        assert feeds.entries([same], {})[0].urn == entry.urn
    for other in (
        build(2)._replace(built_at=build(1).built_at),
        build(1, "1.3"),
        build(1, abi="cp313"),
        build(1, package="eggs"),
        build(1)._replace(built_at=NOW),  # of another farm
    ):
        assert feeds.entries([other], {})[0].urn != entry.urn


def test_a_project_feed_has_the_last_builds():
    data = project([build(number, f"1.{number % 3}") for number in range(1, 31)])
    found = [each.build_id for each in feeds.project_builds(data)]
    assert found == list(range(30, 30 - FEED_SIZE, -1))


def test_an_empty_feed_is_valid():
    for data in (Renderer().farm_feed([], {}), Renderer(SITE).farm_feed([], {})):
        assert atom.read(data, f"{SITE}feed.atom")[1] == []
    data = Renderer().project_feed(project([]), {})
    assert atom.read(data, f"{SITE}project/spam/feed.atom")[1] == []


ANY = st.text(st.characters(), max_size=300)


@given(version=ANY, abi=ANY, log=ANY, subject=ANY, cause=ANY)
def test_no_text_makes_a_feed_invalid(version, abi, log, subject, cause):
    failed = build(1, version, abi, status=False)
    failed = failed._replace(reason="missing-header", subject=subject, cause=cause)
    data = Renderer().project_feed(project([failed]), {1: web_pages.reason(log)})
    (entry,) = atom.read(data, f"{SITE}project/spam/feed.atom")[1]
    assert entry["alternate"] == f"{SITE}project/spam/"
    assert entry["related"] == f"{SITE}logs/0000/0000/0001.txt.gz"
