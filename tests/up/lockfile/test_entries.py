"""The formats of lock files, for one target."""

import json

import pytest

from piwheels.core.errors import Fatal
from piwheels.up.lockfile import reading

LINUX = {
    "implementation_name": "cpython", "implementation_version": "3.13.0", "os_name": "posix",
    "platform_machine": "armv7l", "platform_python_implementation": "CPython",
    "platform_release": "6.1", "platform_system": "Linux", "platform_version": "1",
    "python_full_version": "3.13.0", "python_version": "3.13", "sys_platform": "linux",
}  # fmt: skip
A, B, C = ("sha256:" + digit * 64 for digit in "abc")

PYLOCK = f"""
lock-version = "1.0"
created-by = "test"
requires-python = ">=3.11"
[[packages]]
name = "six"
version = "1.16.0"
sdist = {{ url = "https://files.example/six-1.16.0.tar.gz", hashes = {{ sha256 = "{A[7:]}" }} }}
[[packages.wheels]]
url = "https://files.example/six-1.16.0-py3-none-any.whl"
hashes = {{ sha256 = "{B[7:]}" }}
[[packages]]
name = "metal"
version = "2"
[[packages.wheels]]
url = "https://files.example/metal-2-cp313-cp313-win_amd64.whl"
hashes = {{ sha256 = "{C[7:]}" }}
[[packages]]
name = "colorama"
marker = "sys_platform == 'win32'"
version = "1"
sdist = {{ url = "https://files.example/colorama-1.tar.gz", hashes = {{ sha256 = "{C[7:]}" }} }}
[[packages]]
name = "own"
[packages.directory]
path = "own"
[[packages]]
name = "forge"
[packages.vcs]
type = "git"
url = "https://git.example/forge"
commit-id = "1234"
"""


def package(name, version, *needs, source="registry = 'https://index.example/simple'", more=""):
    return f"""
[[package]]
name = "{name}"
version = "{version}"
source = {{ {source} }}
dependencies = [{", ".join(needs)}]
sdist = {{ url = "https://files.example/{name}-{version}.tar.gz", hash = "{A}" }}
wheels = [{{ url = "https://files.example/{name}-{version}-py3-none-any.whl", hash = "{B}" }}]
{more}
"""


