"""CloudGazer, who will follow the upstream index for new and deleted packages."""

from __future__ import annotations

from piwheels.core.tasks import PauseableTask


class CloudGazer(PauseableTask):
    """Follows nothing yet: only what is added (MrChase) is built."""

    name = "cloud_gazer"

    def once(self) -> None:
        """Say so."""
        self.logger.info("the upstream index is not followed: only what is added gets built")
