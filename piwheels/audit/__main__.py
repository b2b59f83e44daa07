"""``python -m piwheels.audit`` is ``piw-audit``."""

import sys

from piwheels.audit import main

sys.exit(main())
