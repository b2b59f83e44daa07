"""CloudGazer, who will follow the upstream index for new and deleted packages."""

from __future__ import annotations

from piwheels.core.tasks import PauseableTask


class CloudGazer(PauseableTask):
    """Follows nothing yet: packages and versions come from ``piw-add`` until it does."""

    name = "cloud_gazer"

    def once(self) -> None:
        """Say so."""
        self.logger.info("the upstream index is not followed: add packages with piw-add")
