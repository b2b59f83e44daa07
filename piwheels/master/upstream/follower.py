"""The interface between CloudGazer and the ways to follow an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from piwheels.core.fetching import UpstreamFault

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
    from piwheels.core.errors import PiWheelsError
    from piwheels.master.logic.changelog import Removal
    from piwheels.master.the_oracle import DbClient
    from piwheels.master.wiring import MasterConfig
    from piwheels.master.worker_pool import WorkerPool


class Gazer(Protocol):
    """The part of CloudGazer that a follower uses."""

    @property
    def config(self) -> MasterConfig:
        """The configuration of the master."""

    @property
    def logger(self) -> logging.Logger:
        """The task's logger."""

    @property
    def clock(self) -> Clock:
        """The task's clock."""

    @property
    def db(self) -> DbClient:
        """The database."""

    @property
    def pool(self) -> WorkerPool:
        """The threads that send requests to the index."""

    @property
    def removals(self) -> Mapping[Removal, float]:
        """The removals in progress."""

    @property
    def back_off(self) -> float:
        """The seconds between a first failure and its retry."""

    @property
    def confirm(self) -> float:
        """The seconds for which a release must be missing before it counts as deleted."""

    def store(
        self,
        packages: Sequence[UpstreamPackage],
        versions: Sequence[UpstreamVersion],
        serial: int | None = None,
    ) -> None:
        """Store changes. Raises ``PiWheelsError``."""

    def unexpected(self, what: str, exc: Exception) -> PiWheelsError:
        """Log an unexpected error in the handling of one input; return it as a sentence."""


def fault_of(gazer: Gazer, what: str, exc: Exception) -> UpstreamFault:
    """Return *exc*, which a request for *what* has raised, as a fault of what was requested."""
    if isinstance(exc, UpstreamFault):
        return exc
    return UpstreamFault(str(gazer.unexpected(what, exc)), of_index=False)
