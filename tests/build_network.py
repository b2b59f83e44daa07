"""An index of files, the build's side of a proxy, and services that nobody should reach."""

import hashlib
import json
import socket
import threading

import upstream
from helpers import patience


class Index(upstream.Toy):
    """An index of files. *places* are answers, or faults, by their paths, before all others."""

    def __init__(self):
        super().__init__()
        self.places = {}
        self.files = {}

    def put(self, project, filename, content, **more):
        """Publish a file, and list it with its hash, unless *more* says something else."""
        path = f"/files/{filename}"
        self.places[path] = upstream.answer(content, kind="application/octet-stream")
        hashes = {"sha256": hashlib.sha256(content).hexdigest()}
        about = {"filename": filename, "url": f"../..{path}", "hashes": hashes} | more
        self.files.setdefault(project, []).append(about)
        document = {"meta": {"api-version": "1.1"}, "name": project, "files": self.files[project]}
        self.places[f"/simple/{project}/"] = upstream.answer(json.dumps(document).encode())

    def good(self, request):
        found = self.places.get(request.path, upstream.answer(b"none", "404 Not Found"))
        return found if isinstance(found, bytes) else found(self, request)

    @property
    def paths(self):
        """What was asked for."""
        return [request.path for request in self.asked]


class Client:
    """The build's side of a proxy."""

    def __init__(self, network, notes):
        self.network, self.notes = network, notes
        self.gate = network.open(own=False)
        self.gate.start()
        self.port = self.gate.port

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), patience(20))

    def send(self, data):
        """Return all bytes that the proxy answers to *data*, until it closes the connection."""
        with self.connect() as peer:
            peer.sendall(data.replace(b"{port}", str(self.port).encode()))
            return read_all(peer)

    def get(self, path, *fields, method="GET"):
        """Return the status, the head and the body of the answer to a request."""
        more = "".join(f"{field}\r\n" for field in fields)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{{port}}\r\nConnection: close\r\n"
        answer = self.send(f"{head}{more}\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body

    @property
    def refused(self):
        return {fetch.url: fetch.refused for fetch in self.network.entries() if fetch.refused}

    @property
    def fetched(self):
        return {fetch.url: fetch for fetch in self.network.entries() if not fetch.refused}


def read_all(peer):
    parts = []
    try:
        while part := peer.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass  # it has closed the connection before it has read everything
    return b"".join(parts)


class Service:
    """A service of this machine that says hi, as long as the ``with`` lasts."""

    def __init__(self, host, port=0, family=socket.AF_INET):
        self._listener = socket.create_server((host, port), family=family)
        self.port = self._listener.getsockname()[1]
        self.is_reached = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(patience(10))
        self._listener.close()

    def _serve(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                self.is_reached = True
                peer.sendall(b"hi")
