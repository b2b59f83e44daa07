"""``python -m piwheels.console.simulate``: simulate a farm."""

import sys

from piwheels.console.simulate.app import main

if __name__ == "__main__":
    sys.exit(main())
