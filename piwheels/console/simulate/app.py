"""The simulator's program: a :class:`World` behind sockets like a master's."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path  # noqa: TC003 (cli reads the annotations)
from typing import TYPE_CHECKING, Final

from piwheels.console.clock import ConsoleClock
from piwheels.console.simulate.server import Server
from piwheels.console.simulate.world import World
from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.paths import address
from piwheels.core.program.command_line import Common, option, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_PROG: Final = "python -m piwheels.console.simulate"
#: How long a restart of the master takes, in seconds.
AWAY: Final = 3.0
#: The longest wait of a turn of the loop, in seconds.
TURN: Final = 0.05


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        value = float(text)
        if 0.01 <= value <= 1000:
            return value
    raise ValueError(f"{text!r} is not a number from 0.01 to 1000")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        value = int(text)
        if 0 <= value <= 10_000:
            return value
    raise ValueError(f"{text!r} is not a number of slaves up to 10,000")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig(Common):
    """Simulate a farm, to try piw-console on.

    SIGHUP restarts its master; Ctrl-C ends it.
    """

    slaves: int = option(default=50, metavar="NUMBER", help="how many slaves", parse=_count)
    hosts: int = option(
        default=6, metavar="NUMBER", help="how many hosts of one to four lanes", parse=_count
    )
    seed: int = option(default=1, metavar="NUMBER", help="the same seed gives the same events")
    speed: float = option(
        default=1.0, metavar="FACTOR", help="the speed, as a multiple of real time", parse=_positive
    )
    history: timedelta = option(
        default=timedelta(minutes=30),
        metavar="DURATION",
        help="how long ago the simulation started",
    )
    level: int = option(default=1, metavar="0|1", help="the protocol level to speak")
    restart_every: timedelta | None = option(
        default=None, metavar="DURATION", help="restart the master at this interval"
    )
    hostile: bool = option(default=False, help="send hostile labels, clocks, logs and frames")
    dir: Path | None = option(
        default=None, metavar="DIR", help="put the sockets there (default: where piw-console looks)"
    )
    status_queue: str = option(
        default="ipc://{run}/status", metavar="ADDR", help="where to publish", parse=address
    )
    control_queue: str = option(
        default="ipc://{run}/control", metavar="ADDR", help="where to take commands", parse=address
    )
    console_queue: str = option(
        default="ipc://{run}/console", metavar="ADDR", help="where to answer consoles",
        parse=address,
    )  # fmt: skip

    @property
    def addresses(self) -> dict[str, str]:
        """Where to listen, by the name of the socket."""
        names = ("status", "control", "console")[: 2 + self.level]
        if self.dir is not None:
            return {name: f"ipc://{self.dir.absolute()}/{name}" for name in names}
        return {name: getattr(self, f"{name}_queue") for name in names}


def attach_line(addresses: dict[str, str]) -> str:
    """Return the command that attaches a console."""
    options = [f"--{name}-queue {shlex.quote(each)}" for name, each in addresses.items()]
    return f"piw-console {' '.join(options)}"


@program(
    _PROG,
    SimulateConfig,
    examples=[
        (_PROG, "50 slaves, where piw-console looks"),
        (f"{_PROG} --slaves 500 --speed 10 --history 2h", "a large farm at ten times the speed"),
        (
            f"{_PROG} --dir /tmp/farm --restart-every 5m",
            "a master that restarts, in another folder",
        ),
    ],
)
def main(config: SimulateConfig) -> int:
    """Run the simulated farm until a signal ends it."""
    if config.level not in (0, 1):
        raise Fatal("--level is 0 or 1")
    clock = ConsoleClock()
    now = clock()
    world = World(
        config.slaves, config.seed, now - config.history, hosts=config.hosts, pace=config.speed,
        hostile=config.hostile,
    )  # fmt: skip
    world.live_until(now)
    sys.stdout.write(f"attach with: {attach_line(config.addresses)}\n")
    sys.stdout.flush()
    with _signals() as asked:
        while _one_life(world, config, clock, asked) and _announce():
            time.sleep(AWAY)
            world.restart(clock())
    return 0


def _one_life(world: World, config: SimulateConfig, clock: ConsoleClock, asked: set[int]) -> bool:
    """Serve as a master until it ends; return whether it restarts."""
    every = config.restart_every
    until = None if every is None else SYSTEM.monotonic() + every.total_seconds()
    asked.clear()
    with contextlib.closing(Server(world, config.addresses)) as server:
        while not server.ended:
            server.turn(clock(), TURN)
            if signal.SIGTERM in asked:
                return False
            if signal.SIGHUP in asked or (until is not None and SYSTEM.monotonic() >= until):
                return True
    return False


def _announce() -> bool:
    """Announce the restart; return whether the terminal is still there.

    A hangup also ends a session, after which nobody would end this process.
    """
    try:
        os.write(sys.stdout.fileno(), b"the master is restarted\n")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _signals() -> Iterator[set[int]]:
    """Yield the set of received signals."""
    asked: set[int] = set()

    def note(number: int, _: FrameType | None) -> None:
        asked.add(number)

    before = {each: signal.signal(each, note) for each in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
