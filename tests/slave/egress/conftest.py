"""Fixtures: an index that the test controls, and the proxy of a build that uses it."""

import pytest

from build_network import Client, Index
from piwheels.core.recipes import PLAIN
from piwheels.slave.egress.gate import Egress, Network


@pytest.fixture
def index():
    with Index() as made:
        made.put("demo", "demo-1.0.tar.gz", b"demo" * 1000)
        yield made


@pytest.fixture
def proxy(tmp_path):
    """Return a function that opens the proxy of a build."""
    networks = []

    def make(url, recipe=PLAIN, **options):
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        notes = []
        network = Network(
            Egress(**{"settings": {}, "index": url} | options), None, (), folder, notes.append,
            recipe=recipe,
        )  # fmt: skip
        networks.append(network)
        return Client(network, notes)

    yield make
    for network in networks:
        network.close()
    assert list(tmp_path.glob("files/*")) == []
