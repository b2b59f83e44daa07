"""``python -m piwheels.slave`` is ``piw-slave``."""

import sys

from piwheels.slave.app import main

sys.exit(main())
