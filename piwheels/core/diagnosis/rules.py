"""The diagnosis of a failed build from its log and its ending. Pure."""

from __future__ import annotations

from piwheels.core.diagnosis.classes import Diagnosis


def diagnose(log: str, ending: str = "") -> Diagnosis:
    """Return why the build with this *log* failed.

    *ending* says how its pip ended: ``exit 1``, ``signal 9``, ``timeout``, ``silent``, ``memory``,
    ``disk``, ``processes``, ``cpu``, ``full``, ``lost``; ``trial`` (the wheel cannot be installed),
    ``wheel`` (no or broken wheels); ``""``: unknown.
    """
    return Diagnosis("unknown")
