"""The decisions on imports: single cases, and events in any order."""

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from piwheels.core.conversations import ToolPhase, tool_conversation
from piwheels.core.database.rows import Published
from piwheels.core.errors import DatabaseError, Refused, Unavailable
from piwheels.core.protocols import FIRST_IMPORT
from piwheels.core.states import BuildState, FileState
from piwheels.master.logic import effects
from piwheels.master.logic.imports import MAX_IMPORTS, SILENCE, Imports, check
from piwheels.master.logic.intake import MAX_TRIES, Step

tools = st.sampled_from([b"a", b"b"])
START = 1000.0


def build_of(number=0, files=1):
    names = [f"foo-1.0-py{3 + each}-none-any.whl" for each in range(files)]
    states = {
        name: FileState(name, 10, "a" * 64, "foo", "1.0", "py3", "none", "any", None, {})
        for name in names
    }
    return BuildState(number, "foo", "1.0", "cp311", True, timedelta(0), "", states)


def test_the_number_of_waiting_imports_has_a_limit():
    imports = Imports()
    for number in range(MAX_IMPORTS):
        imports.begin(b"%d" % number, build_of(number))
    with pytest.raises(Refused, match="try again later"):
        imports.begin(b"another", build_of())
    imports.cancel(b"9", "gone")
    imports.begin(b"another", build_of())


def test_silence_ends_an_import_but_slow_bytes_do_not():
    imports = Imports()
    imports.begin(b"tool", build_of(7))
    imports.answered(0, Published({}, {}), None)
    assert imports.answered(0, None, None) == [
        effects.Reply(b"tool", "SEND", "foo-1.0-py3-none-any.whl")
    ]
    for minute, missing in enumerate([10, 9, 5]):
        assert imports.progress(0, missing, START + minute * 2 * SILENCE) == []
    assert imports.progress(0, 5, START + 4.5 * SILENCE) == []
    assert imports.progress(0, 5, START + 5 * SILENCE)[1] == effects.AskPublished(0, "foo", "1.0")


def usable(name, abi, *active):
    build = build_of()
    (state,) = build.files.values()
    build.files = {name: state}
    build.abi_tag = abi
    check(build, active, {*active, "cp310"})
    return build.abi_tag


@pytest.mark.parametrize(
    ("name", "abi", "first"),
    [
        ("foo-1.0-py3-none-any.whl", "none", "cp39"),
        ("foo-1.0-py3-none-linux_armv7l.whl", "none", "cp39"),
        ("foo-1.0-py310-none-any.whl", "none", "cp313t"),
        ("foo-1.0-cp314-none-any.whl", "none", "cp314"),
        ("foo-1.0-cp36.cp37-abi3-linux_armv7l.whl", "abi3", "cp39"),
        ("foo-1.0-cp310-abi3-linux_armv7l.whl", "abi3", "cp314"),
        ("foo-1.0-cp310-abi3t-linux_armv7l.whl", "abi3", "cp313t"),
        ("foo-1.0-cp310-cp310-linux_armv7l.whl", "cp310", "cp310"),
    ],
)
def test_the_first_abi_that_can_use_a_file(name, abi, first):
    assert usable(name, abi, "cp39", "cp313t", "cp314") == first


@pytest.mark.parametrize(
    ("name", "abi", "words"),
    [
        ("foo-1.0-cp311-none-any.whl", "none", "no ABI of this farm can use"),
        ("foo-1.0-cp315-abi3-linux_armv7l.whl", "abi3", "no ABI of this farm can use"),
        ("foo-1.0-cp38-abi3-any.whl", "abi3", "no ABI of this farm can use"),
        ("foo-1.0-cp39-abi3-linux_armv7l.whl", "cp313t", "no installer for cp313t accepts it"),
        ("foo-1.0-py2-none-any.whl", "none", "no ABI of this farm can use"),
        ("foo-1.0-cp311-cp311-linux_armv7l.whl", "cp311", "does not build for cp311"),
        ("foo-1.0-cp311-cp311-any.whl", "none", "not for the ABI of the build"),
    ],
)
def test_a_file_that_no_abi_of_the_farm_can_use(name, abi, words):
    with pytest.raises(Refused, match=words):
        usable(name, abi, "cp39", "cp313t", "cp314")


def test_a_commit_in_progress_counts_although_its_tool_has_gone():
    imports = Imports()
    imports.begin(b"tool", build_of())
    for result in (Published({}, {}), None):
        imports.answered(0, result, None)
    imports.sent(b"tool")
    verified = {"filename": "foo", "metadata_hash": "c" * 64, "requires_python": None}
    [commit] = imports.answered(0, verified, None)
    assert imports.cancel(b"tool", "it has gone") == []
    assert imports.answered(0, 1, None) == [effects.BuildStored(commit.build)], (
        "its tool gets no reply"
    )
    assert imports.queues == {}


