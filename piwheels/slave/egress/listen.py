"""Opens the port of the proxy in the network of a build, then becomes the build.

It runs as a text, ``python -I -S -c TEXT DESCRIPTOR PORT COMMAND...``, with the Python of the
build, before any code of strangers. The descriptor is a socket, on which it sends the listener.
"""

import array
import os
import socket
import sys

if __name__ == "__main__":
    number, port, *command = sys.argv[1:]
    carrier = socket.socket(fileno=int(number))
    listener = socket.socket()
    listener.bind(("127.0.0.1", int(port)))
    listener.listen(128)
    rights = array.array("i", [listener.fileno()])
    carrier.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    carrier.close()
    listener.close()
    os.execvp(command[0], command)  # noqa: S606
