"""A simulated farm as the source of a session, without sockets, for pictures of the screens."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.events import Answer, Incoming, Sent, WireUp
from piwheels.console.session import Session
from piwheels.console.simulate.world import ANSWERED, World
from piwheels.core.codec import NoData
from piwheels.core.protocols import LogPart, Welcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.console.model.events import Outgoing, Wire


#: The simulated time before the session starts.
_PAST: Final = timedelta(hours=3)


def simulated_session(
    slaves: int, seed: int, now: datetime, *, hosts: int = 0
) -> tuple[SimulatedFarm, Session]:
    """Return a farm with some hours of history, and a session that can attach to it at *now*."""
    world = World(slaves, seed, now - _PAST, hosts=hosts)
    world.live_until(now)
    farm = SimulatedFarm(world, now)
    addresses: dict[Wire, str] = {"status": farm.name, "control": farm.name, "console": farm.name}
    return farm, Session(farm, who="you", addresses=addresses)


class SimulatedFarm:
    """A master of level 1 that answers at once from *world*. Its time is the attribute *now*."""

    def __init__(self, world: World, now: datetime) -> None:
        self.name = world.info.label
        self.now = now
        self._world = world
        self._incoming: deque[Any] = deque()

    def start(self) -> None:
        """Connect immediately."""
        self._incoming += [WireUp("status"), WireUp("control"), WireUp("console")]

    def stop(self) -> None:
        """Do nothing: there is no connection."""

    def take(self) -> Iterator[Incoming]:
        """Yield the events up to *now*."""
        self._incoming.extend(self._world.step(self.now))
        while self._incoming:
            yield Incoming(self.now, self._incoming.popleft())

    def send(self, outgoing: Outgoing) -> None:
        """Answer a request; commands have no effect."""
        data = self._answer(outgoing.msg, outgoing.data)
        self._incoming += [Sent(outgoing.ticket), Answer(outgoing.ticket, outgoing.msg, data)]

    def _answer(self, msg: str, data: Any) -> Any:
        match msg:
            case "HELLO":
                return Welcome(1, self._world.info, paused=False)
            case "SLAVES":
                return self._world.replay(data, 2000, self.now)
            case "HISTORY":
                return self._world.history(data) or []
            case _ if msg in ANSWERED:
                return self._world.answer(msg, data)
            case "LOG":
                text = self._world.log(data[0]) or ""
                return LogPart(data[1], text[data[1] :], len(text))
            case "WATCH":
                if (output := self._world.watch(data, self.now)) is not None:
                    self._incoming.append(output)
                return NoData
            case "UNWATCH" | "QUIT":
                return NoData
        return []
