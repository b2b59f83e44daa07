"""Which files of an index a build gets by its recipe."""

from datetime import UTC, datetime

import pytest
from packaging.version import Version

from piwheels.core.recipes import PLAIN, Recipe
from piwheels.slave.egress.selection import is_source, oldest_tools, selection, version_of

YEAR = datetime(2021, 1, 1, tzinfo=UTC)
FILES = {
    "Cython-0.29.tar.gz": "2018-10-14T00:00:00Z",
    "cython-3.0.0a1-py2.py3-none-any.whl": "2020-04-12T01:02:03.456789Z",
    "Cython-3.0.0.tar.gz": "2023-07-17T00:00:00+02:00",
    "Cython-3.1.tar.gz": "2025-05-08",  # without a time zone
    "Cython-new.tar.gz": "soon",
    "Cython-3.2.zip": None,
}
PAGE = {"files": [{"filename": name, "upload-time": time} for name, time in FILES.items()]}


def names(choice, project="cython"):
    return [file["filename"] for file in choice.of(PAGE, project)["files"]]


def test_a_constraint_holds_for_the_versions_of_its_project():
    choice = selection("demo", Recipe(constraints=("cython<3", "CYTHON>=0.2", "other<1")))
    assert names(choice) == ["Cython-0.29.tar.gz", "Cython-new.tar.gz"]
    assert names(choice, "") == names(choice)  # a list of files of several projects
    assert names(choice, "third") == list(FILES)
    later = selection("demo", Recipe(constraints=("cython>=3.0.0a1,<3.1",)))
    assert names(later)[:2] == ["cython-3.0.0a1-py2.py3-none-any.whl", "Cython-3.0.0.tar.gz"]


def test_files_uploaded_later_are_left_out_if_the_page_says_so():
    choice = selection("demo", Recipe(before=YEAR))
    assert names(choice) == [
        "Cython-0.29.tar.gz", "cython-3.0.0a1-py2.py3-none-any.whl", "Cython-new.tar.gz",
        "Cython-3.2.zip",
    ]  # fmt: skip
    assert choice.has_undated(PAGE, "cython")
    assert not choice.has_undated({"files": PAGE["files"][:4]}, "cython")
    assert not selection("demo", PLAIN).has_undated(PAGE, "cython")


def test_tools_must_run_on_their_python():
    years = {"39": 2021, "311": 2021, "312": 2023, "313": 2024, "399": 2025}
    assert {python: oldest_tools(python).year for python in years} == years


@pytest.mark.parametrize("package", ["Cython", "CYTHON"])
def test_the_own_project_of_a_build_is_whole(package):
    choice = selection(package, Recipe(constraints=("cython<3",), before=YEAR))
    assert names(choice) == list(FILES)
    assert not choice.has_undated(PAGE, "cython")


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("zope.interface-5.4.0.tar.gz", "zope-interface", "5.4"),
        ("a-b-1.0.zip", "a-b", "1.0"),
        ("a-b-1.0.zip", "a", None),
        ("a-1.0-beta1.tar.bz2", "a", "1.0b1"),
        ("a_b-1.0+local.tgz", "a-b", "1.0+local"),
        ("a-1.0-py3-none-any.whl", "a", "1.0"),
        ("a-1.0-py3-none-any.whl", "b", None),
        ("a-1.0.txt", "a", None),
        ("-" * 250 + ".zip", "a", None),
    ],
)
def test_the_version_of_an_archive(filename, project, version):
    assert version_of(filename, project) == (Version(version) if version else None)
    assert is_source(filename, project, Version("1.0")) == (
        version == "1.0" and not filename.endswith(".whl")
    )
