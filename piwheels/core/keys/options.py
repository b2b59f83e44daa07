"""The options of programs that use keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from piwheels.core.errors import Fatal
from piwheels.core.farm import Farm
from piwheels.core.keys.files import read_pair
from piwheels.core.keys.ring import KEY, NAME
from piwheels.core.program.command_line import option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from piwheels.core.keys.files import KeyPair


def public_key(text: str) -> str:
    """Return *text* if it is a public key. Raises ``ValueError``."""
    if text and not KEY.fullmatch(text):
        raise ValueError(
            f"{text[:60]!r} is not a public key, which has 40 characters: put it in single quotes"
        )
    return text


def holder_name(text: str) -> str:
    """Return *text* if it can name the holder of a key. Raises ``ValueError``."""
    if text and not NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not a name of letters, digits and . _ - @")
    return text


def key_option() -> Any:
    """Declare the option for the file of the program's own key."""
    return option(
        default=None, metavar="FILE", help="the secret key that the master has enrolled (piw-keys)"
    )


def master_key_option() -> Any:
    """Declare the option for the public key of the master."""
    return option(
        default=[], metavar="KEY", parse=public_key,
        help="the public key of the master (default: the one in the file of --key); can be repeated"
        " while the master changes its key",
    )  # fmt: skip


def client_pair(key: Path | None, master_keys: Sequence[str]) -> KeyPair | None:
    """Return the key pair for connections to the master; ``None`` without a key.

    The master has one of *master_keys*.

    Raises ``Fatal``.
    """
    if key is None:
        if master_keys:
            raise Fatal("--master-key needs --key: the file of this program's own key")
        return None
    pair = read_pair(key)
    pair = pair._replace(master=",".join(master_keys) or pair.master)
    if not pair.master:
        raise Fatal(f"{key} does not name the master: add --master-key (piw-keys list shows it)")
    return pair


class HasKey(Protocol):
    """The options of a tool that connects to a master."""

    @property
    def import_queue(self) -> str:
        """The address of the master."""

    @property
    def key(self) -> Path | None:
        """The file of its own key."""

    @property
    def master_key(self) -> list[str]:
        """The keys that the master may have."""


def farm_of(config: HasKey, **more: Any) -> Farm:
    """Return the client of the master that *config* names; *more* are arguments of ``Farm``."""
    return Farm(config.import_queue, key=client_pair(config.key, config.master_key), **more)
