"""Attacks on the wires of a master with keys: who connects, what is sent, and what comes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from piwheels.core import codec
from piwheels.core.protocols import LEVEL_1_ID, NoData

#: The wires on which each peer is admitted. All of them are tried.
CONNECTIONS = {
    # Valid keys
    "victim": {"slave", "file"},
    "other slave": {"slave", "file"},
    "viewer": {"status", "control", "console"},
    "operator": {"status", "control", "console"},
    "administrator": {"file", "status", "control", "console", "import", "log"},
    "logger": {"log"},
    "key before rotation": {"slave", "file"},
    # Other keys
    "stranger": set(),
    "revoked": set(),
    "expired": set(),
    "on a broken line": set(),
    "on two lines": set(),
    "public key of the victim": set(),
    "wrong key of the master": set(),
    # No keys
    "NULL": set(),
    "PLAIN": set(),
    "not ZMTP": set(),
}

#: The routing id of the victim's connection.
VICTIM_ID = LEVEL_1_ID + b"victim"
JOB = ["demo", "1.0"]
STATS = [datetime(2026, 1, 31, tzinfo=UTC), 9, 8, 7, 6, 5, 4, 0.5, 40.0]
FAILED = [False, timedelta(seconds=1), "log\n", []]


def hello(platform: str = "linux_x86_64", **features: Any) -> list[Any]:
    """Return the data of a HELLO with the label of the victim."""
    about = ["311", "cp311", platform, "victim", "Debian", "12", "", ""]
    return [timedelta(hours=1), timedelta(minutes=5), *about, {"level": 1, **features}]


RESUME = hello(resume=JOB, identity="one")


class Attack(NamedTuple):
    """Messages that *peer* sends one after the other, and the answer to each (``""``: none).

    Slave 1 of the peer ``victim`` builds demo 1.0 then, and is asked for its file. *routing_id* is
    that of the attacker's connection.
    """

    name: str
    peer: str
    wire: str
    says: list[tuple[bytes | list[bytes], str]]
    routing_id: bytes = b""


def slave(msg: str, data: Any = NoData) -> list[bytes]:
    """Return the frames of a message of a slave."""
    return [b"", codec.dumps(msg, data)]


def operator(msg: str, data: Any = NoData) -> list[bytes]:
    """Return the frames of a message of a console."""
    return [b"12345678", codec.dumps(msg, data)]


HELLO = (operator("HELLO", [1, "eve"]), "OK")

MESSAGES = (
    # Sessions and builds of another slave
    Attack("resumes its build with label and identity", "other slave", "slave",
        [(slave("HELLO", RESUME), "ACK"), (slave("BUSY", STATS), "DONE")]),
    Attack("reports its build as failed", "other slave", "slave",
        [(slave("HELLO", RESUME), "ACK"), (slave("BUILT", FAILED), "DONE")]),
    Attack("sends output for its build", "other slave", "slave",
        [(slave("HELLO", RESUME), "ACK"), (slave("OUTPUT", [0, "owned"]), "DONE")]),
    Attack("returns without its build", "other slave", "slave",
        [(slave("HELLO", hello(identity="one")), "ACK")]),
    Attack("resumes a build that nobody was given", "other slave", "slave",
        [(slave("HELLO", hello(resume=["demo", "2.0"])), "ACK"), (slave("BUSY", STATS), "DONE")]),
    *(
        Attack(f"sends {msg} from its address", "other slave", "slave",
            [(slave(msg, data), "")], VICTIM_ID)
        for msg, data in {
            "HELLO": RESUME, "BUSY": STATS, "IDLE": STATS, "BUILT": FAILED, "SENT": NoData,
            "BYE": NoData, "OUTPUT": [0, "owned"],
        }.items()
    ),
    Attack("sends nonsense from its address", "other slave", "slave",
        [([b"", b"\xff"], "")], VICTIM_ID),
    # Files of another slave
    *(
        Attack(f"{peer} sends its file", peer, "file", [([b"HELLO", b"1"], "")])
        for peer in ("other slave", "administrator")
    ),
    Attack("sends its file as number 0", "other slave", "file", [([b"HELLO", b"0"], "")]),
    Attack("sends a chunk of its file", "other slave", "file",
        [([b"HELLO", b"1"], ""), ([b"CHUNK", b"0", b"owned"], "")]),
    # Commands without the role for them
    *(
        Attack(f"{peer} says {verb} on a console", peer, "console",
            [HELLO, (operator(verb, data), "REFUSED")])
        for peer, verb, data in [
            ("viewer", "KILL", [1]), ("viewer", "SLEEP", None), ("viewer", "SKIP", [1]),
            ("viewer", "WAKE", [1]), ("viewer", "QUIT", NoData), ("operator", "QUIT", NoData),
        ]
    ),
    Attack("a command without a greeting", "operator", "console",
        [(operator("KILL", [1]), "REFUSED")]),
    *(
        Attack(f"{peer} says {verb} on the control socket", peer, "control",
            [([codec.dumps(verb, data)], "")])
        for peer, verb, data in [
            ("viewer", "KILL", 1), ("viewer", "SLEEP", None), ("viewer", "SKIP", 1),
            ("viewer", "QUIT", NoData), ("operator", "QUIT", NoData),
        ]
    ),
)  # fmt: skip


class Join(NamedTuple):
    """A *request* with the key of an invitation, and the answer to it (``""``: none)."""

    name: str
    request: tuple[str, Any]
    answer: str


JOINS = (
    Join("asks for work", ("IDLE", STATS), ""),
    Join("greets as a slave", ("HELLO", hello()), ""),
    Join("resumes a build", ("HELLO", RESUME), ""),
    Join("leaves", ("BYE", NoData), ""),
    Join("enrols a number", ("HELLO", hello(join=7)), ""),
    Join("enrols a text that is too long", ("HELLO", hello(join="x" * 41)), "REFUSED"),
    Join("enrols a name", ("HELLO", hello(join="victim")), "REFUSED"),
    Join("enrols a line", ("HELLO", hello(join="x" * 40 + "\nadminister eve")), ""),
    Join("enrols a key", ("HELLO", hello(join="x" * 40)), "HELLO"),
    Join("enrols a second key", ("HELLO", hello(join="y" * 40)), ""),
)
