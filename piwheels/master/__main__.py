"""``python -m piwheels.master`` is ``piw-master``."""

import sys

from piwheels.master.app import main

sys.exit(main())