UV = 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n' + "".join((
    package(
        "app", "0.1", '{ name = "web", extra = ["fast"] }',
        '{ name = "colorama", marker = "sys_platform == \'win32\'" }', '{ name = "forge" }',
        '{ name = "split", version = "2" , marker = "python_full_version >= \'3.12\'" }',
        '{ name = "split", version = "1" , marker = "python_full_version < \'3.12\'" }',
        source='virtual = "."', more='[package.dev-dependencies]\ndev = [{ name = "ruff" }]',
    ),
    package("web", "5", '{ name = "base" }', more='[package.optional-dependencies]\n'
            'fast = [{ name = "speed" }]\nslow = [{ name = "ruff" }]'),
    package("base", "1", '{ name = "web" }'),
    package("speed", "3"), package("colorama", "1"), package("ruff", "1"), package("split", "1"),
    package("split", "2"),
    package("forge", "1", '{ name = "iron" }', source='git = "https://git.example/forge"'),
    package("iron", "7"),
))  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def make(text, name="requirements.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return reading.read(path, LINUX)

    return make


def brief(lock):
    return [
        (each.requirement, each.version, sorted(each.hashes), each.detail) for each in lock.entries
    ]


def test_a_file_of_requirements_with_all_that_pip_allows(read, tmp_path):
    (tmp_path / "more.txt").write_text("Idna==3.7 ; python_version > '3'\nwin==1; os_name=='nt'\n")
    (tmp_path / "within.txt").write_text("urllib3<2\n")
    lock = read(
        f"# a comment\n--extra-index-url https://index.example/simple\nsix==1.16.0 \\\n"
        f"    --hash={A} \\\n    --hash={B}\n-r more.txt\n-c within.txt\nRequests[socks]>=2,<3\n"
        "-e .\n./wheel.whl\ngit+https://git.example/x\nforge @ https://files.example/forge.zip\n"
    )
    path = "a path or an address"
    assert brief(lock) == [
        ("six==1.16.0", "1.16.0", [A, B], ""),
        ("idna==3.7", "3.7", [], ""),
        ("requests[socks]<3,>=2", "", [], ""),
        (".", "", [], "an editable folder"),
        ("./wheel.whl", "", [], path),
        ("git+https://git.example/x", "", [], path),
        ("forge @ https://files.example/forge.zip", "", [], "https://files.example/forge.zip"),
    ]
    assert not lock.is_closed
    assert lock.constraints == ("urllib3<2",)
    assert [note.partition(", ")[2] for note in lock.notes] == [
        "line 2: --extra-index-url is ignored: pip's configuration counts"
    ]


def test_requirements_with_hashes_are_complete(read):
    assert read(f"six==1.16.0 --hash={A}\n-e .\n").is_closed


def test_a_pylock(read):
    lock = read(PYLOCK, "pylock.dev.toml")
    assert brief(lock) == [
        ("six==1.16.0", "1.16.0", [A, B], ""),
        ("metal==2", "2", [C], ""),
        ("own", "", [], "a folder"),
        ("forge", "", [], "a repository"),
    ]
    assert lock.is_closed


def test_a_lock_file_of_uv_is_followed_along_the_dependencies(read):
    lock = read(UV, "uv.lock")
    assert [each.requirement for each in lock.entries] == [
        "base==1", "forge==1", "iron==7", "speed==3", "split==2", "web==5",
    ]  # fmt: skip
    assert lock.entries[0].hashes == {A, B}
    assert [each.detail for each in lock.entries if each.problem] == [
        "git https://git.example/forge"
    ]
    assert lock.notes == ("its extras and groups (dev) are left out: uv export writes them, too",)


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("hello world, this", "a.txt", "line 1: 'hello world, this' is no requirement (Expected"),
        (b"\x7fELF\xff\xfe\x01\x02", "a.txt", "it is no text"),
        ("", "a.txt", "names nothing that this target needs"),
        ("six==1\nsix==2\n", "a.txt", "line 2: six==2, but before six==1"),
        ("-r nowhere.txt\n", "a.txt", "Could not open requirements file"),
        ("--what\n", "a.txt", "no such option: --what"),
        ("[[", "pylock.toml", "it is no TOML"),
        (PYLOCK.replace("1.0", "9.9", 1), "pylock.toml", "unknown version of the format"),
        (PYLOCK.replace('"2"', '"x y"'), "pylock.toml", "Invalid version: 'x y'"),
        (PYLOCK.replace(">=3.11", ">=3.14"), "pylock.toml", "does not satisfy the Python version"),
        (UV.replace("version = 1", "version = 2", 1), "uv.lock", "version of the format: 2"),
        (UV.replace(">=3.11", ">=3.14"), "uv.lock", "it is for Python >=3.14, not 3.13.0"),
        (UV.replace('name = "base"', 'name = "lost"', 1), "uv.lock", "not as uv writes it (KeyErr"),
        ("version = 1\n", "uv.lock", "it has no project and no script"),
        ("[[package]]\nname = 'serde'\n", "Cargo.lock", "has an unknown format"),
        ("[project]\n", "pyproject.toml", "has an unknown format"),
    ],
)  # fmt: skip
def test_what_is_no_lock_file_gets_one_sentence(read, text, name, sentence):
    with pytest.raises(Fatal) as found:
        read(text, name)
    assert sentence in str(found.value)
    assert "\n" not in str(found.value)


def test_a_missing_file_and_the_environment_of_an_interpreter(tmp_path):
    with pytest.raises(Fatal, match="there is no file"):
        reading.read(tmp_path / "nowhere.txt", LINUX)
    import sys  # noqa: PLC0415

    from packaging.markers import default_environment  # noqa: PLC0415

    found = reading.environment(sys.executable)
    assert found == {key: value for key, value in default_environment().items() if key in found}
    assert found.keys() == LINUX.keys(), json.dumps(found)
