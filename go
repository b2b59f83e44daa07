#!/usr/bin/env python3
"""Set up this project in its own folder, and run one of its commands: see ``./go help``.

It needs only Python (3.11 or later to run the project) or uv. It installs everything into
``.venv``, with this machine's pip configuration. If root starts it, root does the set-up, and the
command itself runs as an unprivileged user (piwheels/core/program/privileges.py).
"""

# It uses only the syntax of Python 3.8 and the standard library, so that an old interpreter can
# report an error, or start a newer one.
from __future__ import annotations

import configparser
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent
OLDEST, NEWEST = 11, 19  # the versions of Python 3 to search for
READY = "--ready"  # the argument of the second stage: set up, and no longer root
UNFINISHED: dict[str, object] = {"unfinished": True}
#: The dependency groups that each set-up adds to .[up].
GROUPS = {"up": (), "test": ("test",), "check": ("test", "check"), "docs": ("docs",)}

# pip's settings, and uv's variables for them (uv does not read pip's configuration)
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
COMMA_SEPARATED = {"UV_FIND_LINKS"}


class Stop(Exception):
    """The set-up or the command failed; the text gives the reason and the remedy."""


def say(*words: object) -> None:
    """Write a message to standard error; standard output is for data."""
    print("go:", *words, file=sys.stderr, flush=True)


def call(*command: object, env: Mapping[str, str] | None = None) -> bool:
    """Run *command*; return whether it succeeded."""
    return subprocess.call([str(word) for word in command], cwd=str(ROOT), env=env) == 0


def runs(python: str, code: str) -> bool:
    """Return whether *python* exists and runs *code* without an error (a shim may fail)."""
    with suppress(OSError, subprocess.SubprocessError):
        quiet = subprocess.DEVNULL
        command = [python, "-c", code]
        done = subprocess.run(command, stdout=quiet, stderr=quiet, timeout=60, check=False)
        return done.returncode == 0
    return False


def replace(*command: str) -> NoReturn:
    """Replace this process with *command*."""
    os.execv(command[0], command)  # noqa: S606


# -- interpreters and installers


