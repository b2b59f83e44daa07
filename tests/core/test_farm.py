"""A client of a farm: its requests, its events, and a master that is absent or lost."""

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import zmq

from helpers import patience, until
from peers import FakeMrChase
from piwheels.core import codec
from piwheels.core.errors import BadMessage, Fatal, Refused, Unavailable
from piwheels.core.farm import FILE_QUEUE, Done, Farm, file_address
from piwheels.core.paths import FARM_FILE, write_farm_file
from piwheels.core.protocols import SlaveEvent, StoredRecipe, master_control, monitor_stats
from piwheels.core.recipes import Recipe
from piwheels.core.states import BuildState, MasterInfo, MasterStats
from piwheels.core.transport import Context

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INFO = MasterInfo(NOW, "farm", "Debian", "13", "", "")
STATS = MasterStats(NOW, 1, {}, timedelta(0), *[0] * 1, {}, *[0] * 11, 0.5, 40.0)
DIE = SlaveEvent(7, NOW, "DIE", codec.NoData)


# Requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "msg", "data", "word"),
    [
        (lambda farm: farm.add_package("six"), "ADDPKG", ("six", "", "", False, []), "NEWPKG"),
        (
            lambda farm: farm.add_package("six", description="d", skip="s", aliases=["SIX"]),
            "ADDPKG", ("six", "d", "s", False, ["SIX"]), "SKIPPKG",
        ),
        (
            lambda farm: farm.add_version("six", "1", released=NOW, unskip=True, yank=True),
            "ADDVER", ("six", "1", "", True, NOW, True, False, [], "", ""), "YANKVER",
        ),
        (lambda farm: farm.remove_package("six"), "REMPKG", ("six", False, ""), "DELPKG"),
        (
            lambda farm: farm.remove_package("six", builds=True, skip="s"),
            "REMPKG", ("six", True, "s"), "DELPKGBLD",
        ),
        (
            lambda farm: farm.remove_version("six", "1", yank=True),
            "REMVER", ("six", "1", False, "", True, ""), "YANKVER",
        ),
        (lambda farm: farm.rebuild("home"), "REBUILD", ("HOME",), "REBUILD"),
        (lambda farm: farm.rebuild("project"), "REBUILD", ("PROJECT", None), "REBUILD"),
        (lambda farm: farm.rebuild("index", "six"), "REBUILD", ("BOTH", "six"), "REBUILD"),
        (lambda farm: farm.watch("six"), "WATCH", "six", "WATCH"),
        (lambda farm: farm.unwatch("six"), "UNWATCH", "six", "UNWATCH"),
    ],
)  # fmt: skip
def test_requests(mr_chase, call, msg, data, word):
    mr_chase.answers = {msg: ("DONE", word)}
    with Farm() as farm:
        assert call(farm) is Done(word)
    assert mr_chase.asked == [(msg, data)]


def test_failed_builds_are_retried_and_counted(mr_chase):
    mr_chase.answers = {"RETRY": [("DONE", "17"), ("DONE", "0")]}
    with Farm() as farm:
        assert farm.retry_failed(NOW, "pi") == 17
        assert farm.retry_failed(NOW, preview=True) == 0
    assert mr_chase.asked == [("RETRY", (NOW, "pi", False)), ("RETRY", (NOW, "", True))]


@pytest.mark.parametrize(
    ("call", "msg", "data"),
    [
        (
            lambda farm: farm.retry_reason("killed", "cc1", NOW, preview=True),
            "RETRYREASON",
            (NOW, "killed", "cc1", True),
        ),
        (lambda farm: farm.retry_version("six", "1.0"), "RETRYVERSION", ("six", "1.0")),
        (lambda farm: farm.retry_curable(preview=True), "CURE", True),
        (lambda farm: farm.retry_curable(), "CURE", False),
        (
            lambda farm: farm.set_recipe("six", Recipe(apt=("x-dev",)), retry=False),
            "SETRECIPE",
            ("six", Recipe(apt=("x-dev",)), False, False),
        ),
    ],
)
def test_what_is_counted(mr_chase, call, msg, data):
    mr_chase.answers = {msg: ("DONE", "17")}
    with Farm() as farm:
        assert call(farm) == 17
    assert mr_chase.asked == [(msg, data)]


def test_an_answer_without_a_number_is_of_another_program(mr_chase):
    mr_chase.answers = {"CURE": ("DONE", "many"), "WHY": ("DONE", "17")}
    with Farm() as farm:
        with pytest.raises(Unavailable, match="is not a master"):
            farm.retry_curable()
        with pytest.raises(Unavailable, match="is not a master"):
            farm.why("six")


def test_recipes_are_read_in_parts(mr_chase):
    first, second = (
        StoredRecipe(name, Recipe(apt=("x-dev",)), True, NOW, 1) for name in ("bar", "foo")
    )
    mr_chase.answers = {"RECIPES": [("RECIPES", [first]), ("RECIPES", [second]), ("RECIPES", [])]}
    with Farm() as farm:
        assert list(farm.recipes()) == [first, second]
    assert mr_chase.asked == [("RECIPES", ""), ("RECIPES", "bar"), ("RECIPES", "foo")]


