"""A farm in memory: a fleet, a database by the rules of sql/, and slaves of several owners."""

from collections import Counter, defaultdict
from datetime import timedelta
from types import SimpleNamespace

from piwheels.core.codec import NoData
from piwheels.core.database.rows import Published
from piwheels.core.errors import Refused
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.states import Instant, Pending
from piwheels.master.logic import effects
from piwheels.master.logic.build_queue import MAX_QUEUE_AGE
from piwheels.master.logic.fleet import Fleet
from slave_messages import HASH, START, built, failed, file_state, hello, request, stats, target_for

ABI = "cp311"
TARGET = target_for(ABI)
#: The certain cause that a slave claims, and one that is not certain.
CLAIM = "ERROR: Package 'x' requires a different Python: 3.11.2 not in '<3'\n"
ERROR = "error: it does not work\n"
DAY = timedelta(hours=24)


class Database:
    """The builds of versions, by the rule of sql/views/build_opinions.sql in Python."""

    def __init__(self, versions):
        self.versions = versions
        self.builds, self._of = {}, defaultdict(dict)
        self.quarantines = []
        #: What follows the last failure of a version (the table retries); it is due at once.
        self.retries = {}
        self._number = 0

    def log(self, build, at):
        self._number += 1
        target = build.package, build.version, build.abi_tag
        about = {"owner": build.owner, "at": at, "status": build.status, "final": build.final}
        self.retries[target[:2]] = build.retry
        if not build.counts:
            return self._number
        self.builds[self._number] = SimpleNamespace(target=target, **about)
        self._of[target[:2]][self._number] = self.builds[self._number]
        return self._number

    def take_back(self, numbers):
        for number in set(numbers) & self.builds.keys():
            del self._of[self.builds.pop(number).target[:2]][number]

    def of(self, version):
        return list(self._of[version].values())

    def is_settled(self, version):
        builds = self.of(version)
        return any(
            one.status or one.final or one.owner != two.owner or abs(one.at - two.at) >= DAY
            for one in builds
            for two in builds
        )

    def has_failed(self, version):
        """Whether a version has failed for good."""
        return self.is_settled(version) and not any(each.status for each in self.of(version))

    def pending(self, versions=None):
        waiting = [
            each for each in self.versions if self.retries.get(each) or not self.is_settled(each)
        ]
        found = []
        for version in waiting if versions is None else set(waiting) & set(versions):
            first = min(self.of(version), key=lambda each: each.at, default=None)
            retry = self.retries.get(version)
            about = (None, None) if first is None or retry else (first.owner, first.at)
            row = Pending(*version, *TARGET, "", 0, *about)
            if retry:
                row = row._replace(recipe=retry.recipe, attempt=retry.attempt)
            found.append(row)
        return found


def can_be_built(package):
    """Whether an honest slave builds a package: two of three."""
    return int(package[1:]) % 3 != 1


