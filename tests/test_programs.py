"""What all programs have in common: their help, and the examples in it."""

import importlib
import shlex
import tomllib
from pathlib import Path

import pytest

from piwheels.console.simulate.app import main as simulate
from piwheels.core.program import command_line
from piwheels.core.program.options import options

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.fixture(params=[*SCRIPTS, "simulate"])
def program(request):
    if request.param == "simulate":
        return simulate
    module, _, name = SCRIPTS[request.param].partition(":")
    found = getattr(importlib.import_module(module), name)
    assert found.prog == request.param
    return found


def test_each_has_a_table_in_the_files():
    assert {f"piw-{name}" for name in command_line.PROGRAMS} == set(SCRIPTS)


def test_help_fits_a_terminal_and_hides_what_is_internal(program, capsys):
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
        assert (flag in page.split()) is not opt.meta["secret"], opt.name


def test_every_option_says_what_it_does_in_the_same_manner(program):
    for opt in options(program.config):
        text = opt.meta["help"]
        assert text, opt.name
        assert text[-1] != ".", opt.name
        assert text[0].islower() or text.split()[0].isupper() or opt.meta["secret"], opt.name
        if opt.many and not opt.meta["positional"]:
            assert "repeated" in text, opt.name


def test_examples_are_command_lines_of_it(program):
    for command, what in program.examples:
        assert what, command
        ours = command.rpartition(" | ")[2]  # another's output may go into it
        assert ours.startswith(program.prog)
        args = shlex.split(ours.removeprefix(program.prog))
        command_line.load(program.prog, program.config, args, {"HOME": "/nonexistent"})
