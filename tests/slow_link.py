"""A slow link: a TCP proxy on loopback that passes on so many bytes a second."""

import selectors
import socket
import threading
import time
from contextlib import suppress

from helpers import patience


class SlowLink:
    """Passes on *rate* bytes a second from a client to *port*; the way back has no limit."""

    def __init__(self, port, rate):
        self._target, self._rate = ("127.0.0.1", port), rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        # A link that is slow has no large buffers before it.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._listener.close()
        self._thread.join(patience(10))

    def _run(self):
        with suppress(OSError), selectors.DefaultSelector() as selector:
            self._listener.settimeout(patience(30))
            client, _ = self._listener.accept()
            with client, socket.create_connection(self._target) as master:
                selector.register(client, selectors.EVENT_READ, (client, master))
                selector.register(master, selectors.EVENT_READ, (master, client))
                begin, passed = time.monotonic(), 0
                while not self._stop.is_set():
                    for key, _ in selector.select(0.1):
                        source, target = key.data
                        if not (data := source.recv(4096)):
                            return
                        target.sendall(data)
                        if source is client:
                            passed += len(data)
                    behind = begin + passed / self._rate - time.monotonic()
                    if behind > 0:
                        self._stop.wait(behind)
