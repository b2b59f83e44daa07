"""What each class of failures means, and what to do: the text of ``failures.html``. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple


class Advice(NamedTuple):
    """The advice of the class *code*: sentences for each, ``""`` if there is nothing to do.

    *farm* says what the farm does by itself, *example* is a line of such a log.
    """

    code: str
    means: str
    maintainer: str
    operator: str
    farm: str
    example: str


_AGAIN: Final = (
    "It counts the failure for nobody, and builds the version again elsewhere, or later."
)
_PACKAGE: Final = "It looks up the Debian package that has it, and builds the version again with it, if the sandbox can show it to that build alone."
_SECOND: Final = "It lets another slave try once, because another machine may succeed."
_LOOKS: Final = "It looks again after five minutes, an hour and a day."
_RELEASED: Final = (
    "It builds the version once more with the build tools of the time of its release."
)
_FINAL: Final = "It does not build the version again for this target."
_OLDER: Final = "It builds the version again with older build tools, in steps, and keeps the constraint that works for the next version."

_ADVICE: Final = (
    Advice("missing-header", "The compiler does not find a header, because the slave lacks the development package of a library.", "Name the library in the installation notes. Where that is possible, include its source, or make the extension optional.", "Install the package, such as `apt install portaudio19-dev`, and build the version again.", _PACKAGE, "src/x.c:9:10: fatal error: portaudio.h: No such file or directory"),
    Advice("missing-library", "The linker, or the setup, does not find a library.", "Name the library in the installation notes.", "Install its development package, and build the version again.", _PACKAGE, "/usr/bin/ld: cannot find -lusb-1.0: No such file or directory"),
    Advice("missing-tool", "The build runs a program that the slave does not have.", "If a project of the index has the program, add it to `build-system.requires`. Generated files can be in the source distribution.", "Install the program, and build the version again.", _PACKAGE, "error: command 'swig' failed: No such file or directory"),
    Advice("missing-pkgconfig", "pkg-config does not know a module, because the slave lacks the development package of a library.", "Name the library in the installation notes.", "Install the package that has the `.pc` file.", _PACKAGE, "Package 'libsystemd', required by 'virtual:world', not found"),
    Advice("missing-cmake", "CMake does not find a package that the source needs.", "Name the package in the installation notes, or include it.", "Install its development package.", _PACKAGE, "Could NOT find Boost (missing: Boost_INCLUDE_DIR)"),
    Advice("missing-meson", "Meson does not find a dependency that the source needs.", "Name it in the installation notes, or add a subproject.", "Install its development package.", _PACKAGE, 'meson.build:31:12: ERROR: Dependency "cairo" not found, tried pkgconfig and cmake'),
    Advice("missing-compiler", "The slave has no C or C++ compiler.", "", "Install `build-essential` on the slave.", _AGAIN, "error: command 'gcc' failed: No such file or directory"),
    Advice("missing-rust", "The slave has no Rust, or an older one than the source needs.", "State the oldest Rust that works as `rust-version` in Cargo.toml.", "Install `rustc` and `cargo`, or a newer toolchain with rustup.", _PACKAGE, "error: can't find Rust compiler"),
    Advice("missing-fortran", "The slave has no Fortran compiler.", "", "Install `gfortran`.", _PACKAGE, "error: library mach has Fortran sources but no Fortran compiler found"),
    Advice("dependency-unavailable", "The build requires a project that the index does not have for this Python, or that cannot be built itself.", "Require a version that exists for this Python.", "If the project is on this farm, build it first.", f"{_RELEASED} {_LOOKS}", "  ERROR: No matching distribution found for setuptools>=99"),
    Advice("dependency-undeclared", "The setup imports a module that its metadata does not require. Builds are isolated: they have only what `build-system.requires` names.", "Add the project to `build-system.requires` in pyproject.toml.", "A recipe can add it for this project.", "It builds the version once more with that project added.", "ModuleNotFoundError: No module named 'numpy'"),
    Advice("tools-too-new", "The source uses what newer build tools no longer have. It was released when older ones were current.", "Release a version that works with current tools, or state the bound in `build-system.requires`, such as `setuptools<58`.", "A recipe with constraints can pin them for this project.", _OLDER, "error in demjson setup command: use_2to3 is invalid."),
    Advice("tools-too-old", "The source needs a newer compiler or build tool than there is.", "State the oldest version that works in `build-system.requires`.", "Install a newer one on the slave.", _SECOND, "CMake 3.27 or higher is required.  You are running version 3.25.1"),
    Advice("python-too-new", "The source uses parts of Python, or of its C interface, that this version does not have any more; or its metadata excludes this Python.", "Release a version for this Python. With `requires-python`, installers do not try it.", "", _FINAL, "fatal error: longintrepr.h: No such file or directory"),
    Advice("python-too-old", "The release requires a newer Python than the target has.", "", "Add a target with a newer Python.", _FINAL, "ERROR: Package 'toy' requires a different Python: 3.11.2 not in '>=3.12'"),
    Advice("python-2", "The source is written for Python 2.", "Set `requires-python`, so that installers do not try it.", "", _FINAL, "SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?"),
    Advice("no-source", "The index has no source distribution of this version, only wheels or nothing.", "Upload a source distribution.", "", f"{_LOOKS} Then it tries again when upstream changes.", "ERROR: No matching distribution found for torch==1.0.0"),
    Advice("gone", "The file, or the version, is not in the index any more.", "", "", f"{_LOOKS} Then it tries again when upstream changes.", "ERROR: HTTP error 404 while getting https://index.example/toy-1.0.tar.gz"),
    Advice("metadata-mismatch", "The name or version in the metadata differs from that of the file, so installers refuse it.", "Compute the version from files in the source distribution, not from git. A released version never has a local part or a tag.", "", _FINAL, "Requested toy==1.0 has inconsistent version: expected '1.0', but metadata has '0+unknown'"),
    Advice("invalid-metadata", "The metadata violates the standards, so installers refuse it.", "Correct the named field. `python -m build` and `twine check` show it before an upload.", "", _RELEASED, "Requested toy==1.0 has invalid metadata: .* suffix can only be used with `==` or `!=` operators"),
    Advice("bad-backend", "The build backend in pyproject.toml cannot be imported, or lacks a function.", "Check `build-backend`, `backend-path` and `requires` of `build-system`.", "", f"{_RELEASED} {_SECOND}", "BackendUnavailable: Cannot import 'own.backend'"),
    Advice("incomplete-source", "The source distribution lacks a file that its build needs.", "Include it (MANIFEST.in for setuptools), and test with `python -m build`, which builds the wheel from the source distribution.", "", _SECOND, "FileNotFoundError: [Errno 2] No such file or directory: 'requirements.txt'"),
    Advice("corrupt-source", "The source distribution is no complete archive.", "Upload a new release.", "", _FINAL, "zipfile.BadZipFile: File is not a zip file"),
    Advice("hash-mismatch", "What arrived is not what the index lists: the transfer failed, or something on the way changed it.", "", "Check the proxy of the slave.", f"{_LOOKS} Then it tries again when upstream changes.", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."),
    Advice("refuses", "The setup ends on purpose, for example because the project has another name now.", "", "Skip the version, or the project.", _SECOND, "The 'sklearn' PyPI package is deprecated, use 'scikit-learn'"),
    Advice("unsupported-platform", "The source is for another system or another processor.", "Guard such code, and say in the metadata which systems are supported.", "Skip the project for this platform.", _SECOND, "src/x.c:3:10: fatal error: windows.h: No such file or directory"),
    Advice("setup-error", "The setup raises an exception of a kind that the farm does not know.", "Read the log: the traceback shows the place.", "", f"{_RELEASED} {_SECOND}", "AssertionError: no version in toy/__init__.py"),
    Advice("compile-error", "The compiler does not accept the source.", "Read the log, and test with this compiler and this architecture.", "", f"{_RELEASED} {_SECOND}", "src/x.c:10:5: error: expected ';' before '}' token"),
    Advice("link-error", "Objects cannot be linked: a symbol is missing, or twice, or of another machine.", "Link the library that has the symbol. Compile static libraries with `-fPIC`.", "", _SECOND, "undefined reference to `dlopen'"),
    Advice("test-failure", "The build runs tests, and one of them fails.", "Do not run tests while a wheel is built.", "", _SECOND, "FAILED (failures=1)"),
    Advice("asks-input", "The build asks a question. On a farm nobody answers.", "Use defaults, and environment variables for other values.", "", _SECOND, "EOFError: EOF when reading a line"),
    Advice("network-denied", "The build fetches files from a host that is no index. A farm does not allow that, because nobody could say what is in the wheel.", "Include the files in the source distribution, or publish them as a project.", "Allow the host for this project (a recipe), if you trust it.", _SECOND, "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>"),
    Advice("wheel-refused", "The build made no wheel, or one that is broken, or that pip cannot install here.", "Correct what is named. `twine check` and `pip install` of the wheel show most of it.", "", _FINAL, "piwheels: pip cannot install toy-1.0-py2-none-any.whl: it is not a supported wheel on this platform"),
    Advice("held-back", "The wheel has no compiled extension, but others of this version have one. So its compiler failed, and the setup continued.", "Let the setup fail, rather than leave out the extension.", "Check the slave for a compiler and headers; publish the wheel with `piw-import` if it is right.", _SECOND, "piwheels: the wheel is held back: it has no extension, but others of this version have one"),
    Advice("out-of-memory", "The memory of the slave, or the limit of a build, was not enough.", "", "Give the slave memory or swap, or build less at once: `--memory`, `--jobs`.", _AGAIN, "gcc: fatal error: Killed signal terminated program cc1plus"),
    Advice("killed", "Something killed the build, most likely because the memory of the machine ran out.", "", "See `journalctl -k` on the slave.", _AGAIN, "exit code: -9"),
    Advice("crashed", "A compiler, or another program of the build, crashed.", "Report it to those who make that program.", "Update the program. Crashes at random places are a sign of bad memory.", _SECOND, "internal compiler error: Segmentation fault"),
    Advice("time-out", "The build took longer than it may.", "", "Give it more time with `--timeout`, or a faster slave.", "It builds the version again with twice the time, twice. Then the failure counts.", "piwheels: the build was stopped after 3:00:00, its time-out"),
    Advice("silence", "The build wrote nothing for long, so it hangs, or waits.", "Let long steps show their progress.", "Give it more time with `--silence`.", _SECOND, "piwheels: the build was stopped: it wrote nothing for 0:30:00 (--silence)"),
    Advice("too-large", "The build used more disk, processes or processor time than it may.", "", "Raise the limit that is named.", _SECOND, "piwheels: the build was stopped: it used more than 20 GB of disk (--disk)"),
    Advice("disk-full", "The disk of the slave was full.", "", "Make room in its build directory.", _AGAIN, "OSError: [Errno 28] No space left on device"),
    Advice("index-unreachable", "The slave could not reach the index.", "", "Check the network and the proxy of the slave.", _AGAIN, "piwheels: this slave cannot reach the index: https://index.example/simple/: 502"),
    Advice("slave-broken", "The slave lacks something that each build needs: a current pip, the ssl module, a working sandbox.", "", "Repair the slave as the subject says. `piw-slave --check` shows what it lacks.", _AGAIN, "no such option: --use-pep517"),
    Advice("incomplete-python", "The Python of the slave lacks headers, or modules of its standard library.", "", "Install all of it, such as `apt install python3-dev python3-venv`. A Python that was compiled on the machine needs the development packages of zlib, libffi, OpenSSL and others first.", _AGAIN, "src/x.c:1:10: fatal error: Python.h: No such file or directory"),
    Advice("recipe-refused", "The slave cannot build with the settings that the farm or an operator has chosen.", "", "Correct the recipe (`piw-recipe show`), or see what the slave lacks.", "It continues without the recipe, or with the next one. If an operator has written it, the version waits.", "piwheels: the build cannot have the packages libfoo-dev: E: Unable to locate package libfoo-dev"),
    Advice("lost", "The supervisor of the build was killed, so nobody knows how it ended.", "", "See `journalctl -k` on the slave.", _AGAIN, "piwheels: the build was lost, because its supervisor was killed"),
    Advice("master-fault", "The master could not store what the slave had built.", "", "See the log of the master.", _AGAIN, "piwheels: the master could not store the wheel"),
    Advice("unknown", "No rule of the farm matches this log.", "Read the log.", "Report the log, so that the next version of the farm knows it.", f"{_RELEASED} {_SECOND}", ""),
)  # fmt: skip

#: The advice by the code of its class.
ADVICE: Final = {each.code: each for each in _ADVICE}
