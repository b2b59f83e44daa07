"""Questions and answers between tasks."""

import logging
import threading
import time
import uuid

import pytest
import zmq

from helpers import patience
from piwheels.core.errors import BadMessage, DatabaseError, Refused, Unavailable
from piwheels.core.transport import Context
from piwheels.master import rpc


@pytest.fixture
def ends():
    """A client, and the ROUTER that it is connected to."""
    address = f"inproc://{uuid.uuid4().hex}"
    with Context().socket(zmq.ROUTER) as server:
        server.bind(address)
        client = rpc.Client(Context(), address, "TheToymaker", logging.getLogger("toy"))
        yield client, server
        client.close()


@pytest.fixture
def answering(ends):
    """A client whose questions are answered by a thread: with what they carry, or an error."""
    client, server = ends
    end = threading.Event()
    errors = {"REFUSE": Refused("NOVER", "no such version"), "DB": DatabaseError("down"),
              "AWAY": Unavailable("busy"), "BUG": ValueError("what?")}  # fmt: skip

    def serve():
        while not end.is_set():
            if not server.poll(0.02):
                continue
            request = rpc.recv_request(server)
            if request.msg in errors:
                rpc.send_error(server, request, errors[request.msg])
            elif request.msg != "SILENCE":
                rpc.send_result(server, request, request.data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield client
    end.set()
    thread.join(patience(5))


def test_an_answer_or_the_error_that_came_instead(answering):
    assert answering.call("ECHO", [1, "two", None]) == [1, "two", None]
    with pytest.raises(Refused, match="no such version") as caught:
        answering.call("REFUSE")
    assert caught.value.code == "NOVER"
    with pytest.raises(DatabaseError, match="down"):
        answering.call("DB")
    with pytest.raises(Unavailable, match="busy"):
        answering.call("AWAY")
    with pytest.raises(Refused, match="what"):
        answering.call("BUG")


def test_no_wait_is_without_an_end(answering):
    with pytest.raises(Unavailable, match=r"TheToymaker did not answer SILENCE within 0\.1 s"):
        answering.call("SILENCE", timeout=0.1)
    assert answering.call("ECHO", 1) == 1


def test_a_late_answer_is_not_taken_for_another(ends):
    client, server = ends
    with pytest.raises(Unavailable):
        client.call("FIRST", timeout=0.05)
    late = rpc.recv_request(server)
    rpc.send_result(server, late, "late")
    ticket = client.request("SECOND")
    rpc.send_result(server, rpc.recv_request(server), "right")
    assert client.socket.poll(patience(1))
    until = time.monotonic() + 1
    found = {}
    while len(found) < 2 and time.monotonic() < until:
        found |= {answer.ticket: answer.result for answer in client.answers()}
    assert found[ticket] == "right"


def test_many_questions_at_once_and_answers_in_any_order(ends):
    client, server = ends
    tickets = {client.request("ECHO", number): number for number in range(50)}
    requests = [rpc.recv_request(server) for _ in range(50)]
    assert list(client.answers()) == []
    for request in reversed(requests):
        rpc.send_result(server, request, request.data)
    answers = []
    while len(answers) < 50 and client.socket.poll(1):
        answers.extend(client.answers())
    assert {answer.ticket: answer.result for answer in answers} == tickets
    assert all(answer.error is None for answer in answers)


def test_what_is_no_question(ends):
    client, server = ends
    for frames in ([b"x"], [b"", b"", b""], [b"12345678", b"\xff"]):
        client.socket.send_multipart(frames)
        with pytest.raises(BadMessage):
            rpc.recv_request(server)


def test_an_error_without_end_is_clipped(ends):
    client, server = ends
    ticket = client.request("ECHO")
    rpc.send_error(server, rpc.recv_request(server), DatabaseError("x" * 10**6))
    assert client.socket.poll(patience(1))
    (answer,) = client.answers()
    assert answer.ticket == ticket
    assert len(str(answer.error)) <= 8000
