"""``python -m piwheels.console.simulate``: a farm to look at."""

import sys

from piwheels.console.simulate.app import main

if __name__ == "__main__":
    sys.exit(main())
