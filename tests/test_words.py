"""The vocabulary: files that have been rewritten contain no words of the project's old dialect."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Files and folders that have been rewritten. Extend this list, until it is the whole repository.
CLEAN = (
    ".github",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "RELEASING.md",
    "SECURITY.md",
    "benchmarks",
    "docs",
    "go",
    "piwheels/add.py",
    "piwheels/audit",
    "piwheels/console",
    "piwheels/core",
    "piwheels/importer.py",
    "piwheels/initdb",
    "piwheels/logger",
    "piwheels/master",
    "piwheels/rebuild.py",
    "piwheels/remove.py",
    "piwheels/serve",
    "piwheels/slave",
    "piwheels/up",
    "pyproject.toml",
    "sql",
    "tests/audit",
    "tests/clocks.py",
    "tests/conftest.py",
    "tests/console",
    "tests/console_stage.py",
    "tests/core",
    "tests/helpers.py",
    "tests/logger",
    "tests/master",
    "tests/peers.py",
    "tests/sample_site.py",
    "tests/site_requests.py",
    "tests/slave",
    "tests/test_add.py",
    "tests/test_browser.py",
    "tests/test_docs.py",
    "tests/test_farm.py",
    "tests/test_go.py",
    "tests/test_importer.py",
    "tests/test_initdb.py",
    "tests/test_programs.py",
    "tests/test_rebuild.py",
    "tests/test_reference.py",
    "tests/test_remove.py",
    "tests/test_serve.py",
    "tests/test_servers.py",
    "tests/test_systemd.py",
    "tests/toy_master.py",
    "tests/up",
    "tests/upstream.py",
)
#: Words and phrases of the dialect, as regular expressions, each with the plain words for it.
DIALECT = {
    r"anew": "again, from scratch",
    r"(?:was|were|is|are|be|been) told(?! to end)": "received, is reported, knows",
    r"tells? of": "reports, lists",
    r"who(?:ever)? (?:may|asks|reads|wants|says|looks|must)": "a task that, a reader who, if you",
    r"whoever": "anyone who, the one that",
    r"heeded?": "follow, respect",
    r"moot": "superseded",
    r"(?:unfit|made fit|fit to be)": "invalid, sanitised",
    r"at one stroke": "atomically",
    r"lately": "recently",
    r"downloaded most": "most downloaded",
    r"is no \w+ (?:of ours|that|while)": "is not a",
    r"what is (?:told|kept|written|done|gone|here|there|out|served|said|asked)": "the noun",
    r"must not come too early": "the reason",
    r"as (?:it|they) stands?\b": "unchanged",
    r"(?:stands|stand|lies|lie) (?:in|on|beside|packed)": "is in, is next to",
    r"(?:goes|go) on\b": "continues",
    r"see(?:s|n)? to (?:it|that|the|its|already)": "ensure, check",
    r"give (?:its|their|the|a) build up|gives? up": "abandon",
    r"strays?|grave|hurry|blast|deaf|spoken|untold": "see docs/glossary.md",
    r"enem(?:y|ies)": "untrusted, hostile",
    r"nobody'?s|anybody'?s?": "no one, anyone",
    r"by way of": "through, with",
    r"holds? (?:it|them|this|both|all) to": "checks against",
    r"figures": "statistics",
    r"besides?": "next to, in addition to",
    r"taken for dead": "declared dead",
    r"rhythm|trouble|deed": "see docs/glossary.md",
}
#: Text that is not checked: code, quoted messages, generated blocks, a key of JSON.
QUOTED = re.compile(
    r"^```.*?^```|<!-- \w+(?:: [\w.-]+)? -->.*?<!-- end -->|``[^`\n]*``|`[^`\n]*`|\"figures\"",
    re.M | re.S,
)
SUFFIXES = {".md", ".py", ".sql", ".pt", ".js", ".css", ".toml", ".conf", ".service"}


def clean_files():
    for name in CLEAN:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            short = file.relative_to(ROOT).as_posix()
            if (file.suffix in SUFFIXES or name == "go") and "_build" not in short:
                yield short


@pytest.mark.parametrize("name", list(clean_files()))
def test_the_words_are_plain(name):
    text = (ROOT / name).read_text()
    text = QUOTED.sub(lambda quoted: "\n" * quoted[0].count("\n"), text)
    found = [
        f"{name}:{text[: match.start()].count(chr(10)) + 1}: {match[0]!r} (plain: {plain})"
        for words, plain in DIALECT.items()
        for match in re.finditer(rf"\b(?:{words})\b", text, flags=re.I)
        if not match[0].isupper()  # a message
    ]
    assert not found, "\n" + "\n".join(found)


def test_every_file_on_the_list_exists():
    assert [name for name in CLEAN if not (ROOT / name).exists()] == []
