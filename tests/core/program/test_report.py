"""The shared output of the programs: sentences, or with ``--json`` objects, errors included."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from piwheels.core.errors import Fatal
from piwheels.core.program.command_line import Common, program, usage_error
from piwheels.core.program.report import Report, json_option


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Common):
    """Count toys."""

    json: bool = json_option()


@program("piw-toy", ToyConfig)
def main(config):
    """Report a toy."""
    if config.log_file == Path("/dev/null"):
        usage_error("piw-toy", config, "no such toy")
    if config.verbose:
        raise Fatal("the toy\nis broken")
    values = {"when": datetime(2026, 1, 1, tzinfo=UTC), "took": timedelta(seconds=1.5)}
    Report(config).write("a toy", event="toy", path=Path("/toy"), of={"b", "a"}, **values)
    Report(config).record(event="detail")
    return 0


def test_sentences_are_for_people(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == "a toy\n"
    assert main(["-q"]) == 0
    assert capsys.readouterr().out == ""


def test_objects_are_for_programs(capsys):
    assert main(["--json", "-q"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {
            "event": "toy", "path": "/toy", "of": ["a", "b"], "took": 1.5,
            "when": "2026-01-01T00:00:00+00:00", "message": "a toy",
        },
        {"event": "detail"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["-v"], 1, "the toy is broken"),
        (["--toys"], 2, "no option --toys"),
        (["--log-file=/dev/null"], 2, "no such toy"),
        (["-c", "/nonexistent/file"], 1, "/nonexistent/file: No such file or directory"),
    ],
)
def test_an_error_is_an_object_too(capsys, args, status, words):
    def run(*more):
        try:
            return main([*args, *more])
        except SystemExit as end:
            return end.code

    assert run() == status
    assert capsys.readouterr().out == ""
    assert run("--json") == status
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["event"], found["status"]) == ("error", status)
    assert words in found["message"]
    assert "\npiw-toy: " in f"\n{captured.err}"


def test_the_environment_can_ask_for_objects(capsys, monkeypatch):
    monkeypatch.setenv("PIW_JSON", "1")
    assert main(["-v"]) == 1
    assert json.loads(capsys.readouterr().out)["event"] == "error"
