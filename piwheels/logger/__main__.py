"""``python -m piwheels.logger`` is ``piw-logger``."""

import sys

from piwheels.logger.app import main

sys.exit(main())
