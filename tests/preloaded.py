"""Runs programs in copies of one process that has loaded them: a start costs no imports.

``python preloaded.py SOCKET SCRIPTS ACCOUNTS [HIDDEN...]`` serves :data:`CLIENT`, the text of an
executable that stands for a program. Each run has the client's command line, environment, folder,
streams and user, and ends with this process. SCRIPTS is a table, in JSON, of the programs' names
and entry points. If ACCOUNTS is not empty, it replaces ``/etc/passwd`` in a namespace of mounts of
its own, in which users may also enter the folders HIDDEN, which are below closed ones.
"""

import gc
import json
import os
import pwd
import runpy
import signal
import socket
import struct
import sys
from importlib import import_module
from pathlib import Path

from piwheels.core.host.processes import dies_with_parent

CLIENT = """\
#!{python} -IS
import os, signal, socket, struct, sys
server = socket.socket(socket.AF_UNIX)
server.connect({socket!r})
request = [__file__, *sys.argv[1:]], dict(os.environ), os.getcwd()
socket.send_fds(server, [repr(request).encode()], [0, 1, 2])
server.shutdown(socket.SHUT_WR)
pid, = struct.unpack("i", server.recv(4))
signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
sys.exit(struct.unpack("i", server.recv(4, socket.MSG_WAITALL) or b"\\1\\0\\0\\0")[0])
"""
#: What the programs import when they run.
LATER = (
    "pip._internal.commands.download", "pip._internal.commands.install", "piwheels.audit.app",
    "piwheels.console.once", "piwheels.initdb.schema", "piwheels.master.app", "piwheels.up.app",
)  # fmt: skip
ROOT = Path(__file__).parents[1]


def serve(listener):
    """Answer clients for ever; return in each copy that has a program to run, with its words."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        client, _ = listener.accept()
        end_with_server = dies_with_parent(signal.SIGKILL)
        if os.fork():
            client.close()
            continue
        end_with_server()
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        text, streams, _, _ = socket.recv_fds(client, 2**20, 3)
        while more := client.recv(2**20):
            text += more
        end_with_helper = dies_with_parent(signal.SIGKILL)
        if pid := os.fork():
            client.send(struct.pack("i", pid))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            client.send(struct.pack("i", status if status >= 0 else 128 - status))
            os._exit(0)
        creds = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        client.close()
        words = become(eval(text), streams, *struct.unpack("3i", creds)[1:])  # noqa: S307 (ours)
        end_with_helper()  # a change of the user would cancel it
        return words


def become(request, streams, uid, gid):
    """Take over the user, the environment, the folder and the *streams* of a client."""
    words, env, place = request
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if os.geteuid() == 0 and uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(env)
    return words


def run(words, scripts):
    """Run the program *words*; return its exit status."""
    name = Path(words[0]).name
    sys.argv[:] = words
    if name == "go":
        sys.executable = str(Path(words[0]).with_name("python"))
        runpy.run_path(str(ROOT / "go"), run_name="__main__")
    elif name == "python":
        assert words[1] == "-m", words
        del sys.argv[:2]
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    elif name == "pip":
        if any(word.startswith(".") for word in words):
            return 0  # this project is there already
        runpy.run_module("pip", run_name="__main__", alter_sys=True)
    module, _, function = scripts[name].partition(":")
    return getattr(import_module(module), function)()


def open_to_users(hidden, accounts):
    """In a new namespace of mounts, open the folders *hidden* to all, and add the *accounts*."""
    from piwheels.core.program.privileges import _Drop  # noqa: PLC0415

    _Drop(pwd.getpwuid(0), [Path(place) for place in hidden])._hide()
    _Drop(pwd.getpwuid(0), [])._mount(accounts, Path("/etc/passwd"), flags=1 << 12)


def main():
    address, table, accounts, *hidden = sys.argv[1:]
    scripts = json.loads(table)
    if accounts:
        open_to_users(hidden, accounts)
    for entry in scripts.values():
        import_module(entry.partition(":")[0])
    for name in LATER:
        import_module(name)
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        Path(f"{address}.new").chmod(0o777)
        listener.listen(20)
        Path(f"{address}.new").rename(address)
        words = serve(listener)
    return run(words, scripts)


if __name__ == "__main__":
    sys.exit(main())
