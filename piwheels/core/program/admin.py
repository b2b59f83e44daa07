"""What the administrators' programs share: their options, and sentences for refusals.

The requests themselves are in :mod:`piwheels.core.farm`.
"""

from __future__ import annotations

from contextlib import contextmanager
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

#: What the code words of a refusal mean for a package or a version, with advice.
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
    """Return a parser that accepts text which the wires accept as a *cls*."""

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


def package_option(**more: Any) -> Any:
    """Declare the argument that names a package; *more* are arguments of ``option``."""
    more.setdefault("help", "the name of the package")
    return option(metavar="PACKAGE", positional=True, parse=package_name, **more)


def version_option(help: str) -> Any:  # noqa: A002 (as option has it)
    """Declare the optional argument that is a version."""
    return option(default="", metavar="VERSION", positional=True, parse=version_text, help=help)


def _reason(text: str) -> str:
    # Without one the other options decide what is done, up to removing everything.
    if not text.strip():
        raise ValueError("a reason cannot be empty")
    return text


def reason_option(help: str) -> Any:  # noqa: A002 (as option has it)
    """Declare the option for the reason of a skip (``""``: not given)."""
    return option(default="", metavar="REASON", parse=_reason, help=help)


def queue_option() -> Any:
    """Declare the option for the address of the master (``""``: see ``Farm``)."""
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
    """Turn a refusal by a code word into ``Fatal`` with its sentence."""
    try:
        yield
    except Refused as exc:
        if exc.code not in REFUSALS:
            raise
        raise Fatal(REFUSALS[exc.code].format(package=package, version=version)) from exc
