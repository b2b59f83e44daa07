"""``python -m piwheels.console`` is ``piw-console``."""

import sys

from piwheels.console.app import main

if __name__ == "__main__":
    sys.exit(main())
