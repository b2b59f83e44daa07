"""The links that the scripts of packages would make."""

import pytest

from piwheels.slave.alternatives import links

AUTOMAKE = """
ver=1.16
prio=34

update-alternatives --install /usr/bin/automake automake \\
\t/usr/bin/automake-$ver ${prio} \\
\t--slave /usr/bin/aclocal aclocal /usr/bin/aclocal-$ver
"""
BLAS = """
if [ "$1" = "configure" ]; then
update-alternatives --install /usr/lib/x/libblas.so.3 \\
                    libblas.so.3-x /usr/lib/x/blas/libblas.so.3 10
update-alternatives \\
\t--install /usr/bin/mpirun mpirun /usr/bin/mpirun.openmpi 50
fi
"""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        (
            AUTOMAKE,
            [
                (
                    34,
                    [
                        ("/usr/bin/automake", "/usr/bin/automake-1.16"),
                        ("/usr/bin/aclocal", "/usr/bin/aclocal-1.16"),
                    ],
                )
            ],
        ),
        (
            BLAS,
            [
                (10, [("/usr/lib/x/libblas.so.3", "/usr/lib/x/blas/libblas.so.3")]),
                (50, [("/usr/bin/mpirun", "/usr/bin/mpirun.openmpi")]),
            ],
        ),
        ("update-alternatives --install /usr/bin/$i $i $basedir/bin/$i 5", []),
        ("update-alternatives --install /usr/bin/$i $i /usr/lib/$i 5", [(5, [])]),
        ("update-alternatives --install /etc/x x /usr/x 5", []),
        ("update-alternatives --remove x /usr/x", []),
        ("# update-alternatives --install /usr/bin/x x /usr/y 5", []),
    ],
)
def test_commands_are_read(script, expected):
    assert list(links(script)) == expected
