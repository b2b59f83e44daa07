"""Names of releases, from what slaves say of their systems."""

import pytest

from piwheels.core.targets import release_name


@pytest.mark.parametrize(
    ("os_version", "name"),
    [("12 (bookworm)", "bookworm"), ("24.04 LTS (Noble Numbat)", ""), ("13", ""), ("", "")],
)
def test_the_name_of_a_release(os_version, name):
    assert release_name(os_version) == name
