"""Attacks from inside a build, by the network.

Each is Python code, as in :mod:`hostile.inside`. It gets ``{port}``, the port of a service on
127.0.0.1 of the slave's machine, also by IPv6 and for datagrams; and ``{proxy}``, the port of the
build's own proxy, which is also that of a service on 127.0.0.2. Each succeeds without a sandbox.
"""

import socket

from hostile.inside import WEAK, Attack


def if_supported(attack, family, protocol=0):
    """Return a list of *attack*, or an empty one if this kernel has no such sockets."""
    try:
        socket.socket(family, socket.SOCK_STREAM, protocol).close()
    except OSError:
        return []
    return [attack]


ATTACKS = (
    Attack("connects to a service of the machine", "connect('127.0.0.1', {port})"),
    Attack("connects to it as localhost", "connect('localhost', {port})"),
    Attack("connects to it by another address", "connect('127.0.0.3', {port})"),
    Attack("connects to it by no address", "connect('0.0.0.0', {port})"),
    Attack("connects to it by IPv6", "connect('::1', {port}, socket.AF_INET6)"),
    Attack("connects to it by a mapped address", "connect('::ffff:127.0.0.1', {port}, 10)"),
    Attack("connects without waiting", "connect_later('127.0.0.1', {port})"),
    Attack("connects from a child", "in_child(lambda: connect('127.0.0.1', {port}))"),
    Attack("connects from a thread", "in_thread(lambda: connect('127.0.0.1', {port}))"),
    Attack("connects from another program", "other_program('127.0.0.1', {port})"),
    Attack("sends with its connection", "fast_open('127.0.0.1', {port})"),
    Attack("sends a datagram", "datagram('127.0.0.1', {port})"),
    Attack("connects to the proxy's port elsewhere", "connect('127.0.0.2', {proxy})", WEAK),
    Attack("sees the interfaces of the machine", "assert interfaces() > 1", WEAK),
    Attack("sees the sockets of the machine", "assert '%04X' % {port} in tcp()", WEAK),
    *if_supported(
        Attack("connects by multipath TCP", "connect('127.0.0.1', {port}, protocol=262)"),
        socket.AF_INET, 262,
    ),
    *if_supported(
        Attack("listens to the host of a virtual machine", "socket.socket(40).bind((ANY, ANY))"),
        socket.AF_VSOCK,
    ),
)  # fmt: skip

#: What the code may use, in addition.
PRELUDE = """
import threading
ANY = 2**32 - 1
def connect(host, port, family=socket.AF_INET, protocol=0):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as one:
        one.settimeout(5)
        one.connect((host, port))
        assert one.recv(2) == b"hi"
def connect_later(host, port):
    import select
    with socket.socket() as one:
        one.setblocking(False)
        one.connect_ex((host, port))
        select.select([], [one], [], 5)
        one.settimeout(5)
        assert one.recv(2) == b"hi"
def in_child(act):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
def in_thread(act):
    done = []
    thread = threading.Thread(target=lambda: done.append(act() or 1))
    threading.excepthook = lambda _: None
    thread.start()
    thread.join()
    assert done
def other_program(host, port):
    code = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    code += "; sys.exit(s.recv(2) != b'hi')"
    subprocess.run([sys.executable, "-c", code, host, str(port)], check=True, capture_output=True)
def fast_open(host, port):
    with socket.socket() as one:
        one.sendto(b"", socket.MSG_FASTOPEN, (host, port))
        assert one.recv(2) == b"hi"
def datagram(host, port):
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.sendto(b"x", (host, port))
        assert one.recv(2) == b"hi"
def interfaces():
    return len(socket.if_nameindex())
def tcp():
    return open("/proc/net/tcp").read()
"""
