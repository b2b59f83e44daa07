"""TheSentinel answers HTTP whatever its peers do, and delivers webhooks."""

import http.client
import http.server
import json
import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest

from helpers import LOGGER, patience, until, wire
from piwheels.core.errors import Fatal
from piwheels.core.protocols import BuildOutcome, TargetState
from piwheels.master.logic.webhooks import headers
from piwheels.master.messages import (
    BuildEnded,
    DiskSpace,
    FleetSeen,
    LostSlave,
    RowFailed,
    SlaveSuspended,
    TargetsSeen,
    TaskReport,
    TasksSeen,
)
from piwheels.master.monitoring import http as server
from piwheels.master.monitoring.webhooks import NotSent, post
from piwheels.master.ports import open_socket
from piwheels.master.the_sentinel import TheSentinel

SECRET = b"a secret of sixteen bytes"
WELL = TaskReport("seraph", True, True, False, 0.0, 0.0, [0] * 5, 0)


@pytest.fixture
def reporter():
    """Return a function that reports messages to the sentinel of a configuration."""
    made = []

    def report(config, *messages):
        if not made:
            made.append(open_socket(wire("monitor"), config, LOGGER, bind=False))
        for message in messages:
            made[0].send_multipart([message.frame()])

    yield report
    for each in made:
        each.close(0)


@pytest.fixture
def sentinel(make_config, running):
    task = TheSentinel(make_config(monitor_port=0))
    with running(task):
        yield task


def ask(task, path, method="GET", accept="text/plain"):
    connection = http.client.HTTPConnection(*task.server.address, timeout=patience(5))
    connection.request(method, path, headers={"Accept": accept})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def test_the_health_and_the_metrics_are_served(sentinel, reporter):
    assert ask(sentinel, "/healthz")[:2] == (503, "the master is starting\n")
    reporter(sentinel.config, TasksSeen([WELL]))
    until(lambda: ask(sentinel, "/healthz")[:2] == (200, "ok\n"))
    status, text, found = ask(sentinel, "/metrics?x=1")
    assert (status, "piwheels_healthy 1.0\n" in text) == (200, True)
    assert found["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    status, text, found = ask(sentinel, "/metrics", accept="application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert found["Content-Type"].startswith("application/openmetrics-text")
    assert "process_open_fds" in text
    status, text, found = ask(sentinel, "/metrics", "HEAD")
    assert (status, text, int(found["Content-Length"]) > 100) == (200, "", True)
    assert ask(sentinel, "/")[0] == 404
    status, _, found = ask(sentinel, "/healthz", "POST")
    assert (status, found["Allow"]) == (405, "GET, HEAD")
    reporter(sentinel.config, TasksSeen([WELL._replace(stuck=True)]))
    until(lambda: ask(sentinel, "/healthz")[:2] == (503, "seraph is stuck\n"))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\0\1\2\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET /" + b"x" * server.MAX_HEAD + b" HTTP/1.1\r\n", b"431"),
        (b"GET /healthz HTTP/1.0\r\n\r\nand more" * 9, b"503"),
    ],
)
def test_an_odd_request_gets_an_answer(sentinel, request_, status):
    with socket.create_connection(sentinel.server.address, timeout=patience(5)) as peer:
        peer.sendall(request_)
        assert peer.recv(100).split()[1] == status


def test_half_requests_keep_nobody_from_an_answer(sentinel, monkeypatch):
    monkeypatch.setattr(server, "SECONDS", 1.0)
    halves = [
        socket.create_connection(sentinel.server.address) for _ in range(3 * server.MAX_CONNECTIONS)
    ]
    try:
        for peer in halves[-10:]:
            peer.sendall(b"GET /healthz HT")
        assert ask(sentinel, "/healthz")[0] == 503
        halves[-1].settimeout(patience(10))
        assert halves[-1].recv(1) == b""  # closed by its time limit
    finally:
        for peer in halves:
            peer.close()
    until(lambda: not sentinel.server._open)


