"""The vocabulary: no file contains words of the project's old dialect."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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


def files():
    """Return all texts of the repository but this one."""
    hidden = re.compile(r"/(?:\.(?!github/)|_build/|__pycache__/)")
    return [
        path
        for path in sorted([*ROOT.rglob("*.*"), ROOT / "go"])
        if (path.suffix in SUFFIXES or path.name == "go")
        and not hidden.search(f"/{path.relative_to(ROOT)}")
        and path != Path(__file__).resolve()
    ]


def test_the_words_are_plain():
    any_word = re.compile(rf"\b(?:{'|'.join(DIALECT)})\b", re.I)
    assert len(files()) > 500
    found = []
    for path in files():
        text = QUOTED.sub(lambda quoted: "\n" * quoted[0].count("\n"), path.read_text())
        for match in any_word.finditer(text):
            if not match[0].isupper():  # a message
                plain = next(v for k, v in DIALECT.items() if re.match(k, match[0], re.I))
                line = text[: match.start()].count("\n") + 1
                found.append(f"{path}:{line}: {match[0]!r} (plain: {plain})")
    assert not found, "\n" + "\n".join(found)