def test_a_version_is_released_now_by_default(mr_chase):
    mr_chase.answers = {"ADDVER": ("DONE", "NEWVER")}
    before = datetime.now(UTC)
    with Farm() as farm:
        farm.add_version("six", "1")
    assert before <= mr_chase.asked[0][1].released <= datetime.now(UTC)


def test_refusals(mr_chase):
    mr_chase.answers = {"WATCH": [("ERROR", "NOPKG"), ("ERROR", "the disk")]}
    with Farm() as farm:
        with pytest.raises(Refused) as caught:
            farm.watch("six")
        assert caught.value.code == "NOPKG"
        with pytest.raises(Refused, match="the disk") as caught:
            farm.watch("six")
        assert caught.value.code == "WATCH"


def test_invalid_arguments_never_leave(mr_chase):
    mr_chase.answers = {"WATCH": ("DONE", "WATCH")}
    with Farm() as farm:
        with pytest.raises(BadMessage, match="bad WATCH: not a package"):
            farm.watch("../six")
        assert farm.watch("six") is Done.WATCHED
    assert mr_chase.asked == [("WATCH", "six")]


def test_a_silent_master_is_an_error(mr_chase, monkeypatch):
    monkeypatch.setattr("piwheels.core.farm.LONG_ANSWER_LIMIT", 0.3)
    build = BuildState(1, "a", "1", "cp311", True, timedelta(1), "log")
    mr_chase.answers = {"IMPORT": None, "WATCH": ("DONE", "WATCH")}
    waits = []
    silence = pytest.raises(Unavailable, match=r"did not answer IMPORT within 0\.3 s")
    with Farm(meanwhile=lambda: waits.append(1)) as farm:
        with silence:
            farm.import_build(build, [])
        assert waits
        assert farm.watch("six") is Done.WATCHED, "after an error it connects again"


def test_the_meanwhile_callback_can_end_a_wait(mr_chase):
    mr_chase.answers = {"WATCH": [None, ("DONE", "WATCH")]}
    stop = [KeyboardInterrupt]

    def meanwhile():
        if stop and mr_chase.asked:
            raise stop.pop()

    with Farm(meanwhile=meanwhile) as farm:
        with pytest.raises(KeyboardInterrupt):
            farm.watch("six")
        assert farm.watch("six") is Done.WATCHED


def test_whether_a_master_is_running(mr_chase, tmp_path):
    with Farm() as farm:
        assert farm.is_running()
    with Farm(f"ipc://{tmp_path}/nobody") as farm:
        assert not farm.is_running(0.1)


def test_the_farm_waits_for_a_late_master(tmp_path):
    where = f"ipc://{tmp_path}/import"
    late = []

    def come():
        time.sleep(0.3)
        late.append(FakeMrChase(where))
        late[0].answers = {"WATCH": ("DONE", "WATCH")}
        late[0].start()

    thread = threading.Thread(target=come)
    thread.start()
    with Farm(where, patience=20) as farm:
        assert farm.watch("six") is Done.WATCHED
    thread.join()
    late[0].__exit__()


def test_a_lost_master_is_noticed(tmp_path):
    where = f"ipc://{tmp_path}/import"
    with FakeMrChase(where) as mr_chase, Farm(where) as farm:
        mr_chase.answers = {"WATCH": None}
        thread = threading.Thread(target=mr_chase.__exit__)
        thread.start()
        with pytest.raises(Unavailable, match="lost the master"):
            farm.watch("six")
        thread.join()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400", codec.dumps("DONE", "HELLO?")])
def test_another_listener_is_not_a_master(tmp_path, answer):
    where = f"ipc://{tmp_path}/import"
    with Context().socket(zmq.REP) as other, Farm(where) as farm:
        other.bind(where)

        def reply():
            other.recv_multipart()
            other.send_multipart([answer])

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(Unavailable, match="is not a master"):
            farm.watch("six")
        thread.join()


def test_a_closed_farm_raises_an_error(mr_chase):
    farm = Farm()
    farm.close()
    farm.close()
    with pytest.raises(ValueError, match="closed"):
        farm.watch("six")
    assert list(farm.listen()) == []


def test_files_are_sent_to_the_neighbouring_socket(mr_chase, tmp_path):
    assert file_address("") == FILE_QUEUE
    with Context().socket(zmq.ROUTER) as neighbour:
        neighbour.bind(f"ipc://{tmp_path}/piwheels/file")
        assert file_address("") == f"ipc://{tmp_path}/piwheels/file"
        assert file_address(mr_chase.address) == f"ipc://{tmp_path}/piwheels/file"
        assert file_address("tcp://board:2") == FILE_QUEUE


