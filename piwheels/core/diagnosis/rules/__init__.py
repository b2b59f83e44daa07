"""The rules by which the cause of a failure is found, as tables. Pure.

Of two rules for one line that decide as much, the first one counts.
"""

from typing import Final

from piwheels.core.diagnosis.rule import Rule
from piwheels.core.diagnosis.rules import (
    backends,
    farm,
    modules,
    native,
    pip,
    python,
    source,
    tools,
)

#: All rules.
RULES: Final[tuple[Rule, ...]] = (
    *farm.RULES,
    *pip.RULES,
    *tools.RULES,
    *backends.RULES,
    *modules.RULES,
    *python.RULES,
    *native.RULES,
    *source.RULES,
)
