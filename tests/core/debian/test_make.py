"""The tables are made from the lists of Debian."""

from piwheels.core.debian.make import _packages, _rows, _tables

PACKAGES = """\
Package: libfoo1.2-dev
Section: libdevel
Depends: libfoo1 (= 1.2-1), libc6-dev | libc-dev

Package: libfoo-dev
Section: libdevel
Depends: libfoo1.2-dev

Package: foo-fork
Section: devel
Depends: libbar-dev

Package: libbar-dev
Section: libdevel

Package: libcopy-dev
Section: libdevel

Package: libold-dev
Section: oldlibs

Package: bar
Section: utils
Depends: libbar-dev, libcopy-dev
"""
CONTENTS = """\
usr/include/x86_64-linux-gnu/foo/foo.h     libdevel/libfoo1.2-dev
usr/include/foo.h   libdevel/libfoo1.2-dev
usr/include/bar.h  libdevel/libcopy-dev,libdevel/libbar-dev,oldlibs/libold-dev
usr/include/bar.h  libdevel/libbar-dev-arm64-cross
usr/include/bar/a/b/deep.h libdevel/libbar-dev
usr/include/with space.h  libdevel/libbar-dev
usr/lib/x86_64-linux-gnu/libbar.so  libdevel/libbar-dev
usr/lib/x86_64-linux-gnu/libbar.so.1  libs/libbar1
usr/lib/x86_64-linux-gnu/pkgconfig/bar-1.0.pc  libdevel/libbar-dev
usr/lib/x86_64-linux-gnu/cmake/Bar/BarConfig.cmake  libdevel/libbar-dev
usr/share/cmake/bar/bar-config.cmake  libdevel/libcopy-dev
usr/bin/bar  utils/bar
bin/bar-config  libdevel/libbar-dev
usr/share/doc/bar/bar.h  libdevel/libbar-dev
"""


def test_lists_become_tables_in_the_order_of_preference():
    tables = _tables(_rows(CONTENTS.split("\n")), dict(_packages(PACKAGES)))
    assert tables["header"] == [
        "libbar-dev\t.\t bar.h \n",  # most packages depend on it
        "libbar-dev\tbar/a/b\t  \n",
        "libcopy-dev\t.\t bar.h \n",
        "libfoo-dev\t.\t foo.h \n",  # it stands for its version
        "libfoo-dev\tfoo\t foo.h \n",
        "libold-dev\t.\t bar.h \n",
    ]
    assert tables["library"] == ["libbar-dev\t.\t bar \n"]
    assert tables["pkgconfig"] == ["libbar-dev\t.\t bar-1.0 \n"]
    assert tables["cmake"] == ["libbar-dev\t.\t bar \n", "libcopy-dev\t.\t bar \n"]
    assert tables["program"] == ["libbar-dev\t.\t bar-config \n", "bar\t.\t bar \n"]
