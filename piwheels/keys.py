"""piw-keys: create keys, and decide which keys may use a farm over the network."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.keys.files import INVITATION, KeyFolder, new_pair, read_pair, write_pair
from piwheels.core.keys.options import holder_name, public_key
from piwheels.core.keys.ring import Enrolled, Role, fingerprint, platform_tag
from piwheels.core.program.admin import yes_option
from piwheels.core.program.command_line import Common, option, program, usage_error
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import confirmed
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

#: The roles of keys; an invitation has another one.
ROLES: Final = tuple(role for role in Role if role is not Role.JOIN)
_EXAMPLE: Final = "Xq8t!v{6@Pm2(Rw4&Zk9^Ls3*Yd7)Gh5[Bn1]Cj0"
_HEADINGS: Final = ("name", "role", "fingerprint", "enrolled", "state", "platforms", "last seen")


@dataclass(frozen=True, kw_only=True)
class KeysConfig(Common):
    """Create keys, and decide which keys may use a farm over the network.

    create makes a key pair, on the machine that will use it. The others change or show the keys
    of a master, and run as its user; a running master follows within a second.
    """

    action: Literal[
        "", "create", "enrol", "invite", "list", "platform", "revoke", "rotate"
    ] = option(
        default="", positional=True,
        choices=("create", "enrol", "invite", "list", "platform", "revoke", "rotate"),
        help="create a key pair; enrol a key; invite a slave, which creates and enrols its key"
        " itself; list all keys; change the platforms of a slave; revoke the keys of a holder; or"
        " enrol a second key of a holder, whose earlier ones expire",
    )  # fmt: skip
    name: str = option(
        default="", positional=True, metavar="NAME",
        help="the holder of the key: a slave or an operator; for revoke also a fingerprint",
        parse=holder_name,
    )  # fmt: skip
    public: str = option(
        default="", positional=True, metavar="KEY", parse=public_key,
        help="the public key, as create prints it",
    )  # fmt: skip
    role: Literal["slave", "view", "operate", "administer", "log"] = option(
        default="slave", choices=ROLES,
        help="for enrol: what the holder may do: build; see the farm; and command slaves; and stop"
        " the master and use the admin tools; or only send access logs",
    )  # fmt: skip
    platform: list[str] = option(
        default=[], metavar="TAG", parse=platform_tag,
        help="for enrol, invite and platform: what the slave may build for, such as linux_aarch64"
        " (can be repeated; default: the platform of its next greeting)",
    )  # fmt: skip
    file: Path | None = option(
        default=None, metavar="FILE",
        help="the file of the key pair, in place of KEY; it is made if it does not exist (for"
        " create: NAME.key by default)",
    )  # fmt: skip
    valid: timedelta | None = option(
        default=None,
        metavar="DURATION",
        help="for enrol and invite: it expires after this time (default: for invite after 1h)",
    )
    overlap: timedelta = option(
        default=timedelta(days=7), metavar="DURATION",
        help="for rotate: how long the earlier keys stay valid",
    )  # fmt: skip
    keys: Path | None = option(
        default=None, metavar="DIR",
        help="the keys of the master (default: those of this user's piw-up)",
    )  # fmt: skip
    yes: bool = yes_option()
    json: bool = json_option()


@program(
    "piw-keys",
    KeysConfig,
    examples=[
        ("piw-keys create board7", "on the board: make board7.key, and show its public part"),
        (f"piw-keys enrol board7 '{_EXAMPLE}'", "on the master: let it build"),
        (
            "piw-keys enrol dave --role operate --file dave.key",
            "make a key for an operator, and enrol it",
        ),
        ("piw-keys invite board8", "print a command for a board that joins the farm"),
        ("piw-keys platform board7", "have it greet with another platform, once"),
        ("piw-keys list", "show all keys, and when each was last seen"),
        ("piw-keys revoke board7", "end all its connections at once"),
    ],
)
def main(config: KeysConfig) -> int:
    """Run ``piw-keys``."""
    if not config.action or (config.action != "list" and not config.name):
        usage_error("piw-keys", config, "say what to do, and with whose key: piw-keys enrol NAME")
    is_slave = config.role == "slave" or config.action in ("invite", "platform")
    if config.platform and not (is_slave and config.action in _WITH_PLATFORM):
        usage_error("piw-keys", config, "--platform is for enrol, invite and platform of slaves")
    _ACTIONS[config.action](config, Report(config))
    return 0


def _create(config: KeysConfig, report: Report) -> None:
    path = config.file or Path(f"{config.name}.key")
    pair = new_pair(config.public)
    write_pair(path, pair)
    report.write(
        f"wrote the secret key {path}; enrol it on the master:\n"
        f"piw-keys enrol {config.name} '{pair.public}'",
        event="created", name=config.name, file=path, key=pair.public,
    )  # fmt: skip


def _enrol(config: KeysConfig, report: Report) -> None:
    folder, now = KeyFolder(config.keys), SYSTEM.now()
    public = _public(config, folder)
    until = None if config.valid is None else now + config.valid
    platforms = tuple(config.platform)
    new = Enrolled(Role(config.role), config.name, public, now, until, platforms=platforms)
    folder.change(lambda ring: ring.enrol(new, now))
    end = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    report.write(
        f"enrolled {new.name} ({new.role}, {fingerprint(new)}){end}; the master's key is\n"
        f"{folder.pair().public}",
        event="enrolled", master_key=folder.pair().public, **_values(new),
    )  # fmt: skip


def _invite(config: KeysConfig, report: Report) -> None:
    folder, now = KeyFolder(config.keys), SYSTEM.now()
    until = now + (config.valid or INVITATION)
    new, text = folder.invite(config.name, until, now, tuple(config.platform))
    command = f"piw-slave --master {socket.gethostname()} --join {text}"
    report.write(
        f"{new.name} joins with this command, once, until {until:%Y-%m-%d %H:%M} UTC (--master is"
        f" the address of this machine):\n{command}",
        event="invited", command=command, **_values(new),
    )  # fmt: skip


def _public(config: KeysConfig, folder: KeyFolder) -> str:
    """Return the public key of the command line, or that of a file, which is made if missing."""
    if bool(config.public) == (config.file is not None):
        usage_error("piw-keys", config, "give the key either as KEY or by --file FILE")
    if config.file is None:
        return config.public
    if not config.file.exists():
        write_pair(config.file, new_pair(folder.pair().public))
    return read_pair(config.file).public


def _revoke(config: KeysConfig, report: Report) -> None:
    folder, now = KeyFolder(config.keys), SYSTEM.now()
    _, keys = folder.ring().revoke(config.name, now)
    what = f"revoke {counted(len(keys), 'key')} of {keys[0].name}"
    if not confirmed(what, yes=config.yes):
        raise Fatal("nothing was changed")
    folder.change(lambda ring: ring.revoke(config.name, now)[0])
    for key in keys:
        report.write(f"revoked {key.name} ({fingerprint(key)})", event="revoked", **_values(key))


def _rotate(config: KeysConfig, report: Report) -> None:
    folder, now = KeyFolder(config.keys), SYSTEM.now()
    public = _public(config, folder)
    ring = folder.change(lambda ring: ring.rotate(config.name, public, now, config.overlap))
    new, end = ring.keys[public], now + config.overlap
    report.write(
        f"enrolled a new key of {new.name} ({fingerprint(new)}); its earlier keys end on"
        f" {end:%Y-%m-%d %H:%M} UTC",
        event="rotated", **_values(new),
    )  # fmt: skip


def _platform(config: KeysConfig, report: Report) -> None:
    folder, platforms = KeyFolder(config.keys), tuple(config.platform)
    ring = folder.change(lambda ring: ring.move(config.name, platforms))
    what = " and ".join(platforms) or "the platform of its next greeting"
    for key in ring.of(config.name):
        report.write(
            f"{key.name} ({fingerprint(key)}) builds for {what}", event="platform", **_values(key)
        )


def _list(config: KeysConfig, report: Report) -> None:
    folder, now = KeyFolder(config.keys), SYSTEM.now()
    ring, seen = folder.ring(), folder.seen()
    for problem in ring.problems:
        sys.stderr.write(f"piw-keys: {folder.ring_file}, {problem}\n")
    keys = [key for key in ring.keys.values() if config.name in ("", key.name)]
    for key in keys:
        last = seen.get(key.public) or None
        report.record(event="key", last_seen=last, state=_state(key, now), **_values(key))
    if config.json or config.quiet:
        return
    rows = [_HEADINGS, *(_row(key, now, seen.get(key.public, "never")) for key in keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
    sys.stdout.write(f"the key of the master is {folder.pair().public}\n")


def _row(key: Enrolled, now: datetime, seen: str) -> tuple[str, ...]:
    about = key.name, key.role, fingerprint(key), f"{key.since:%Y-%m-%d}"
    state = _state(key, now), ", ".join(key.platforms)
    return (*about, *state, seen.replace("T", " ", 1).replace("Z", "", 1))


def _state(key: Enrolled, now: datetime) -> str:
    if key.revoked:
        return f"revoked {key.revoked:%Y-%m-%d}"
    if key.until is None:
        return "valid"
    word = "expired" if key.why_invalid(now) else "valid until"
    return f"{word} {key.until:%Y-%m-%d %H:%M}"


def _values(key: Enrolled) -> dict[str, Any]:
    about = {"name": key.name, "role": key.role, "key": key.public, "since": key.since}
    about |= {"fingerprint": fingerprint(key), "until": key.until, "revoked": key.revoked}
    return about | {"platforms": list(key.platforms)}


_ACTIONS: Final[dict[str, Callable[[KeysConfig, Report], None]]] = {
    "create": _create, "enrol": _enrol, "invite": _invite, "list": _list,
    "platform": _platform, "revoke": _revoke, "rotate": _rotate,
}  # fmt: skip
#: The actions with the option --platform.
_WITH_PLATFORM: Final = ("enrol", "invite", "platform")


if __name__ == "__main__":
    sys.exit(main())
