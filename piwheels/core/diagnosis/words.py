"""What people read of a failure in one line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piwheels.core.diagnosis.classes import Diagnosis


def headline(diagnosis: Diagnosis, instead: str = "") -> str:
    """Return a failure in one line: its class and its cause, whole.

    *instead* is for a failure whose cause is unknown: the end of its log.
    """
    text = diagnosis.cause or instead or diagnosis.subject
    title = "" if is_unknown(diagnosis) else diagnosis.about.title
    return ": ".join(filter(None, (title, text))) or diagnosis.about.title


def is_unknown(diagnosis: Diagnosis) -> bool:
    """Return whether the class says nothing: an older farm has none, or it found none."""
    return diagnosis.about.code == "unknown"