def test_a_port_in_use_is_a_sentence(make_config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = make_config(monitor_port=taken.getsockname()[1])
        with pytest.raises(Fatal, match="choose another --monitor-port"):
            TheSentinel(config)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes webhooks; its server has a list of *statuses* to answer, and of *taken* requests."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers, body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as made:
        made.statuses, made.taken = [], []
        made.secret = tmp_path / "secret"
        made.secret.write_bytes(SECRET + b"\n")
        thread = threading.Thread(target=made.serve_forever, args=[0.05])
        thread.start()
        made.url = f"http://127.0.0.1:{made.server_port}/hook?a=b"
        yield made
        made.shutdown()
        thread.join()


def test_events_are_sent_signed_and_again_after_a_failure(
    make_config, running, receiver, reporter, monkeypatch
):
    monkeypatch.setattr("piwheels.master.logic.webhooks.FIRST_PAUSE", 0.1)
    monkeypatch.setattr(
        "piwheels.master.logic.failures.Failures.failed", lambda self, _=None: (0.1, False)
    )
    secret = receiver.secret
    receiver.statuses += [503, 302]
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it delays nobody else
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        urls = [silent_url, receiver.url]
        task = TheSentinel(make_config(webhook=urls, webhook_secret_file=secret))
        when, took = datetime(2026, 1, 1, tzinfo=UTC), timedelta(seconds=2)
        built = BuildOutcome(5, 1, "one", "six", "1.0", "cp311", "failed", took, 0, when)
        built = built._replace(reason="missing-header", subject="tin.h")
        late = TargetState("linux_riscv64", "cp313", 8, 0, when)
        with running(task):
            reporter(
                task.config, BuildEnded(1, None), BuildEnded(1, built._replace(result="ok")),
                BuildEnded(1, built._replace(reason="disk-full", counts=False)),
                BuildEnded(1, built), DiskSpace(100, 1), FleetSeen({}, [LostSlave(3, "three")]),
                TargetsSeen([late], 1, [late]), TargetsSeen([late], 1, []),
                SlaveSuspended(1, "one", "disk full"),
                RowFailed("six", "1", "linux_armv7l", "cp39", ["a", "b", "c"], "killed", "Look."),
            )  # fmt: skip
            until(lambda: len(receiver.taken) == 7)
            until(lambda: task.metrics.webhooks == {"retried": 1, "refused": 1, "delivered": 5})
            assert task.metrics.webhooks_waiting == 6
    events = []
    for path, found, body in receiver.taken:
        assert path == "/hook?a=b"  # a redirect is not followed
        content = json.loads(body)
        events.append((content["event"], content["details"]))
        stamp = int(found["X-Piwheels-Timestamp"])
        sent = type("Sent", (), {"body": body, "event": "", "id": ""})
        assert found["X-Piwheels-Signature"] == headers(sent, SECRET, stamp)["X-Piwheels-Signature"]
    assert events[0] == events[1]
    assert events[0][0] == "build-failed"
    assert events[0][1]["package"] == "six"
    assert events[0][1]["reason"] == "missing-header"
    assert events[0][1]["sentence"] == "Install the package that has the header tin.h."
    assert events[2:] == [
        ("disk-low", {"size": 100, "free": 1}), ("slave-lost", {"slave_id": 3, "slave": "three"}),
        ("target-unserved", {"platform": "linux_riscv64", "abi": "cp313", "pending": 8}),
        ("slave-suspended", {"slave_id": 1, "slave": "one", "reason": "disk full"}),
        (
            "version-put-off",
            {
                "package": "six", "version": "1", "platform": "linux_armv7l", "abi": "cp39",
                "slaves": ["a", "b", "c"], "reason": "killed", "sentence": "Look.",
            },
        ),
    ]  # fmt: skip


def test_an_answer_that_never_ends_is_abandoned(monkeypatch):
    monkeypatch.setattr("piwheels.master.monitoring.webhooks.TOTAL", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as slow:
        stop = threading.Event()

        def drip():
            peer, _ = slow.accept()
            with peer:
                while not stop.wait(0.05):
                    try:
                        peer.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(NotSent):
            post(f"http://127.0.0.1:{slow.getsockname()[1]}/", {}, b"{}")
        stop.set()
        thread.join()


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 5000])
def test_a_secret_must_be_there(make_config, tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    for file in (path, None):
        with pytest.raises(Fatal, match="--webhook-secret-file"):
            TheSentinel(make_config(webhook=["http://x/"], webhook_secret_file=file))


def test_a_bug_at_one_request_closes_only_its_connection(sentinel, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(sentinel.server, "_answer", lambda *_: [].nothing)
        with pytest.raises(http.client.RemoteDisconnected):
            ask(sentinel, "/healthz")
    assert "a request for monitoring has failed: AttributeError" in caplog.text
    ask(sentinel, "/healthz")
