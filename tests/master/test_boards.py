"""Boards of several platforms join, leave and fail: each build is made once, and none is forgotten.

The queue is that of the real database; the slaves are rows of a table here.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from piwheels.core.states import BuildState, FileState, Instant
from piwheels.core.targets import Target
from piwheels.core.wheels.serving import serves
from piwheels.core.wheels.tags import parse_filename
from piwheels.master.logic.build_queue import MAX_QUEUE_AGE, Queue
from slave_messages import START

PLATFORMS = ("linux_aarch64", "linux_armv6l", "linux_armv7l", "linux_riscv64", "linux_x86_64")
ABIS = ("cp39", "cp311", "cp313", "cp313t")
TARGETS = [Target(platform, abi) for abi in ABIS for platform in PLATFORMS]


def tags_of(kind, target):
    """The tags of the wheel that a version of a kind has on a target; ``None``: it fails there."""
    abi, platform = target.abi, target.platform
    python = abi.removesuffix("t")
    free = abi.endswith("t")
    return {
        "pure": "py3-none-any",
        "native": f"{python}-{abi}-{platform}",
        "stable": f"{python}-{abi}-{platform}" if free else f"cp39-abi3-{platform}",
        # Its wheels are for the Python that builds and later ones, as those of cffi are.
        "stable from now": f"{python}-{abi}-{platform}" if free else f"{python}-abi3-{platform}",
        "program": f"py3-none-{platform}",
        "new": None if abi == "cp39" else "py3-none-any",
        "without threads": None if free else f"{python}-{abi}-{platform}",
        "broken": None,
    }[kind]


#: How many of a hundred versions are of each kind: about what the index has.
MIX = {"pure": 62, "native": 14, "stable": 4, "program": 2, "new": 6, "without threads": 3,
       "broken": 9}  # fmt: skip


def build_of(kind, version, target, number):
    tags = tags_of(kind, target)
    files = {}
    if tags is not None:
        name = f"foo-{version}-{number}-{tags}.whl"
        state = FileState(name, 1, f"{number:064x}", "foo", version, *tags.split("-"), None, {})
        files[name] = state
    return BuildState(1, "foo", version, target.abi, tags is not None, timedelta(1), "log", files,
                      platform=target.platform)  # fmt: skip


def one_after_the_other(kind):
    """How many builds a version takes if its targets are built in order."""
    names, builds = [], 0
    for target in TARGETS:
        if not any(serves(name, target) for name in names):
            builds += 1
            if (tags := tags_of(kind, target)) is not None:
                names.append(parse_filename(f"foo-1-{tags}.whl"))
    return builds


class World:
    """The database, the queue, and what boards build."""

    def __init__(self, db, kinds, seed):
        self.db, self.kinds, self.random = db, kinds, random.Random(seed)  # noqa: S311
        self.queue, self.now, self.builds = Queue(), 1000.0, Counter()
        self.files, self.failed, self.most = {}, Counter(), Counter()
        db.add_targets(TARGETS)
        db.add_new_package("foo")
        for version in kinds:
            db.add_new_package_version("foo", version, datetime(2026, 1, 1, tzinfo=UTC))
        self.read()

    def read(self):
        self.now += MAX_QUEUE_AGE
        active = [Target(row.platform, row.abi_tag) for row in self.db.get_targets()]
        self.queue.replace(active, self.db.get_target_queue(100_000), Instant(self.now, START))
        self.queue.tick(self.now)

    def run(self, boards):
        """Build until nothing is left; *boards* offer lists of targets, and come and go."""
        has = {}
        while True:
            for board, offers in enumerate(boards):
                idle = board not in has
                if idle and (found := self.queue.next(self.queue.sorted(offers), self.now)):
                    self.queue.start(found)
                    has[board] = found
            if not has:
                self.read()
                rows = [row for rows in self.queue.rows.values() for row in rows]
                if not any(row.target in offers or row.platform == "any"
                           for row in rows for offers in boards):  # fmt: skip
                    return
                continue
            for number in Counter(each[1] for each in has.values()).items():
                self.most[number[0]] = max(self.most[number[0]], number[1])
            board = self.random.choice([*has])
            if self.random.random() < 0.1:  # it leaves with its build
                assignment = has.pop(board)
                self.queue.abandon(assignment)
                self.queue.put_back(assignment, self.now)
            else:
                self.end(has.pop(board))

    def end(self, assignment):
        _, version, target = assignment
        self.builds[version, target] += 1
        build = build_of(self.kinds[version], version, target, sum(self.builds.values()))
        self.db.log_build(build)
        self.files.setdefault(version, []).extend(map(parse_filename, build.files))
        self.queue.finish(assignment, self.now, logged=True)
        if self.random.random() < 0.3:
            self.read()


@pytest.mark.parametrize("seed", range(3))
def test_each_build_is_made_once_and_none_is_forgotten(db, seed):
    kinds = [kind for kind, share in MIX.items() for _ in range(max(1, share // 3))]
    world = World(db, {f"{number}.0": kind for number, kind in enumerate(kinds)}, seed)
    choose = world.random
    boards = [[target] for target in TARGETS]
    boards += [choose.sample(TARGETS, choose.randrange(1, 6)) for _ in range(6)]
    world.run(boards)
    assert set(world.builds.values()) == {1}, "a build was made twice"
    total, made = Counter(), Counter()
    for (version, _), count in world.builds.items():
        made[version] += count
    for version, kind in world.kinds.items():
        total["parallel"] += made[version]
        total["sequential"] += one_after_the_other(kind)
        assert made[version] <= one_after_the_other(kind), kind
        for target in TARGETS:
            served = any(serves(name, target) for name in world.files[version])
            assert served or (version, target) in world.builds, "a build was forgotten"
        if kind == "native":
            assert world.most[version] > 1, "its targets were built one after the other"
    assert total["parallel"] <= total["sequential"]
    assert db.get_target_queue() == []


def test_targets_without_slaves_delay_no_others(db):
    world = World(db, {"1.0": "native", "2.0": "broken", "3.0": "pure"}, 0)
    world.run([[Target("linux_armv7l", "cp313")]])
    assert set(world.builds) == {(f"{n}.0", Target("linux_armv7l", "cp313")) for n in (1, 2, 3)}
    waiting = Counter(row.version for row in db.get_target_queue())
    assert waiting == {"1.0": len(TARGETS) - 1, "2.0": len(TARGETS) - 1}


def test_the_oldest_python_builds_first_where_a_board_has_several(db):
    world = World(db, {"1.0": "stable from now"}, 0)
    world.run([[Target("linux_armv7l", abi) for abi in reversed(ABIS)]])
    assert [target.abi for _, target in world.builds] == ["cp39", "cp313t"]
