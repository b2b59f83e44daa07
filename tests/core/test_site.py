from pathlib import Path

import pytest

from piwheels.core.site import log_name, log_number, work_path


def test_where_a_log_is():
    assert log_name(1) == "logs/0000/0000/0001.txt.gz"
    assert log_name(123456789012) == "logs/1234/5678/9012.txt.gz"
    for number in (-1, 10**12):
        with pytest.raises(ValueError, match="not the number of a build"):
            log_name(number)


def test_a_log_is_found_by_its_path():
    for build_id in (0, 1, 12_345_678, 10**12 - 1):
        assert log_number(log_name(build_id)) == build_id
    for path in ("logs/1.txt.gz", "logs/0000/0000/0001.txt", "x/0000/0000/0001.txt.gz", ""):
        assert log_number(path) is None


def test_the_working_folder_is_beside_the_site():
    assert work_path(Path("/srv/www/piwheels")) == Path("/srv/www/.piwheels.work")
