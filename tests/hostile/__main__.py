"""Try all attacks, and print a table of them: ``PYTHONPATH=tests python -m hostile``.

An attack is held if it comes to nothing where docs/security.md promises that. Some tests try a
whole list: if one fails, each attack of its list counts as harmful. A skipped one was not tried.
"""

import sys
from collections import Counter
from typing import NamedTuple

import pytest

from hostile import house, inside, network, proxying, sources, wheels, wires


class Kind(NamedTuple):
    """Attacks, and the beginning of the names of their tests, each of which tries *each* many."""

    name: str
    attacks: int
    test: str
    each: int


def whole(name, attacks, test):
    """Return a kind of attacks that one test tries."""
    return Kind(name, len(attacks), f"tests/{test}", len(attacks))


def single(name, attacks, test):
    """Return a kind of attacks with a test for each."""
    return Kind(name, len(attacks), f"tests/{test}", 1)


KINDS = (
    whole("from inside a build", inside.ATTACKS,
        "slave/test_sandbox.py::test_attacks_from_inside_a_build_are_stopped[bwrap]"),
    whole("on the farm of a piw-up", house.ATTACKS,
        "up/test_farm.py::test_attacks_from_inside_a_build_on_its_farm_are_stopped"),
    whole("by the network of a build", network.ATTACKS,
        "slave/egress/test_builds.py::test_attacks_by_the_network_are_stopped[bwrap]"),
    single("on the proxy of a build", proxying.CASES,
        "slave/egress/test_proxy.py::test_a_hostile_request_gets_nothing"),
    single("by a source package", sources.SOURCES,
        "slave/test_sources.py::test_a_hostile_source_does_not_harm_its_slave"),
    whole("by a wheel", list(wheels.corpus()),
        "core/wheels/test_integrity.py::test_each_wheel_is_refused_with_its_reason_or_published"),
    whole("on a wire: connections", wires.CONNECTIONS,
        "master/test_gate.py::test_each_key_is_admitted_where_its_role_belongs"),
    whole("on a wire: messages", wires.MESSAGES,
        "master/test_gate.py::test_no_message_reaches_what_belongs_to_another_key"),
    whole("on a wire: invitations", wires.JOINS,
        "master/test_gate.py::test_an_invitation_is_good_for_nothing_else"),
)  # fmt: skip


class Results:
    """Counts the outcomes of tests, by their kind of attacks."""

    def __init__(self):
        self.passed, self.failed = Counter(), Counter()

    def pytest_runtest_logreport(self, report):
        """Count a test that has run, or whose preparation failed."""
        kind = next(kind for kind in KINDS if report.nodeid.startswith(kind.test))
        if report.failed:
            self.failed[kind] += 1
        elif report.when == "call" and report.passed:
            self.passed[kind] += 1


def main(options):
    """Run the tests with *options* of pytest; return 1 if an attack was harmful, or not tried."""
    results = Results()
    status = pytest.main(["-q", *options, *(kind.test for kind in KINDS)], plugins=[results])
    rows = [("attacks", "listed", "tried", "held", "harmful")]
    for kind in KINDS:
        held, harmful = kind.each * results.passed[kind], kind.each * results.failed[kind]
        rows.append((kind.name, kind.attacks, held + harmful, held, harmful))
    rows.append(("all", *(sum(column) for column in list(zip(*rows[1:], strict=True))[1:])))
    for name, *numbers in rows:
        sys.stdout.write(f"{name:26}" + "".join(f"{number:>9}" for number in numbers) + "\n")
    return status or any(not row[2] for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
