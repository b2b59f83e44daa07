"""The rows of the fleet table: filtered, sorted, grouped; below a board, those of its lanes.

Rows must not move while somebody reads or selects: they are sorted at most every 2 s, not within
3 s of a key that moves the cursor, and never while the view is frozen. In between, new rows are
appended, and the rows of slaves that left stay.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.model.health import MACHINE
from piwheels.console.model.heat import Grouping, group_of, natural
from piwheels.console.model.query import NUMBERS, TEXTS, Query, Row
from piwheels.console.model.slave import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from piwheels.console.model.commands import Command
    from piwheels.console.model.farm import Changes, FarmModel
    from piwheels.console.model.slave import Alert, Slave

#: The least time between two sorts, and after a key that moves the cursor.
SETTLE: Final = timedelta(seconds=2)
CALM: Final = timedelta(seconds=3)

#: States, the one that most needs attention first.
WORST: Final = (
    State.EXPIRED,
    State.SILENT,
    State.DEAD,
    State.PAUSE,
    State.BUILD,
    State.SEND,
    State.CLEAN,
    State.IDLE,
    State.SLEEP,
)
_RANK: Final = {state: rank for rank, state in enumerate(WORST)}


class BoardKey(NamedTuple):
    """The key of a board's row: the name of a host with several lanes."""

    host: str


#: A row's key: a slave's id, a board, or a group's name.
Key = int | BoardKey | str


class Group(NamedTuple):
    """A row for several slaves; *alerts*: how many of them have alerts."""

    name: str
    members: tuple[int, ...]
    worst: State
    counts: tuple[tuple[State, int], ...]
    alerts: int


class Board(NamedTuple):
    """A row for a host with several lanes: the shown ones are *lanes*, *first* has its values.

    *alerts* are those of the machine; if the row is *folded*, also those of the lanes.
    """

    first: Row
    lanes: tuple[int, ...]
    folded: bool
    worst: State
    counts: tuple[tuple[State, int], ...]
    command: Command | None
    alerts: tuple[Alert, ...]

    @property
    def gone(self) -> bool:
        """Whether all lanes have left."""
        return self.worst is State.DEAD and len(self.counts) == 1


def _alert(row: Row) -> tuple[int, float]:
    weight = max((alert.weight for alert in row.slave.alerts), default=0)
    return -weight, -row.elapsed.total_seconds()


def _number(asked: Callable[[Row], float | None]) -> Callable[[Row], float]:
    """Make a sort key: largest first, unknown last."""

    def key(row: Row) -> float:
        known = asked(row)
        return float("inf") if known is None or known != known else -known  # noqa: PLR0124 (NaN)

    return key


def _text(asked: Callable[[Row], str]) -> Callable[[Row], object]:
    """Make a sort key: ``pi4-2`` before ``pi4-10``, empty last."""

    def key(row: Row) -> object:
        text = asked(row)
        return not text, natural(text)

    return key


#: The sort keys of the columns: problems first, large first, A first.
SORTS: Final[dict[str, Callable[[Row], object]]] = {
    "alert": _alert,
    "state": lambda row: _RANK[row.state],
    "cmd": _text(TEXTS["cmd"]),
    "id": lambda row: row.slave.id,
    "label": _text(TEXTS["label"]),
    "abi": _text(TEXTS["abi"]),
    "task": _text(TEXTS["task"]),
    **{
        name: _number(NUMBERS[name])
        for name in ("time", "eta", "slow", "load", "temp", "mem", "swap", "disk", "skew")
    },
    "os": _text(TEXTS["os"]),
}


