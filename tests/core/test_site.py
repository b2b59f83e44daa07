import pytest

from piwheels.core.site import log_name


def test_where_a_log_is():
    assert log_name(1) == "logs/0000/0000/0001.txt.gz"
    assert log_name(123456789012) == "logs/1234/5678/9012.txt.gz"
    for number in (-1, 10**12):
        with pytest.raises(ValueError, match="not the number of a build"):
            log_name(number)
