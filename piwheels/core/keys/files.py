"""The files of keys: the key pair of a peer, and the folder with the ring of a master.

Nobody else may read a file with a secret. A file is replaced as a whole, so that a reader sees
either the old or the new one.
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import zmq
from zmq.utils import z85

from piwheels.core.errors import Fatal
from piwheels.core.keys.ring import KEY, Enrolled, Ring, Role, parse_ring
from piwheels.core.paths import data_dir
from piwheels.core.program.locks import lock_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

#: The largest file that is read, in bytes: more than 100,000 keys.
_MAX: Final = 16 * 2**20
#: How long an invitation is valid by default.
INVITATION: Final = timedelta(hours=1)
#: How long to wait for another program that changes the ring, in seconds.
_PATIENCE: Final = 10.0


class KeyPair(NamedTuple):
    """A key pair as text (Z85). *master* is the public key of the master to use it with."""

    public: str
    secret: str
    master: str = ""

    def __repr__(self) -> str:
        return f"<KeyPair {self.public}>"


def new_pair(master: str = "") -> KeyPair:
    """Return a new random key pair."""
    public, secret = zmq.curve_keypair()
    while public.startswith(b"-"):  # it would look like an option on a command line
        public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode(), master)


def pair_of(secret: str, master: str = "") -> KeyPair:
    """Return the key pair with this *secret* part. Raises ``ValueError`` if it is not a key."""
    try:
        return KeyPair(zmq.curve_public(secret.encode()).decode(), secret, master)
    except (zmq.ZMQError, UnicodeError):
        raise ValueError("this is not a secret key") from None


def invitation_text(pair: KeyPair) -> str:
    """Return the text of an invitation: its secret key and the key of the master, for a shell."""
    keys = z85.decode(pair.secret) + z85.decode(pair.master)
    return base64.urlsafe_b64encode(keys).decode().rstrip("=")


def new_invitation(master: str) -> KeyPair:
    """Return a new key pair for an invitation, whose text does not look like an option."""
    pair = new_pair(master)
    while invitation_text(pair).startswith("-"):
        pair = new_pair(master)
    return pair


def parse_invitation(text: str) -> KeyPair:
    """Return the key pair of an invitation. Raises ``ValueError`` for another text."""
    try:
        keys = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        secret, master = (z85.encode(key).decode() for key in (keys[:32], keys[32:]))
    except ValueError:
        secret = master = ""
    if len(text) != 86 or not (KEY.fullmatch(secret) and KEY.fullmatch(master)):
        raise ValueError(f"{text[:20]!r}... is not an invitation, as piw-keys invite prints it")
    return pair_of(secret, master)


def read_pair(path: Path) -> KeyPair:
    """Return the key pair in the file *path*. Raises ``Fatal`` with the remedy."""
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(_MAX).decode()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "not a text"
        raise Fatal(f"cannot read the key {path} ({why}): make one with piw-keys create") from exc
    if mode & 0o077:
        raise Fatal(f"others can read the secret key {path}: run chmod 600 {path}")
    try:
        found = tomllib.loads(text)
        pair = pair_of(str(found["secret"]), str(found.get("master", "")))
        if pair.public != found["public"] or not (not pair.master or KEY.fullmatch(pair.master)):
            raise ValueError("its parts do not belong together")
    except (ValueError, KeyError) as exc:
        raise Fatal(f"{path} is not a key file: make one with piw-keys create") from exc
    return pair


def write_pair(path: Path, pair: KeyPair, *, replace: bool = False) -> None:
    """Write *pair* to the file *path*. Raises ``Fatal`` if it exists, unless *replace*."""
    lines = ["# A secret key of piwheels (piw-keys). Nobody else may read this file."]
    values = {key: value for key, value in pair._asdict().items() if value}
    lines += [f'{key} = "{value}"' for key, value in values.items()]  # Z85 has no quotes
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, "\n".join([*lines, ""]), replace=replace)
    except FileExistsError:
        raise Fatal(f"{path} exists already: remove it, or choose another file") from None
    except OSError as exc:
        raise Fatal(f"cannot write {path} ({exc.strerror}): choose another file") from exc


def _write(path: Path, text: str, *, replace: bool = True, sync: bool = True) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            if os.geteuid() == 0:  # an administrator, for the user that the master runs as
                owner = path.parent.stat()
                os.fchown(handle, owner.st_uid, owner.st_gid)
            file.flush()
            if sync:
                os.fsync(handle)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class KeyFolder:
    """The folder of a master's keys: its own pair, the ring, and when each key was last seen."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or data_dir() / "keys"
        self.ring_file = self.path / "ring"
        self._seen_file = self.path / "seen"

    def pair(self) -> KeyPair:
        """Return the key pair of the master; make it if there is none. Raises ``Fatal``."""
        path = self.path / "master.key"
        if not path.exists():
            with contextlib.suppress(Fatal):  # another program has just made it, or the next tells
                write_pair(path, new_pair())
        return read_pair(path)

    def ring(self) -> Ring:
        """Return the ring; an empty one if there is no file. Raises ``Fatal``."""
        try:
            with self.ring_file.open("rb") as file:
                return parse_ring(file.read(_MAX).decode("utf-8", "replace"))
        except FileNotFoundError:
            return Ring()
        except OSError as exc:
            raise Fatal(f"cannot read {self.ring_file}: {exc.strerror}") from exc

    def change(self, change: Callable[[Ring], Ring]) -> Ring:
        """Replace the ring by what *change* makes of it, and return that.

        Raises ``Fatal``, and whatever *change* raises.
        """
        advice = "run piw-keys as the user of the master"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise Fatal(f"cannot make {self.path} ({exc.strerror}): {advice}") from exc
        in_use = f"another program changes the keys in {self.path}: try again"
        with lock_file(self.path / "lock", _PATIENCE, in_use, advice):
            changed = change(self.ring())
            try:
                _write(self.ring_file, str(changed))
            except OSError as exc:
                raise Fatal(f"cannot write {self.ring_file} ({exc.strerror}): {advice}") from exc
        return changed

    def invite(
        self, name: str, until: datetime, now: datetime, platforms: tuple[str, ...] = ()
    ) -> tuple[Enrolled, str]:
        """Enrol an invitation for a slave with this *name*; return it with its text.

        Raises ``Fatal``, and ``Refused`` if the name is in use.
        """
        pair = new_invitation(self.pair().public)
        new = Enrolled(Role.JOIN, name, pair.public, now, until, platforms=platforms)
        self.change(lambda ring: ring.invite(new, now))
        return new, invitation_text(pair)

    def seen(self) -> dict[str, str]:
        """Return when and from where each key was last seen, as text, by its public part."""
        try:
            lines = self._seen_file.read_text("utf-8", "replace").splitlines()
        except OSError:
            return {}
        return {key: rest for key, _, rest in (line.partition(" ") for line in lines)}

    def write_seen(self, seen: dict[str, tuple[datetime, str]]) -> None:
        """Record when and from where keys were last seen. Raises ``OSError``."""
        new = {key: f"{when:%Y-%m-%dT%H:%M:%SZ} {where}" for key, (when, where) in seen.items()}
        lines = [f"{key} {text}\n" for key, text in (self.seen() | new).items()]
        _write(self._seen_file, "".join(lines), sync=False)
