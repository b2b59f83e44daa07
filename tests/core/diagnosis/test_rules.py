"""The rules: each has an example log, which it decides."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from piwheels.core.diagnosis import CLASSES, diagnose
from piwheels.core.diagnosis.finding import LONGEST, decide
from piwheels.core.diagnosis.rules import RULES

LOGS = Path(__file__).with_name("logs")
#: What lines consist of that make a careless pattern slow.
PIECES = [
    "a", " ", "'", ".", "/", "1", "a ", "a/", "a.", "- ", "(", "error: ", "Python 3 ", "the ", "::",
    "library ", "not ", '"', "`a", "find ", "install ", "no ", "use ", "host=",
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_decides_its_example(rule):
    head, _, log = (LOGS / f"{rule.name}.log").read_text().partition("\n\n")
    wanted = dict(re.findall(r"^(\w+): ?(.*)$", head, re.M))
    found = decide(log)
    assert found is not None
    assert found.rule.name == rule.name
    diagnosis = diagnose(log)
    assert [diagnosis.reason, diagnosis.subject, diagnosis.cause] == list(wanted.values())
    assert diagnosis.confidence == rule.confidence


def test_each_rule_is_needed():
    assert {path.stem for path in LOGS.iterdir()} == {rule.name for rule in RULES}
    assert [name for name, count in Counter(rule.name for rule in RULES).items() if count > 1] == []


def test_each_rule_is_complete():
    for rule in RULES:
        assert rule.reason in CLASSES, rule.name
        assert 0 < rule.confidence <= 1, rule.name
        assert re.fullmatch(r"[a-z0-9-]+", rule.name)


def test_nearly_each_class_has_a_rule():
    # The master stores its own faults.
    assert set(CLASSES) - {rule.reason for rule in RULES} == {"master-fault", "unknown"}


def test_no_pattern_is_slow_on_lines_with_its_sign():
    slowest = Counter()
    for rule in RULES:
        pattern = re.compile(rule.pattern)
        for piece in PIECES:
            for line in ((rule.sign + piece * LONGEST)[:LONGEST],
                         (piece * LONGEST)[: LONGEST - len(rule.sign)] + rule.sign,
                         ((rule.sign + piece) * LONGEST)[:LONGEST]):  # fmt: skip
                begin = time.process_time()
                pattern.search(line)
                slowest[rule.name] = max(slowest[rule.name], time.process_time() - begin)
    # They take less than 5 ms; those with nested repetitions take seconds.
    assert [name for name, seconds in slowest.items() if seconds > 0.1] == []
