"""Messages of slaves for tests of the decisions on them."""

from datetime import UTC, datetime, timedelta

from piwheels.core.protocols import slave_driver

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
HASH = "a" * 64


def hello(label="board", abi="cp311", resume=None, **timeouts):
    info = [
        timedelta(seconds=timeouts.get("build", 3600)),
        timedelta(seconds=timeouts.get("busy", 300)),
        abi[2:], abi, "linux_x86_64", label, "Debian", "12", "", "",
    ]  # fmt: skip
    features = {key: timeouts[key] for key in ("level", "identity") if key in timeouts}
    if resume is not None:
        features |= {"level": 1, "resume": list(resume)}
    if features:
        info.append(features)
    return slave_driver.received("HELLO", info)


def stats(now=START):
    return slave_driver.received("IDLE", [now, 1, 1, 1, 1, 0, 0, 0.5, 40.0])


def file_state(name="foo-1.0-cp311-cp311-linux_x86_64.whl", filehash=HASH):
    return [name, 10, filehash, "x", "1", "x", "x", "x", None, {"apt": []}, "/simple"]


def built(*files, status=True):
    return slave_driver.received("BUILT", [status, timedelta(seconds=5), "log\n", list(files)])


def request(fleet, address, msg, data, instant):
    """Handle a request as SlaveDriver does."""
    slave, made = fleet.receive(address, msg, data, instant)
    return made if slave is None else getattr(fleet, f"do_{msg.lower()}")(slave, instant)
