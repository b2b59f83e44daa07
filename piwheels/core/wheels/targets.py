"""Old names, until all branches are merged."""

# ruff: noqa: F401
from piwheels.core.targets import FIRST, Target, family
from piwheels.core.wheels.serving import accepted_by, serves
