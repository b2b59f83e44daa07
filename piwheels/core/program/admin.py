"""Options of the admin tools, and their sentences for the master's refusals.

The requests themselves are in :mod:`piwheels.core.farm`.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.errors import BadMessage, Fatal, Refused
from piwheels.core.paths import address
from piwheels.core.program.command_line import option
from piwheels.core.schema import schema_of
from piwheels.core.states import Package, Tag
from piwheels.core.states import Version as VersionText
from piwheels.core.wheels.tags import is_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A sentence with advice for each code word of a refusal.
REFUSALS: Final = {
    "NOPKG": "the package {package} is not known here: piw-add {package} adds it",
    "NOVER": "{package} has no version {version} here: piw-add {package} {version} adds it",
    "SKIPPKG": "{package} is marked as deleted, or is just being removed: piw-add {package}"
    " --unskip brings it back",
    "SKIPVER": "{package} {version} is marked as deleted, or is just being removed: piw-add"
    " {package} {version} --unskip brings it back",
    "YANKVER": "{package} {version} is yanked: piw-add {package} {version} --unyank changes that",
}


def _parser(cls: Any, what: str) -> Callable[[str], str]:
    """Return a parser for text that is valid on the wires as a *cls*; *what* names that."""

    def parse(text: str) -> str:
        try:
            return str(schema_of(cls).validate(text))
        except BadMessage:
            raise ValueError(f"{text!r} is not {what}") from None

    return parse


#: Parsers of options: they return the text, or raise ``ValueError``.
package_name: Final = _parser(Package, "the name of a package")
abi_tag: Final = _parser(Tag, "the tag of an ABI, as cp311 is")
_sent_version: Final = _parser(VersionText, "a version (PEP 440)")


def version_text(text: str) -> str:
    """Return *text* if it is a version. Raises ``ValueError``."""
    if not is_version(text):
        raise ValueError(f"{text!r} is not a version (PEP 440)")
    return _sent_version(text)


def moment(text: str) -> datetime:
    """Return the date and time *text* (ISO 8601; UTC if it has no offset).

    Raises ``ValueError`` for other text.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write 2026-01-31 or 2026-01-31T12:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def package_option(**more: Any) -> Any:
    """Declare the argument that names a package; *more* are arguments of ``option``."""
    more.setdefault("help", "the name of the package")
    return option(metavar="PACKAGE", positional=True, parse=package_name, **more)


def version_option(help: str) -> Any:  # noqa: A002 (as in option)
    """Declare the optional argument that is a version."""
    return option(default="", metavar="VERSION", positional=True, parse=version_text, help=help)


def _reason(text: str) -> str:
    # An empty text means "not given": piw-remove would then remove the package.
    if not text.strip():
        raise ValueError("a reason cannot be empty")
    return text


def reason_option(help: str) -> Any:  # noqa: A002 (as in option)
    """Declare the option for the reason of a skip (``""``: not given)."""
    return option(default="", metavar="REASON", parse=_reason, help=help)


def queue_option() -> Any:
    """Declare the option for the master's address (``""``: the default of ``Farm``)."""
    return option(
        default="",
        metavar="ADDR",
        parse=lambda text: address(text) if text else "",
        help="the address of the master (default: this user's, or the service's)",
    )


def yes_option() -> Any:
    """Declare the option that answers every question with yes."""
    return option("-y", default=False, help="do not ask before changing anything")


@contextmanager
def explaining(package: str, version: str = "") -> Iterator[None]:
    """Turn a refusal with a code word of :data:`REFUSALS` into ``Fatal`` with its sentence."""
    try:
        yield
    except Refused as exc:
        if exc.code not in REFUSALS:
            raise
        raise Fatal(REFUSALS[exc.code].format(package=package, version=version)) from exc
