"""Rules for compilers, linkers, build systems, and the programs and libraries that they need. Pure."""

from __future__ import annotations

import re
from typing import Final

from piwheels.core.diagnosis.rule import FRAME, GENERAL, LIKELY, SPECIFIC, Context, Rule, Subject

#: Headers that Python projects have, by the first part of their path.
_PROJECTS: Final = {
    "numpy": "numpy", "pybind11": "pybind11", "nanobind": "nanobind", "greenlet": "greenlet", "mpi4py": "mpi4py", "pycairo": "pycairo",
    "pycairo.h": "pycairo", "py3cairo.h": "pycairo", "pygobject.h": "pygobject", "sip.h": "sip", "torch": "torch", "xtensor-python": "xtensor-python",
    "petsc4py": "petsc4py", "cysignals": "cysignals", "tensorflow": "tensorflow", "pythran": "pythran", "scipy": "scipy",
}  # fmt: skip
#: Headers of other systems, or other processors.
_FOREIGN: Final = re.compile(
    r"(?:windows|winsock2?|ws2tcpip|winbase|windef|winnt|io|direct|conio|process|tchar|crtdbg|shlobj|mstcpip|iphlpapi)\.h$|(?:Carbon|CoreFoundation|Cocoa|AppKit|Foundation|CoreServices|IOKit|CoreAudio|CoreMIDI|AudioToolbox|ApplicationServices|OpenCL/cl_mac|mach|Availability|TargetConditionals)\b.*|"
    r"(?:[a-z]?mmintrin|immintrin|x86intrin|cpuid|arm_neon|arm_acle|altivec)\.h$|sys/(?:sysctl|event|kbio|consio|devicestat)\.h$|sys/io\.h$|asm/(?:msr|processor)\.h$|machine/\w+\.h$|stropts\.h$|objc/.*|atlbase\.h$|d3d\w*\.h$",
)  # fmt: skip
_SOURCES: Final = re.compile(
    r"\.(?:c|cc|cpp|cxx|c\+\+|pyx|pxd|f|f90|for|m|mm|s|S|asm|cu|i|o|a|in)$"
)
_COMPILER: Final = (
    r"(?:[\w./+-]{0,100}[/-])?(?:cc|gcc|g\+\+|c\+\+|clang|clang\+\+|c89|c99)(?:-\d+)?"
)
_FORTRAN: Final = r"(?:[\w./-]{0,100}[/-])?(?:gfortran|f77|f95|f90|g77|ifort|flang|f2c)"
_RUST: Final = r"(?:cargo|rustc|rustup)"


def project(match: re.Match[str], _: Context) -> str | None:
    """Return the project that has a header."""
    name: str = match[1]
    return _PROJECTS.get(name.partition("/")[0])


def foreign(match: re.Match[str], _: Context) -> str | None:
    """Return a header that is there on other systems only."""
    return match[1] if _FOREIGN.match(match[1]) else None


def source(match: re.Match[str], _: Context) -> str | None:
    """Return a file that the source lacks, rather than the system."""
    name: str = match[1].strip("'\"")
    if _SOURCES.search(name) or name.startswith(("../", "./")):
        return re.sub(r"^.*/pip-(?:wheel|req-build|build|install)-[^/]+/[^/]+/", "", name)
    return None


def _after(words: str) -> Subject:
    """Return the subject of rules that apply only after *words*."""
    return lambda match, around: match[1] if words in around.before(200) else None


def header(match: re.Match[str], _: Context) -> str | None:
    """Return a header that the system lacks."""
    return None if _SOURCES.search(match[1]) else match[1]


def variable(_: re.Match[str], around: Context) -> str | None:
    """Return the package after ``NOTFOUND`` variables of CMake."""
    found = re.search(
        r"^ *([A-Z]\w+?)(?:_INCLUDE_DIRS?|_LIBRAR(?:Y|IES)|_DIR|_ROOT)?(?: \(ADVANCED\))?$",
        around.after(),
        re.M,
    )
    return found[1] if found else None


def listed(_: re.Match[str], around: Context) -> str | None:
    """Return the first of the modules that CMake lists after its message."""
    found = re.search(r"^ *- ([\w.+-]+)", around.after(), re.M)
    return found[1] if found else None


def program(match: re.Match[str], _: Context) -> str | None:
    """Return the name of a program, if a shell could have one by that name."""
    name = match[1].rpartition("/")[2]
    return (
        name
        if re.fullmatch(r"[A-Za-z][\w.+-]{0,60}", name)
        and not name.endswith((".c", ".h", ".o", ".txt"))
        else None
    )


_HEADER: Final = r"(?:fatal )?error: '?([^\s':]+)'?(?:: No such file or directory| file not found)"


