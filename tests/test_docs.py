"""The documents: generated parts are current; every program, error and warning is documented."""

import ast
import contextlib
import dataclasses
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from helpers import patience, until
from piwheels.core import conversations, states
from piwheels.core.paths import master_socket
from piwheels.core.program.command_line import load

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
#: Modules whose errors get their text elsewhere, or can be caused only by a bug or a test.
UNDOCUMENTED = {"piwheels/console/wire/link.py", "piwheels/master/ports.py"}


@pytest.fixture
def generate(monkeypatch):
    """The generator, imported from the folder of the documents."""
    monkeypatch.syspath_prepend(DOCS)
    before = set(sys.modules)
    yield importlib.import_module("generate")
    for name in {"generate", "wires", "markup", "drawing"} - before:
        sys.modules.pop(name, None)


def test_generated_parts_are_current(generate, capsys):
    assert generate.main(["--check"]) == 0, capsys.readouterr().out + "run docs/generate.py"


def test_the_generator_reports_what_it_cannot_do(generate, monkeypatch):
    page = "<!-- messages: lumberjack.recv -->\nold\n<!-- end -->\n"
    assert "LOGPAGE" in generate.filled(page)
    assert "old" not in generate.filled(page)
    for wrong, why in {
        "<!-- nonsense -->\n<!-- end -->\n": "no block 'nonsense'",
        "<!-- options: piw-nope -->\n<!-- end -->\n": "no program 'piw-nope'",
        "<!-- file -->\n": "in turns",
        "<!-- file -->\n<!-- limits -->\n<!-- end -->\n": "in turns",
        "<!-- end -->\n": "in turns",
    }.items():
        with pytest.raises(generate.Stale, match=why):
            generate.filled(wrong)
    monkeypatch.delitem(generate.wires.MEANINGS["lumberjack"]["recv"], "LOGPAGE")
    with pytest.raises(generate.Stale, match="LOGPAGE"):
        generate.filled(page)


def test_an_order_that_a_conversation_forbids_is_not_drawn(generate, monkeypatch):
    wires, slave = generate.wires, generate.wires.conversations.slave_conversation
    monkeypatch.setitem(slave.turns, states.Phase.SENDING, {})
    with pytest.raises(generate.Stale, match="SENT in the phase sending"):
        wires.build_diagram()
    monkeypatch.setitem(slave.turns, states.Phase.SENDING, {"SENT": {}})
    with pytest.raises(generate.Stale, match="the reply DONE, which the phase"):
        wires.build_diagram()
    turns = wires.conversations.tool_conversation.turns
    monkeypatch.setitem(turns, conversations.ToolPhase.READY, {})
    with pytest.raises(generate.Stale, match="IMPORT in the phase ready"):
        wires.import_diagram()


def test_an_unknown_message_is_not_drawn(generate, monkeypatch):
    monkeypatch.delitem(generate.wires.protocols.lumberjack.recv, "LOGSEARCH")
    with pytest.raises(generate.Stale, match="'LOGSEARCH', which Lumberjack"):
        generate.wires.log_diagram()


def test_the_file_with_every_key_is_accepted(generate, tmp_path):
    page = (DOCS / "configuration.md").read_text()
    block = page.partition("<!-- file -->\n\n```toml\n")[2].partition("```")[0]
    file = tmp_path / "piwheels.toml"
    file.write_text(re.sub(r"^# (?=.* = .)", "", block, flags=re.M))
    assert file.read_text().count(" = ") > 30
    for name, program in generate.programs().items():
        words = shlex.split(program.examples[0][0])[1:]  # includes the required options
        env = {"HOME": "/nonexistent"}
        config = load(name, program.config, ["-c", str(file), *words], env)
        default = load(name, program.config, words, env)
        assert dataclasses.replace(config, config=None) == default


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_program_has_a_chapter(name):
    text = (DOCS / "programs" / f"{name}.md").read_text()
    headings = re.findall(r"^#+ .*", text, flags=re.M)
    assert headings[0] == f"# {name}"
    order = ["## Example", "## Options", "## Errors"]
    assert [heading for heading in headings if heading in order] == order
    assert f"<!-- options: {name} -->\n" in text
    assert f"({name}.md)" in (DOCS / "programs" / "index.md").read_text()


def test_every_page_is_linked_from_the_index():
    seen, todo = set(), [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        seen.add(page)
        links = re.findall(r"\]\(([\w./-]+\.md)", page.read_text())
        found = {(page.parent / link).resolve() for link in links}
        todo += [each for each in found if each not in seen and DOCS in each.parents]
    pages = {page for page in DOCS.rglob("*.md") if "_build" not in page.parts}
    assert pages - seen == set()


def test_the_reference_has_the_modules_that_scripts_may_import():
    pages = [page.read_text() for page in sorted((DOCS / "api").glob("*.md"))]
    found = re.findall(r"^\.\. automodule:: (\S+)$", "".join(pages), flags=re.M)
    assert len(found) == len(set(found))
    for name in found:
        importlib.import_module(name)
    names = re.findall(r":mod:`(\S+)`", importlib.import_module("piwheels.core").__doc__)
    assert {name for name in names if any(each.startswith(name) for each in found)} == set(names)
    assert {each for each in found if any(each.startswith(name) for name in names)} == set(found)


def anchors(page):
    """Return the anchors of the headings of a page, as GitHub and Sphinx make them."""
    headings = re.findall(
        r"^#+ (.*)", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), flags=re.M
    )
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_link_between_documents_works():
    broken = []
    pages = [
        *DOCS.rglob("*.md"),
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        ROOT / "sql/README.md",
    ]
    for page in pages:
        if "_build" in page.parts:
            continue
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([\w-]+))?\)", page.read_text()):
            path = (page.parent / target).resolve() if target else page
            if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert broken == []


