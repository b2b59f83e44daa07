"""The packages, ABIs and racks of the simulated farm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from random import Random


class Project(NamedTuple):
    """A package: the usual duration of a build (*minutes*) and its share of a board's *memory*.

    *failing*: the share of builds that fail; *weight*: how often a new version appears. *pure*
    packages make the same wheel everywhere.
    """

    name: str
    version: tuple[int, int]
    minutes: float
    memory: float
    failing: float = 0.03
    weight: int = 4
    pure: bool = False


PROJECTS: Final = (
    Project("numpy", (2, 3), 14, 0.45),
    Project("scipy", (1, 16), 55, 0.7),
    Project("pandas", (2, 3), 38, 0.65),
    Project("pillow", (12, 0), 4, 0.25),
    Project("lxml", (6, 0), 6, 0.3),
    Project("grpcio", (1, 75), 42, 0.6),
    Project("cryptography", (46, 0), 11, 0.5),
    Project("h5py", (3, 14), 9, 0.3),
    Project("pyarrow", (21, 0), 70, 0.85, 0.85, 2),
    Project("tensorflow-io", (0, 37), 150, 0.95, 0.4, 1),
    Project("opencv-python", (4, 12), 95, 0.8, 0.1, 2),
    Project("aiohttp", (3, 13), 2.5, 0.15),
    Project("pyyaml", (6, 0), 0.8, 0.1),
    Project("cffi", (2, 0), 0.9, 0.1),
    Project("matplotlib", (3, 10), 12, 0.45),
    Project("scikit-learn", (1, 7), 47, 0.6),
    Project("pydantic-core", (2, 41), 8, 0.55),
    Project("orjson", (3, 11), 5, 0.4),
    Project("msgpack", (1, 1), 1.2, 0.1),
    Project("gevent", (25, 9), 6, 0.25),
    Project("greenlet", (3, 2), 1.1, 0.1),
    Project("psycopg2", (2, 9), 0.9, 0.1, 0.2),
    Project("pymssql", (2, 3), 1.5, 0.1, 0.5, 2),
    Project("dbus-python", (1, 4), 0.7, 0.05, 0.7, 2),
    Project("rpi-gpio", (0, 7), 0.4, 0.05),
    Project("spidev", (3, 8), 0.3, 0.05),
    Project("smbus2", (0, 5), 0.2, 0.05, 0.01, 6, pure=True),
    Project("requests", (2, 32), 0.2, 0.05, 0.0, 6, pure=True),
    Project("django", (5, 2), 0.5, 0.1, 0.01, 6, pure=True),
    Project("sqlalchemy", (2, 0), 1.6, 0.1),
    Project("shapely", (2, 1), 3, 0.2, 0.15),
    Project("pyproj", (3, 7), 4, 0.2, 0.35, 3),
    Project("rasterio", (1, 4), 5, 0.25, 0.6, 2),
    Project("zstandard", (0, 25), 3, 0.15),
    Project("lz4", (4, 4), 1.0, 0.1),
    Project("uvloop", (0, 21), 7, 0.2),
    Project("pygame", (2, 6), 9, 0.25, 0.1),
    Project("kiwisolver", (1, 4), 1.4, 0.15),
    Project("regex", (2025, 9), 2, 0.15),
    Project("bcrypt", (5, 0), 3, 0.3),
)


class Abi(NamedTuple):
    """An ABI: its tag, its share of the boards (in percent), and its queue.

    *begin*: the queue's length for each board at the beginning; *filling*: new versions for each
    version that is built.
    """

    tag: str
    share: int
    begin: int
    filling: float


ABIS: Final = (
    Abi("cp39", 12, 1, 0.6),
    Abi("cp311", 40, 6, 0.93),
    Abi("cp313", 33, 9, 1.0),
    Abi("cp314", 15, 3, 1.12),
)

#: Boards: the prefix of the label, the revision, memory in GiB, relative duration of builds.
MODELS: Final = (
    ("pi4", "c03115", 4, 1.0),
    ("pi4", "d03115", 8, 1.0),
    ("pi5", "d04170", 8, 0.45),
    ("pi3", "a020d3", 1, 2.4),
)
#: Hosts with several lanes: the prefix of the label, the revision, memory in GiB, relative duration
#: of builds, and the platforms that they build for.
HOSTS: Final = (
    ("duo", "d04170", 16, 0.4, ("linux_aarch64", "linux_armv7l")),
    ("pc", "", 32, 0.2, ("linux_x86_64", "musllinux_1_2_x86_64")),
    ("trio", "c03115", 8, 0.9, ("linux_armv7l",)),
)
#: Slots of a rack.
RACK: Final = 20


def random_version(random: Random) -> tuple[Project, str]:
    """Return a random package (by weight), and a version of it."""
    project = random.choices(PROJECTS, [each.weight for each in PROJECTS])[0]
    major, minor = project.version
    return project, f"{major}.{max(0, minor - random.choice((0, 0, 0, 1)))}.{random.randrange(8)}"