def interpreters() -> Iterator[str]:
    """Yield every Python that can run the project: this one first, then the newest."""
    if sys.version_info >= (3, OLDEST):
        yield getattr(sys, "_base_executable", sys.executable)  # not the one of an active venv
    seen = set()
    for name in [f"python3.{minor}" for minor in range(NEWEST, OLDEST - 1, -1)] + ["python3"]:
        for place in [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/bin"]:
            path = os.path.join(place, name)  # noqa: PTH118 (PATH may hold anything)
            if path not in seen and os.access(path, os.X_OK):
                seen.add(path)
                if runs(path, f"import sys; sys.exit(sys.version_info < (3, {OLDEST}))"):
                    yield path


def installer() -> tuple[str, str]:
    """Return the interpreter for .venv, and the method: uv, venv, or pip (without ensurepip)."""
    methods = {"venv": "import ensurepip, venv", "pip": "import pip, venv"}
    first = None
    for python in interpreters():
        first = first or python
        if shutil.which("uv"):
            return python, "uv"
        for method, code in methods.items():
            if runs(python, code):
                return python, method
    if first:
        raise Stop(
            f"{first} has neither ensurepip nor pip, one of which creates .venv: install them"
            " (Debian, Ubuntu: apt install python3-venv), or install uv"
        )
    raise Stop(f"this needs Python 3.{OLDEST} or later, or uv; found none on PATH")


def use_newer_python(argv: Sequence[str]) -> None:
    """If this Python is too old, continue in a newer one."""
    if sys.version_info >= (3, OLDEST):
        return
    command = [str(ROOT / "go"), *argv]
    for python in interpreters():
        replace(python, *command)
    if uv := shutil.which("uv"):
        replace(uv, "run", "--no-project", "--python", f">=3.{OLDEST}", "python", *command)
    raise Stop(
        f"this is Python {sys.version.split()[0]}, and it needs 3.{OLDEST} or later, or uv;"
        " found neither on PATH"
    )


def pip_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings from its configuration files and *env*; later ones override."""
    home = env.get("HOME", "/")
    shared = env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)
    own = env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")  # noqa: PTH118
    files = [Path(place, "pip", "pip.conf") for place in shared] + [Path("/etc/pip.conf")]
    files += [Path(home, ".pip", "pip.conf"), Path(own, "pip", "pip.conf")]
    if chosen := env.get("PIP_CONFIG_FILE"):
        files = [] if chosen == os.devnull else [*files, Path(chosen)]
    parser = configparser.RawConfigParser()
    for path in files:
        with suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read_string(path.read_text("utf-8"))
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found.update(parser.items(section))
    for name in UV_NAMES:
        if value := env.get("PIP_" + name.upper().replace("-", "_")):
            found[name] = value
    return found


def uv_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return *env* with pip's settings as uv's variables; those in *env* take precedence."""
    new = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # like pip: the best version of all indexes
    settings = pip_settings(env)
    for name, uv_name in UV_NAMES.items():
        if settings.get(name, "").strip():
            new[uv_name] = ("," if uv_name in COMMA_SEPARATED else " ").join(settings[name].split())
    return {**new, **env}


# -- the set-up


def venv_dir() -> Path:
    """Return the folder of the virtual environment."""
    return Path(os.environ.get("PIW_VENV") or ROOT / ".venv").absolute()


def requirements(project: Mapping[str, object], group: str) -> list[str]:
    """Return the requirements of a dependency group (PEP 735), which old pips cannot read."""
    found: list[str] = []
    for entry in project["dependency-groups"][group]:  # type: ignore[index]
        inner = None if isinstance(entry, str) else entry["include-group"]
        found += [entry] if inner is None else requirements(project, inner)
    return found


def read_stamp(venv: Path) -> dict[str, object] | None:
    """Return the record of the set-up in *venv*, or None if there is none."""
    try:
        text = (venv / "go.json").read_text("utf-8")
    except OSError:
        return None
    with suppress(ValueError):
        stamp = json.loads(text)
        if isinstance(stamp, dict):
            return stamp
    return UNFINISHED


def write_stamp(venv: Path, stamp: Mapping[str, object]) -> None:
    """Write the record of the set-up, atomically."""
    new_file = venv / "go.json.new"
    new_file.write_text(json.dumps(stamp) + "\n", "utf-8")
    new_file.replace(venv / "go.json")


def plan(
    stamp: Mapping[str, object] | None, python: str, project: str, level: str
) -> tuple[bool, list[str]]:
    """Return whether to start from scratch, and the levels to install (none: it is ready)."""
    has = set(stamp.get("has", ())) if stamp else set()  # type: ignore[call-overload]
    fresh = stamp is not None and stamp.get("python") != python
    wanted = {"up", level} | has
    if not fresh and stamp is not None and stamp.get("project") == project and wanted == has:
        return False, []
    return fresh, sorted(wanted, key=list(GROUPS).index)


@contextmanager
def setup_lock() -> Iterator[None]:
    """Hold the project's lock, so that two set-ups never run at once."""
    folder = os.open(str(ROOT), os.O_RDONLY)  # a lock on the folder itself leaves no file
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./go is setting up: waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def identity(python: str) -> str:
    """Return the identity of the interpreter *python*: its path and version."""
    code = "import sys; print(getattr(sys, '_base_executable', sys.executable), sys.version)"
    result = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, check=True, timeout=60)
    path, version = result.stdout.decode().split()[:2]
    return f"{os.path.realpath(path)} {version}"


def set_up(level: str) -> str:
    """Install into .venv what *level* needs; return its interpreter."""
    import tomllib  # noqa: PLC0415 (an older Python has no tomllib)

    venv = venv_dir()
    python = str(venv / "bin" / "python")
    source = (ROOT / "pyproject.toml").read_bytes()
    key = hashlib.sha256(source).hexdigest()
    with setup_lock():
        base, method = installer()
        stamp = read_stamp(venv)
        fresh, levels = plan(stamp, identity(base), key, level)
        works = runs(python, f"import sys; sys.exit(sys.version_info < (3, {OLDEST}))")
        if works and not levels:
            return python
        start = time.monotonic()
        say(f"setting up {venv} with {method} (once; it takes some seconds)")
        project = tomllib.loads(source.decode())
        groups = {group for name in levels or [level] for group in GROUPS[name]}
        wanted = sorted({need for group in groups for need in requirements(project, group)})
        before = os.umask(0o022)  # if this is root: other users run the installed files
        try:
            if fresh or not works:
                shutil.rmtree(str(venv), ignore_errors=True)
            venv.mkdir(parents=True, exist_ok=True)
            write_stamp(venv, UNFINISHED)
            exists = works and not fresh
            install(base, method, venv, ["-e", f"{ROOT}[up]", *wanted], exists=exists)
            has = levels or ["up", level]
            write_stamp(venv, {"python": identity(base), "project": key, "has": has})
        except OSError as error:
            raise Stop(
                f"{venv} cannot be written ({error.strerror}): remove it, or name another"
                " directory in PIW_VENV"
            ) from None
        finally:
            os.umask(before)
        say(f"set up in {time.monotonic() - start:.0f} s")
    return python