class View:
    """The rows of the fleet table. *command_of* returns the command in the CMD column."""

    def __init__(self, command_of: Callable[[int], Command | None]) -> None:
        self.command_of = command_of
        self.query = Query()
        self.sort = "alert"
        self.reverse = False
        self.group: Grouping | None = None
        #: The groups whose members are shown, by name.
        self.open: set[str] = set()
        #: The boards whose lanes are hidden.
        self.folded: set[BoardKey] = set()
        self.keys: list[Key] = []
        self.groups: dict[str, Group] = {}
        #: The shown lanes of each board, in their order, and the board of each.
        self.boards: dict[BoardKey, tuple[int, ...]] = {}
        self.board_of: dict[int, BoardKey] = {}
        self._farm: FarmModel | None = None
        self._slaves: dict[int, Slave] = {}
        self._frozen: dict[int, Row] | None = None
        self._moved: datetime | None = None
        self._sorted: datetime | None = None

    # Rows ------------------------------------------------------------------------

    def row(self, slave_id: int) -> Row:
        """Return a row as it is now, or was when the view was frozen."""
        row = self._row_of(slave_id)
        board = self.board_of.get(slave_id)
        if board is None:
            return row
        return row._replace(branch="└" if slave_id == self.boards[board][-1] else "├")

    def _row_of(self, slave_id: int) -> Row:
        if self._frozen is not None and slave_id in self._frozen:
            command = self.command_of(slave_id)
            gone = slave_id not in self._known()
            return self._frozen[slave_id]._replace(command=command, gone=gone)
        return self._row(self._slaves[slave_id])

    def board(self, key: BoardKey) -> Board:
        """Return the row of a board, as its lanes are now, or were when the view was frozen."""
        lanes = self.boards[key]
        rows = [self._row_of(one) for one in lanes]
        living = [row for row in rows if row.state is not State.DEAD]
        counts, folded = _counts(rows), key in self.folded
        alerts = (alert for row in rows for alert in row.slave.alerts)
        return Board(
            max(living or rows, key=lambda row: bool(row.slave.stats) and not row.slave.is_behind),
            lanes, folded, counts[0][0], counts,
            next((row.command for row in rows if row.command is not None), None),
            tuple(alert for alert in alerts if folded or alert.reason in MACHINE),
        )  # fmt: skip

    def _row(self, slave: Slave) -> Row:
        assert self._farm is not None, "nothing has been shown yet"  # noqa: S101
        state, elapsed = slave.state_at(self._farm.now), self._farm.elapsed(slave)
        gone = slave.id not in self._farm.slaves
        return Row(slave, state, elapsed, self.command_of(slave.id), gone)

    def _known(self) -> dict[int, Slave]:
        return self._farm.slaves if self._farm is not None else {}

    @property
    def shown(self) -> list[int]:
        """The slaves that match the filter, sorted, with those of closed groups and boards."""
        if self.group is None:
            hidden = (key for key in self.keys if isinstance(key, int) or key in self.folded)
            return [one for key in hidden for one in self.members(key)]
        return [one for group in self.groups.values() for one in group.members]

    def members(self, key: Key) -> list[int]:
        """Return the slaves of a row: one, or those of its board or group."""
        if isinstance(key, int):
            return [key]
        if isinstance(key, BoardKey):
            return list(self.boards.get(key, ()))
        return list(self.groups[key].members) if key in self.groups else []

    # When they change -------------------------------------------------------------------------

    def moved(self, now: datetime) -> None:
        """Record a move of the cursor: rows keep their places for a while."""
        self._moved = now

    @property
    def frozen(self) -> bool:
        """Whether rows and values are frozen."""
        return self._frozen is not None

    def freeze(self) -> None:
        """Freeze rows and values until :meth:`thaw`."""
        self._frozen = {one.id: _copied(self._row(one)) for one in self._known().values()}

    def thaw(self, now: datetime) -> None:
        """End :meth:`freeze`."""
        self._frozen = None
        self.arrange(now)

    def update(self, farm: FarmModel, changes: Changes, now: datetime) -> bool:
        """Take changes; return whether the rows changed or moved."""
        if farm is not self._farm or changes.epoch:
            self._farm, self._frozen = farm, None
            self.keys, self.groups, self._slaves = [], {}, {}
            self.folded.clear()
            return self.arrange(now)
        if not self.frozen and self._due(now):
            return self.arrange(now)
        return self._append(changes.new)

    def _due(self, now: datetime) -> bool:
        settled = self._sorted is None or now - self._sorted >= SETTLE
        return settled and (self._moved is None or now - self._moved >= CALM)

    def _append(self, new: Iterable[int]) -> bool:
        known = self._known()
        added = [known[one] for one in sorted(new) if one in known and one not in self._slaves]
        for slave in added:
            self._slaves[slave.id] = slave
            if self._frozen is not None:
                self._frozen[slave.id] = _copied(self._row(slave))
            if self.group is None and self.query.matches(self.row(slave.id)):
                self.keys.append(slave.id)
        return bool(added)

    def arrange(self, now: datetime) -> bool:
        """Filter, sort and group the rows; return whether they changed or moved."""
        self._sorted = now
        if self._frozen is None:
            self._slaves = dict(self._known())
            rows = [self._row(slave) for slave in self._slaves.values()]
        else:
            rows = [self._row_of(slave_id) for slave_id in self._frozen]
        lanes = Counter(row.slave.host for row in rows)
        rows = [row for row in rows if self.query.matches(row)]
        rows.sort(key=lambda row: row.slave.id)
        if self.sort != "alert":
            rows.sort(key=_alert)
        rows.sort(key=SORTS[self.sort], reverse=self.reverse)  # type: ignore[arg-type]
        before, old = self.keys, self.groups
        self.groups, self.boards, self.board_of = {}, {}, {}
        if self.group is not None:
            self.keys = self._grouped(rows, self.group)
        else:
            self.keys = list(self._with_boards(rows, lanes))
        return self.keys != before or self.groups != old

    def _with_boards(self, rows: list[Row], lanes: Counter[str]) -> Iterator[Key]:
        """Yield the keys of *rows*; the lanes of a board follow its row, at the place of the first.

        *lanes*: how many each host has. One with a single lane is like a slave.
        """
        of_host: dict[str, list[Row]] = {}
        for row in rows:
            if row.slave.host and lanes[row.slave.host] > 1:
                of_host.setdefault(row.slave.host, []).append(row)
        for row in rows:
            key = BoardKey(row.slave.host)
            if row.slave.host not in of_host:
                yield row.slave.id
            elif key not in self.boards:
                of_host[key.host].sort(key=lambda one: (one.slave.lane, one.slave.id))
                ids = self.boards[key] = tuple(one.slave.id for one in of_host[key.host])
                self.board_of |= dict.fromkeys(ids, key)
                yield key
                yield from () if key in self.folded else ids

    def _grouped(self, rows: list[Row], by: Grouping) -> list[Key]:
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(group_of(row.slave, by), []).append(row)
        keys: list[Key] = []
        for name in sorted(groups, key=natural):
            members = groups[name]
            ids = tuple(row.slave.id for row in members)
            by_severity = _counts(members)
            alerts = sum(bool(row.slave.alerts) for row in members)
            self.groups[name] = Group(name, ids, by_severity[0][0], by_severity, alerts)
            keys += (name, *(ids if name in self.open else ()))
        return keys


def _counts(rows: Iterable[Row]) -> tuple[tuple[State, int], ...]:
    """Return how many rows have each state, the one that most needs attention first."""
    counts = Counter(row.state for row in rows)
    return tuple((state, counts[state]) for state in WORST if counts[state])


def _copied(row: Row) -> Row:
    """Return a copy of a row that later changes of its slave do not affect."""
    slave = copy.copy(row.slave)
    slave.stats = deque(slave.stats)
    return row._replace(slave=slave)
