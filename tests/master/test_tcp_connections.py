"""An address with too many connections is closed for a moment; the others stay open."""

import zmq

from helpers import LOGGER, free_port, own_config, patience, until, wire
from piwheels.core.transport import Context
from piwheels.master import tcp_connections
from piwheels.master.ports import Ports


def test_an_address_with_too_many_connections_closes_them(monkeypatch, caplog):
    monkeypatch.setattr(tcp_connections, "are_scarce", lambda: scarce)
    monkeypatch.setattr(tcp_connections, "has_too_many", lambda each: each == config.log_queue)
    addresses = {f"{name}_queue": f"tcp://127.0.0.1:{free_port()}" for name in ("control", "log")}
    config = own_config(**addresses)
    ports = Ports("main", config, LOGGER, wires=[wire("control"), wire("commands")])
    others = Ports("Lumberjack", config, LOGGER, wires=[wire("log")])
    with Context().socket(zmq.PUSH) as client, Context().socket(zmq.PUSH) as logger:
        for socket, name in ((client, "control"), (logger, "log")):
            socket.setsockopt(zmq.IMMEDIATE, 1)
            socket.connect(addresses[f"{name}_queue"])
            assert socket.poll(patience(5), zmq.POLLOUT)
        scarce = True
        ports.connections.limit()
        others.connections.limit()
        log = others.socket("log")
        until(lambda: not (log.poll(0) or logger.poll(0, zmq.POLLOUT)))
        assert client.poll(0, zmq.POLLOUT)
        scarce = False
        until(lambda: others.connections.limit() or logger.poll(0, zmq.POLLOUT))
        logger.send_msg("LOG")
        assert log.poll(patience(5))
    ports.close()
    others.close()
    assert f"too many connections to {config.log_queue}: closed all of them (1 times" in caplog.text
    assert config.control_queue not in caplog.text
