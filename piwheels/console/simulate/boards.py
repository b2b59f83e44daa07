"""The simulated boards: their labels, their faults, and their stats.

The stats of a board are a function of time alone, so that those of the past need not be stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import floor, sin
from typing import TYPE_CHECKING, Final

from piwheels.console.simulate.inventory import ABIS, HOSTS, MODELS, RACK
from piwheels.core.states import Offer, SlaveInfo, SlaveStats

if TYPE_CHECKING:
    from random import Random

_GIB: Final = 2**30
#: The faults of boards, with their weights.
FAULTS: Final = {"": 920, "slow": 30, "failing": 15, "flapping": 10, "full": 15, "unresponsive": 10}
#: Labels that a terminal, a table or a template may handle wrongly.
_HOSTILE: Final = (
    "[red]rack[/red]-{}", "[@click=app.quit]rack-{}[/]", "\u202emoc.live-{}", "שלום-{}",
    "日本語のとても長いラベル-{}", "e\u0301\u0301\u0301\u0301\u0301-{}", "{{{{7*7}}}}-{}",
    "../../etc/passwd-{}", "'; DROP TABLE slaves; --{}", "👩‍👩‍👧‍👦-{}", "a" * 190 + "{}", " {}",
    "<script>alert({})</script>", "%s%n-{}", "\u200b\u200b-{}", "\ue000\U000e0041-{}",
)  # fmt: skip


@dataclass(slots=True, eq=False)
class Board:
    """A build machine. Builds take *speed* times as long as usual; *phase* shifts its stats.

    *period* is the seconds between its stats; *skew*: its clock minus the true time. If it is one
    of several lanes of a *host*, it builds for one after another of the targets that it *offers*.
    """

    info: SlaveInfo
    fault: str
    speed: float
    phase: float
    period: float
    memory: int
    disk: int
    heat: float
    skew: timedelta
    host: str = ""
    lane: int = 0
    offers: tuple[Offer, ...] = ()

    def next_stats(self, after: datetime) -> datetime:
        """Return the time of its next stats."""
        return self._moment(self._count(after) + 1)

    def stats_before(self, now: datetime, since: datetime, most: int) -> list[datetime]:
        """Return the times of its last stats, oldest first, at most *most*."""
        last = self._count(now)
        first = max(last - most, self._count(since))
        return [self._moment(count) for count in range(first + 1, last + 1)]

    def _count(self, at: datetime) -> int:
        """Return the number of its stats up to *at*."""
        count = floor((at.timestamp() - self.phase) / self.period)
        # Times are rounded to microseconds: the next one may be *at* or before.
        return count + 1 if self._moment(count + 1) <= at else count

    def _moment(self, count: int) -> datetime:
        return datetime.fromtimestamp(self.phase + count * self.period, UTC)

    def stats(self, at: datetime, since: datetime | None, memory: float) -> SlaveStats:
        """Return its stats; it builds *since* then (or not), which needs *memory* (0 to 1)."""
        time = at.timestamp()
        noise, unrest, drift = (
            (sin(time / slow + self.phase) + sin(time / quick + 3 * self.phase)) / 2
            for slow, quick in ((37, 11), (23, 5), (171, 61))
        )
        effort = 0.0
        if since is not None and at > since:
            effort = min(1.0, 0.2 + (at - since).total_seconds() / 200)
        used = min(0.97, 0.12 + memory * effort * (0.8 + 0.2 * drift))
        swap = max(0.0, used - 0.8) * 2
        full = 0.88 if self.fault == "full" else 0.25 + 0.3 * (self.phase % 1)
        disk = min(0.995, full + 0.08 * effort + 0.03 * sin(time / 4000 + self.phase))
        temp = 41 + self.heat + 20 * effort + 3 * noise
        return SlaveStats(
            at + self.skew,
            self.disk, int(self.disk * (1 - disk)),
            self.memory, int(self.memory * (1 - used)),
            _GIB, int(_GIB * (1 - min(0.9, swap))),
            round(max(0.0, 0.05 + 4 * effort + 0.6 * unrest * (effort > 0)), 2),
            round(min(85.0, temp), 1),
        )  # fmt: skip


def make_boards(count: int, random: Random, pace: float, *, hostile: bool) -> list[Board]:
    """Return *count* boards in racks, one rack in eight of which is too warm.

    Timeouts and periods are divided by *pace*.
    """
    abis = random.choices(ABIS, [abi.share for abi in ABIS], k=count)
    made = []
    hot = random.randrange(8)
    for index in range(count):
        rack, slot = divmod(index, RACK)
        model, revision, memory, speed = MODELS[(rack * 7 + slot // 10) % len(MODELS)]
        fault = random.choices(list(FAULTS), list(FAULTS.values()))[0]
        if index < 12 and count >= 12:  # a small farm shows every fault, too
            fault = [
                "",
                "",
                "slow",
                "",
                "failing",
                "",
                "",
                "full",
                "",
                "flapping",
                "",
                "unresponsive",
            ][index]
        label = f"{model}-rack{rack + 1}-{slot + 1:02}"
        if hostile:
            label = _HOSTILE[index % len(_HOSTILE)].format(index)
        tag = abis[index].tag
        info = SlaveInfo(
            timedelta(hours=3) / pace, max(timedelta(minutes=5) / pace, timedelta(seconds=10)),
            tag[2:], tag, "linux_armv7l" if model == "pi3" else "linux_aarch64",
            label, "Debian", random.choice(("12", "12", "13")),
            revision, f"{random.getrandbits(64):016x}",
        )  # fmt: skip
        made.append(
            Board(
                info, fault,
                speed * (random.uniform(3, 8) if fault == "slow" else random.uniform(0.9, 1.1)),
                random.uniform(0, 1000), random.uniform(5, 10) / pace, memory * _GIB,
                random.choice((32, 64, 128)) * _GIB,
                random.uniform(0, 6) + (15 if rack % 8 == hot else 0),
                _skew(random, hostile=hostile),
            )
        )  # fmt: skip
    return made


def make_hosts(count: int, random: Random, pace: float) -> list[Board]:
    """Return the lanes of *count* hosts, one to four of each; a single lane is a usual slave."""
    made: list[Board] = []
    for index in range(count):
        prefix, revision, memory, speed, platforms = HOSTS[index % len(HOSTS)]
        offers = tuple(
            Offer(abi.tag[2:], abi.tag, platform) for platform in platforms for abi in ABIS
        )
        lanes = (4, 2, 3, 1)[index % 4]
        first = offers[index % len(offers)]
        info = SlaveInfo(
            timedelta(hours=3) / pace, max(timedelta(minutes=5) / pace, timedelta(seconds=10)),
            *first, f"{prefix}-{index + 1:02}", "Debian", "13", revision,
            f"{random.getrandbits(64):016x}",
        )  # fmt: skip
        board = Board(
            info, "", speed, random.uniform(0, 1000), random.uniform(5, 10) / pace, memory * _GIB,
            256 * _GIB, random.uniform(0, 15), timedelta(),
        )  # fmt: skip
        if lanes == 1:
            made.append(board)
        made += [
            replace(board, host=info.label, lane=lane, offers=offers)
            for lane in range(1, lanes + 1)
            if lanes > 1
        ]
    return made


def _skew(random: Random, *, hostile: bool) -> timedelta:
    if hostile:
        return timedelta(days=random.uniform(-4000, 4000))
    if random.random() < 0.01:
        return timedelta(minutes=random.uniform(-20, 20))
    return timedelta(seconds=random.gauss(0, 0.2))