def test_the_glossary_defines_each_term_once_in_alphabetical_order():
    text = (DOCS / "glossary.md").read_text()
    terms = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", text, flags=re.M)[1:]
    assert len(terms) > 40
    assert terms == sorted(set(terms), key=str.lower)
    used = set(re.findall(r"\*([a-z -]+)\*", text))
    names = {term.lower() for term in terms}
    assert {
        word for word in used if word not in names and word.removesuffix("s") not in names
    } == set()


@pytest.mark.parametrize("unit", sorted(DOCS.glob("deploy/*.service")), ids=lambda unit: unit.stem)
def test_the_command_of_a_unit_is_valid(unit, generate):
    command = re.search(r"^ExecStart=/opt/piwheels/bin/(.*)", unit.read_text(), flags=re.M)
    name, *words = shlex.split(command[1])
    assert load(name, generate.program(name).config, words, {"HOME": "/nonexistent"})


def calls(path):
    """Yield the name of each call in a module, its full name, and its text argument."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
            yield name, ast.unparse(node.func), node.args[-1 if name == "Warn" else 0]


def fixed_part(node):
    """Return the longest constant part of a text expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        parts = re.split(r"%[\d.]*[a-z]", node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = [each.value for each in node.values if isinstance(each, ast.Constant)]
    elif isinstance(node, ast.BinOp):
        parts = [fixed_part(node.left), fixed_part(node.right)]
    else:
        parts = []
    return max((part.strip(" '(:;,)\n") for part in parts), key=len, default="")


def plain(page):
    return page.read_text().replace("`", "").replace("\\|", "|")


def modules_of(name):
    """Return the modules that belong only to the program *name*."""
    module = SCRIPTS[name].partition(":")[0].split(".")
    folder = ROOT.joinpath(*module[:2])
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@pytest.mark.parametrize("name", [*SCRIPTS, "core"])
def test_every_error_is_in_a_chapter(name):
    shared = plain(DOCS / "programs" / "errors.md")
    if name == "core":
        modules, text = sorted((ROOT / "piwheels" / "core").rglob("*.py")), shared
    else:
        modules, text = modules_of(name), shared + plain(DOCS / "programs" / f"{name}.md")
    missing = [
        f"{path.name}: {part}"
        for path in modules
        if str(path.relative_to(ROOT)) not in UNDOCUMENTED and "simulate" not in path.parts
        for call, _, node in calls(path)
        if call in {"Fatal", "CannotInit", "Unavailable"} and (part := fixed_part(node)) not in text
    ]
    assert not missing, "\n".join(missing)


def test_every_warning_in_the_log_is_documented():
    text = plain(DOCS / "operations.md")
    folders = ("master", "slave", "core")
    missing = [
        f"{path.relative_to(ROOT)}: {part}"
        for folder in folders
        for path in sorted((ROOT / "piwheels" / folder).rglob("*.py"))
        for call, whose, node in calls(path)
        if (call in {"warning", "error", "critical", "exception"} and "log" in whose)
        or call == "Warn"
        if (part := fixed_part(node)) not in text
    ]
    assert not missing, "\n".join(missing)


# The examples in docs/library.md -------------------------------------------------------------


@pytest.fixture
def master(db_dsn, tmp_path, monkeypatch):
    """A master whose sockets are in this user's default folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    env = {**os.environ, "PIW_ALLOW_ROOT": "1", "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "piwheels.master", "--dsn", db_dsn, "--pypi-simple=file:///x"]
    places = [f"--output-path={tmp_path / 'www'}", f"--slave-queue=ipc://{tmp_path}/slave"]
    command += [*places, f"--file-queue=ipc://{tmp_path}/file", "--dev-mode"]
    process = subprocess.Popen(command, env=env)
    try:
        until(lambda: Path(master_socket("import").removeprefix("ipc://")).is_socket(), 60)
        yield process
    finally:
        process.terminate()
        assert process.wait(patience(30)) == 0


def test_the_examples_of_the_library_work(db_dsn, master):
    page = (DOCS / "library.md").read_text().replace("postgresql:///piwheels", db_dsn)
    examples = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", page, flags=re.M | re.S)
    assert len(examples) == page.count("```python") >= 8
    names = {"__name__": "example"}
    for source, expected in examples:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(source, "docs/library.md", "exec", dont_inherit=True), names)  # noqa: S102
        assert said.getvalue() == expected, source