@pytest.mark.parametrize(
    ("error", "tries"),
    [(Refused("NOROOM", "the disk is full"), 1), (Unavailable("the disk is full"), MAX_TRIES)],
)
def test_an_import_that_the_master_cannot_store_is_refused(error, tries):
    imports = Imports()
    imports.begin(b"tool", build_of())
    todo = imports.answered(0, Published({}, {}), None)
    for _ in range(tries):
        assert isinstance(todo[-1], effects.Expect)
        assert imports.answered(0, None, None)[-1].msg == "SEND"
        imports.sent(b"tool")
        todo = imports.answered(0, None, error)
    # A slave would keep its file; a tool gets the reason, when its files are removed.
    assert todo[-1] == effects.AskPublished(0, "foo", "1.0")
    assert imports.answered(0, Published({}, {}), None) == [effects.WithdrawFiles(0, "foo", [])]
    assert imports.answered(0, None, None) == [effects.Reply(b"tool", "ERROR", str(error))]
    assert imports.queues == {}


class AnyOrder(RuleBasedStateMachine):
    """Tools come, go and send; tasks answer or fail: each request has one valid reply."""

    def __init__(self):
        super().__init__()
        self.imports = Imports()
        self.now = START
        self.open = {}  # the unanswered request of the active import with each number
        self.waits = {}  # whether each tool waits for a reply
        self.requests = {}  # each tool's phase and last request
        self.site, self.known = set(), set()

    def perform(self, todo):
        for effect in todo:
            match effect:
                case effects.Reply(address, msg, _):
                    assert self.waits.get(address), f"{msg} to a tool that does not wait"
                    assert msg in tool_conversation.replies(*self.requests[address])
                    self.waits[address] = False
                case effects.Warn() | effects.BuildStored():
                    pass
                case effects.AskMissingBytes(number):
                    assert self.imports.queues[number][0].step is Step.SENT
                case _:
                    assert effect.slave_id not in self.open, "two requests at the same time"
                    self.open[effect.slave_id] = effect

    @rule(
        tool=st.sampled_from([b"a", b"b", b"c"]), number=st.integers(0, 1), files=st.integers(1, 2)
    )
    def begin(self, tool, number, files):
        self.cancel(tool)
        number = number and FIRST_IMPORT + number
        self.waits[tool] = True
        self.requests[tool] = ToolPhase.READY, "IMPORT"
        self.perform(self.imports.begin(tool, build_of(number, files)))

    @rule(tool=tools)
    def cancel(self, tool):
        # An import that is undone asks again which files are published.
        for number, queue in self.imports.queues.items():
            if queue[0].address == tool and not queue[0].tool_gone and queue[0].step in (
                Step.PUBLISHED, Step.EXPECT,
            ):  # fmt: skip
                self.open.pop(number, None)
        self.waits.pop(tool, None)
        self.perform(self.imports.cancel(tool, "it has gone"))

    @rule()
    def all_succeed(self):
        """Each task answers, and each tool sends its file."""
        for _ in range(len(self.open)):
            self.answer(0, "ok")
        for tool in [tool for tool, waits in self.waits.items() if not waits]:
            self.sent(tool)

    @rule(tool=tools)
    def sent(self, tool):
        if self.waits.get(tool) is not False:
            return
        self.waits[tool] = True
        self.requests[tool] = ToolPhase.SENDING, "SENT"
        try:
            self.perform(self.imports.sent(tool))
        except Refused:
            self.waits[tool] = False

    @rule(which=st.integers(0, 9), fate=st.sampled_from(["ok", "BADHASH", "TAKEN", "away"]))
    def answer(self, which, fate):
        if not self.open:
            return
        number = sorted(self.open)[which % len(self.open)]
        request = self.open.pop(number)
        result, error = None, None
        match request:
            case effects.AskPublished():
                result = Published(dict.fromkeys(self.known, "b" * 64), {})
            case effects.Verify():
                queue = self.imports.queues[number][0]
                result = {
                    "filename": queue.current.filename, "metadata_hash": "c" * 64,
                    "requires_python": None,
                }  # fmt: skip
            case effects.LogBuild():
                result = 1
        if fate == "away":
            error = (
                DatabaseError("away") if "filenames" not in dir(request) else Unavailable("away")
            )
        elif fate != "ok" and isinstance(request, (effects.Verify, effects.Expect)):
            error = Refused(fate)
        if error is None:
            match request:
                case effects.Verify():
                    self.site.add((number, result["filename"]))
                case effects.WithdrawFiles(_, _, names):
                    self.site -= {(number, name) for name in names}
                case effects.LogBuild():
                    self.site = {entry for entry in self.site if entry[0] != number}
        elif isinstance(request, (effects.AskPublished, effects.WithdrawFiles)):
            self.site = {entry for entry in self.site if entry[0] != number}  # left, with a warning
        self.perform(self.imports.answered(number, None if error else result, error))

    @rule(missing=st.integers(0, 3), seconds=st.integers(0, 70))
    def time_passes(self, missing, seconds):
        self.now += seconds
        for effect in self.imports.tick():
            self.perform([effect])
            queue = self.imports.queues[effect.slave_id][0]
            gone = self.imports.progress(effect.slave_id, missing, self.now)
            if gone:
                assert self.waits[queue.address] is False, "a tool that waits keeps its import"
            self.perform(gone)

    @invariant()
    def every_import_waits_for_something(self):
        for number, queue in self.imports.queues.items():
            assert queue, "an empty queue"
            if queue[0].step is not Step.SENT:
                assert number in self.open, queue[0].step
            for waiting in queue[1:]:
                assert self.waits[waiting.address] is True
        assert self.open.keys() <= self.imports.queues.keys()
        assert {number for number, _ in self.site} <= self.imports.queues.keys(), "a file is left"


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestAnyOrder = AnyOrder.TestCase