def install(base: str, method: str, venv: Path, wanted: Sequence[str], *, exists: bool) -> None:
    """Make *venv* from the interpreter *base*, unless it *exists*; install *wanted*."""
    python = venv / "bin" / "python"
    env = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    make: list[object] = [base, "-m", "venv", venv]
    use: list[object] = [python, "-m", "pip", "install", "-qq"]
    if method == "uv":
        env = uv_environment(env)
        make = ["uv", "venv", "-q", "--allow-existing", "--no-python-downloads"]
        make += ["--python", base, venv]
        use = ["uv", "pip", "install", "-q", "--compile-bytecode", "--python", python]
    elif method == "pip":
        make.insert(3, "--without-pip")
        use = [base, "-m", "pip", "--python", python, "install", "-qq"]
    if not (exists or call(*make, env=env)) or not call(*use, *wanted, env=env):
        raise Stop("the set-up failed, see above; the next ./go starts from scratch")


# -- the commands, in .venv and as an ordinary user


def cache_environment() -> dict[str, str]:
    """Return an environment in which the tools keep their caches outside the checkout."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    cache = home / "piw-go"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        cache = Path(tempfile.gettempdir(), f"piw-go-{os.getuid()}")
        cache.mkdir(mode=0o700, exist_ok=True)
    names = {
        "MYPY_CACHE_DIR": "mypy",
        "RUFF_CACHE_DIR": "ruff",
        "HYPOTHESIS_STORAGE_DIRECTORY": "hypothesis",
        "COVERAGE_FILE": "coverage",
        "PIW_GO_CACHE": "",
    }
    return {**os.environ, **{name: str(cache / place) for name, place in names.items()}}


def tests(args: Sequence[str]) -> list[str]:
    """Return the command that runs the tests: in parallel by default, since most of them wait."""
    cache = os.path.join(os.environ["PIW_GO_CACHE"], "pytest")  # noqa: PTH118
    options = {
        "--quick": ["-m", "quick"],
        "--coverage": ["--cov", "--cov-report=term:skip-covered"],
    }
    chosen = [word for name, words in options.items() if name in args for word in words]
    own = [word for word in args if word not in options]
    if "--coverage" in args and (own or "--quick" in args):
        chosen.append("--cov-fail-under=0")  # the floor is that of the whole suite
    if not own and "--quick" not in args:
        # A file stays in one process, because its tests share servers; the longest files begin.
        own = ["-n", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
    return [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *chosen, *own]


def compile_tests(python: str) -> None:
    """Write the bytecode of the tests, which each of their processes would compile otherwise.

    Only pytest can write it (it rewrites assertions), when it collects the tests.
    """
    sources = sorted(ROOT.joinpath("tests").rglob("*.py"))
    stamp = ROOT / "tests" / "__pycache__" / "compiled"
    newest = max(path.stat().st_mtime for path in sources)
    with suppress(OSError):  # without this bytecode, the tests only begin later
        if stamp.exists() and stamp.stat().st_mtime > newest:
            return
        say("compiling the tests ...")
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        command = [python, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"]
        names = [str(path) for path in sources if path.name.startswith("test_")]
        quiet = subprocess.DEVNULL
        halves = [
            subprocess.Popen([*command, *half], cwd=str(ROOT), env=env, stdout=quiet, stderr=quiet)
            for half in (names[::2], names[1::2])
        ]
        for half in halves:
            half.wait()
        stamp.touch()


def up(args: Sequence[str]) -> int:
    """Run a whole farm on this machine, until it is stopped."""
    replace(sys.executable, "-m", "piwheels.up", *args)


def console(args: Sequence[str]) -> int:
    """Monitor and control the running farm (the arguments are piw-console's)."""
    replace(sys.executable, "-m", "piwheels.console", *args)


def run(args: Sequence[str]) -> int:
    """Run one of the programs (piw-add, piw-logger, ...), as the user of ./go up."""
    programs = sorted(path.name for path in Path(sys.executable).parent.glob("piw-*"))
    if not args or args[0] not in programs:
        raise Stop(f"name a program: {', '.join(programs)}")
    replace(str(Path(sys.executable).with_name(args[0])), *args[1:])


def test(args: Sequence[str]) -> int:
    """Run the tests: all, or --quick (the pure ones), --coverage, or pytest's arguments."""
    replace(*tests(args))


def check_steps(args: Sequence[str]) -> dict[str, Sequence[object]]:
    """Return the commands of all checks, by name; *args* are pytest's."""
    tools = Path(sys.executable).parent
    return {
        "format": [tools / "ruff", "format", "--check", ".", "go"],
        "lint": [tools / "ruff", "check", ".", "go"],
        "types": [tools / "mypy"],
        "imports": [tools / "lint-imports", "--no-cache"],
        "tests": tests(args),
    }


def check(args: Sequence[str]) -> int:
    """Run all checks: format, lint, types, imports, tests (or some: --only lint,types)."""
    only: Sequence[str] = ()
    if args[:1] == ["--only"]:
        only, args = "".join(args[1:2]).split(","), args[2:]
    steps = check_steps(args)
    if unknown := [name for name in only if name not in steps]:
        raise Stop(f"there is no check {unknown[0]!r}, only {', '.join(steps)}")
    results = []
    for name, command in steps.items():
        if only and name not in only:
            continue
        say(f"{name} ...")
        start = time.monotonic()
        passed = call(*command)
        results.append((name, passed, time.monotonic() - start))
    for name, passed, seconds in results:
        print(f"{name:10} {'passed' if passed else 'FAILED':8} {seconds:6.1f} s")
    return 0 if all(passed for _, passed, _ in results) else 1


def bench(args: Sequence[str]) -> int:
    """Run the benchmarks (or those named)."""
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    chosen = [script for script in scripts if not args or script.stem in args]
    if not chosen:
        raise Stop(f"no such benchmark in benchmarks/ ({len(scripts)} there)")
    failed = [script.stem for script in chosen if not call(sys.executable, script)]
    if failed:
        raise Stop(f"failed: {', '.join(failed)}")
    return 0


def docs(args: Sequence[str]) -> int:
    """Update the generated parts of the documents, and build their pages (docs/_build)."""
    folder, built = ROOT / "docs", ROOT / "docs" / "_build"
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-E", "-a", "-q"]
    wrong = [] if call(sys.executable, folder / "generate.py") else ["docs/generate.py failed"]
    if not call(*sphinx, *args, "-c", folder, ROOT, built):
        wrong.append("Sphinx failed, see above")
    wrong += [*links(), *foreign(built)]
    print("\n".join([*wrong, f"{built}/docs/index.html" if not wrong else f"{len(wrong)} errors"]))
    return 1 if wrong else 0


def links() -> list[str]:
    """Return the broken links in the documents, each with its document."""
    folders = (folder.rglob("*.md") for folder in ROOT.iterdir() if folder.name[:1] not in "._")
    pages = [page for found in (ROOT.glob("*.md"), *folders) for page in found]
    return [f"{page}: {target}" for page in pages for target in dead_links(page)]


def foreign(built: Path) -> list[str]:
    """Return errors for pages that would load something from another host."""
    asks = re.compile(
        r"<(?:script|img|iframe)\b[^>]* src=\W?(?:\w+:)?//|<link\b[^>]* href=\W?(?:\w+:)?//"
    )
    pages = built.rglob("*.html")
    return [
        f"{page} loads from another host" for page in pages if asks.search(page.read_text("utf-8"))
    ]


def dead_links(page: Path) -> list[str]:
    """Return the relative link targets of a Markdown *page* that do not exist."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.S | re.M)
    targets = re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", text, flags=re.M)
    paths = [(one or other).partition("#")[0] for one, other in targets]
    relative = [path for path in paths if path and not re.match(r"[a-z][a-z+.-]*:|/", path)]
    return [path for path in relative if not (page.parent / path).exists()]


# name: (the level of the set-up, the function)
COMMANDS = {
    "up": ("up", up),
    "console": ("up", console),
    "run": ("up", run),
    "test": ("test", test),
    "check": ("check", check),
    "bench": ("test", bench),
    "docs": ("docs", docs),
}


def usage() -> str:
    """Return the table that ./go help prints."""
    rows = [f"  ./go {name:7} {function.__doc__}" for name, (_, function) in COMMANDS.items()]
    return "\n".join(["Usage: ./go COMMAND [ARGUMENT...]", "", *rows, "  ./go help    This."])


def main(argv: Sequence[str]) -> int:
    """Run the command *argv*; return the exit status."""
    ready = list(argv[:1]) == [READY]
    name, *args = argv[ready:] or ["help"]
    if name in {"help", "-h", "--help"}:
        print(usage())
        return 0
    if name not in COMMANDS:
        print(f"go: there is no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    level, function = COMMANDS[name]
    if ready or level is None:
        if level != "up":  # the programs get paths of the caller
            os.chdir(str(ROOT))
        os.environ.update(cache_environment())
        return function(args)
    use_newer_python(argv)
    python = set_up(level)
    command = [python, str(ROOT / "go"), READY, name, *args]
    # up changes the user itself, by its options; docs writes to the checkout.
    if name not in ("up", "docs"):
        if os.geteuid() == 0:  # the other user can write no bytecode in here
            call(python, "-m", "compileall", "-qq", "piwheels")
        if name in ("test", "check") and not args:
            compile_tests(python)
        command = [python, "-m", "piwheels.core.program.privileges", *command]
    replace(*command)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as end:
        say(end)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
