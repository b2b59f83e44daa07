"""Asking the master: answers, refusals, and a master that is not there or goes away."""

import threading
import time

import pytest
import zmq

from peers import Chase
from piwheels.core.errors import Fatal, Refused, Unavailable
from piwheels.core.program.admin import FILE_QUEUE, Admin, explaining, file_address
from piwheels.core.transport import Context


def test_answers_and_refusals(chase):
    chase.answers = {
        "SENT": [("SEND", "foo-1.0-py3-none-any.whl"), ("ERROR", "NOPKG"), ("ERROR", "the disk")]
    }
    with Admin() as admin:
        assert admin.ask("SENT") == ("SEND", "foo-1.0-py3-none-any.whl")
        with pytest.raises(Refused) as caught:
            admin.ask("SENT")
        assert caught.value.code == "NOPKG"
        with pytest.raises(Refused, match="the disk") as caught:
            admin.ask("SENT")
        assert caught.value.code == "SENT"


def test_code_words_are_explained():
    words = "six has no version 9 here: piw-add six 9 adds it"
    with pytest.raises(Fatal, match=words), explaining("six", "9"):
        raise Refused("NOVER")
    with pytest.raises(Refused, match="the disk"), explaining("six"):
        raise Refused("IMPORT", "the disk")


def test_a_master_that_says_nothing(chase):
    chase.answers = {"SENT": None}
    asked = []
    silence = pytest.raises(Unavailable, match=r"did not answer SENT within 0\.3 s")
    with Admin("", lambda: asked.append(1)) as admin, silence:
        admin.ask("SENT", limit=0.3)
    assert asked


def test_a_master_that_comes_late_is_waited_for(tmp_path):
    where = f"ipc://{tmp_path}/import"
    late = []

    def come():
        time.sleep(0.3)
        late.append(Chase(where))
        late[0].answers = {"SENT": ("DONE", "IMPORT")}
        late[0].start()

    thread = threading.Thread(target=come)
    thread.start()
    with Admin(where, patience=20) as admin:
        assert admin.ask("SENT") == ("DONE", "IMPORT")
    thread.join()
    late[0].__exit__()


def test_a_master_that_goes_away_is_noticed(tmp_path):
    where = f"ipc://{tmp_path}/import"
    with Chase(where) as chase, Admin(where) as admin:
        chase.answers = {"SENT": None}

        def go():
            chase.__exit__()

        thread = threading.Thread(target=go)
        thread.start()
        with pytest.raises(Unavailable, match="lost the master"):
            admin.ask("SENT", limit=20)
        thread.join()


def test_whoever_else_listens_is_no_master(tmp_path):
    where = f"ipc://{tmp_path}/import"
    with Context().socket(zmq.REP) as other, Admin(where) as admin:
        other.bind(where)

        def answer():
            other.recv_multipart()
            other.send_multipart([b"HTTP/1.1 400"])

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unavailable, match="is no master"):
            admin.ask("SENT", limit=20)
        thread.join()


def test_files_go_to_the_socket_beside(chase, tmp_path):
    assert file_address("") == FILE_QUEUE
    with Context().socket(zmq.ROUTER) as beside:
        beside.bind(f"ipc://{tmp_path}/piwheels/file")
        assert file_address("") == f"ipc://{tmp_path}/piwheels/file"
        assert file_address(chase.address) == f"ipc://{tmp_path}/piwheels/file"
        assert file_address("tcp://board:2") == FILE_QUEUE
