"""The sockets of the simulated master."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.console.simulate import hostile
from piwheels.console.simulate.world import ANSWERED
from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, Refused, Unavailable, one_line
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    LogPart,
    Output,
    SlaveEvent,
    Welcome,
    console,
    master_control,
    monitor_stats,
)
from piwheels.core.states import MasterInfo, MasterStats
from piwheels.core.transport import Context, Poller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from piwheels.console.simulate.world import Event, World

#: The most events in a page of slaves and in one turn of a replay, and characters of a log in an
#: answer.
PAGE, REPLAY_BURST, LOG_PART = 2000, 2000, 2**19
#: The seconds of silence after which a console is forgotten, and the most requests in a turn.
SILENCE, BURST = 90, 200

NAMES: Final[dict[type, str]] = {
    MasterInfo: "HELLO",
    MasterStats: "STATS",
    SlaveEvent: "SLAVE",
    BuildOutcome: "OUTCOME",
    Output: "OUTPUT",
    CommandReport: "COMMAND",
}


@dataclass(slots=True)
class _Console:
    who: str
    ticket: bytes
    last_contact: datetime
    watched: dict[int, bytes] = field(default_factory=dict)


class Server:
    """Serves *world* at *addresses* (``status``, ``control`` and, at level 1, ``console``)."""

    def __init__(self, world: World, addresses: dict[str, str]) -> None:
        self.world = world
        #: Whether an operator has stopped the master (QUIT).
        self.ended = False
        context = Context()
        self._status = context.socket(zmq.PUB, monitor_stats)
        self._status.hwm = 200_000
        self._control = context.socket(zmq.PULL, master_control)
        self._console = context.socket(zmq.ROUTER)
        self._console.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._consoles: dict[bytes, _Console] = {}
        self._replayed: int | None = None
        self._poller = Poller()
        self._noise: Iterator[bytes] = iter(())
        if world.hostile:
            self._noise = hostile.frames(world.random)
        try:
            for name, address in addresses.items():
                getattr(self, f"_{name}").bind(address)
        except BaseException:
            self.close()
            raise
        self._poller.register(self._control)
        self._poller.register(self._console)

    def close(self) -> None:
        """Close the sockets; messages that were sent are still delivered."""
        for each in (self._status, self._control, self._console):
            each.close(linger=1)

    def turn(self, now: datetime, timeout: float) -> None:
        """Handle messages, waiting up to *timeout* seconds, and publish events."""
        ready = self._poller.poll(0 if self._replayed is not None else timeout)
        if self._control in ready:
            self._take_control(now)
        if self._console in ready:
            self._take_requests(now)
        for event in self.world.step(now):
            self._publish(event)
        if self._replayed is not None:
            self._replay(self._replayed, now)
        if self.world.hostile and self.world.random.random() < 0.02:
            self._make_noise()
        for peer, each in list(self._consoles.items()):
            if (now - each.last_contact).total_seconds() > SILENCE:
                self._forget(peer)

    # Sending ---------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        name = NAMES[type(event)]
        if isinstance(event, (MasterInfo, MasterStats, SlaveEvent)):
            self._status.send_msg(name, event)
            return
        frame = codec.dumps(name, event)
        for peer, each in list(self._consoles.items()):
            ticket: bytes | None = each.ticket
            if isinstance(event, Output):
                ticket = each.watched.get(event.slave_id)
            if ticket is not None:
                self._send(peer, ticket, frame)

    def _replay(self, after: int, now: datetime) -> None:
        events = self.world.replay(after, REPLAY_BURST, now)
        for event in events:
            self._publish(event)
        self._replayed = events[-1].slave_id if events else None

    def _make_noise(self) -> None:
        frame = next(self._noise)
        self._status.send_multipart([frame] * self.world.random.choice((1, 1, 2)))
        for peer, each in list(self._consoles.items()):
            self._send(peer, each.ticket, frame)

    def _send(self, peer: bytes, ticket: bytes, frame: bytes) -> None:
        try:
            self._console.send_multipart([peer, ticket, frame], zmq.DONTWAIT)
        except (Unavailable, zmq.ZMQError):
            self._forget(peer)

    def _forget(self, peer: bytes) -> None:
        if self._consoles.pop(peer, None) is not None:
            self._stop_unfollowed()

    def _stop_unfollowed(self) -> None:
        """Stop the output of builds that no console follows."""
        followed = set(itertools.chain(*(each.watched for each in self._consoles.values())))
        for number in self.world.watched.keys() - followed:
            del self.world.watched[number]

    # Receiving ---------------------------------------------------------------------

    def _take_control(self, now: datetime) -> None:
        for _ in range(BURST):
            if not self._control.poll(0):
                return
            try:
                msg, data = self._control.recv_msg()
            except BadMessage:
                continue
            if msg == "HELLO":
                self._publish(self.world.info)
                self._replayed = 0
            else:
                target = None if data is NoData or data is None else [data]
                self.world.command(msg, target, "unknown", now)
                self.ended = self.ended or msg == "QUIT"

    def _take_requests(self, now: datetime) -> None:
        for _ in range(BURST):
            if not self._console.poll(0):
                return
            peer, *frames = self._console.recv_multipart()
            if len(frames) != 2 or len(frames[0]) != 8:
                continue
            try:
                msg, data = codec.loads(frames[1])
                answer = self._answer(peer, frames[0], msg, console.received(msg, data), now)
                reply = codec.dumps("OK", answer)
            except (BadMessage, Refused) as exc:
                reply = codec.dumps("REFUSED", one_line(exc))
            self._send(peer, frames[0], reply)

    def _answer(self, peer: bytes, ticket: bytes, msg: str, data: Any, now: datetime) -> Any:
        world = self.world
        if msg == "HELLO":
            attached = self._consoles.setdefault(peer, _Console(data.who, ticket, now))
            attached.ticket, attached.last_contact = ticket, now
            return Welcome(1, world.info, world.paused)
        if peer not in self._consoles:
            raise Refused("HELLO", "say HELLO first, and again at least every 90 seconds")
        attached = self._consoles[peer]
        attached.last_contact = now
        match msg:
            case "SLAVES":
                return world.replay(data, PAGE, now)
            case "HISTORY":
                if (history := world.history(data)) is None:
                    raise Refused("HISTORY", f"there is no slave {data}")
                return history
            case _ if msg in ANSWERED:
                return world.answer(msg, data)
            case "LOG":
                return self._log(*data)
            case "WATCH":
                attached.watched[data] = ticket
                if (output := world.watch(data, now)) is not None:
                    self._send(peer, ticket, codec.dumps("OUTPUT", output))
                return NoData
            case "UNWATCH":
                attached.watched.pop(data, None)
                self._stop_unfollowed()
                return NoData
        rejections = world.command(msg, None if data is NoData else data, attached.who, now)
        self.ended = self.ended or msg == "QUIT"
        return NoData if msg == "QUIT" else rejections

    def _log(self, build_id: int, offset: int) -> LogPart:
        text = self.world.log(build_id)
        if text is None:
            raise Refused("LOG", f"there is no log of build {build_id}")
        return LogPart(offset, text[offset : offset + LOG_PART], len(text))
