"""The stored build queue follows its rule after any events, also with several writers at once."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import patience
from piwheels.core.database import Database
from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import Refused
from piwheels.core.pythons import minor_of, supports
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import Attempt, BuildState, FileState, Retry
from piwheels.core.targets import Target, family
from piwheels.core.wheels.serving import accepted_by, serves
from piwheels.core.wheels.tags import WheelName, abi_key

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
PACKAGES = ("foo", "bar")
VERSIONS = ("1.0", "2.0")
ABIS = ("cp39", "cp310", "cp313", "cp313t", "pypy39_pp73")
PLATFORMS = ("any", "linux_armv7l", "linux_x86_64", "musllinux_x86_64")
KINDS = {
    "pure": "py3-none-any", "python 2": "py2-none-any", "stable": "cp310-abi3-linux_x86_64",
    "stable, threads": "cp310-abi3.abi3t-linux_x86_64", "bound": "cp310-none-linux_x86_64",
    "set": "cp39.cp310-cp39.abi3-linux_x86_64", "nowhere": "cp310-cp310-any",
    "one Python": "cp313-none-any", "wide": "cp310-abi3-manylinux_2_17_x86_64.musllinux_1_2_x86_64",
    "arm": "cp310-cp310-linux_armv7l", "old arm": "cp39-abi3-linux_armv6l",
}  # fmt: skip
TABLES = "packages, build_abis, build_queue, published, counters, rewrites_pending"


def build_of(package, version, abi, kind="native", *, status=True, number=0, slave_id=1, **about):
    """Return a build with one file of a kind, or a failed build; *about*: its owner, and final."""
    native = f"{abi.removesuffix('t')}-{abi}-linux_x86_64"
    tags = KINDS.get(kind, native if kind == "native" else None)
    files = {}
    if tags is not None and status:
        name = f"{package}-{version}-{number}-{tags}.whl"
        hash_ = f"{number:064x}"
        files[name] = FileState(name, 100, hash_, package, version, *tags.split("-"), None, {})
    duration = timedelta(seconds=2)
    return BuildState(slave_id, package, version, abi, status, duration, "log", files, **about)


def differences(cursor):
    """Return rows that only the stored queue or only the view has, and wrong counts."""
    cursor.execute(
        "(TABLE build_queue EXCEPT TABLE piwheels.builds_pending)"
        " UNION ALL (TABLE piwheels.builds_pending EXCEPT TABLE build_queue)"
    )
    wrong = cursor.fetchall()
    cursor.execute(
        "SELECT kept.*, counted.* FROM"
        " (SELECT counter, key, sum(value) AS n FROM counters GROUP BY 1, 2) AS kept"
        " FULL JOIN ("
        "  SELECT 'builds_pending' AS counter, platform || '/' || abi_tag AS key, count(*) AS n"
        "   FROM build_queue WHERE failed_at IS NULL GROUP BY platform, abi_tag"
        "  UNION ALL SELECT 'files_count', '', count(*) FROM files"
        "  UNION ALL SELECT 'builds_size', '', sum(filesize) FROM files"
        "  UNION ALL SELECT 'builds_time', '', sum(extract(epoch FROM duration)) FROM builds"
        "  UNION ALL SELECT 'packages_built', '', count(DISTINCT package)"
        "   FROM builds JOIN files USING (build_id)"
        " ) AS counted USING (counter, key)"
        " WHERE coalesce(kept.n, 0) <> coalesce(counted.n, 0)"
    )
    return wrong + cursor.fetchall()


package = st.sampled_from(PACKAGES)
version = st.sampled_from(VERSIONS)
abi = st.sampled_from(ABIS)
platform = st.sampled_from(PLATFORMS)
reason = st.sampled_from(["", "why not"])
operations = st.one_of(
    st.tuples(st.just("add_package"), package, reason),
    st.tuples(st.just("add_version"), package, version, st.integers(0, 3), reason),
    st.tuples(st.just("skip_package"), package, reason),
    st.tuples(st.just("skip_version"), package, version, reason),
    st.tuples(st.just("hold_builds"), package, st.none() | version, st.booleans()),
    st.tuples(st.just("delete_package"), package),
    st.tuples(st.just("delete_version"), package, version),
    st.tuples(st.just("delete_build"), package, version),
    st.tuples(st.just("add_abi"), abi, reason),
    st.tuples(st.just("add_targets"), st.lists(st.tuples(platform, abi), min_size=1, max_size=3)),
    st.tuples(st.just("retire_target"), platform, abi),
    st.tuples(
        st.just("requires_python"), package, version, st.sampled_from([">=3.10", "<3.13", ">=4"])
    ),
    st.tuples(st.just("set_urgency"), package, version, st.sampled_from(["", "first"])),
    st.tuples(
        st.just("build"),
        package,
        version,
        platform,
        abi,
        st.sampled_from(["native", "nothing", *KINDS]),
        st.booleans(),
    ),
    st.tuples(
        st.just("failure"),
        package,
        version,
        platform,
        abi,
        st.sampled_from(["", "anna", "ben"]),
        st.booleans(),
    ),
    st.tuples(
        st.just("retry"),
        package,
        version,
        platform,
        abi,
        st.booleans(),
        st.sampled_from([None, timedelta(0), timedelta(hours=1)]),
    ),
    st.tuples(
        st.just("sql"),
        st.sampled_from(
            [
                "UPDATE build_abis SET position = -position",
                "UPDATE build_abis SET skip = 'all'",
                "UPDATE versions SET released = released + interval '1 day' WHERE version = '1.0'",
                "UPDATE versions SET yanked = true",
                "UPDATE versions SET quarantined = NOT quarantined WHERE version = '1.0'",
                "UPDATE packages SET status = 'quarantined' WHERE package = 'foo'",
                "UPDATE packages SET status = 'active'",
                "UPDATE builds SET abi_tag = (SELECT min(abi_tag) FROM build_abis)",
                "UPDATE builds SET platform = ''",
                "UPDATE targets SET skip = 'all' WHERE platform <> 'any'",
                "UPDATE targets SET since = since + interval '1 day'",
                "UPDATE packages SET popularity = 4 WHERE package = 'foo'",
                "UPDATE files SET py_version_tag = 'py3', abi_tag = 'none'"
                " WHERE filename LIKE 'foo-1.0-%'",
                "UPDATE files SET build_id = (SELECT max(build_id) FROM builds)",
                "DELETE FROM files WHERE filename LIKE 'foo-%'",
                "DELETE FROM builds WHERE build_id = (SELECT min(build_id) FROM builds)",
                "DELETE FROM packages WHERE package = 'bar'",
                "UPDATE builds SET built_at = built_at - interval '24 hours'"
                " WHERE build_id = (SELECT min(build_id) FROM builds)",
                "UPDATE builds SET built_at = built_at - interval '23 hours'",
                "UPDATE builds SET final = NOT final WHERE NOT status",
                "UPDATE builds SET counts = status OR NOT counts",
                "UPDATE retries SET due = now() - interval '1 s' WHERE due <> 'infinity'",
                "DELETE FROM retries",
                "SELECT piwheels.release_retries(1)",
                "DELETE FROM build_abis a WHERE NOT EXISTS (TABLE builds)",
                "INSERT INTO versions SELECT package, '3.0' FROM packages ON CONFLICT DO NOTHING",
            ]
        ),
    ),
)


def apply(db, cursor, number, operation):  # noqa: PLR0912 (a case an operation)
    match operation:
        case "add_package", name, skip:
            db.add_new_package(name, skip)
        case "add_version", name, which, days, skip:
            db.add_new_package_version(name, which, EPOCH + timedelta(days), skip)
        case "skip_package", name, skip:
            db.skip_package(name, skip)
        case "skip_version", name, which, skip:
            db.skip_package_version(name, which, skip)
        case "hold_builds", name, which, state:
            db.hold_builds(name, which, state)
        case "delete_package", name:
            db.delete_package(name)
        case "delete_version", name, which:
            db.delete_version(name, which)
        case "delete_build", name, which:
            db.delete_build(name, which)
        case "add_abi", tag, skip:
            db.add_build_abi(tag, skip)
        case "add_targets", targets:
            db.add_targets([Target(*each) for each in targets])
        case "retire_target", *target:
            db.retire_targets([Target(*target)], "why not")
        case "requires_python", name, which, text:
            change = UpstreamVersion(name, which, requires_python=text)
            db.follow_upstream([UpstreamPackage(name, known=False)], [change])
        case "set_urgency", name, which, urgency:
            db.set_urgency(name, which, urgency)
        case "build", name, which, where, tag, kind, status:
            about = {"status": status, "number": number, "platform": where.replace("any", "")}
            db.log_builds([build_of(name, which, tag, kind, **about)])
        case "failure", name, which, where, tag, owner, final:
            about = {"owner": owner, "final": final, "platform": where.replace("any", "")}
            db.log_builds([build_of(name, which, tag, status=False, number=number, **about)])
        case "retry", name, which, where, tag, counts, delay:
            about = {"status": False, "number": number, "platform": where.replace("any", "")}
            about |= {"counts": counts, "retry": Retry(Attempt(1, ("x",)), PLAIN, delay)}
            db.log_builds([build_of(name, which, tag, final=True, **about)])
        case "sql", statement:
            cursor.execute(statement)


def wanted(cursor):
    """The queue by the rule in words (sql/views/builds_pending.sql), from the bare tables."""
    cursor.execute("SELECT platform, abi_tag FROM targets t JOIN build_abis a USING (abi_tag)"
                   " WHERE t.skip = '' AND a.skip = ''")  # fmt: skip
    targets = [Target(*row) for row in cursor.fetchall()]
    cursor.execute("SELECT b.package, b.version, f.py_version_tag, f.abi_tag, f.platform_tag"
                   " FROM builds b JOIN files f USING (build_id)")  # fmt: skip
    files = cursor.fetchall()
    cursor.execute("SELECT package, version, platform, abi_tag, status, status OR final, owner,"
                   " built_at FROM builds WHERE counts")  # fmt: skip
    builds = cursor.fetchall()
    cursor.execute("SELECT package, version, platform, abi_tag, ready FROM retries")
    retries = cursor.fetchall()
    cursor.execute("SELECT package, version, excluded FROM versions v"
                   " JOIN packages p USING (package) WHERE v.skip = '' AND NOT v.removing"
                   " AND NOT v.quarantined"
                   " AND p.skip = '' AND NOT p.removing AND p.status <> 'quarantined'")  # fmt: skip
    queue = set()
    for *parts, mask in cursor.fetchall():
        key = tuple(parts)
        mine = [each[2:] for each in builds if each[:2] == key]
        wheels = [WheelName("a", "1", "", *tags) for *which, tags in
                  ((*each[:2], each[2:]) for each in files) if tuple(which) == key]  # fmt: skip
        again = [each[2:] for each in retries if each[:2] == key]
        supported = [target for target in targets if supports(mask, target.abi)]
        if not mine and supported == targets:
            waits = not all(ready for *_, ready in again)
            queue.update([(*key, "any", "any", "version", None)] if targets and not waits else [])
            continue
        kinds = {(abi, machine) for wheel in wheels for abi in wheel.abi.lower().split(".")
                 for machine in wheel.platform.lower().split(".")}  # fmt: skip
        built = {abi for abi, _ in kinds}
        alone = "any" in {machine for _, machine in kinds} or not any(build[2] for build in mine)
        for target in supported:
            threads = target.abi.endswith("t")
            exclusive = "version"
            if not alone and built & {"none", "abi3t" if threads else "abi3"}:
                exclusive = "platform"
            elif not alone and any(re.fullmatch(r"cp\d+t" if threads else r"cp\d+", abi)
                                   for abi in built):  # fmt: skip
                exclusive = ""
            given = [(*rest,) for where, abi, _, *rest in mine if abi == target.abi
                     and (target.platform == "any" or where in {target.platform, ""})]  # fmt: skip
            planned = [
                ready
                for where, abi, ready in again
                if abi == target.abi
                and (target.platform == "any" or where in {target.platform, ""})
            ]
            is_open = all(planned) if planned else not settled(given)
            if is_open and not any(serves(wheel, target) for wheel in wheels):
                failed = None if planned else min((at for *_, at in given), default=None)
                queue.add((*key, *target, exclusive, failed))
    return queue


def settled(opinions):
    """Whether these builds (settling, owner, time) of a version for an ABI settle its result."""
    return any(
        ends or (owner != other or abs(at - then) >= timedelta(hours=24))
        for ends, owner, at in opinions
        for _, other, then in opinions
    )


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(todo=st.lists(operations, min_size=15, max_size=30))
def test_kept_queue_is_what_the_rule_says(db, cursor, todo):
    cursor.execute(f"TRUNCATE {TABLES} CASCADE")
    start = [("add_abi", "cp310", ""), ("add_package", "foo", ""), ("add_abi", "cp39", "")]
    start += [("add_version", "foo", "1.0", 0, ""), ("add_package", "bar", "")]
    for number, operation in enumerate(start + todo):
        apply(db, cursor, number, operation)
        assert differences(cursor) == [], operation
    cursor.execute(
        "SELECT package, version, platform, abi_tag, exclusive, failed_at FROM build_queue"
    )
    assert set(cursor.fetchall()) == wanted(cursor)


def plant_versions(db, cursor, *ages):
    """Versions 1.0, 2.0, ... of foo, which were added when they were released: so many days ago."""
    db.add_new_package("foo")
    for number, days in enumerate(ages, 1):
        db.add_new_package_version("foo", f"{number}.0", EPOCH - timedelta(days))
    cursor.execute("UPDATE versions SET added = released")


def test_the_queue_of_each_abi_is_in_the_order_of_waiting(db, cursor):
    for tag in ("cp313t", "pypy39_pp73", "cp310", "cp313", "cp39"):
        db.add_build_abi(tag)
    cursor.execute("UPDATE targets SET since = '2000-01-01'")
    plant_versions(db, cursor, 1, 3, 2)
    queue = db.get_build_queue()
    assert list(queue) == sorted(queue, key=abi_key)
    assert queue["cp39"] == [("foo", name) for name in ("2.0", "3.0", "1.0")]
    assert db.get_build_queue(2)["cp313t"] == [("foo", "2.0"), ("foo", "3.0")]
    db.log_build(build_of("foo", "2.0", "cp39"))
    assert db.get_build_queue()["cp39"] == [("foo", "3.0"), ("foo", "1.0")]
    first = db.get_target_queue(1)
    assert {str(each.target): each.version for each in first} == {
        "any/any": "3.0", "any/cp310": "2.0", "any/cp313": "2.0", "any/cp313t": "2.0",
        "any/pypy39_pp73": "2.0",
    }  # fmt: skip


def test_urgent_and_popular_versions_come_first_and_old_releases_later(db, cursor):
    db.add_build_abi("cp39")
    plant_versions(db, cursor, 0, 0, 0, 0, 5000)
    cursor.execute("UPDATE versions SET added = %s", (EPOCH,))
    db.set_urgency("foo", "2.0", "security")
    db.set_urgency("foo", "3.0", "first")
    db.add_new_package("bar")
    db.add_new_package_version("bar", "1.0", EPOCH)
    cursor.execute("INSERT INTO downloads_recent VALUES ('bar', current_date, 1500)")
    assert db.rank_packages() == 1
    assert db.rank_packages() == 0
    queue = [f"{each.package} {each.version}" for each in db.get_target_queue()]
    assert queue == ["foo 3.0", "foo 2.0", "bar 1.0", "foo 1.0", "foo 4.0", "foo 5.0"]
    (why,) = db.explain_position("bar", "1.0")
    assert (why.place, why.of, why.popularity, why.urgency) == (3, 6, 4, "")
    assert not db.set_urgency("bar", "2.0", "first")


moments = st.integers(0, 20 * 365)
urgencies = st.sampled_from(["", "security"])


@given(old=st.tuples(moments, moments, st.integers(0, 19), urgencies),
       new=st.tuples(moments, moments, st.integers(0, 19), urgencies))  # fmt: skip
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_no_version_starves(cursor, old, new):
    """A version never waits for one that has begun to wait 600 days later (sql _due)."""
    values = [
        value for start, released, *about in (old, new)
        for value in (EPOCH + timedelta(start), EPOCH + timedelta(released), *about)
    ]  # fmt: skip
    cursor.execute(f"SELECT {', '.join(['piwheels._due(%s, %s, %s, %s)'] * 2)}", values)
    first, second = cursor.fetchone()
    if new[0] - old[0] > 600:
        assert first < second


def test_a_failure_waits_for_another_opinion(db, cursor):
    db.add_build_abi("cp39")
    plant_versions(db, cursor, 3, 2, 1)
    for name, owner in (("2.0", "anna"), ("1.0", "ben")):
        db.log_build(build_of("foo", name, "cp39", status=False, owner=owner, final=False))
    assert db.get_build_queue()["cp39"] == [("foo", "3.0")]
    assert db.get_statistics()["builds_pending"] == {"cp39": 0, "any": 1}
    again = db.get_second_opinions()
    assert [(each.version, each.failed_by) for each in again] == [("2.0", "anna"), ("1.0", "ben")]
    assert db.get_pending([("foo", "2.0")]) == [again[0]]
    assert db.get_activity().builds == {"cp39": (0, 2)}
    db.log_build(build_of("foo", "2.0", "cp39", status=False, owner="ben", final=False))
    db.log_build(build_of("foo", "1.0", "cp39", owner="anna"))
    assert db.get_second_opinions() == []
    assert db.get_activity().builds == {"cp39": (1, 1)}


OLDER = Recipe(constraints=("cython<3",))


def test_a_failed_build_is_tried_again_with_a_recipe_that_later_versions_begin_with(db, cursor):
    db.add_build_abi("cp39")
    plant_versions(db, cursor, 3, 2)
    found = Diagnosis("tools-too-new", "cython<3", "AttributeError: cython_sources", 0.9)
    about = {
        "diagnosis": found,
        "final": True,
        "retry": Retry(Attempt(1, ("x",)), OLDER, timedelta(0)),
    }
    db.log_build(build_of("foo", "1.0", "cp39", status=False, **about))
    (again,) = (each for each in db.get_target_queue() if each.version == "1.0")
    assert (again.recipe, again.attempt, again.failed_at) == (OLDER, Attempt(1, ("x",)), None)
    assert db.get_pending([("foo", "1.0")]) == [again]
    (build,) = db.get_project_data("foo")["releases"]["1.0"]["builds"]
    assert (build["reason"], build["subject"], build["cause"]) == found[:3]
    assert build["next"]["recipe"] == OLDER.to_map()
    (row,) = db.get_builds([("foo", "1.0")])
    assert row.retry_at == build["next"]["due"]
    db.log_build(build_of("foo", "1.0", "cp39", number=1, recipe=OLDER, keeps=OLDER))
    assert db.get_builds([("foo", "1.0")])[1].recipe == OLDER.to_map()
    (second,) = db.get_target_queue()
    assert (second.version, second.recipe) == ("2.0", OLDER)
    assert second.attempt == Attempt(0, ("project",))
    assert db.get_project_data("foo")["recipe"] == {
        "content": OLDER.to_map(), "by_operator": False,
    }  # fmt: skip
    cursor.execute("UPDATE recipes SET content = '{\"constraints\": 5}'")
    (second,) = db.get_target_queue()
    assert second.recipe == PLAIN


def test_a_failure_of_the_farm_is_no_result_and_waits_until_it_is_due(db, cursor):
    db.add_build_abi("cp39")
    plant_versions(db, cursor, 1)
    for number in range(25):
        retry = Retry(Attempt(number + 1, ("at pi",)), PLAIN, timedelta(hours=1))
        about = {"diagnosis": Diagnosis("disk-full"), "counts": False, "retry": retry}
        db.log_build(build_of("foo", "1.0", "cp39", status=False, final=False, **about))
    assert len(db.get_builds([("foo", "1.0")])) == 20
    assert db.get_pending([("foo", "1.0")]) == []
    assert db.release_retries() == 0
    cursor.execute("UPDATE retries SET due = now()")
    assert db.release_retries() == 1
    (again,) = db.get_pending([("foo", "1.0")])
    assert (str(again.target), again.attempt.number) == ("any/any", 25)
    held = {"counts": False, "retry": Retry(Attempt(26, ()), PLAIN, None)}
    db.log_build(build_of("foo", "1.0", "cp39", status=False, **held))
    assert db.get_builds([("foo", "1.0")])[-1].retry_at is None
    assert db.get_pending([("foo", "1.0")]) == []
    db.delete_build("foo", "1.0")
    assert len(db.get_pending([("foo", "1.0")])) == 1


ARM, INTEL = Target("linux_armv7l", "cp311"), Target("linux_x86_64", "cp311")


def test_a_target_that_is_added_waits_for_what_has_been_built(db, cursor):
    assert db.add_targets([INTEL], "Debian 12") == [INTEL]
    plant_versions(db, cursor, 2, 1)
    db.log_build(build_of("foo", "1.0", "cp311", platform="linux_x86_64"))
    db.log_build(build_of("foo", "2.0", "cp311", "pure", platform="linux_x86_64", number=1))
    assert db.get_target_queue() == []
    assert db.preview_target(ARM) == 1
    assert db.add_targets([ARM, INTEL], position=7) == [ARM]
    (only,) = db.get_target_queue()
    assert (only.version, only.target, only.exclusive) == ("1.0", ARM, "")
    assert [(each.abi_tag, each.position, each.system, each.pending) for each in db.get_targets()
            ] == [("cp311", 7, "", 1), ("cp311", 7, "Debian 12", 0)]  # fmt: skip
    assert db.retire_targets([ARM, ARM], "no board") == [ARM]
    assert db.get_target_queue() == []
    assert db.get_targets()[0].skip == "no board"
    db.add_build_abi("cp311", "too old")
    assert db.get_build_abis(exclude_skipped=True) == set()
    assert db.add_targets([ARM]) == [ARM]  # and not the other one
    assert db.get_statistics()["builds_pending"] == {"cp311": 1, "any": 0}
    assert [each.skip for each in db.get_targets()] == ["", "too old"]


def requiring(db, version, requires):
    """Tell the database what upstream says about a version of foo."""
    db.follow_upstream(
        [UpstreamPackage("foo")], [UpstreamVersion("foo", version, requires_python=requires)]
    )


def queued(db):
    return {(each.version, str(each.target), each.exclusive) for each in db.get_target_queue()}


def test_a_version_is_not_built_for_a_python_that_it_excludes(db, cursor):
    for tag in ("cp311", "cp312", "cp313t", "pypy310_pp73"):
        db.add_build_abi(tag)
    plant_versions(db, cursor, 3, 2, 1)
    requiring(db, "1.0", ">=3.12")
    requiring(db, "2.0", "<3.10")
    requiring(db, "3.0", ">=3.8")
    assert queued(db) == {
        ("1.0", "any/cp312", "version"), ("1.0", "any/cp313t", "version"),
        ("3.0", "any/any", "version"),
    }  # fmt: skip
    assert db.get_requirements([("foo", f"{n}.0") for n in (1, 2, 3)])["foo", "2.0"][0] == "<3.10"
    assert db.get_version_skip("foo", "2.0") == "not for the Pythons of this farm (requires <3.10)"
    assert db.get_version_skip("foo", "1.0") == ""
    releases = db.get_project_data("foo")["releases"]
    assert [releases[f"{n}.0"]["excluded"] for n in (1, 3)] == [["cp311", "pypy310_pp73"], []]
    assert releases["2.0"]["skip"] == "not for the Pythons of this farm (requires <3.10)"
    # What an additional target would add is what it adds.
    assert db.preview_target(Target("any", "cp39")) == 1
    assert db.preview_target(Target("any", "cp314")) == 1
    for tag in ("cp39", "cp314"):
        db.add_build_abi(tag)
    assert {row for row in queued(db) if row[1] in {"any/cp39", "any/cp314"}} == {
        ("2.0", "any/cp39", "version"), ("1.0", "any/cp314", "version"),
    }  # fmt: skip
    assert db.get_version_skip("foo", "2.0") == ""


def test_the_first_failed_build_says_which_pythons_a_version_is_for(db, cursor):
    for tag in ("cp39", "cp311", "cp313"):
        db.add_build_abi(tag)
    plant_versions(db, cursor, 1)

    def fail(requires, final=True, cause="ERROR: Package 'foo' requires a different Python"):
        why = Diagnosis("python-too-old", requires, cause)
        about = {"status": False, "final": final, "diagnosis": why}
        db.log_build(build_of("foo", "1.0", "cp311", **about))

    fail(">=3.12", final=False)  # another owner may say otherwise
    assert {row[1] for row in queued(db)} == {"any/cp39", "any/cp313"}
    fail("<3.14")  # no reason to fail
    fail(">=3.12", cause="RuntimeError: sorry")  # a recipe may cure it
    assert db.get_requirements([("foo", "1.0")]) == {}
    fail(">=3.12")
    assert {row[1] for row in queued(db)} == {"any/cp313"}
    requiring(db, "1.0", ">=3.9")
    assert {row[1] for row in queued(db)} == {"any/cp39", "any/cp313"}
    cursor.execute("UPDATE versions SET requires_python = '>=3.12', excluded = 4095")
    db.delete_build("foo", "1.0")
    assert {row[1] for row in queued(db)} == {"any/any"}


def test_a_failure_is_confirmed_by_its_owner_a_day_later_only(db, cursor):
    db.add_build_abi("cp39")
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0", EPOCH)
    for _ in range(3):
        db.log_build(build_of("foo", "1.0", "cp39", status=False, owner="anna", final=False))
        assert len(db.get_second_opinions()) == 1
    builds = db.get_project_data("foo")["releases"]["1.0"]["builds"]
    (retry_at,) = {build["retry_at"] for build in builds}
    assert retry_at == builds[0]["built_at"] + timedelta(hours=24)
    cursor.execute("UPDATE builds SET built_at = built_at - interval '24 hours' WHERE build_id ="
                   " (SELECT min(build_id) FROM builds)")  # fmt: skip
    assert db.get_second_opinions() == []


@given(tag=st.from_regex(r"cp[0-9]{1,6}[a-z]{0,2}|[a-z0-9_]{1,8}", fullmatch=True))
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_positions_of_abis_agree_with_core_tags(cursor, tag):
    cursor.execute(
        "SELECT piwheels._abi_position(%s), tag, piwheels._abi_position(tag)"
        " FROM unnest(%s) AS t (tag)",
        (tag, list(ABIS)),
    )
    for mine, other, its in cursor.fetchall():
        assert ((mine, tag) < (its, other)) == (abi_key(tag) < abi_key(other))


names_of_abis = st.from_regex(
    r"cp[23][0-9]{1,2}[tdmu]{0,2}|pypy[23][0-9]{1,2}_pp[0-9]{2}|[a-z0-9_]{1,8}", fullmatch=True
) | st.sampled_from(["cp315t", "cp313td", "cp27mu", "cp38d", "cp37dm", "pypy310_pp73"])


@given(platform=platform, tag=names_of_abis)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_the_database_and_installers_accept_the_same_tags(cursor, platform, tag):
    cursor.execute("SELECT piwheels._accepted_tags(%s, %s)", (platform, tag))
    assert set(cursor.fetchone()[0]) == accepted_by(Target(platform, tag))


@given(tag=names_of_abis, mask=st.integers(0, 2**63 - 1))
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_the_database_and_core_pythons_judge_alike(cursor, tag, mask):
    cursor.execute(
        "SELECT piwheels._minor(%s), piwheels._supports(%s, piwheels._minor(%s))", (tag, mask, tag)
    )
    assert cursor.fetchone() == (minor_of(tag), supports(mask, tag))


pythons = st.sampled_from(["py2", "py3", "py39", "cp39", "CP313", "pp39"])
file_abis = st.sampled_from(["abi3", "abi3t", "cp313t", "CP39", "pypy39_pp73", "none"])
platforms = st.sampled_from([
    "any", "Any.linux_armv7l", "linux_i686", "manylinux1_i686.linux_i686", "linux_armv8l",
    "manylinux_2_17_x86_64", "MUSLLINUX_1_2_x86_64.linux_x86_64", "manylinux_x86_64", "win32",
    "linux_i386", "macosx_11_0_arm64", "linux_armv6l",
])  # fmt: skip


@given(platform=platforms.flatmap(lambda tags: st.sampled_from(tags.split("."))))
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_the_database_and_core_targets_know_the_same_families(cursor, platform):
    cursor.execute("SELECT piwheels._family(%s)", (platform,))
    assert cursor.fetchone()[0] == family(platform)


@given(
    target=st.builds(Target, st.sampled_from([*PLATFORMS, "linux_i686", "linux_armv6l"]), abi),
    python=st.lists(pythons, min_size=1, max_size=3).map(".".join),
    file_abi=st.lists(file_abis, min_size=1, max_size=3).map(".".join),
    platform=platforms,
)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_the_database_and_core_targets_judge_alike(cursor, target, python, file_abi, platform):
    cursor.execute(
        "SELECT piwheels._file_tags(%s, %s, %s) && piwheels._accepted_tags(%s, %s)",
        (python, file_abi, platform, *target),
    )
    name = WheelName("a", "1", "", python, file_abi, platform)
    assert cursor.fetchone()[0] == serves(name, target)


# Several writers ----------------------------------------------------------------------------------


@contextmanager
def in_thread(work):
    """Run *work* in a thread, which must wait for our open transaction; then let it finish."""
    failures = []

    def run():
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 (reported below)
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(patience(30))
    assert not thread.is_alive()
    assert failures == []


def plant(db):
    """A farm with three ABIs, and a version that waits for a build of the first."""
    for tag in ("cp39", "cp310", "cp313"):
        db.add_build_abi(tag)
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0", EPOCH)


@pytest.fixture
def farm(db):
    plant(db)
    return db


WRITES = {
    "another build": "INSERT INTO builds (package, version, abi_tag, status)"
    " VALUES ('foo', '1.0', 'cp310', false)",
    "package skipped": "UPDATE packages SET skip = 'x'",
    "version skipped": "UPDATE versions SET skip = 'x'",
    "new ABI": "INSERT INTO build_abis (abi_tag) VALUES ('cp38')",
    "ABI skipped": "UPDATE build_abis SET skip = 'x' WHERE abi_tag = 'cp310'",
    "another version": "INSERT INTO versions (package, version) VALUES ('foo', '2.0')",
}


@pytest.mark.parametrize(
    "work",
    [
        lambda db: db.log_build(build_of("foo", "1.0", "cp39", status=False)),
        lambda db: db.add_new_package_version("foo", "3.0", EPOCH),
        lambda db: db.add_build_abi("cp37"),
        lambda db: db.skip_package("foo", "y"),
    ],
    ids=["build", "version", "ABI", "skip"],
)
def test_the_second_writer_sees_the_changes_of_the_first(db, superuser_dsn, cursor, work):
    for what, statement in WRITES.items():
        cursor.execute(f"TRUNCATE {TABLES} CASCADE")
        plant(db)
        first = psycopg2.connect(superuser_dsn)
        try:
            first.cursor().execute(statement)
            with in_thread(lambda: work(db)) as thread:
                thread.join(0.05)
                first.commit()
        finally:
            first.close()
        assert differences(cursor) == [], what


def test_many_writers_at_once_leave_the_queue_right(farm, db_dsn, cursor):
    for name in ("2.0", "3.0", "4.0"):
        farm.add_new_package_version("foo", name, EPOCH)

    def writer(seed):
        with Database(db_dsn) as db:
            for turn in range(6):
                which = f"{(seed + turn) % 4 + 1}.0"
                kind = ("native", "pure", "stable")[turn % 3]
                build = build_of("foo", which, "cp310", kind, number=10 * seed + turn)
                other = build_of("foo", f"{turn % 4 + 1}.0", "cp39", status=False)
                db.log_builds([build, other])
                if turn % 3 == seed % 3:
                    db.delete_build("foo", which)
                if turn == seed:
                    db.add_build_abi(f"cp3{20 + seed}")

    with in_thread(lambda: writer(0)), in_thread(lambda: writer(1)), in_thread(lambda: writer(2)):
        pass
    assert differences(cursor) == []


def test_a_build_of_a_version_that_is_being_deleted_is_refused(farm, superuser_dsn):
    first = psycopg2.connect(superuser_dsn)
    results = []
    try:
        first.cursor().execute("SELECT piwheels.delete_version('foo', '1.0')")
        work = lambda: results.extend(farm.log_builds([build_of("foo", "1.0", "cp39")]))  # noqa: E731
        with in_thread(work) as thread:
            thread.join(0.1)
            first.commit()
    finally:
        first.close()
    assert [(type(r), r.code) for r in results] == [(Refused, "NOVER")]
