"""Attacks of a slave with a valid key, or of an admitted address, and the outcomes."""

from collections.abc import Callable
from typing import NamedTuple

from owned_farm import CLAIM, ERROR, World
from slave_messages import failed, stats

ADDRESS = "address 192.0.2.1"


class Attack(NamedTuple):
    """What the owner *by* does, and the outcome, if two honest slaves build before and afterwards.

    It has *slaves* at most at one time. It is greeted *greeted* times and given *taken* versions at
    most (``None``: as often as it wants). *quarantine* are its identities in quarantine (``""``:
    all of them), at the end of the attack. It has failed *burnt* versions for good that can be
    built, after the honest slaves have built.
    """

    name: str
    act: Callable[[World, str], None]
    slaves: int = 1
    greeted: int | None = None
    taken: int | None = None
    quarantine: frozenset[str] = frozenset()
    burnt: int = 0
    by: str = "eve"


def greet(world: World, by: str) -> None:
    for number in range(9_991):
        world.join(by, f"id {number}", busy=86_400)


def greet_and_leave(world: World, by: str) -> None:
    for _ in range(1000):
        if (address := world.join(by)) is not None:
            world.say(address, "BYE")


def take(world: World, by: str) -> None:
    for _ in range(300):
        if (address := world.join(by)) is not None:
            world.say(address, "IDLE", stats(world.at))
            world.say(address, "BYE")


def take_and_keep(world: World, by: str) -> None:
    for number in range(300):
        if (address := world.join(by, f"id {number}", busy=86_400)) is not None:
            world.say(address, "IDLE", stats(world.at))


def take_and_vanish(world: World, by: str) -> None:
    take_and_keep(world, by)
    for address in list(world.fleet.slaves):
        if world.fleet.slaves[address].owner == by:
            world.fleet.disconnected(address, world.instant)
    world.wait(70)


def fail_everything(world: World, by: str) -> None:
    _fail(world, by, ERROR)


def claim_everything(world: World, by: str) -> None:
    _fail(world, by, CLAIM)


def _fail(world: World, by: str, log: str) -> None:
    address = world.join(by)
    for _ in range(533):
        world.work(address, log)


def send_broken_wheels(world: World, by: str) -> None:
    address = world.join(by)
    for _ in range(533):
        world.work(address, broken=True)


def fail_one_project(world: World, by: str) -> None:
    address = world.join(by)
    for _ in range(100):
        world.work(address, ERROR, only={"p30", "p33", "p36"})


def fail_every_second(world: World, by: str) -> None:
    _every_second(world, by, ERROR)


def claim_every_second(world: World, by: str) -> None:
    _every_second(world, by, CLAIM)


def _every_second(world: World, by: str, log: str) -> None:
    """Fail every second version; meanwhile, the honest slaves check what is to be checked."""
    address = world.join(by, busy=86_400)
    for number in range(200):
        if number % 10 == 0:
            world.read_queue()
        world.work(address, log if number % 2 else None)
        world.check_failures()


def come_as_another(world: World, by: str) -> None:
    for number in range(20):
        address = world.join(by, f"id {number % 10}, {number}")
        for _ in range(9 if address is not None else 0):
            world.work(address, ERROR)
        world.say(address, "BYE")


def return_from_quarantine(world: World, by: str) -> None:
    """Take a version, get into quarantine as another slave, and return with the version."""
    world.join(by, "helper")
    kept = world.join(by, busy=86_400)
    (reply,) = world.say(kept, "IDLE", stats(world.at))
    world.fleet.disconnected(kept, world.instant)
    other = world.join(by)
    for _ in range(15):
        world.work(other, ERROR)
    back = world.join(by, resume=reply.data)
    world.say(back, "BUILT", failed(CLAIM))


def lie(world: World, by: str) -> None:
    """Claim features that nobody has, and versions that it was not given."""
    for resume in ([], ["p0"], [1, 2], ["p0", "1"], ["x" * 2000, "1"], "p0", {"p0": "1"}):
        address = world.join(by, level=1, resume=resume)
        world.say(address, "BUILT", failed(CLAIM))
    for number, level in enumerate((-1, 2**60, "1", None)):
        world.join(by, f"level {number}", level=level)


class Promise(NamedTuple):
    """Files that the slaves of one owner announce, by their sizes in GiB, one file for each slave.

    *room* is free on the disk, in GiB. *refused* are the answers (``""``: the file is expected).
    """

    name: str
    sizes: list[float]
    refused: list[str]
    room: float = 8


PROMISES = (
    Promise("10^15 bytes", [10**15 / 2**30], ["TOOBIG"]),
    Promise("one file that fits", [2], [""], room=2.5),
    Promise("more than half of the disk", [1] * 6, [*[""] * 4, *["NOROOM"] * 2]),
    Promise("more than its quota", [2] * 10, [*[""] * 8, *["NOROOM"] * 2], room=1000),
    Promise("many empty files", [0] * 100, [""] * 100, room=0.5),
)

ATTACKS = (
    Attack("greets as 9,991 slaves", greet, slaves=200),
    Attack("greets as 9,991 slaves without a key", greet, slaves=400, by=ADDRESS),
    Attack("greets and leaves", greet_and_leave, greeted=400),
    Attack("takes one version after the other", take, taken=120),
    Attack("takes a version for each of its slaves", take_and_keep, slaves=200, taken=120),
    Attack("takes versions and vanishes", take_and_vanish, slaves=200, taken=120),
    Attack("fails everything", fail_everything, quarantine=frozenset({"one"})),
    Attack("fails everything without a key", fail_everything, quarantine=frozenset({"one"}),
        by=ADDRESS),
    Attack("claims a certain cause of everything", claim_everything,
        quarantine=frozenset({"one"})),
    Attack("sends broken wheels", send_broken_wheels, quarantine=frozenset({"one"})),
    Attack("fails one project", fail_one_project),
    Attack("fails every second version", fail_every_second, quarantine=frozenset({"one"})),
    Attack("claims a certain cause of every second version", claim_every_second,
        quarantine=frozenset({"one"})),
    Attack("comes as another slave before it is found out", come_as_another,
        quarantine=frozenset({""})),
    Attack("returns with a build from before its quarantine", return_from_quarantine, slaves=3,
        quarantine=frozenset({"one"})),
    Attack("lies about its features", lie, slaves=11),
)  # fmt: skip
