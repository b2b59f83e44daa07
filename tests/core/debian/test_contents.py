"""The tables of Debian's packages: well-known things, untrusted names, and the cost."""

import time

import pytest

from helpers import patience
from piwheels.core.debian import contents
from piwheels.core.debian.contents import packages_for, release_of, table_path
from piwheels.core.diagnosis.classes import CLASSES

#: The best package for a thing, in both releases: a reason, and things with their packages.
BEST = {
    "missing-header": """
        portaudio.h portaudio19-dev | openssl/ssl.h libssl-dev | glib.h libglib2.0-dev
        ffi.h libffi-dev | zlib.h zlib1g-dev | jpeglib.h libjpeg-dev | png.h libpng-dev
        libpq-fe.h libpq-dev | mysql.h default-libmysqlclient-dev | ldap.h libldap-dev
        sasl/sasl.h libsasl2-dev | libxml/parser.h libxml2-dev | libxslt/xslt.h libxslt1-dev
        curl/curl.h libcurl4-openssl-dev | hdf5.h libhdf5-dev | gmp.h libgmp-dev
        boost/python.hpp libboost-dev | boost/asio/detail/config.hpp libboost-dev
        sql.h unixodbc-dev | bzlib.h libbz2-dev | alsa/asoundlib.h libasound2-dev
        snappy-c.h libsnappy-dev | graphviz/cgraph.h libgraphviz-dev | cairo.h libcairo2-dev
        gdal.h libgdal-dev | geos_c.h libgeos-dev | krb5.h libkrb5-dev | Eigen/Core libeigen3-dev
        systemd/sd-daemon.h libsystemd-dev | ft2build.h libfreetype-dev | jni.h default-jdk-headless
        /usr/include/zlib.h zlib1g-dev | Python.h python3-dev | SDL.h libsdl2-dev
    """,
    "missing-library": """
        portaudio portaudio19-dev | z zlib1g-dev | ssl libssl-dev | mysqlclient
        default-libmysqlclient-dev | libsndfile.so.1 libsndfile1-dev | usb-1.0 libusb-1.0-0-dev
        openblas libopenblas-dev | boost_python311 libboost-python-dev | odbc unixodbc-dev
    """,
    "missing-tool": """
        pg_config libpq-dev | mysql_config default-libmysqlclient-dev | cargo cargo | swig swig
        krb5-config libkrb5-dev | cmake cmake | ninja ninja-build | xml2-config libxml2-dev
        gdal-config libgdal-dev | protoc protobuf-compiler | patchelf patchelf | make make
        automake automake | yacc bison | mpicc libopenmpi-dev | /usr/bin/swig swig
    """,
    "missing-pkgconfig": """
        cairo libcairo2-dev | portaudio-2.0 portaudio19-dev | libpq.pc libpq-dev
        gtk+-3.0 libgtk-3-dev | zlib zlib1g-dev
    """,
    "missing-cmake": "OpenCV libopencv-dev | PNG libpng-dev | ZLIB zlib1g-dev | LLVM llvm-?-dev",
    "missing-meson": "cairo libcairo2-dev | openblas libopenblas-dev | libjpeg libjpeg-dev",
    "missing-rust": "1.70 cargo",
    "missing-fortran": "Fortran gfortran",
}
LOOKUPS = [
    (reason, *pair.split())
    for reason, text in BEST.items()
    for line in text.strip().split("\n")
    for pair in line.split("|")
    if len(pair.split()) == 2
]


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
@pytest.mark.parametrize(("reason", "subject", "package"), LOOKUPS)
def test_well_known_things_are_found(release, reason, subject, package):
    found = packages_for(reason, subject, release)
    if "?" in package:
        found = [name for name in found if name.startswith(package.partition("?")[0])]
        assert found
    else:
        assert found[0] == package
    assert len(found) <= contents.MAX_PACKAGES
    assert len(set(found)) == len(found)


def test_reasons_are_classes():
    assert {*contents._KINDS, *contents._SUBJECTS} <= CLASSES.keys()


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_a_choice_is_a_package_of_the_release_or_one_without_files(release):
    kinds = {kind for kinds in contents._KINDS.values() for kind in kinds}
    listed = b"\n" + b"".join(contents._table(release, kind) for kind in kinds)
    chosen = {*contents._CHOSEN.values()}
    assert {name for name in chosen if f"\n{name}\t".encode() not in listed} <= {
        "default-jdk-headless", "default-jre-headless", "default-libmysqlclient-dev", "imagemagick",
        "libboost-python-dev", "libglib2.0-dev", "libopenblas-dev",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "subject", "release"),
    [
        ("missing-header", "no-such-thing.h", "bookworm"),
        ("missing-header", "sys/no-such-thing.h", "bookworm"),
        ("missing-header", "own/glib.h", "bookworm"),
        ("missing-header", "zlib.h", "forky"),
        ("missing-header", "zlib.h", ""),
        ("missing-header", "", "bookworm"),
        ("missing-header", " ", "bookworm"),
        ("missing-header", "a\tb", "bookworm"),
        ("missing-header", "zlib.h\n", "bookworm"),
        ("missing-header", "-rf", "bookworm"),
        ("missing-header", "../../etc/passwd", "bookworm"),
        ("missing-header", "ż.h", "bookworm"),
        ("missing-header", "x" * 10**6, "bookworm"),
        ("missing-header", "zlib.h", "../bookworm"),
        ("missing-tool", "/", "bookworm"),
        ("compile-error", "zlib.h", "bookworm"),
        ("no-such-reason", "zlib.h", "bookworm"),
    ],
)
def test_other_questions_have_no_answer(reason, subject, release):
    assert packages_for(reason, subject, release) == []


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("12 (bookworm)", "bookworm"),
        ("13 (trixie)", "trixie"),
        ("24.04.1 LTS (Noble Numbat)", "trixie"),
        ("22.04.5 LTS (Jammy Jellyfish)", "bookworm"),
        ("11 (bullseye)", ""),
        ("", ""),
        ("(" * 10**6, ""),
    ],
)
def test_a_system_says_its_release(version, release):
    assert release_of(version) == release


def test_derivatives_have_the_packages_of_their_release():
    for name, release in contents.RELEASES.items():
        assert packages_for("missing-header", "zlib.h", name) == packages_for(
            "missing-header", "zlib.h", release
        )


def test_a_table_is_small_and_quick():
    for release in set(contents.RELEASES.values()):
        kinds = {kind for kinds in contents._KINDS.values() for kind in kinds}
        assert sum(table_path(release, kind).stat().st_size for kind in kinds) < 1_500_000
    contents._table.cache_clear()
    for most in (0.3, 0.05):  # seconds: the first time, and later
        started = time.process_time()
        assert packages_for("missing-header", "config.h", "trixie")
        assert time.process_time() - started < patience(most)
