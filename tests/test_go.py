"""The set-up script: its decisions. The set-up itself is tested in a fresh clone."""

import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import patience

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def go():
    loader = importlib.machinery.SourceFileLoader("go_script", str(ROOT / "go"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("go_script", loader))
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def run(*args, **env):
    command = [sys.executable, str(ROOT / "go"), *args]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=patience(60),
    )


@pytest.mark.parametrize("args", [["help"], ["--help"], []])
def test_help_lists_every_command(go, args):
    said = run(*args)
    assert said.returncode == 0
    assert said.stderr == ""
    for name in go.COMMANDS:
        assert f"./go {name} " in said.stdout


def test_unknown_command_is_a_usage_error():
    said = run("tset")
    assert said.returncode == 2
    assert "no command 'tset'" in said.stderr
    assert said.stdout == ""


def test_the_first_set_up_is_reused_later(go):
    ready = {"python": "py", "project": "key", "has": ["up", "test"]}
    assert go.plan(None, "py", "key", "up") == (False, ["up"])
    assert go.plan(ready, "py", "key", "test") == (False, [])
    assert go.plan(ready, "py", "key", "up") == (False, [])
    assert go.plan(ready, "py", "key", "check") == (False, ["up", "test", "check"])


def test_changed_project_is_installed_again_with_all_it_had(go):
    ready = {"python": "py", "project": "old", "has": ["up", "test"]}
    assert go.plan(ready, "py", "key", "up") == (False, ["up", "test"])


def test_another_interpreter_or_an_interrupted_set_up_starts_from_scratch(go):
    ready = {"python": "other", "project": "key", "has": ["up"]}
    assert go.plan(ready, "py", "key", "up") == (True, ["up"])
    assert go.plan(go.UNFINISHED, "py", "key", "test") == (True, ["up", "test"])


def test_stamp(go, tmp_path):
    assert go.read_stamp(tmp_path) is None
    go.write_stamp(tmp_path, {"python": "py"})
    assert go.read_stamp(tmp_path) == {"python": "py"}
    for broken in ("", "[]", '{"python'):
        (tmp_path / "go.json").write_text(broken)
        assert go.read_stamp(tmp_path) == go.UNFINISHED


def test_groups_are_read_through(go):
    project = {"dependency-groups": {"a": ["x>=1"], "b": [{"include-group": "a"}, "y"]}}
    assert go.requirements(project, "b") == ["x>=1", "y"]


def test_settings_of_pip_are_passed_to_uv(go, tmp_path):
    conf = tmp_path / ".config" / "pip" / "pip.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        "[global]\nindex-url = https://one.example/simple\nfind-links =\n  /a\n  /b\n"
        "[install]\nextra-index-url = https://two.example/s https://three.example/s\n"
    )
    env = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path), "PIP_CERT": "/ca.pem"}
    said = go.uv_environment(env)
    assert said["UV_DEFAULT_INDEX"] == "https://one.example/simple"
    assert said["UV_INDEX"] == "https://two.example/s https://three.example/s"
    assert said["UV_FIND_LINKS"] == "/a,/b"
    assert said["SSL_CERT_FILE"] == "/ca.pem"
    own = go.uv_environment({**env, "UV_DEFAULT_INDEX": "https://mine.example"})
    assert own["UV_DEFAULT_INDEX"] == "https://mine.example", "what was said to uv is stronger"


def test_the_environment_overrides_the_files_of_pip(go, tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://file.example\n")
    env = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(conf)}
    assert go.pip_settings(env)["index-url"] == "https://file.example"
    env["PIP_INDEX_URL"] = "https://env.example"
    assert go.pip_settings(env)["index-url"] == "https://env.example"


def test_dead_links(go, tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "there.md").touch()
    page.write_text(
        "[a](there.md#part) [b](gone.md) [c](https://x.example/y) [d](#here) `[e](code.md)`\n"
        "```\n[f](fence.md)\n```\n[g]: also/gone.md\n[h]: there.md\n"
    )
    assert go.dead_links(page) == ["gone.md", "also/gone.md"]


def test_documents_of_this_project_have_no_dead_links(go):
    assert go.links() == []


def test_pages_that_load_from_another_host_are_reported(go, tmp_path):
    for number, text in enumerate(
        (
            '<a href="https://x.example/">a link asks nobody</a><img alt="" src="here.svg">',
            '<link rel="stylesheet" type="text/css" href="_static/a.css">',
            '<script defer src="https://x.example/a.js"></script>',
            '<img src="//x.example/a.png">',
            "<link rel=preload href=http://x.example/font>",
        )
    ):
        (tmp_path / f"{number}.html").write_text(text)
    assert sorted(go.foreign(tmp_path)) == [
        f"{tmp_path}/{n}.html loads from another host" for n in (2, 3, 4)
    ]


def test_ci_runs_the_other_checks_and_the_readmes_test_command():
    text = (ROOT / ".ci" / "run").read_text()
    system, _, rest = text.partition("\nif ")[2].partition("\nfi\n")
    assert re.findall(r"(?<=\./go ).*?(?=$| [>|])", rest, flags=re.M) == [
        "check --only format,lint,types,imports",
        "test",
        # By root: the chapters, which the other tests leave out, and what only root can do
        'test tests/test_chapters.py tests/core/host/test_launcher.py "$attacks"',
        "test",
    ]
    assert rest.count("--ignore=tests/test_chapters.py") == 1
    # The rest only installs the system's packages.
    assert "./go" not in system
    assert set(re.findall(r"apt-get -qq (\w+)", system)) == {"update", "install"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_check_runs_some_steps(go, monkeypatch, capsys):
    monkeypatch.setenv("PIW_GO_CACHE", "/nonexistent")
    commands = []
    monkeypatch.setattr(go, "call", lambda *command: commands.append(command) or len(commands) == 1)
    assert go.check(["--only", "types,lint"]) == 1
    assert [Path(command[0]).name for command in commands] == ["ruff", "mypy"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["lint", "passed"], ["types", "FAILED"]]
    for args in (["--only", "lnt"], ["--only"]):
        with pytest.raises(go.Stop, match="only format, lint, types, imports, tests"):
            go.check(args)


def test_pre_commit_runs_the_same_checks(go, monkeypatch):
    monkeypatch.setenv("PIW_GO_CACHE", "/nonexistent")
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"id: (.+)", text) == list(go.check_steps([]))
    entries = re.findall(r"entry: (.+)", text)
    assert entries.pop() == "./go test --quick"
    assert entries == [f"./go check --only {name}" for name in list(go.check_steps([]))[:-1]]
