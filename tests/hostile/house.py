"""Attacks from inside a build on the farm of a piw-up, in the form of :mod:`hostile.inside`.

Each gets ``{home}``, the folder of the farm.
"""

import json
from typing import NamedTuple

from hostile import inside


class Attack(NamedTuple):
    """An attack: its name, its code, and the modes in which it succeeds.

    A mode is the name of a sandbox, with ``+`` if builds have a user of their own.
    """

    name: str
    code: str
    works: frozenset[str] = frozenset({"none"})


NEVER = frozenset()

ATTACKS = (
    # The database
    Attack("logs in as the superuser", "log_in({home!r} + '/postgres', 'postgres')", NEVER),
    Attack("logs in as the role of daemons", "log_in({home!r} + '/postgres', 'piwheels')", NEVER),
    Attack("logs in by another name", "log_in({home!r} + '/postgres', 'root')", NEVER),
    Attack("connects to PostgreSQL", "unix().connect({home!r} + '/postgres/.s.PGSQL.5432')"),
    Attack("reads its passwords", "open({home!r} + '/postgres/passwords').read()"),
    Attack("admits everybody to it", "open({home!r} + '/postgres/data/pg_hba.conf', 'a')"),
    Attack("finds a password in an environment", "look('environ', 'password=')", NEVER),
    Attack("finds a password in a command line", "look('cmdline', 'password=')", NEVER),
    Attack("finds the address in an environment", "look('environ', 'PIW_DSN=')"),
    # The farm
    Attack("writes to the site", "open({home!r} + '/www/simple/x', 'w')"),
    Attack("connects to the import socket", "unix().connect({home!r} + '/run/import')"),
    Attack("connects to the control socket", "unix().connect({home!r} + '/run/control')"),
    Attack("reads the options of the farm", "open({home!r} + '/run/farm.toml').read()"),
    Attack("reads the key of the master", "open({home!r} + '/keys/master.key').read()"),
    Attack("enrols a key", "open({home!r} + '/keys/ring', 'a')"),
    Attack("lists the logs", "os.listdir({home!r} + '/log')"),
    Attack("writes a configuration", "open({home!r} + '/pip.conf', 'w')"),
    Attack("signals the master", "signal_one('piwheels.master')"),
    Attack("signals the web server", "signal_one('piwheels.serve')"),
    Attack("signals piw-up", "signal_one('piwheels.up')"),
    Attack("signals PostgreSQL", "signal_one('postgres/data')"),
    # Its slave, from which a user of its own does not separate it
    Attack("signals its slave", "os.kill(slave()[0], 0)", frozenset({"none", "none+"})),
    Attack("connects as a slave", "unix().connect({home!r} + '/run/slave')"),
    Attack("reads the key of its slave", "open(key_of_slave()).read()", frozenset({"none+"})),
)  # fmt: skip

#: What the code may use, with that of :mod:`hostile.inside`.
PRELUDE = r"""
import struct
def processes():
    "Yield the pid and the command line of each process of the farm."
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                text = open('/proc/' + name + '/cmdline').read()
            except OSError:
                continue
            if {home!r} in text and int(name) != os.getpid():
                yield int(name), text
def signal_one(word):
    for pid, text in processes():
        if word in text:
            try:
                return os.kill(pid, 0)
            except OSError:
                pass
    raise OSError('refused')
def look(file, word):
    for pid, _ in processes():
        try:
            text = open('/proc/%d/%s' % (pid, file), errors='replace').read()
        except OSError:
            continue
        if word in text:
            return
    raise OSError('not found')
def slave():
    "Return the pid and the command line of the slave, from which this process descends."
    pid, text = os.getpid(), ''
    while 'piwheels.slave' not in text:
        pid = int(open('/proc/%d/stat' % pid).read().rpartition(')')[2].split()[1])
        text = open('/proc/%d/cmdline' % pid).read()
    return pid, text
def key_of_slave():
    return slave()[1].partition('--key=')[2].partition('\0')[0]
def log_in(folder, role):
    with unix() as server:
        server.connect(folder + '/.s.PGSQL.5432')
        words = b'user\0%s\0database\0postgres\0\0' % role.encode()
        server.sendall(struct.pack('>ii', len(words) + 8, 3 << 16) + words)
        kind, _, method = struct.unpack('>cii', server.recv(9))
    assert (kind, method) == (b'R', 0), 'refused'  # 0: AuthenticationOk
"""


def attacks(home):
    """Return the arguments of :data:`hostile.inside.RUNNER`, after itself."""
    prelude = inside.PRELUDE + PRELUDE.replace("{home!r}", repr(str(home)))
    codes = [(attack.name, attack.code.format(home=str(home))) for attack in ATTACKS]
    return inside.RUNNER, prelude, json.dumps(codes)
