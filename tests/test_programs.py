"""What all programs have in common: their help, its examples, and the packages that they need."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from helpers import patience
from piwheels.audit.config import AuditConfig
from piwheels.console.simulate.app import main as simulate
from piwheels.core.program import command_line
from piwheels.core.program.completion import completion
from piwheels.core.program.extras import needs
from piwheels.core.program.options import options

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = PROJECT["scripts"]
EXTRAS = PROJECT["optional-dependencies"]


def load(name):
    module, _, function = SCRIPTS[name].partition(":")
    found = getattr(importlib.import_module(module), function)
    assert found.prog == name
    return found


@pytest.fixture(params=[*SCRIPTS, "simulate"])
def program(request):
    return simulate if request.param == "simulate" else load(request.param)


def test_each_has_a_table_in_the_files():
    assert {f"piw-{name}" for name in command_line.PROGRAMS} == set(SCRIPTS)


def test_no_program_imports_another():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    programs = tool["importlinter"]["contracts"][0]["layers"][0].split(" | ")
    modules = {target.partition(":")[0] for target in SCRIPTS.values()}
    assert set(programs) == {".".join(module.split(".")[:2]) for module in modules}


def test_the_readme_and_the_map_name_each():
    readme, architecture = (
        (ROOT / f"{name}.md").read_text() for name in ("README", "ARCHITECTURE")
    )
    for name, target in SCRIPTS.items():
        assert f"[`{name}`](docs/programs/{name}.md)" in readme
        module = target.split(":")[0].split(".")[1]
        assert f"`{module}`" in architecture or f"`{module}/`" in architecture, name


def test_help_fits_a_terminal_and_has_every_option(program, capsys):
    with pytest.raises(SystemExit) as end:
        program(["-h"])
    assert end.value.code == 0
    page = capsys.readouterr().out
    assert page.isascii()  # any terminal can show it
    assert [line for line in page.splitlines() if len(line) > 80] == []
    assert page.startswith(f"{program.prog} - ")
    for title in ("Usage:", "Common options:", "Examples:", "Exit status:"):
        assert f"\n{title}" in page
    for opt in options(program.config):
        flag = opt.metavar if opt.meta["positional"] else opt.flag
        assert flag in page.split(), opt.name


def test_every_option_says_what_it_does_in_the_same_manner(program):
    for opt in options(program.config):
        text = opt.meta["help"]
        assert text, opt.name
        assert text[-1] != ".", opt.name
        assert text[0].islower() or text.split()[0].isupper(), opt.name
        if opt.many and not opt.meta["positional"]:
            assert "repeated" in text, opt.name


def test_examples_are_command_lines_of_it(program):
    for command, what in program.examples:
        assert what, command
        ours = command.rpartition(" | ")[2]  # another's output may go into it
        assert ours.startswith(program.prog)
        args = shlex.split(ours.removeprefix(program.prog))
        command_line.load(program.prog, program.config, args, {"HOME": "/nonexistent"})


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_option(name, shell, capsys):
    program = load(name)
    with pytest.raises(SystemExit) as end:
        program(["--print-completion", shell])
    assert end.value.code == 0
    script = capsys.readouterr().out
    for opt in options(program.config):
        if not opt.meta["positional"]:
            assert opt.flag in script, opt.name
        for choice in opt.choices:
            assert choice in script, opt.name
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=patience(60))


#: Completes words in bash as a press of the tab key does; prints the candidates.
COMPLETE = """
source /dev/stdin
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
function=$(complete -p "$1" | sed -E 's/.* -F ([^ ]+) .*/\\1/')
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
echo "${COMPREPLY[*]}"
"""


@pytest.mark.parametrize(
    ("words", "candidates"),
    [("f", "files"), ("--qu", "--quick --quiet --quarantine-dir"), ("-o /usr/li", "/usr/lib")],
)
def test_bash_completes_words(words, candidates):
    script = completion("piw-audit", AuditConfig, "bash")
    command = ["bash", "-c", COMPLETE, "-", "piw-audit", *words.split()]
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, check=True, timeout=patience(60)
    )
    assert set(candidates.split()) <= set(done.stdout.split())


def test_manual_pages_are_the_same_on_every_machine(monkeypatch):
    master = load("piw-master")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/here")
    page = command_line.manual_of(master.prog, master.config, portable=True).help()
    assert "/run/here" not in page
    assert "ipc://{run}/status" in page
    assert "/run/here/status" in command_line.manual_of(master.prog, master.config).help()


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_manual_pages_are_valid():
    pages = sorted((ROOT / "docs" / "man").glob("*.1"))
    assert [page.stem for page in pages] == sorted(SCRIPTS)
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z", *pages],
        capture_output=True, text=True, check=True, timeout=patience(60),
    )  # fmt: skip
    assert done.stderr == ""


# -- without the extras

#: Runs a program in which only the named packages, this one and the standard library exist.
BARE = """
import importlib, json, sys
here, target, *args = sys.argv[1:]
here = set(json.loads(here))

class Hide:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in here and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
module, _, function = target.partition(":")
sys.argv[1:] = args
sys.exit(getattr(importlib.import_module(module), function)())
"""
#: The import names of packages that differ from their distributions' names.
IMPORT_NAMES = {"pyzmq": "zmq"}
#: The extra that each program needs; the others run with the bare project.
NEEDED = {name: extra for name in SCRIPTS if (extra := load(name).extra)}


def run_bare(name, *args):
    needs = [re.match(r"[\w-]+", each)[0] for each in PROJECT["dependencies"]]
    here = ["piwheels", "_cbor2", *(IMPORT_NAMES.get(each, each) for each in needs)]
    command = [sys.executable, "-c", BARE, json.dumps(here), SCRIPTS[name], *args]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    return subprocess.run(
        command, capture_output=True, text=True, env=env, timeout=patience(60), check=False
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_works_without_any_extra(name):  # and all that the bare programs import is there
    done = run_bare(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{name} - ")


@pytest.mark.parametrize(("name", "extra"), NEEDED.items())
def test_a_program_without_its_extra_says_what_to_install(name, extra):
    done = run_bare(name)
    assert (done.returncode, done.stdout) == (1, "")
    sentence = rf"{name}: [a-z0-9_]+ is not installed: pip install 'piwheels\[{extra}\]'\n"
    assert re.fullmatch(sentence, done.stderr), done.stderr
    assert extra in EXTRAS


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "textual is not installed: pip install 'piwheels[console]', or use --plain or --once"),
        (("--web",), "aiohttp is not installed: pip install 'piwheels[web]'"),
        (("--once", "--timeout", "0.1"), ""),
    ],
)
def test_a_console_needs_an_extra_for_its_screens_alone(args, sentence):
    done = run_bare("piw-console", *args)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"piw-console: {sentence}" if sentence else "piw-console: ")
    assert ("is not installed" in done.stderr) is (sentence != "")


def test_completion_needs_an_extra():
    done = run_bare("piw-add", "--print-completion", "zsh")
    sentence = "piw-add: shtab is not installed: pip install 'piwheels[completion]'\n"
    assert (done.returncode, done.stderr) == (1, sentence)


def test_a_bug_is_not_reported_as_a_missing_extra():
    for name in ("piwheels.gone", "tomllib", None):
        with pytest.raises(ModuleNotFoundError), needs("master"):
            raise ModuleNotFoundError("No module", name=name)
