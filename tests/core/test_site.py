from pathlib import Path

import pytest

from piwheels.core.site import log_name, log_number, site_address, work_path


def test_the_path_of_a_log():
    assert log_name(1) == "logs/0000/0000/0001.txt.gz"
    assert log_name(123456789012) == "logs/1234/5678/9012.txt.gz"
    for number in (-1, 10**12):
        with pytest.raises(ValueError, match="not the number of a build"):
            log_name(number)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ""),
        ("https://wheels.example", "https://wheels.example/"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("https://wheels.example/a/b", "https://wheels.example/a/b/"),
        ("http://[::1]:8080", "http://[::1]:8080/"),
    ],
)
def test_the_address_of_a_site(text, address):
    assert site_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "wheels.example", "ftp://wheels.example/", "https://", "https:///x", "https://a.example/?q=1",
        "https://a.example/#x", "https://user@a.example/", "https://a b/",
        'https://a.example/"><script>', "https://a.example//x", "https://a.example/\n",
        "javascript:alert(1)",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(text):
    with pytest.raises(ValueError, match="is not the address of a site"):
        site_address(text)


def test_the_number_of_a_log_from_its_path():
    for build_id in (0, 1, 12_345_678, 10**12 - 1):
        assert log_number(log_name(build_id)) == build_id
    for path in ("logs/1.txt.gz", "logs/0000/0000/0001.txt", "x/0000/0000/0001.txt.gz", ""):
        assert log_number(path) is None


def test_the_working_folder_is_next_to_the_site():
    assert work_path(Path("/srv/www/piwheels")) == Path("/srv/www/.piwheels.work")
