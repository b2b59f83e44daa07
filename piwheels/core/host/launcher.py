"""Starts programs as the user of builds, for a farm that runs as another user.

Root starts the launcher before it becomes the user of the farm. The launcher keeps that user as
its *real* one, and has the user of builds as its *effective* one: so it may turn its children into
programs of builds without any privilege, and these can neither signal nor trace it. It listens on
a socket that only the farm has, and ends with it.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from piwheels.core.errors import Fatal
from piwheels.core.host.processes import dies_with_parent
from piwheels.core.program.privileges import BUILDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from piwheels.core.host.processes import Process

#: The variable with the number of the farm's end of the socket.
_VARIABLE: Final = "PIW_LAUNCHER"
#: The most bytes and descriptors of a request.
_MOST_BYTES, _MOST_FILES = 2**20, 16


class Launcher:
    """Starts programs as *user*, by the launcher at the other end of *requests*.

    *files* are written for each program, before it starts: text by path, for *user* alone.
    """

    def __init__(self, requests: socket.socket, user: pwd.struct_passwd) -> None:
        self._requests = requests
        self.user = user
        self.files: dict[str, str] = {}

    @classmethod
    def inherited(cls) -> Self | None:
        """Return the launcher that root has started for this process, if there is one."""
        number = os.environ.pop(_VARIABLE, "")
        if not number:
            return None
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)), pwd.getpwnam(BUILDER))

    def start(
        self, command: Sequence[str], env: Mapping[str, str], output: int, keep: Sequence[int]
    ) -> Process:
        """Start *command*, which writes to the descriptor *output* and inherits those of *keep*.

        Raises :exc:`Fatal` if the launcher has ended.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = {"command": list(command), "env": dict(env), "files": self.files}
            data, descriptors = json.dumps(request).encode(), [theirs.fileno(), output, *keep]
            try:
                socket.send_fds(self._requests, [data], descriptors)
            except ConnectionError:
                raise Fatal("the process that starts the slaves was killed: start again") from None
        return _Launched(command, ours)


class _Launched:
    """A program that a launcher runs; *control* leads to its parent."""

    def __init__(self, command: Sequence[str], control: socket.socket) -> None:
        self._command, self._control = command, control
        self._status: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        if self._status is None:
            if not select.select([self._control], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self._command, timeout or 0)
            word = b""
            with suppress(OSError):
                word = self._control.recv(16)
            self._status = int(word or -signal.SIGKILL)  # without a word, the launcher was killed
            self._control.close()
        return self._status

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, sign: int) -> None:
        with suppress(OSError):  # it has just ended
            self._control.send(b"%d" % sign)


def fork_launcher(owner: pwd.struct_passwd, user: pwd.struct_passwd) -> dict[str, str]:
    """Start a launcher, as root, for the program of *owner* that this process executes next.

    It starts programs as *user*. Return the variables by which that program finds it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        try:
            _keep_only(theirs.fileno())
            os.setgroups([])
            os.setresgid(owner.pw_gid, user.pw_gid, owner.pw_gid)
            os.setresuid(owner.pw_uid, user.pw_uid, owner.pw_uid)
            _serve(theirs, user)
        finally:
            os._exit(1)
    theirs.close()
    ours.set_inheritable(True)
    return {_VARIABLE: str(ours.detach())}


def _keep_only(descriptor: int) -> None:
    """Leave the terminal, and close all files but *descriptor*."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _serve(requests: socket.socket, user: pwd.struct_passwd) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # it waits for none of its children
    while True:
        request, files, _, _ = socket.recv_fds(requests, _MOST_BYTES, _MOST_FILES)
        if not request:  # the farm has ended
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            _run(json.loads(request), files, user)
        for number in files:
            os.close(number)


def _run(request: Mapping[str, Any], files: Sequence[int], user: pwd.struct_passwd) -> NoReturn:
    """Run a program as *user* for the farm at the other end of the first of *files*."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control, output, *keep = files
    for path, text in request["files"].items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), "w") as file:  # noqa: PTH123 (it is open)
            file.write(text)
    with socket.socket(fileno=control) as farm:
        process = subprocess.Popen(
            request["command"],
            env=request["env"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=keep,
            start_new_session=True,
            user=user.pw_uid,
            group=user.pw_gid,
            preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509 (no threads yet)
        )
        for number in files[1:]:
            os.close(number)
        threading.Thread(target=lambda: farm.send(b"%d" % process.wait()), daemon=True).start()
        while word := farm.recv(16):
            process.send_signal(int(word))
        process.terminate()  # the farm has ended
        process.wait()
    os._exit(0)
