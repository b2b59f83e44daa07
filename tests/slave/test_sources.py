"""Hostile sources: what becomes of their builds, and that their slave builds the next one."""

import json
import os
import subprocess
import sys

import pytest

from helpers import add_source, patience
from hostile import building
from hostile.sources import ALL, LIMITS, SOURCES
from piwheels.core.host.supervision import descendants

CASES = [
    pytest.param(mode, source, id=f"{source.what}-{mode}")
    for mode in sorted(ALL)
    for source in SOURCES
    if mode in source.modes
]


class Slave:
    """A slave with a sandbox, which builds what is in the folder *sources*."""

    def __init__(self, mode, place):
        self.sources, self.work = place / "sources", place / "work"
        for folder in (self.sources, self.work):
            folder.mkdir()
        settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.sources), "PIP_RETRIES": "0"}
        self.process = subprocess.Popen(
            [sys.executable, building.__file__, mode, str(self.work)],
            env={**os.environ, **settings, "PIP_CONFIG_FILE": os.devnull},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def build(self, write, limits=None):
        """Build what *write* writes; return the result. It must leave nothing behind."""
        for path in self.sources.iterdir():
            path.unlink()
        write(self.sources)
        print(json.dumps(limits), file=self.process.stdin, flush=True)
        result = json.loads(self.process.stdout.readline())
        assert result["left"] == []
        assert descendants(self.process.pid) == {}
        return result


@pytest.fixture(scope="module")
def slave(request, tmp_path_factory):
    made = Slave(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    honest = made.build(add_source)
    assert honest["built"], honest["output"]
    made.process.stdin.close()
    assert made.process.wait(patience(30)) == 0
    made.process.stdout.close()


@pytest.mark.parametrize(("slave", "source"), CASES, indirect=["slave"])
def test_a_hostile_source_does_not_harm_its_slave(slave, source):
    """The next build is that of the next source; an honest one follows the last."""
    limits = {**LIMITS, **source.limits}
    limits |= {key: patience(limits[key]) for key in ("silence", "timeout")}
    result = slave.build(source.write, limits)
    assert (result["built"], result["lost"]) == (not source.words, source.lost), result["output"]
    assert all(word in result["output"] for word in source.words), result["output"]
    assert "\x1b" not in result["output"]
    assert result["wheels"] == ["demo-1.0-py3-none-any.whl"] * result["built"]
