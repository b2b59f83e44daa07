"""A recording of a real farm: ``piw-console --plain --record tests/data/farm.piwrec``.

Its slave built six, functools32 (which fails), wrapt and simplejson; the console attached late.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from piwheels.console.model.slave import State
from piwheels.console.session import Session
from piwheels.console.wire.replay import Replay

RECORDING = Path(__file__).parents[1] / "data" / "farm.piwrec"


def test_a_real_recording_gives_the_right_farm():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    replay = Replay(RECORDING, lambda: now)
    session = Session(replay, read_only=True)
    session.start(replay.begin)
    seen = set()
    while replay.playing:
        now += timedelta(seconds=0.25)
        session.pump(replay.position)
        session.tick(replay.position)
        session.farm.validate()
        seen.update(slave.reported for slave in session.farm.slaves.values())
    session.close()
    assert seen >= {State.BUILD, State.SEND, State.SLEEP}
    assert [(one.package, one.result, one.files) for one in session.farm.builds] == [
        ("six", "ok", 1),
        ("functools32", "failed", 0),
        ("wrapt", "ok", 1),
        ("simplejson", "ok", 1),
    ]
    (slave,) = session.farm.slaves.values()
    assert (slave.label, slave.reported, slave.job) == ("slave-cp311", State.SLEEP, None)
    assert session.farm.stats[-1].packages_built == 3
    entries = [entry.what for entry in session.journal.entries]
    assert entries == ["wrapt 2.5.2 cp311 ok", "simplejson 4.3.0 cp311 ok"]
