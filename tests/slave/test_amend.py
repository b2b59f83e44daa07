"""Requirements that are added to a source before its build."""

import io
import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

from piwheels.slave import amend

NEW = ["numpy", 'odd; python_version < "3"']


@pytest.mark.parametrize(
    "text",
    [
        '[build-system]\nrequires = ["setuptools"]\n',
        '[build-system]\nrequires=[] # none\nbuild-backend = "x"\n[tool.x]\nrequires = ["a"]\n',
        '[tool.x]\nrequires = ["a"]\n[build-system]\nrequires = [\n  # first\n  "b",\n]\n',
        'build-system = {"requires" = ["x"]}\n',
        "build-system.requires = ['x']\r\n",
        '# requires = [\n[build-system]\nrequires = ["setuptools"]\n',
    ],
)
def test_requirements_come_first_and_the_rest_stays(text):
    before, after = tomllib.loads(text), tomllib.loads(amend.amended(text, NEW))
    before["build-system"]["requires"] = [*NEW, *before["build-system"]["requires"]]
    assert after == before


@pytest.mark.parametrize("text", ["", '[tool.x]\ny = "z"', "[project]\nname = 'x' # no end"])
def test_a_source_without_a_build_system_gets_that_of_setuptools(text):
    found = tomllib.loads(amend.amended(text, NEW))
    system = {"requires": [*NEW, "setuptools"], "build-backend": amend.LEGACY}
    assert found == {**tomllib.loads(text), "build-system": system}


@pytest.mark.parametrize(
    "text",
    [
        "[build-system", "build-system = 1", "[build-system]\nrequires = 1", "[build-system]",
        '[build-system]\n"\\u0072equires" = []', "requires = [" * 200,
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        amend.amended(text, NEW)


def run(folder, name, requirements=NEW):
    show = "import sys; print(open(sys.argv[1] + '/pyproject.toml').read())"
    source = folder / "source"
    command = [sys.executable, "-I", "-c", show, source]
    about = [folder / name, source, json.dumps(requirements), *command]
    return subprocess.run(
        [sys.executable, "-I", amend.__file__, *about], capture_output=True, text=True, check=False
    )


def pack(path, files):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text.encode()))


@pytest.mark.parametrize("name", ["demo-1.0.tar.gz", "demo-1.0.zip"])
@pytest.mark.parametrize("top", ["demo-1.0/", ""])
def test_a_source_is_unpacked_and_changed_before_its_build(tmp_path, name, top):
    pack(tmp_path / name, {f"{top}setup.py": "", f"{top}x/y.py": ""})
    done = run(tmp_path, name)
    assert tomllib.loads(done.stdout)["build-system"]["requires"] == [*NEW, "setuptools"]
    assert (tmp_path / "source/x/y.py").exists()
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"../evil": ""}, "cannot be unpacked"),
        ({"x/pyproject.toml": "["}, "pyproject.toml cannot be changed"),
        ({"x/pyproject.toml": "#" * (amend.MAX_SIZE + 1)}, "more than 1048576 bytes"),
        ({"x/pyproject.toml": "a = " + "[" * 100_000}, "pyproject.toml cannot be changed"),
    ],
)
def test_a_source_that_cannot_be_changed_ends_the_build_with_a_reason(tmp_path, files, words):
    pack(tmp_path / "x-1.tar.gz", files)
    done = run(tmp_path, "x-1.tar.gz")
    assert done.returncode == 1
    assert done.stderr.startswith("piwheels: requires: ")
    assert words in done.stderr
    assert not (tmp_path.parent / "evil").exists()
