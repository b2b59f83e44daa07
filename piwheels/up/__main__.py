"""``python -m piwheels.up`` is ``piw-up``."""

import sys

from piwheels.up.app import main

sys.exit(main())