def test_the_master_writes_its_address_for_files(tmp_path):
    requests = f"ipc://{tmp_path}/import"
    for bound, there in {"tcp://10.0.0.1:5556": "10.0.0.1", "tcp://*:5556": "127.0.0.1"}.items():
        write_farm_file("postgresql:///piwheels", tmp_path, requests, bound)
        assert file_address(requests) == f"tcp://{there}:5556"
    for broken in (b"", b"[import]\nfile-queue = 3", b'[import]\nfile-queue = "http://x"', b"\xff"):
        (tmp_path / FARM_FILE).write_bytes(broken)
        assert file_address(requests) == FILE_QUEUE


# Events ---------------------------------------------------------------------------------------


class Master(threading.Thread):
    """Publishes its state on request, and the messages that it is given, like a master."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.asked = 0
        self._over = threading.Event()
        self._frames = []
        context = Context()
        self._status = context.socket(zmq.PUB, monitor_stats)
        self._control = context.socket(zmq.PULL, master_control)
        self._status.bind(f"ipc://{folder}/status")
        self._control.bind(f"ipc://{folder}/control")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join(patience(30))
        self._status.close()
        self._control.close()

    def publish(self, *frames):
        self._frames.append(frames)

    def run(self):
        while not self._over.is_set():
            if self._control.poll(0.02):
                assert self._control.recv_msg() == ("HELLO", codec.NoData)
                self.asked += 1
                self._status.send_msg("HELLO", INFO)
                self._status.send_msg("STATS", STATS)
                self._status.send_msg("SLAVE", DIE)
            while self._frames:
                self._status.send_multipart(self._frames.pop(0))


def first(events, count):
    return list(itertools.islice(events, count))


@pytest.fixture
def farm(tmp_path):
    with Farm(f"ipc://{tmp_path}/import") as client:
        yield client


def test_events_begin_with_the_state(farm, tmp_path):
    with Master(tmp_path):
        assert first(farm.listen(60), 3) == [INFO, STATS, DIE]


def test_invalid_messages_are_skipped_and_counted(farm, tmp_path):
    garbage = [
        [b""], [b"\xff" * 50], [b"a", b"b"], [codec.dumps("STATS", [1])], [codec.dumps("DIE")],
        [codec.dumps("SLAVE", [1, NOW, "NONSENSE", None])],
        [codec.dumps("SLAVE", [1, NOW, "BUILD", ["../x", "1"]])],
    ]  # fmt: skip
    with Master(tmp_path) as master:
        events = farm.listen(60)
        assert first(events, 3) == [INFO, STATS, DIE]
        for frames in garbage:
            master.publish(*frames)
        master.publish(codec.dumps("STATS", STATS))
        assert next(events) == STATS
        assert farm.invalid == len(garbage)


def test_a_master_that_starts_again_is_asked_again(farm, tmp_path):
    events = farm.listen(60)
    with Master(tmp_path):
        assert next(events) == INFO
    with Master(tmp_path) as master:
        assert INFO in itertools.takewhile(lambda _: True, events)
        assert master.asked


def test_silence_is_an_error_even_among_garbage(farm, tmp_path):
    with pytest.raises(Unavailable, match=r"published nothing for 0\.3 s"):
        list(farm.listen(60, silence=0.3))
    with Master(tmp_path) as master:
        events = farm.listen(60, silence=patience(2))
        assert first(events, 3) == [INFO, STATS, DIE]

        def babble():
            while not done.wait(0.02):
                master.publish(b"garbage")

        done = threading.Event()
        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(Unavailable, match="published nothing"):
            list(events)
        done.set()
        thread.join()


def test_listening_ends_in_time(farm, tmp_path):
    assert list(farm.listen(0.1)) == []
    with Master(tmp_path):
        assert set(map(type, farm.listen(3))) >= {MasterInfo, MasterStats}


def test_listening_ends_when_it_is_closed(farm, tmp_path):
    with Master(tmp_path):
        events = farm.listen()
        assert next(events) in (INFO, STATS, DIE)
        events.close()  # the generator
        events = farm.listen()
        assert next(events) in (INFO, STATS, DIE)
        thread = threading.Thread(target=farm.close)
        thread.start()
        assert all(event in (INFO, STATS, DIE) for event in events)
        thread.join()


def test_a_slow_reader_blocks_no_one(farm, tmp_path):
    with Master(tmp_path) as master:
        events = farm.listen(60)
        assert next(events) == INFO
        frame = codec.dumps("STATS", STATS)
        for _ in range(30_000):
            master.publish(frame)
        until(lambda: not master._frames, 60)
        assert first(events, 100)[-1] == STATS, "the older ones wait, the others are dropped"


def test_the_sockets_of_a_master_over_tcp_must_be_named(tmp_path):
    with Farm("tcp://127.0.0.1:1") as farm, pytest.raises(Fatal, match="status socket"):
        next(farm.listen())
    named = {"status": f"ipc://{tmp_path}/status", "control": f"ipc://{tmp_path}/control"}
    with Master(tmp_path), Farm("tcp://127.0.0.1:1", **named) as farm:
        assert next(farm.listen(60)) == INFO
