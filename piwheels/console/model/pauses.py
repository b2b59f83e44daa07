"""Who paused the farm or a slave, and why, as far as the master has reported it (level 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from piwheels.core.protocols import CommandReport

#: The master's own pauses begin so. It ends them itself: an operator's resume does not.
_MASTER: Final = "the master"


class Pauses:
    """The pauses in force: of the whole farm (``None``) and of single slaves.

    An operator and the master can pause the same slaves, each until they resume them.
    """

    def __init__(self) -> None:
        self._by: dict[tuple[int | None, bool], str] = {}

    def note(self, report: CommandReport) -> None:
        """Take a report; only those of SLEEP and WAKE matter."""
        by_master = report.who.startswith(_MASTER)
        targets = [None] if report.slaves is None else report.slaves
        match report.verb:
            case "SLEEP":
                self._by |= {(target, by_master): report.who for target in targets}
            case "WAKE" if report.slaves is None and not by_master:
                # It also ends what the master thinks of single slaves.
                self._by = {key: who for key, who in self._by.items() if key == (None, True)}
            case "WAKE":
                for target in targets:
                    self._by.pop((target, by_master), None)
                    if target is not None:
                        self._by.pop((target, True), None)

    def why(self, slave_id: int | None) -> str:
        """Return who pauses a slave (``None``: the farm), and why; ``""`` if that is unknown."""
        keys = [(slave_id, True), (slave_id, False), (None, True), (None, False)]
        return next((self._by[key] for key in keys if key in self._by), "")
