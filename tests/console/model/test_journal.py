"""The journal: similar entries become one line, and readers miss nothing."""

from datetime import UTC, datetime, timedelta

from piwheels.console.model.journal import Journal, Kind

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Notes(Journal):
    def flood(self, *labels, kind=Kind.JOIN, what="joined for cp311", after=0.0, apart=0.1):
        for place, label in enumerate(labels):
            at = NOW + timedelta(seconds=after + apart * place)
            self.note(at, kind, what, slave_id=place, label=label, detail="c03115")

    def lines(self):
        return [(entry.label, entry.what, entry.detail) for entry in self.entries]


def test_two_similar_entries_stay():
    notes = Notes()
    notes.flood("a", "b")
    assert [entry[0] for entry in notes.lines()] == ["a", "b"]


def test_three_similar_entries_become_one():
    notes = Notes()
    notes.note(NOW, Kind.LINK, "attached")
    notes.flood("a", "b")
    notes.note(NOW, Kind.DONE, "numpy 1.0 cp311 ok", slave_id=1, label="a")
    notes.flood(*"cdefgh", after=1)
    assert notes.lines() == [
        ("", "attached", ""),
        ("a", "numpy 1.0 cp311 ok", ""),
        ("8 slaves", "joined", "a, b, c, d, e and 3 more"),
    ]
    assert notes.entries[-1].count == 8
    assert notes.entries[-1].slave_id is None


def test_entries_that_come_later_are_not_merged():
    notes = Notes()
    notes.flood("a", "b", "c", apart=1)
    notes.flood("d", "e", after=4.1, apart=1)
    notes.flood("f", after=3)  # the clock was set back: not part of a later flood
    assert [entry[0] for entry in notes.lines()] == ["3 slaves", "d", "e", "f"]


def test_different_kinds_are_not_merged():
    notes = Notes()
    notes.flood("a", "b", "c", kind=Kind.LEFT, what="left")
    notes.flood("d", "e", "f", kind=Kind.WARN, what="silent")
    notes.flood("g", "h", kind=Kind.WARN, what="disk 91%")
    notes.flood("i", "j", "k", kind=Kind.FAIL, what="pyarrow 21.0.0 cp311")
    entries = [(label, what) for label, what, _ in notes.lines()]
    assert entries[:2] == [("3 slaves", "left"), ("3 slaves", "silent")]
    assert [label for label, _ in entries[2:]] == list("ghijk")


def test_readers_continue_where_they_stopped():
    notes = Notes()
    notes.flood("a", "b")
    seen = notes.count
    assert [entry.label for _, entry in notes.since(0)] == ["a", "b"]
    notes.flood("c", after=1)
    assert [entry.label for _, entry in notes.since(seen)] == ["3 slaves"]
    seen = notes.count
    assert notes.since(seen) == []
    notes.flood("d", after=2)
    notes.note(NOW, Kind.LINK, "attached")
    assert [(number, entry.what) for number, entry in notes.since(seen)] == [
        (3, "joined"),
        (4, "attached"),
    ]


def test_the_last_five_thousand_entries_are_kept():
    notes = Notes()
    for number in range(6000):
        notes.note(NOW, Kind.DONE, str(number))
    assert (len(notes.entries), notes.count) == (5000, 6000)
    assert [number for number, _ in notes.since(5998)] == [5998, 5999]
    assert notes.since(0)[0][0] == 1000
