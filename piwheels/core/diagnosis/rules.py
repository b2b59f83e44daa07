"""The diagnosis of a failed build from its log and its ending. Pure."""

from __future__ import annotations

from piwheels.core.diagnosis.classes import Diagnosis
from piwheels.core.faults import CAUSES, certain_cause, slave_fault

_REASONS = {
    "ssl": "slave-broken", "pip": "slave-broken", "disk": "disk-full",
    "network": "index-unreachable", "memory": "out-of-memory", "modules": "incomplete-python",
    "headers": "incomplete-python", "compiler": "missing-compiler",
}  # fmt: skip
_CERTAIN = dict(
    zip(CAUSES, ("python-too-old", "no-source", "metadata-mismatch", "python-2"), strict=True)
)


def diagnose(log: str, ending: str = "") -> Diagnosis:
    """Return why the build with this *log* failed.

    *ending* says how its pip ended: ``exit 1``, ``signal 9``, ``timeout``, ``silent``, ``memory``,
    ``disk``, ``processes``, ``cpu``, ``full``, ``lost``; ``trial`` (the wheel cannot be installed),
    ``wheel`` (no or broken wheels); ``""``: unknown.
    """
    if (fault := slave_fault(log)) is not None:
        return Diagnosis(_REASONS[fault.code], fault.what, fault.cure, 0.9)
    if (cause := certain_cause(log)) is not None:
        return Diagnosis(_CERTAIN[cause], "", cause.what, 0.9)
    return Diagnosis("unknown")
