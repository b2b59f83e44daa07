"""How a slave joins a farm: it creates a key, and an invitation enrols it on the master."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal, Unavailable
from piwheels.core.keys.files import new_pair, read_pair, write_pair
from piwheels.core.protocols import slave_driver
from piwheels.core.transport import REFUSALS, Context, Poller

if TYPE_CHECKING:
    from pathlib import Path

    from piwheels.core.keys.files import KeyPair

#: Seconds that the master has to answer.
LIMIT: Final = 30.0


def join(invitation: KeyPair, path: Path, address: str, hello: list[Any]) -> KeyPair:
    """Have the key in the file *path*, which is made if it is missing, enrolled; return it.

    The master at *address* gets it in *hello*, the data of a HELLO without features. An invitation
    that this slave has used already has no effect. Raises ``Fatal``.
    """
    exists = path.exists()
    pair = read_pair(path) if exists else new_pair(invitation.master)
    if exists and pair.master != invitation.master:
        raise Fatal(f"{path} is the key for another master: name another file in --key")
    if not exists:
        write_pair(path, pair)
    message = [*hello, {"level": 1, "join": pair.public}]
    logger = logging.getLogger("slave")
    if not (why := _why_refused(invitation, address, message)):
        logger.info("joined the farm of the master at %s, with the key in %s", address, path)
    elif exists:
        logger.info("the invitation is not valid any more: using the key in %s", path)
    else:
        path.unlink()
        raise Fatal(
            f"the master at {address} does not accept the invitation ({why}): get another one from"
            " piw-keys invite"
        )
    return pair


def _why_refused(invitation: KeyPair, address: str, hello: list[Any]) -> str:
    """Return why the master refuses the invitation; ``""``: it has enrolled the key in *hello*."""
    with (
        Context().socket(zmq.REQ, reversed(slave_driver)) as queue,
        queue.monitor(REFUSALS) as monitor,
    ):
        queue.identify(invitation)
        queue.connect(address)
        with suppress(Unavailable):  # it is refused already
            queue.send_msg("HELLO", hello, zmq.DONTWAIT)
        poller, end = Poller(), SYSTEM.monotonic() + LIMIT
        poller.register(queue)
        poller.register(monitor)
        while SYSTEM.monotonic() < end:
            ready = poller.poll(0.5)
            if queue in ready:
                msg, why = queue.recv_msg()
                return "" if msg == "HELLO" else str(why)
            if monitor in ready and (why := queue.why_refused(monitor.recv_event()[0])):
                return why
    raise Fatal(f"no master at {address} has answered within {LIMIT:g} s: check --master")