RULES: Final = (
    # Headers
    Rule("python-header", "incomplete-python", "Python.h", r"error: '?(?:[\w.]+/)?Python\.h'?(?:: No such file| file not found)", "its headers", SPECIFIC + 3, 0.9),
    Rule("python-library", "incomplete-python", "annot find -lpython", r"cannot find -l(python[\d.]+m?)\b", "lib{0}", SPECIFIC + 2, 0.9),
    Rule("python-library-loaded", "incomplete-python", "libpython", r"(libpython[\d.]+m?\.so[\d.]*): cannot open shared object file", "{0}", SPECIFIC + 2, 0.85),
    Rule("python-headers-cmake", "incomplete-python", "Development.Module", r"Could NOT find Python3?2? ?\(missing:.*\bDevelopment(?:\.Module)?", "its headers", SPECIFIC + 1, 0.6),
    Rule("missing-source-clang", "incomplete-source", "o such file or directory: ", r"error: no such file or directory: '([^']+)'", source, SPECIFIC + 2, 0.9),
    Rule("missing-source", "incomplete-source", "o such file or directory", r"(?:fatal )?error: '?([^\s:]+)'?: No such file or directory", source, SPECIFIC + 2, 0.9),
    Rule("header-of-project", "dependency-undeclared", "rror: ", _HEADER, project, SPECIFIC + 2, 0.95),
    Rule("header-of-other-system", "unsupported-platform", "rror: ", _HEADER, foreign, SPECIFIC + 2, 0.85),
    Rule("header", "missing-header", "rror: ", _HEADER, header, SPECIFIC, 0.95),
    Rule("header-old-gcc", "missing-header", "o such file or directory", r"^[^\s:]+:\d+(?::\d+)?: (?:[\w ]+: )?([\w./+-]+\.h(?:pp|h|xx)?): No such file or directory", "{0}", SPECIFIC - 1, 0.9),
    Rule("header-nvcc", "missing-header", "annot open source file", r"(?:error|catastrophic error).*: cannot open source file \"([^\"]+)\"", "{0}", SPECIFIC, 0.95),
    Rule("header-msvc", "missing-header", "annot open include file", r"[Cc]annot open include file:? '([^']+)'", "{0}", SPECIFIC, 0.95),
    Rule("header-asked", "missing-header", "ot f", r"(?:^|[ '\"`(])([\w+-]+(?:/[\w.+-]+)*\.h(?:pp)?)\b['\"`]? ?(?:header|headers|file)?(?: file)?,? (?:is |was |could |can )?(?:not (?:be )?found|not find)", "{0}", LIKELY, 0.85),
    Rule("header-to-find", "missing-header", "ind ", r"(?:[Cc](?:ould|an) ?not|[Uu]nable to|[Ff]ailed to|[Cc]an't|[Dd]id not|[Cc]ouldn't) (?:find|locate|include)(?: the)?(?: header)?(?: file)?:? ['\"`<]?([\w+-]+(?:/[\w.+-]+)*\.h(?:pp)?)\b", "{0}", LIKELY, 0.85),
    Rule("pxd", "dependency-undeclared", ".pxd' not found", r"'(?:(numpy|scipy|cpython|libc|pandas|gevent|h5py|mpi4py|cymem|preshed|thinc|murmurhash|spacy|cysignals|pyarrow|shapely|cython)(?:[/.][\w./]+)?)\.pxd' not found", lambda match, _: {"cpython": "cython", "libc": "cython"}.get(match[1], match[1]), SPECIFIC + 1, 0.9),
    Rule("own-pxd", "incomplete-source", ".pxd' not found", r"'([\w./]+\.pxd)' not found", "{0}", SPECIFIC, 0.7),
    # Libraries
    Rule("ld-library", "missing-library", "annot find -l", r"cannot find -l:?(?:lib)?([\w.+-]+?)(?:\.so|\.a)?(?::|$| )", "{0}", SPECIFIC + 1, 0.97),
    Rule("lld-library", "missing-library", "nable to find library -l", r"unable to find library -l([\w.+-]+)", "{0}", SPECIFIC + 1, 0.97),
    Rule("mold-library", "missing-library", "ibrary not found: ", r"(?:mold: )?(?:fatal: |error: )?library not found: (?:-l)?([\w.+-]+)", "{0}", SPECIFIC + 1, 0.95),
    Rule("apple-library", "missing-library", "ibrary ", r"ld: library (?:not found for -l|'?)([\w.+-]+)'?(?: not found)?$", "{0}", SPECIFIC + 1, 0.95),
    Rule("rust-library", "missing-library", "ould not find native static library", r"could not find native static library `([\w.+-]+)`", "{0}", SPECIFIC + 1, 0.95),
    Rule("libclang", "missing-library", "libclang", r"[Uu]nable to find libclang|couldn't find any valid shared libraries matching: \['libclang", "clang", SPECIFIC + 1, 0.95),
    Rule("shared-library", "missing-library", "annot open shared object file", r"(?:^|[\s:'\"])(lib[\w.+-]+?\.so(?:\.[\d.]+)?)[^:\s]*: cannot open shared object file", "{0}", SPECIFIC, 0.95),
    Rule("find-library", "missing-library", "ould not find library ", r"Could not find library (\w[\w.+-]*) or load", "{0}", SPECIFIC + 1, 0.95),
    Rule("install-headers", "missing-library", "nstall ", r"[Nn]eed to install (?:the )?(lib[\w.+-]+|[\w.+-]+-dev(?:el)?)(?: development)?(?: headers| package| library| files)?", "{0}", LIKELY, 0.85),
    Rule("openssl-directory", "missing-library", "ould not find directory of OpenSSL", r"Could not find directory of OpenSSL installation", "openssl", SPECIFIC + 2, 0.95),
    Rule("libxml2", "missing-library", "libxml2 and libxslt", r"(?:make|Please make) sure the (libxml2) and libxslt development packages are installed", "{0}", SPECIFIC + 1, 0.95),
    Rule("pillow", "missing-library", "headers or library files could not be found", r"headers or library files could not be found for (\w+)", "{0}", SPECIFIC + 1, 0.97),
    Rule("pillow-list", "missing-library", "equiredDependencyException", r"RequiredDependencyException: (\w+)", "{0}", SPECIFIC + 1, 0.95),
    Rule("matplotlib", "missing-library", ": no ", r"^(freetype|png|libpng|qhull|agg|jpeg|tk): no +\[", "{0}", LIKELY, 0.7),
    Rule("hdf5", "missing-library", "HDF5", r"(?:[Uu]nable to (?:load dependency|locate|find)|[Cc](?:ould|an) ?not find|did not find|[Cc]ouldn't find)(?: a)?(?: local)? (HDF5)", "{0}", SPECIFIC, 0.9),
    Rule("blas", "missing-library", "BLAS", r"(?:[Nn]o (?:BLAS|LAPACK)[\w/ ]{0,30}(?:found|resources)|(?:BLAS|LAPACK|OpenBLAS|[Oo]penblas|Blas|Lapack)[\w/ ()]{0,30} (?:not found|libraries not found|is required|are required|must be installed|could not be found))", "openblas", SPECIFIC, 0.9),
    Rule("blas-class", "missing-library", "lasNotFoundError", r"(?:Blas|Lapack)NotFoundError", "openblas", SPECIFIC, 0.9),
    Rule("no-library", "missing-library", "ibrar", r"(?:[Cc](?:ould|an) ?not|[Uu]nable to|[Ff]ailed to|[Cc]an't|[Dd]id not|[Cc]ouldn't) (?:find|locate|load)(?: the| a| any| required| shared| native| system| C| local| installed)* ?[`'\"]?(?:library:? )?[`'\"]?(?!the\b|a\b|any\b|library\b|libraries\b)([A-Za-z][\w.+-]*)[`'\"]?(?: C| shared| development| dev| runtime)? (?:librar(?:y|ies)|headers?|installation|development files|include)", "{0}", LIKELY, 0.75),
    Rule("library-needed", "missing-library", "ibrar", r"(?:^|[ :'\"])(?!the\b|The\b|required\b|a\b|following\b)[`'\"]?((?:lib)?[A-Za-z][\w+-]*)[`'\"]? (?:C |shared |development )?librar(?:y|ies)(?: and headers?)? (?:is|are|was|were|could|can|must)? ?(?:not (?:be )?(?:found|installed|available)|missing|required|needed|be installed)", "{0}", LIKELY, 0.75),
    Rule("library-to-find", "missing-library", "ind ", r"(?:[Cc](?:ould|an) ?not|[Uu]nable to|[Ff]ailed to|[Cc]an't|[Dd]id not|[Cc]ouldn't) (?:find|locate) (?:the )?(lib[a-zA-Z][\w.+-]*)", "{0}", LIKELY, 0.8),
    Rule("library-missing", "missing-library", "lib", r"(?:^|[ `'\"(])(lib(?!rar)[a-z][\w+-]{2,40}?)(?:\.so[\d.]*|\.a)?[`'\"]? (?:(?:development )?(?:package|library|headers?|files?)s? )?(?:is |was |are )?(?:not (?:found|installed|available)|missing|required|needed|could not be found|must be installed)\b", "{0}", LIKELY, 0.8),
    Rule("development-files", "missing-library", "evelopment files", r"\b([A-Za-z][\w+-]{0,30}) (?:development|header) files (?:were |are |is )?(?:not found|missing|required|not installed)", "{0}", SPECIFIC - 1, 0.85),
    Rule("configure-library", "missing-library", "configure: error: ", r"configure: error: [`'\"]?(lib\w[\w.+-]*)[`'\"]? (?:is |was )?(?:not found|required|missing|needed)", "{0}", LIKELY + 1, 0.85),
    Rule("cmake-library-message", "missing-cmake", "ould not find ", r"^Could not find ([A-Z][\w+]*)[.,!]?$", _after("CMake Error"), LIKELY, 0.75),
    Rule("installation", "missing-library", "nstallation", r"(?:[Cc](?:ould|an) ?not|[Cc]an't|[Cc]ouldn't|[Uu]nable to|[Dd]id not) (?:find|locate) (?:a |an |the |any )?(?:local |valid |suitable )?([A-Z][\w+-]{0,30}(?: [A-Z]\w{0,30})?) installation", "{0}", SPECIFIC - 1, 0.85),
    Rule("headers-not-found", "missing-library", "eaders", r"(?:did not find|[Cc]ould not find|[Cc]annot find|[Uu]nable to find)(?: the)? (\w+) headers", "{0}", SPECIFIC, 0.85),
    # pkg-config
    Rule("pkgconfig-requirements", "missing-pkgconfig", "ackage requirements (", r"Package requirements \(([\w.+-]+)", "{0}", SPECIFIC + 2, 0.97),
    Rule("pkgconfig-required-by", "missing-pkgconfig", "required by 'virtual", r"Package '([^']+)', required by '[^']*', not found", "{0}", SPECIFIC + 1, 0.97),
    Rule("pkgconfig", "missing-pkgconfig", "pkg-config search path", r"Package '?([\w.+-]+?)'? was not found in the pkg-config search path", "{0}", SPECIFIC, 0.95),
    Rule("pkgconfig-old", "missing-pkgconfig", "o package '", r"No package '([\w.+-]+)' found", "{0}", SPECIFIC, 0.95),
    Rule("pkgconfig-module", "missing-pkgconfig", "ackageNotFoundError: ", r"pkgconfig\.(?:pkgconfig\.)?PackageNotFoundError: ([\w.+-]+) not found", "{0}", SPECIFIC + 2, 0.97),
    Rule("pkgconfig-command", "missing-pkgconfig", "pkg-config", r"Command '[\[(]?'?pkg-config'?,? (?:'?--?[\w-]+(?:=\S+?)?'?,? )*'?([a-z][\w.+-]*)[^']*'[\])]?'? (?:returned|died)", "{0}", SPECIFIC - 1, 0.85),
    Rule("pkgconfig-failed", "missing-pkgconfig", "pkg-config", r"`[^`]*pkg-config[^`]*\s([a-z][\w.+-]*)(?: >= \S+)?` did not exit successfully", "{0}", SPECIFIC, 0.95),
    Rule("pkgconfig-required", "missing-pkgconfig", "equired package", r"(?:The following|A) required packages? (?:were|was) not found", listed, SPECIFIC + 2, 0.95),
    Rule("pkgconfig-rust", "missing-pkgconfig", "system library `", r"The system library `([\w.+-]+)` required by crate", "{0}", SPECIFIC + 2, 0.97),
    Rule("pkgconfig-package", "missing-pkgconfig", "not find package", r"pkg[-_]config.{0,30}(?:could|can) ?not find package [\"'`]?([\w.+-]+)", "{0}", SPECIFIC, 0.9),
    Rule("pkgconfig-names", "missing-pkgconfig", "alid pkg-config name", r"Can not find valid pkg-config name", "", LIKELY, 0.8),
    Rule("pkgconfig-exists", "missing-pkgconfig", "pkg-config --exists ", r"'pkg-config --exists ([\w.+-]+)[^']*' returned non-zero", "{0}", SPECIFIC, 0.9),
    # CMake and Meson
    Rule("cmake-of-project", "dependency-undeclared", "ackage configuration file provided by", r"provided by \"(pybind11|nanobind|scikit_build_core)\"", lambda match, _: match[1].replace("_", "-"), SPECIFIC + 2, 0.9),
    Rule("cmake-package-config", "missing-cmake", "ackage configuration file provided by", r"Could not find a package configuration file provided by \"([\w+.-]+)\"", "{0}", SPECIFIC + 1, 0.95),
    Rule("cmake-find-module", "missing-cmake", "y not providing ", r"By not providing \"Find([\w+.-]+)\.cmake\"", "{0}", SPECIFIC, 0.95),
    Rule("cmake-not-found", "missing-cmake", "ould NOT find ", r"^(?!-- )(?:.*: )?Could NOT find ([\w+.-]+)", "{0}", SPECIFIC, 0.92),
    Rule("cmake-notfound", "missing-cmake", "set to NOTFOUND", r"they are set to NOTFOUND", variable, SPECIFIC + 1, 0.85),
    Rule("cmake-library-variable", "missing-cmake", "ould not find ", r"^Could not find ([A-Z][A-Z0-9]+)_(?:LIBRARY|LIBRARIES|INCLUDE_DIR|LIB)\b", "{0}", SPECIFIC, 0.85),
    Rule("cmake-fortran", "missing-fortran", "CMAKE_Fortran_COMPILER", r"No CMAKE_Fortran_COMPILER could be found", "gfortran", SPECIFIC + 2, 0.97),
    Rule("cmake-cuda", "missing-tool", "CMAKE_CUDA_COMPILER", r"(?:No CMAKE_CUDA_COMPILER could be found|Failed to find nvcc)", "nvcc", SPECIFIC + 2, 0.97),
    Rule("cmake-compiler", "missing-compiler", "_COMPILER could be found", r"No CMAKE_C(?:XX)?_COMPILER could be found", "", SPECIFIC + 2, 0.95),
    Rule("cmake-make", "missing-tool", "nable to find a build program", r"unable to find a build program corresponding to \"(?:Unix )?([\w]+)", lambda match, _: {"Makefiles": "make", "Ninja": "ninja"}.get(match[1], match[1].lower()), SPECIFIC + 2, 0.95),
    Rule("cmake-no-sources", "incomplete-source", "does not appear to contain CMakeLists.txt", r"The source directory \"?(\S*?)\"? does not appear to contain CMakeLists\.txt", "CMakeLists.txt", SPECIFIC + 1, 0.95),
    Rule("cmake-source-directory", "incomplete-source", "does not exist", r"The source directory \"([^\"]*)\" does not exist", "{0}", SPECIFIC + 1, 0.9),
    Rule("cmake-subdirectory", "incomplete-source", "existing directory", r"given source \"([^\"]+)\" which is not an existing", "{0}", SPECIFIC + 1, 0.95),
    Rule("cmake-contains-no", "incomplete-source", "does not contain a CMakeLists", r"does not contain a CMakeLists\.txt", "CMakeLists.txt", SPECIFIC + 1, 0.9),
    Rule("cmake-source-file", "incomplete-source", "annot find source file", r"Cannot find source file:?", lambda _, around: (re.match(r"\s*([\w./+-]+)", around.after()) or ["", "a source file"])[1], SPECIFIC + 1, 0.95),
    Rule("cmake-include", "incomplete-source", "ould not find requested file", r"include could not find requested file", "a file of its CMake scripts", SPECIFIC, 0.8),
    Rule("meson-dependency", "missing-meson", "ependency ", r"ERROR: Dependency [\"']([^\"']+)[\"'] (?:is required but )?not found", "{0}", SPECIFIC + 1, 0.97),
    Rule("meson-dependency-lookup", "missing-meson", "ependency lookup for ", r"ERROR: Dependency lookup for ([\w.+-]+)(?: with method '[^']*')? failed", "{0}", SPECIFIC + 1, 0.95),
    Rule("meson-dependency-version", "missing-meson", "ependency", r"ERROR: (?:Invalid version of dependency, need|Dependency) ['\"]?([\w.+-]+)['\"]?.*(?:\['|found )", "{0}", SPECIFIC, 0.85),
    Rule("meson-subproject", "missing-meson", "ubproject ", r"ERROR: (?:Neither a subproject directory nor a (\S+)\.wrap|Subproject (\S+) is buildable: NO|Automatic wrap-based subproject downloading is disabled)", lambda match, _: match[1] or match[2] or "", SPECIFIC - 1, 0.8),
    Rule("meson-library", "missing-library", "ibrary ", r"ERROR: (?:C|C\+\+|c|cpp|fortran) (?:shared or static )?library '([^']+)' not found", "{0}", SPECIFIC + 1, 0.97),
    Rule("meson-header", "missing-header", "eader ", r"ERROR: (?:C|C\+\+|c|cpp) header '([^']+)' not found", "{0}", SPECIFIC + 1, 0.97),
    Rule("meson-fortran", "missing-fortran", "nknown compiler(s)", r"Unknown compiler\(s\): \[\['gfortran'", "gfortran", SPECIFIC + 2, 0.97),
    Rule("meson-rust", "missing-rust", "nknown compiler(s)", r"Unknown compiler\(s\): \[\['rustc'", "rustc", SPECIFIC + 2, 0.97),
    Rule("meson-cython", "dependency-undeclared", "nknown compiler(s)", r"Unknown compiler\(s\): \[\['cython'", "cython", SPECIFIC + 2, 0.97),
    Rule("meson-compiler", "missing-compiler", "nknown compiler(s)", r"Unknown compiler\(s\): \[\['", "", SPECIFIC + 1, 0.95),
    Rule("meson-program", "missing-tool", "rogram", r"ERROR: Program(?:s|\(s\))? \[?'?([\w.+-]+)[^']*'?\]? (?:not found|found: NO)|ERROR: Program or command '([\w.+-]+)' not found", lambda match, _: match[1] or match[2], SPECIFIC + 1, 0.95),
    Rule("meson-pkgconfig", "missing-tool", "kg-config", r"(?:Pkg-config|pkg-config|pkgconf) (?:binary |executable |script )?(?:for machine \S+ )?(?:not found|is not installed|could not be found)|[Tt]he pkg-config script could not be found", "pkg-config", LIKELY, 0.85),
    Rule("meson-file", "incomplete-source", "ERROR: ", r"ERROR: (?:Nonexistent build file|File|Include dir) '?([\w./-]+)'? ?(?:does not exist|$)", "{0}", SPECIFIC, 0.9),
    # Compilers
    Rule("no-rust", "missing-rust", "an't find Rust compiler", r"can't find Rust compiler", "rustc", SPECIFIC + 2, 0.98),
    Rule("no-cargo", "missing-rust", "the Rust package manager, is not installed", r"Cargo, the Rust package manager, is not installed|cargo, the Rust package manager, is not installed", "cargo", SPECIFIC + 2, 0.98),
    Rule("rust-needed", "missing-rust", "Rust", r"(?:requires? (?:a )?Rust|Rust (?:toolchain|compiler)? ?(?:is )?(?:not found|required|not installed|must be installed)|[Pp]lease install Rust|Rust compiler.*(?:not found|missing))", "rustc", SPECIFIC - 1, 0.85),
    Rule("rust-version", "missing-rust", "rustc", r"(?:requires rustc|rust-version|needs? rustc|supported by rustc|rustc) (?:version )?>?=? ?`?(\d\.\d+(?:\.\d+)?)`?(?: or newer|,? while the currently)", "rustc>={0}", SPECIFIC + 1, 0.93),
    Rule("rust-version-needed", "missing-rust", "requires rustc", r"requires rustc (\d[\d.]*)", "rustc>={0}", SPECIFIC + 1, 0.93),
    Rule("rust-not-supported", "missing-rust", "not supported by the following packages", r"rustc (\S+) is not supported by the following packages", "rustc", SPECIFIC + 1, 0.93),
    Rule("rust-msrv", "missing-rust", "ust ", r"(?:Rust|rustc) (?:version )?>?=? ?(1\.\d+(?:\.\d+)?)(?: or (?:newer|later|higher)|\+)? (?:is )?(?:required|needed)|(?:requires|needs) Rust >?=? ?(1\.\d+(?:\.\d+)?)", lambda match, _: f"rustc>={match[1] or match[2]}", SPECIFIC, 0.85),
    Rule("rust-edition", "missing-rust", "edition", r"feature `(edition20\d\d)` is required|this version of Cargo is older than the `(20\d\d)` edition", lambda match, _: f"a newer cargo ({match[1] or 'edition' + match[2]})", SPECIFIC + 1, 0.95),
    Rule("rust-lock-version", "missing-rust", "ock file", r"lock file version `?(\d)`? (?:was found, but this version of Cargo does not|requires `-Znext-lockfile-bump`)", "a newer cargo", SPECIFIC + 1, 0.95),
    Rule("rust-nightly", "missing-rust", "stable release channel", r"`#!\[feature\]` may not be used on the stable release channel", "the nightly rustc", SPECIFIC + 1, 0.95),
    Rule("rust-unstable", "missing-rust", "E0658", r"error\[E0658\]: (.*)", "a newer rustc", SPECIFIC, 0.8),
    Rule("rust-toolchain", "missing-rust", "oolchain ", r"error: (?:toolchain|component) '([^']+)' (?:is not installed|for target)", "the toolchain {0}", SPECIFIC + 1, 0.95),
    Rule("rustup-default", "missing-rust", "no default is configured", r"(?:rustup could not choose a version|no default toolchain configured|no override and no default)", "a default toolchain", SPECIFIC + 1, 0.95),
    Rule("rust-program", "missing-rust", "o such file or directory", rf"\[Errno 2\] No such file or directory: '(?:\S*/)?({_RUST})'", "{0}", SPECIFIC + 3, 0.95),
    Rule("rust-run", "missing-rust", "ailed to run `rustc`", r"failed to run `rustc`", "rustc", SPECIFIC, 0.85),
    Rule("rust-not-there", "missing-rust", "not ", r"\b(cargo|rustc|rustup)[`'\"]? (?:is |was |could |command )?not (?:be )?(?:found|installed|available|in|on)\b", "{0}", SPECIFIC + 3, 0.93),
    Rule("cargo-in-path", "missing-rust", "Do you have cargo", r"Do you have `?cargo`? in your PATH", "cargo", SPECIFIC + 2, 0.97),
    Rule("rust-command", "missing-rust", "ot found", rf"\b({_RUST}): (?:command )?not found", "{0}", SPECIFIC + 3, 0.95),
    Rule("rust-target", "unsupported-platform", "target may not be installed", r"the `([\w-]+)` target may not be installed", "{0}", SPECIFIC + 1, 0.85),
    Rule("rust-linker", "missing-compiler", "inker `", r"linker `(?:cc|gcc|clang)` not found", "", SPECIFIC + 2, 0.95),
    Rule("fortran-part", "missing-fortran", "f951", r"(?:cannot execute|error trying to exec) '?f951", "gfortran", SPECIFIC + 4, 0.95),
    Rule("cmake-fortran-unset", "missing-fortran", "_COMPILER not set", r"CMAKE_Fortran_COMPILER not set, after EnableLanguage", "gfortran", SPECIFIC + 2, 0.93),
    Rule("numpy-fortran", "missing-fortran", "CompilerNotFound: ", r"fcompiler\.CompilerNotFound: ", "gfortran", SPECIFIC + 2, 0.93),
    Rule("cmake-fortran-path", "missing-fortran", "CMAKE_Fortran_COMPILER:", r"^The CMAKE_Fortran_COMPILER:", "gfortran", SPECIFIC + 2, 0.95),
    Rule("fortran-command", "missing-fortran", "ot found", r"\b(gfortran|f77|f95|f90|g77|ifort|flang|f2c): (?:command )?not found", "gfortran", SPECIFIC + 3, 0.95),
    Rule("fortran-program", "missing-fortran", "o such file or directory", rf"(?:\[Errno 2\] No such file or directory: '|command '|unable to execute ')({_FORTRAN})'", "gfortran", SPECIFIC + 2, 0.95),
    Rule("fortran-sources", "missing-fortran", "ortran compiler", r"(?:[Nn]o Fortran compiler (?:was )?found|Fortran compiler (?:was )?not found|Fortran sources but no Fortran compiler|[Nn]o (?:suitable |working )?Fortran compiler|Fortran compiler (?:is )?(?:required|needed)|[Uu]nable to find a Fortran compiler|(?:[Cc]ould|[Cc]an) ?not find (?:a )?(?:working )?[Ff]ortran compiler|requires a Fortran compiler)", "gfortran", SPECIFIC + 2, 0.95),
    Rule("fortran-class", "missing-fortran", "has no attribute ", r"'NoneType' object has no attribute 'get_f(?:77|90)", "gfortran", SPECIFIC + 2, 0.9),
    Rule("fortran-configure", "missing-fortran", "ortran", r"configure: error: .*Fortran", "gfortran", SPECIFIC + 2, 0.9),
    Rule("cmake-compiler-unset", "missing-compiler", "_COMPILER not set", r"CMAKE_C(?:XX)?_COMPILER not set, after EnableLanguage", "", SPECIFIC + 2, 0.93),
    Rule("cmake-compiler-path", "missing-compiler", "_COMPILER:", r"^The CMAKE_C(?:XX)?_COMPILER:", "", SPECIFIC + 2, 0.95),
    Rule("compiler-not-there", "missing-compiler", "nable to execute '", rf"unable to execute '{_COMPILER}'", "", SPECIFIC + 3, 0.95),
    Rule("compiler-not-found", "missing-compiler", "failed: No such file", rf"command '{_COMPILER}' failed: No such file", "", SPECIFIC + 3, 0.95),
    Rule("compiler-not-a-command", "missing-compiler", "ot found", rf"(?:^|[\s:]){_COMPILER}: (?:command )?not found", "", SPECIFIC + 3, 0.95),
    Rule("compiler-program", "missing-compiler", "[Errno 2] No such file or directory: ", rf"\[Errno 2\] No such file or directory: '{_COMPILER}'", "", SPECIFIC + 3, 0.95),
    Rule("make-compiler", "missing-compiler", "o such file or directory", rf"^make(?:\[\d+\])?: {_COMPILER}: No such file or directory", "", SPECIFIC + 3, 0.95),
    Rule("no-acceptable-compiler", "missing-compiler", "C compiler", r"(?:no acceptable C compiler|C(?:\+\+)? compiler cannot create executables|[Nn]o (?:working )?C(?:\+\+)? compiler (?:was )?found)", "", SPECIFIC + 3, 0.95),
    Rule("cc1plus", "missing-compiler", "cc1", r"error: cannot execute '?(cc1(?:plus)?|as|collect2)'?|error trying to exec '(cc1(?:plus)?|as)'", "", SPECIFIC + 3, 0.9),
    # Programs
    Rule("go-compiler", "missing-compiler", "executable file not found", r"exec: \"(?:gcc|cc|g\+\+|clang)\": executable file not found", "", SPECIFIC + 2, 0.95),
    Rule("go-program", "missing-tool", "executable file not found", r"exec: \"([\w.+-]+)\": executable file not found", "{0}", SPECIFIC + 1, 0.95),
    Rule("command-in-message", "missing-tool", "ot found", r"(?:^|: )(?:ERROR: |error: )?([a-z][\w+-]{1,20})(?::| is required but(?: was)?) not found\b", "{0}", LIKELY, 0.7),
    Rule("named-program-not-found", "missing-tool", "ot found", r"^(?:ERROR|Error|error|[A-Z]\w*(?:Error|Exception)): (bazel|nasm|yasm|swig|cmake|ninja|meson|protoc|doxygen|node|npm|yarn|java|javac|go|git|perl|ruby|make|m4|autoconf|automake|libtool|flex|bison|patchelf|pkg-config|clang-format)\b.{0,30}not found", "{0}", SPECIFIC, 0.85),
    Rule("pg-config", "missing-tool", "pg_config", r"(pg_config) executable not found|(pg_config) (?:is required|not found)", "pg_config", SPECIFIC + 1, 0.97),
    Rule("cmake-needed", "missing-tool", "CMake", r"(?:CMake (?:must be installed|is not installed|is required|(?:executable )?(?:was )?not found)|[Cc](?:ould|an) ?not find (?:the )?(?:CMake|cmake)(?: executable)?|[Pp]roblem with the CMake installation|CMake is not available|is `?cmake`? not installed)", "cmake", SPECIFIC, 0.92),
    Rule("cmake-rust", "missing-tool", "is `cmake` not installed", r"is `cmake` not installed\?", "cmake", SPECIFIC + 1, 0.95),
    Rule("protoc", "missing-tool", "protoc", r"[Cc]ould not find [`'\"]?protoc|protoc(?: compiler)? (?:is )?(?:not (?:found|installed)|required)", "protoc", SPECIFIC + 1, 0.93),
    Rule("cuda", "missing-tool", "CUDA", r"CUDA_HOME environment variable is not set|(?:[Nn]o|[Cc]ould not find(?: a)?) CUDA(?: toolkit| compiler| installation)|CUDA(?: toolkit| compiler| was)? ?(?:not found|could not be found|is required)", "nvcc", SPECIFIC, 0.9),
    Rule("nvcc", "missing-tool", "nvcc", r"nvcc(?:'|\"|`)? (?:was |is |could )?(?:not (?:be )?(?:found|in|installed|on|detected))|[Cc](?:ould|an) ?not (?:find|locate) nvcc|nvcc binary could not be located", "nvcc", SPECIFIC, 0.93),
    Rule("java", "missing-tool", "JAVA_HOME", r"(?:(?:JAVA_HOME|JDK_HOME).{0,60}?(?:not set|not found|not defined|unset|undefined|must|set)|(?:[Nn]o|[Cc]ould not find|[Uu]nable to find|[Cc]an not find) .{0,60}?(?:JAVA_HOME|JDK))", "java", SPECIFIC, 0.88),
    Rule("javac", "missing-tool", "avac", r"(?:[Uu]nable to (?:find|locate|run)|[Cc](?:ould|an) ?not (?:find|run)) .*\b(javac)\b", "javac", SPECIFIC, 0.9),
    Rule("mpicc", "missing-tool", "mpicc", r"(?:[Cc]an(?:not| not)|[Cc]ould not|[Uu]nable to) (?:find|locate|compile|link).*(?:mpicc|MPI)", "mpicc", SPECIFIC - 1, 0.85),
    Rule("gdal-config", "missing-tool", "gdal-config", r"gdal-config", "gdal-config", LIKELY, 0.85),
    Rule("config-script", "missing-tool", "config", r"(?:^|[\s:'\"`(/])([a-z][\w.+]*[-_]config)\b['\"`]?:? ?(?:executable |script |program |command )?(?:\(?(?:command |executable |was |is |could )?not (?:be )?(?:found|installed|available|executable|located|run|in your PATH|on)|: No such file|cannot be found|missing|failed)", "{0}", SPECIFIC, 0.93),
    Rule("config-script-run", "missing-tool", "config", r"(?:[Cc](?:ould|an) ?not|[Uu]nable to|[Ff]ailed to|[Cc]an't|[Cc]ouldn't) (?:find|run|locate|execute|call)(?: the)?(?: script)? ['\"`]?(?:\S*/)?([a-z][\w.+]*[-_]config)\b", "{0}", SPECIFIC + 1, 0.95),
    Rule("config-script-flags", "missing-tool", "-config:", r"(?:error: )?\b([a-z][\w+]{0,30}[-_]config):: ?(?:linker input file not found|No such file)", "{0}", SPECIFIC + 2, 0.95),
    Rule("proj", "missing-tool", "proj executable", r"(proj) executable not found", "{0}", SPECIFIC, 0.95),
    Rule("shell-command", "missing-tool", "ot found", r"(?:^|[\s:])(?:line )?\d+: (?:exec: )?([\w./+-]+): (?:command )?not found", program, SPECIFIC, 0.9),
    Rule("shell-command-quoted", "missing-tool", "ommand not found", r"(?:^|[\s:])([\w./+-]+): command not found|command not found: ([\w.+-]+)", lambda match, _: (match[1] or match[2]).rpartition("/")[2], SPECIFIC - 1, 0.88),
    Rule("make-command-not-found", "missing-tool", "ommand not found", r"^g?make(?:\[\d+\])?: ([\w./+-]+): Command not found", program, SPECIFIC, 0.95),
    Rule("quoted-program", "missing-tool", "ould not find '", r"[Cc]ould not find '([a-z][\w.+-]*)'", program, SPECIFIC - 2, 0.6),
    Rule("cmake-find-program", "missing-tool", "using the following names: ", r"Could not find \w+ using the following names: ([\w.+-]+)", _after("find_program"), SPECIFIC + 1, 0.9),
    Rule("cmake-find-library", "missing-library", "using the following names: ", r"Could not find \w+ using the following names: ([\w.+-]+)", _after("find_library"), SPECIFIC + 1, 0.9),
    Rule("cmake-find-file", "missing-header", "using the following files: ", r"Could not find \w+ using the following files: ([\w./+-]+)", "{0}", SPECIFIC + 1, 0.9),
    Rule("make-command", "missing-tool", "o such file or directory", r"^g?make(?:\[\d+\])?: ([\w./+-]+): No such file or directory", program, SPECIFIC, 0.93),
    Rule("env-command", "missing-tool", "env: ", r"env: '?([\w.+-]+)'?: No such file or directory", "{0}", SPECIFIC, 0.93),
    Rule("spawned-command", "missing-tool", "failed: No such file", r"command '([\w./+-]+)' failed: No such file", program, SPECIFIC, 0.95),
    Rule("executed-command", "missing-tool", "nable to execute ", r"unable to execute '?([\w./+-]+)'?: No such file", program, SPECIFIC, 0.95),
    Rule("rust-spawn", "missing-tool", "ailed to ", r"failed to (?:execute|spawn|run|start) (?:command|child process|build command|process)?:? ?[`'\"(]*(?:Custom \{.*|)?[\"'`]?([a-z][\w.+-]*)[\"'`]?.*(?:[Nn]o such file or directory|NotFound)", "{0}", SPECIFIC, 0.85),
    Rule("which", "missing-tool", "which: no ", r"which: no ([\w.+-]+) in \(", "{0}", LIKELY, 0.75),
    Rule("ninja-command", "missing-tool", "inja", r"(?:[Cc]ould not (?:find|detect)|[Cc]annot find|[Nn]o) [Nn]inja|[Nn]inja (?:is )?(?:not (?:found|installed)|required)", "ninja", SPECIFIC - 1, 0.85),
    Rule("autoconf-macro", "missing-tool", "acro", r"possibly undefined macro: (AM_\w+|AC_PROG_LIBTOOL|LT_INIT)", "libtool", SPECIFIC, 0.75),
    Rule("autotools", "missing-tool", "autore", r"(?:autoreconf|autogen).*: (?:can't|cannot) (?:exec|find) [`'\"]?(\w+)", "{0}", SPECIFIC, 0.9),
    Rule("missing-script", "missing-tool", "is missing on your system", r"'(\w[\w.+-]*)' is missing on your system", "{0}", SPECIFIC, 0.95),
    Rule("program-not-found", "missing-tool", "ot f", r"(?:[Ee]xecutable|[Pp]rogram|[Cc]ommand|[Tt]ool|[Bb]inary|[Cc]ompiler) [`'\"]?([a-z][\w.+-]*)[`'\"]? (?:was |is |could |can )?not (?:be )?found", "{0}", SPECIFIC - 1, 0.88),
    Rule("program-executable", "missing-tool", "ot f", r"(?:^|[\s:'\"`])([a-z][\w.+-]*)[`'\"]? (?:executable|program|command|binary|compiler)(?: was| is| could)? not (?:be )?found", "{0}", SPECIFIC - 1, 0.88),
    Rule("program-to-find", "missing-tool", "ind ", r"(?:[Cc](?:ould|an) ?not|[Uu]nable to|[Ff]ailed to|[Cc]an't|[Cc]ouldn't) (?:find|locate|run|execute|invoke)(?: the| a| an| program| command| executable| tool)* [`'\"]?([a-z][\w.+-]*)[`'\"]?(?: executable| program| command| binary| tool| in (?:your |the |\$)?PATH| on (?:your |the |\$)?PATH|, is it installed|\. Is it installed)", "{0}", SPECIFIC - 1, 0.88),
    Rule("swig-failed", "missing-tool", "SWIG", r"SWIG (?:failed|(?:was )?not found|is required|(?:must be|is not|not) installed)|[Cc](?:ould|an) ?not find SWIG", "swig", SPECIFIC - 1, 0.85),
    Rule("tool-appears-missing", "missing-tool", "nstalled", r"[Tt]he '([\w.+-]+)' command (?:appears not to be|is not|was not) (?:installed|found)", "{0}", SPECIFIC, 0.93),
    Rule("tool-must-be-installed", "missing-tool", "nstalled", r"(?:^|[\s:'\"`])([a-z][\w.+-]*)[`'\"]? (?:must be|needs to be|has to be|is not|isn't|not) installed(?: to| in| on|\b)", "{0}", LIKELY - 1, 0.7),
    Rule("configure-program", "missing-tool", "configure: error: ", r"configure: error: (?:[`'\"]?(\w[\w.+-]*)[`'\"]? (?:is |was )?(?:not found|required|missing)|(?:[Cc]annot|[Cc]ould not|[Uu]nable to) find (?:the )?[`'\"]?(\w[\w.+-]*)[`'\"]?(?:\s|\.|,|$))", lambda match, _: match[1] or match[2], LIKELY, 0.6),
    # Linkers
    Rule("undefined-reference", "link-error", "ndefined reference to ", r"undefined reference to (?:symbol )?[`']([^`']+)'", "{0}", 40, 0.9),
    Rule("undefined-symbols", "link-error", "ndefined symbols for ", r"Undefined symbols for architecture (\w+)", "a symbol, for {0}", 40, 0.9),
    Rule("undefined-symbol", "link-error", "ndefined symbol: ", r"undefined symbol: (\w+)", "{0}", SPECIFIC - 1, 0.85),
    Rule("relocation", "link-error", "recompile with -f", r"relocation (\w+) against .* recompile with -f", "{0}: recompile with -fPIC", 41, 0.9),
    Rule("multiple-definition", "link-error", "ultiple definition of ", r"multiple definition of [`']([^`']+)'", "{0} twice", 40, 0.9),
    Rule("wrong-format", "link-error", "rong format", r"(?:file in wrong format|error adding symbols: (?:[Ff]ile in wrong format|DSO missing.*))|incompatible with .* output", "a file of another machine", 40, 0.85),
    Rule("bad-archive", "link-error", "ot recognized", r"ld: .*(?:file format not recognized|file not recognized)", "a file of another format", 40, 0.85),
    Rule("ld-failed", "link-error", "rror: ld returned", r"collect2: (?:fatal )?error: ld (?:returned|terminated)", "the linker fails", 36, 0.6),
    # Other systems
    Rule("machine-option", "unsupported-platform", "nrecognized command", r"unrecognized command[- ]line option '(-m[\w=.+-]+|-arch|-framework)'", "{0}", SPECIFIC + 1, 0.92),
    Rule("machine-value", "unsupported-platform", "rror: ", r"error: (?:bad value '?[\w.+-]*'? \(?'?[\w.+-]*'?\)?for '(-m\w+=?)|unknown target CPU|'?-mfloat-abi)", "the processor", SPECIFIC + 1, 0.85),
    Rule("assembler", "unsupported-platform", "rror: ", r"Error: (?:unknown mnemonic|bad instruction|no such instruction|unrecognized instruction|selected processor does not support|unknown pseudo-op)[:` ]*(.*)", "{0}", SPECIFIC, 0.85),
    Rule("assembler-constraint", "unsupported-platform", "'asm'", r"error: (?:impossible constraint in|inconsistent operand constraints in an|unknown register name.* in|invalid 'asm') '?asm'?", "assembler of another processor", SPECIFIC, 0.85),
    Rule("target-specific", "unsupported-platform", "arget specific option mismatch", r"target specific option mismatch", "instructions of another processor", SPECIFIC, 0.8),
    Rule("only-endian", "unsupported-platform", "nly ", r"[Oo]nly (?:(?:little|big)[- ]endian|Linux|x86(?:_64|-64)?|amd64|aarch64|arm64|64[- ]bit).{0,60}(?:supported|works?)", "this processor", SPECIFIC - 1, 0.85),
    Rule("error-platform", "unsupported-platform", "#error", r"#error \"?(.{0,100}?(?:[Uu]nsupported|[Uu]nknown|[Uu]nrecognized|not supported).{0,60}?(?:platform|architecture|arch|CPU|processor|system|OS|endian|machine|target).*|.{0,100}?(?:platform|architecture|CPU|processor|machine)\b.{0,60}?(?:[Uu]nsupported|[Uu]nknown|not supported|not recognized).*)", "{0}", SPECIFIC, 0.9),
    # Compile errors
    Rule("rust-error", "compile-error", "rror[E", r"^error\[(E\d+)\]: (.*)", "{0}: {1}", GENERAL + 1, 0.9),
    Rule("werror", "compile-error", "[-Werror", r"error: (.{1,400}?) \[-Werror(?:=[\w-]+)?\]", "{0}", GENERAL + 1, 0.9),
    Rule("compile", "compile-error", "rror: ", r"^(?:\S{1,300}?):\d+(?::\d+)?: (?:fatal )?error: (.*)", "{0}", GENERAL + 1, 0.9),
    Rule("cython-error", "compile-error", ".py", r"^(\S+\.p(?:yx|xd|xi|y)):\d+:\d+: (.*)", "{1}", GENERAL + 1, 0.8),
    Rule("cython-exception", "compile-error", "CompileError", r"Cython\.Compiler\.Errors\.(?:CompileError|InternalError): (.*)", "{0}", GENERAL + 1, 0.7),
    Rule("distutils-compile", "compile-error", "CompileError", r"(?:distutils|setuptools)\.\w*\.?(?:errors\.)?CompileError: (.*)", "a file", FRAME + 3, 0.6),
    Rule("typescript-error", "compile-error", "error TS", r"error TS\d+: (.*)", "{0}", GENERAL + 1, 0.85),
    Rule("rust-macro", "compile-error", "annot find ", r"^error: cannot find (?:macro|attribute|derive macro|type|value|function) (.*)", "{0}", GENERAL + 1, 0.85),
    Rule("fortran-error", "compile-error", "rror: ", r"^(?:Fatal )?Error: ([A-Z].*)", "{0}", GENERAL, 0.7),
    Rule("assembler-error", "compile-error", "rror: ", r"^\S+\.[sS]:\d+: Error: (.*)", "{0}", GENERAL + 1, 0.8),
    Rule("swig-error", "compile-error", "rror: ", r"^\S+\.(?:i|swg|h)\w*:\d+: Error: (.*)", "{0}", GENERAL + 2, 0.85),
    Rule("go-error", "compile-error", ".go:", r"^(?:\./)?\S+\.go:\d+:\d+: (.*)", "{0}", GENERAL, 0.85),
    Rule("nvcc-error", "compile-error", "rror", r"^\S+\(\d+\): (?:catastrophic )?error(?: #?[\w-]+)?: (.*)", "{0}", GENERAL + 1, 0.85),
    Rule("driver-error", "compile-error", "rror: ", r"^(?:\S*[/-])?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|cc1|cc1plus|nvcc|gfortran)(?:-\d+)?: (?:fatal )?error: (.*)", "{0}", GENERAL, 0.8),
    Rule("rust-crate", "compile-error", "ould not compile ", r"^error: could not compile `([\w-]+)`", "the crate {0}", FRAME + 7, 0.7),
    Rule("rust-build-script", "compile-error", "ailed to run custom build command", r"failed to run custom build command for `([\w-]+)", "the crate {0}", GENERAL - 5, 0.7),
    Rule("cmake-message", "setup-error", "CMake Error", r"^CMake Error(?: at \S+| in \S+)?.*:", lambda match, around: (re.match(r"\s*(\S.*)", around.after()) or ["", ""])[1][:200] or None, GENERAL - 4, 0.6),
    Rule("meson-message", "setup-error", "ERROR: ", r"^\S*meson\.build:\d+:\d+: ERROR: (.*)", "{0}", GENERAL + 2, 0.8),
    Rule("meson-error", "setup-error", "ERROR: ", r"^ERROR: (?!Failed |Could not |Command errored|No matching)(.*)", "{0}", FRAME + 5, 0.4),
    Rule("configure", "setup-error", "configure: error: ", r"^configure: error: (.*)", "{0}", GENERAL + 3, 0.8),
    Rule("make-rule", "incomplete-source", "o rule to make target", r"No rule to make target [`']([^`']+)'", "{0}", SPECIFIC - 1, 0.8),
    Rule("make-no-targets", "incomplete-source", "o targets specified", r"No targets specified and no makefile found|No targets\.  Stop", "Makefile", SPECIFIC - 1, 0.85),
    Rule("make-missing-separator", "setup-error", "issing separator", r"\*\*\* missing separator", "the Makefile is invalid", GENERAL + 3, 0.85),
    Rule("command-failed", "compile-error", "ommand '", r"^(?:error: )?[Cc]ommand '\[?'?\S*?(?:cc|gcc|g\+\+|c\+\+|clang)\S*'?.*(?:failed with exit (?:status|code)|returned non-zero exit status) (\d+)", "a command failed", FRAME + 3, 0.4),
    Rule("make-failed", "compile-error", "***", r"^g?make(?:\[\d+\])?: \*\*\* \[.*\] Error (\d+)", "make failed", FRAME + 1, 0.4),
    Rule("ninja-failed", "compile-error", "ninja: build stopped", r"^ninja: build stopped: (.*)", "ninja failed", FRAME + 1, 0.4),
    Rule("error-line", "setup-error", "rror: ", r"^error: (?!subprocess-exited|metadata-generation|legacy-install|externally-managed|[Cc]ommand ')(.+)", "{0}", FRAME + 6, 0.5),
)  # fmt: skip
