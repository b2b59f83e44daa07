"""Functions that the admin tools share."""

import pytest

from piwheels.core.errors import Fatal, Refused
from piwheels.core.program.admin import explaining


def test_code_words_are_explained():
    words = "six has no version 9 here: piw-add six 9 adds it"
    with pytest.raises(Fatal, match=words), explaining("six", "9"):
        raise Refused("NOVER")
    with pytest.raises(Refused, match="the disk"), explaining("six"):
        raise Refused("IMPORT", "the disk")