class World:
    """A fleet, its database, and time."""

    def __init__(self, versions=30, chance=lambda: 1.0):
        self.now, self.at = 1000.0, START
        self.db = Database([(f"p{number}", "1") for number in range(versions)])
        self.warnings = []
        #: For each owner: the most slaves at one time, how often they were greeted, and how many
        #: versions they were given.
        self.peak, self.greeted, self.taken = Counter(), Counter(), Counter()
        self.chance, self.broken = chance, False
        self.addresses = 0
        self.restart()

    def restart(self):
        self.fleet = Fleet("url", self.chance)
        self.fleet.fitness.restore(self.db.quarantines, self.now)
        self.read_queue()

    @property
    def instant(self):
        return Instant(self.now, self.at)

    def read_queue(self):
        """Read the queue again, when the one before is too old to matter."""
        self.now += MAX_QUEUE_AGE
        self.at += timedelta(seconds=MAX_QUEUE_AGE)
        self.perform(self.fleet.tick(self.instant))
        self.fleet.queue.replace([TARGET], self.db.pending(), self.instant)
        self.fleet.validate()

    def wait(self, seconds):
        self.now += seconds
        self.at += timedelta(seconds=seconds)
        self.read_queue()

    def join(self, owner, identity="one", *, level=1, abi=ABI, **about):
        """Return the address of a new slave, or ``None`` if it is refused."""
        self.addresses += 1
        address = LEVEL_1_ID + b"%d" % self.addresses
        data = hello(identity, abi, level=level, identity=identity, **about)
        made = self.say(address, "HELLO", data, owner)
        return address if made[-1].msg == "ACK" else None

    def say(self, address, msg, data=NoData, owner=None):
        """Send a message of a slave; return the replies, after all tasks have answered."""
        instant, slave = self.instant, self.fleet.slaves.get(address)
        if owner is None and slave is None:
            return []
        if slave is None:
            slave, made = self.fleet.receive(address, msg, data, instant, owner)
            made = made if slave is None else self.fleet.do_hello(slave, instant)
        else:
            made = request(self.fleet, address, msg, data, instant)
        owner = owner or slave.owner
        replies = self.perform(made)
        self.peak[owner] = max(self.peak[owner], self.fleet.connected(owner))
        self.greeted[owner] += sum(reply.msg == "ACK" for reply in replies)
        self.taken[owner] += sum(reply.msg == "BUILD" for reply in replies)
        return replies

    def perform(self, made):
        replies, made = [], list(made)
        while made:
            effect = made.pop(0)
            match effect:
                case effects.Reply():
                    replies.append(effect)
                case effects.Warn():
                    self.warnings.append(effect.text)
                case effects.ReportPause(_, _, text) if text:
                    self.warnings.append(text)
                case effects.TakeBack(builds):
                    self.db.take_back(builds)
                case effects.SaveQuarantines(quarantines):
                    self.db.quarantines = list(quarantines)
                case effects.LogBuild(number, build):
                    result = self.db.log(build, self.at)
                    made += self.fleet.answered(number, result, None, self.instant)
                case effects.AskPending(number, package, version):
                    result = self.db.pending([(package, version)])
                    made += self.fleet.answered(number, result, None, self.instant)
                case effects.AskPublished(number):
                    made += self.fleet.answered(number, Published({}, {}), None, self.instant)
                case effects.Expect(number):
                    made += self.fleet.answered(number, None, None, self.instant)
                case effects.Verify(number) if self.broken:
                    error = Refused("BADWHEEL", "not a wheel")
                    made += self.fleet.answered(number, None, error, self.instant)
                case effects.Verify(number):
                    name = self.fleet.intakes[number].current.filename
                    placed = {"filename": name, "metadata_hash": HASH, "requires_python": None}
                    made += self.fleet.answered(number, placed, None, self.instant)
        return replies

    def work(self, address, log=None, *, only=None, broken=False):
        """Have a slave take a version, and build it honestly, or fail with *log*.

        With *only*, it fails these packages and builds the others; with *broken*, the master
        refuses its wheel. Return the version, if any.
        """
        replies = self.say(address, "IDLE", stats(self.at))
        if not replies or replies[0].msg != "BUILD":
            return None
        package, version = replies[0].data
        good = can_be_built(package) and (log is None or (only and package not in only))
        if not good and not broken:
            self.say(address, "BUILT", failed(log or ERROR))
        else:
            wheel = file_state(f"{package}-{version}-{ABI}-{ABI}-linux_x86_64.whl")
            self.say(address, "BUILT", built(wheel))
            self.broken = broken
            self.say(address, "SENT")
            self.broken = False
        return package, version

    def work_honestly(self, addresses):
        """Have honest slaves work until the queue gives them nothing more."""
        worked = True
        while worked:
            self.read_queue()
            worked = False
            while any(list(map(self.work, addresses))):
                worked = True

    def check_failures(self):
        """Have honest slaves give the second opinions that are due."""
        for each in self.db.pending():
            if each.failed_at is not None:
                address = self.join("checker", busy=86_400)
                self.fleet.queue.replace([TARGET], [each], self.instant)
                self.work(address)
                self.say(address, "BYE")
        self.read_queue()

    def wrong(self):
        """Return the versions that can be built, and have failed for good."""
        good = [each for each in self.db.versions if can_be_built(each[0])]
        return [each for each in good if self.db.has_failed(each)]
