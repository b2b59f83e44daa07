"""Attacks from inside a build, on what it must not see or change.

Each is Python code that raises an exception if it was stopped. It gets ``{secret}``, a file of the
slave's user with the text "secret"; ``{home}``, the folder of that file, and ``{new}``, a free name
in it; ``{socket}``, a Unix socket of that user; ``{pid}``, a process of that user; ``{host}``, the
machine's name; ``{key}``, a name of shared memory; and ``{other}``, the folder of another build.
Each succeeds without a sandbox, or else it could not fail the test.
"""

from typing import NamedTuple


class Attack(NamedTuple):
    """An attack: its name, its code, and the sandboxes that stop it."""

    name: str
    code: str
    stopped_by: frozenset[str] = frozenset({"bwrap", "landlock"})


WEAK = frozenset({"bwrap"})  # Landlock does not stop these: they need namespaces

ATTACKS = (
    # Files of the slave's user
    Attack("reads a file", "assert open({secret!r}).read() == 'secret'"),
    Attack("reads it by /proc", "assert open('/proc/self/root' + {secret!r}).read()"),
    Attack("reads it by another process", "assert open('/proc/{pid}/root' + {secret!r}).read()"),
    Attack("appends to a file", "open({secret!r}, 'a').close()"),
    Attack("truncates a file", "os.truncate({secret!r}, 6)"),
    Attack("renames a file", "rename_twice({secret!r})"),
    Attack("links to a file", "os.link({secret!r}, {new!r}); os.unlink({new!r})"),
    Attack("makes and removes a file", "open({new!r}, 'w').close(); os.unlink({new!r})"),
    Attack("makes and removes a folder", "os.mkdir({new!r}); os.rmdir({new!r})"),
    Attack("makes a symbolic link", "os.symlink('/', {new!r}); os.unlink({new!r})"),
    Attack("makes a named pipe", "os.mkfifo({new!r}); os.unlink({new!r})"),
    Attack("makes a socket", "unix().bind({new!r}); os.unlink({new!r})"),
    Attack("lists the home", "assert os.listdir({home!r})"),
    Attack("asks for a file's size", "assert os.stat({secret!r}).st_size == 6", WEAK),
    Attack("changes the mode of a file", "os.chmod({secret!r}, 0o600)", WEAK),
    Attack("changes the times of a file", "os.utime({secret!r})", WEAK),
    Attack("sets an attribute of a file", "os.setxattr({secret!r}, 'user.x', b'1')", WEAK),
    Attack("watches the home", "watch({home!r})", WEAK),
    Attack("runs a program of the user", "subprocess.run([{home!r} + '/program'], check=True)"),
    # Other builds
    Attack("lists another build", "assert os.listdir({other!r})"),
    Attack("changes another build", "p = {other!r} + '/tmp/x'; open(p, 'w').close(); os.unlink(p)"),
    Attack("finds the folders of builds", "assert os.listdir(os.path.dirname({other!r}))"),
    # The system
    Attack("reads the machine's identity", "assert open('/etc/passwd').read().count('\\n') > 3"),
    Attack("lists the configuration", "assert os.listdir('/etc/default')"),
    Attack("lists the running services", "assert os.listdir('/var/lib')"),
    Attack("lists the root", "assert 'home' in os.listdir('/')"),
    Attack("asks for the machine's name", "assert socket.gethostname() == {host!r}", WEAK),
    # Processes
    Attack("signals a process", "os.kill({pid}, 0)"),
    Attack("signals a group", "os.killpg({pid}, 0)"),
    Attack("opens a handle and signals", "signal.pidfd_send_signal(os.pidfd_open({pid}), 0)"),
    Attack("reads an environment", "assert open('/proc/{pid}/environ').read()"),
    Attack("reads a command line", "assert open('/proc/{pid}/cmdline').read()", WEAK),
    Attack("counts open files", "assert os.listdir('/proc/{pid}/fd')", WEAK),
    Attack("opens the memory", "open('/proc/{pid}/mem', 'rb').close()"),
    Attack("reads the memory map", "assert open('/proc/{pid}/maps').read()"),
    Attack("enters its folder", "os.chdir('/proc/{pid}/cwd')"),
    Attack("traces it", "call('ptrace', 0x4206, {pid}, 0, 0)"),
    Attack("writes to its memory", "write_memory({pid})"),
    Attack("changes its priority", "os.setpriority(os.PRIO_PROCESS, {pid}, 19)", WEAK),
    Attack("limits its files", "resource.prlimit({pid}, 4, (0, 0))", WEAK),
    Attack("binds it to a processor", "os.sched_setaffinity({pid}, range(99))", WEAK),
    Attack("offers it to the OOM killer", "open('/proc/{pid}/oom_score_adj', 'w').write('9')"),
    Attack("copies its files", "os.close(libc_result('syscall', 438, os.pidfd_open({pid}), 0, 0))"),
    Attack("finds a process of the farm", "assert '{pid}' in os.listdir('/proc')", WEAK),
    # Sockets and shared memory
    Attack("connects to a socket of the farm", "unix().connect({socket!r})"),
    Attack("sends to a socket of the farm", "unix(2).sendto(b'x', {socket!r} + '.d')"),
    Attack("removes a socket of the farm", "rename_twice({socket!r})"),
    Attack("reads shared memory of System V", "assert libc.shmget({key}, 16, 0) >= 0", WEAK),
    Attack("connects to an abstract socket", "unix().connect('\\0piw-{key}')"),
    # Namespaces
    Attack("makes a user namespace", "call('unshare', 0x10000000)", WEAK),
    Attack("finds the namespaces of the farm", "os.readlink('/proc/{pid}/ns/ipc')"),
)  # fmt: skip

#: What the code may use.
PRELUDE = """
import ctypes, os, resource, signal, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def libc_result(name, *args):
    result = getattr(libc, name)(*args)
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result
def call(name, *args):
    libc_result(name, *args)
def unix(kind=socket.SOCK_STREAM):
    return socket.socket(socket.AF_UNIX, kind)
def rename_twice(path):
    os.rename(path, path + "2")
    os.rename(path + "2", path)
def watch(path):
    libc_result("inotify_add_watch", libc.inotify_init(), path.encode(), 2)
def write_memory(pid):
    class Part(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
    data = ctypes.create_string_buffer(8)
    mine, theirs = Part(ctypes.addressof(data), 8), Part(4096, 8)
    sent = libc.process_vm_writev(pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
    assert sent > 0 or ctypes.get_errno() == 14, "refused"  # 14: allowed, at a wrong address
"""

#: Runs each attack of a list in a process of its own, and writes the names of those that succeed.
RUNNER = """
import json, sys
exec(sys.argv[1])
for name, code in json.loads(sys.argv[2]):
    pid = os.fork()
    if pid == 0:
        try:
            exec(code)
            os._exit(0)
        except BaseException as error:
            if "-v" in sys.argv: print(name, repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    if os.waitpid(pid, 0)[1] == 0:
        print(name, flush=True)
"""
