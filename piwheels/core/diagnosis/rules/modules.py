"""Rules for modules that are not there: whose they are decides what the failure means. Pure."""

from __future__ import annotations

import re
from typing import Final

from piwheels.core.diagnosis.rule import SPECIFIC, Context, Rule

#: Projects whose modules have other names.
_PROJECTS: Final = {
    "Cython": "cython", "Crypto": "pycryptodome", "OpenSSL": "pyopenssl", "PIL": "pillow", "attr": "attrs", "bs4": "beautifulsoup4",
    "cv2": "opencv-python", "dateutil": "python-dateutil", "distutils": "setuptools", "docutils": "docutils", "dotenv": "python-dotenv",
    "flit_core": "flit-core", "git": "gitpython", "github": "pygithub", "google.protobuf": "protobuf", "grpc": "grpcio",
    "grpc_tools": "grpcio-tools", "hatch_vcs": "hatch-vcs", "hatch_fancy_pypi_readme": "hatch-fancy-pypi-readme", "hatch_build": "hatchling",
    "hatchling": "hatchling", "jose": "python-jose", "jwt": "pyjwt", "magic": "python-magic", "mesonpy": "meson-python", "mpl_toolkits": "matplotlib",
    "nacl": "pynacl", "OpenGL": "pyopengl", "pkg_resources": "setuptools", "poetry": "poetry-core", "poetry.core": "poetry-core",
    "pdm.backend": "pdm-backend", "pdm": "pdm-backend", "pep517": "pep517", "ptr": "pytest-runner", "pytest_runner": "pytest-runner",
    "psycopg2": "psycopg2", "pybind11": "pybind11", "pybind11_tests": "pybind11", "pycparser": "pycparser", "scikit_build_core": "scikit-build-core",
    "serial": "pyserial", "setuptools": "setuptools", "setuptools_rust": "setuptools-rust", "setuptools_scm": "setuptools-scm",
    "setuptools_git": "setuptools-git", "setuptools_git_versioning": "setuptools-git-versioning", "setuptools_markdown": "setuptools-markdown",
    "setuptools_cpp": "setuptools-cpp", "setuptools_golang": "setuptools-golang", "setuptools_scm_git_archive": "setuptools-scm-git-archive",
    "setuptools_dso": "setuptools-dso", "setupmeta": "setupmeta", "skbuild": "scikit-build", "sklearn": "scikit-learn", "skimage": "scikit-image",
    "sphinx": "sphinx", "torch": "torch", "usb": "pyusb", "vcversioner": "vcversioner", "versioningit": "versioningit", "wheel": "wheel",
    "wx": "wxpython", "yaml": "pyyaml", "zmq": "pyzmq", "extension_helpers": "extension-helpers", "jupyter_packaging": "jupyter-packaging",
    "numpy": "numpy", "scipy": "scipy", "pandas": "pandas", "cffi": "cffi", "pbr": "pbr", "pkgconfig": "pkgconfig", "packaging": "packaging",
    "six": "six", "requests": "requests", "mako": "mako", "jinja2": "jinja2", "toml": "toml", "tomli": "tomli", "cmake": "cmake",
    "ninja": "ninja", "mypyc": "mypy", "mypy": "mypy", "astropy": "astropy", "astropy_helpers": "astropy-helpers", "py2app": "py2app",
    "py2exe": "py2exe", "pypandoc": "pypandoc", "m2r": "m2r", "markdown": "markdown", "pythran": "pythran", "incremental": "incremental",
    "nanobind": "nanobind", "sipbuild": "sip", "pyqtbuild": "pyqt-builder", "tensorflow": "tensorflow", "mpi4py": "mpi4py", "h5py": "h5py",
    "petsc4py": "petsc4py", "gi": "pygobject", "cppy": "cppy", "expandvars": "expandvars", "calver": "calver", "trove_classifiers": "trove-classifiers",
    "versioneer": "versioneer", "d2to1": "d2to1", "stsci": "stsci.distutils", "zest": "zest.releaser", "Pyrex": "pyrex", "Cheetah": "cheetah3",
    "paver": "paver", "nose": "nose", "pytest": "pytest", "mock": "mock", "twisted": "twisted", "zope": "zope.interface", "lxml": "lxml",
    "httplib2": "httplib2", "simplejson": "simplejson", "future": "future", "builtins": "future", "past": "future", "typing_extensions": "typing-extensions",
    "importlib_metadata": "importlib-metadata", "importlib_resources": "importlib-resources", "semantic_version": "semantic-version",
    "sphinx_rtd_theme": "sphinx-rtd-theme", "babel": "babel", "django": "django", "flask": "flask", "sqlalchemy": "sqlalchemy", "click": "click",
    "colorama": "colorama", "tqdm": "tqdm", "psutil": "psutil", "dulwich": "dulwich", "maturin": "maturin", "conan": "conan", "conans": "conan",
    "pyximport": "cython", "llvmlite": "llvmlite", "numba": "numba", "Xlib": "python-xlib", "ephem": "ephem", "cairo": "pycairo", "pint": "pint",
    "oldest_supported_numpy": "oldest-supported-numpy", "greenlet": "greenlet", "py_cpuinfo": "py-cpuinfo", "cpuinfo": "py-cpuinfo", "cysignals": "cysignals",
    "archspec": "archspec", "setuptools_protobuf": "setuptools-protobuf", "mypy_protobuf": "mypy-protobuf", "protoc": "grpcio-tools", "ctypesgen": "ctypesgen",
    "docopt": "docopt", "path": "path", "sh": "sh", "pyparsing": "pyparsing", "ply": "ply", "decorator": "decorator", "enum34": "enum34", "ordered_set": "ordered-set",
}  # fmt: skip

#: Modules of Python 2 alone.
_PYTHON_2: Final = (
    "ConfigParser|StringIO|cStringIO|__builtin__|cPickle|commands|httplib|urllib2|urlparse|exceptions|Queue|SocketServer|SimpleHTTPServer|"
    "BaseHTTPServer|CGIHTTPServer|HTMLParser|htmlentitydefs|Cookie|cookielib|Tkinter|tkMessageBox|tkFileDialog|ttk|copy_reg|dummy_thread|thread|sets|md5|sha|"
    "xmlrpclib|SimpleXMLRPCServer|DocXMLRPCServer|robotparser|UserDict|UserList|UserString|anydbm|dbhash|whichdb|dumbdb|gdbm|string\\.maketrans|"
    "popen2|new|mimetools|rfc822|multifile|MimeWriter|compiler|hotshot|htmllib|sgmllib|user|os2emxpath|statvfs|posixfile|repr|urllib\\.urlencode|itertools\\.izip"
)  # fmt: skip
#: Modules that a Python of some version has no longer.
_REMOVED: Final = (
    "imp|asyncore|asynchat|smtpd|cgi|cgitb|pipes|crypt|telnetlib|nntplib|uu|xdrlib|imghdr|sndhdr|audioop|aifc|chunk|msilib|nis|ossaudiodev|spwd|sunau|"
    "mailcap|lib2to3(?:\\.\\w+)*|formatter|parser|symbol|binhex|macpath|fpectl|_bootlocale|dummy_threading|_dummy_thread|_dummy_threading|tkinter\\.tix|macurl2path|"
    "asyncio\\.compat|importlib\\.find_loader|collections\\.Callable|unittest\\._TextTestResult|turtledemo|wsgiref\\.types|typing\\.(?:io|re)"
)  # fmt: skip
#: Modules that Pythons have which were built, or installed, completely.
_COMPLETE: Final = (
    "zlib|_?bz2|_?lzma|_ctypes|ctypes|ensurepip|venv|_ssl|_sqlite3|sqlite3|_tkinter|tkinter|_curses|readline|_hashlib|_decimal|_uuid|_dbm|_gdbm|_elementtree|"
    "_sysconfigdata\\w*|_struct|_socket|_posixsubprocess"
)  # fmt: skip
_WINDOWS: Final = "winreg|_winreg|msvcrt|_winapi|win32api|win32con|win32com(?:\\.\\w+)*|pywintypes|win32file|winsound|pythoncom|win32gui|nt|_subprocess|_msi"
#: Modules that projects have next to their setup.py.
_OWN: Final = re.compile(
    r"_?(?:setup|build|version|pkg_?info|conf|config|configure|settings?|util|utils|helpers?|common|make|tools?|scripts?|ci|packaging_?tools?|src|lib|release|meta|metadata|generate|"
    r"const|constants|compile|install|_version|about|__about__|__version__|__init__|test|tests)\w*|\w+_?(?:setup|build|version|ext|config)"
)  # fmt: skip
_PROJECT: Final = re.compile(
    r"(?:Collecting|Building wheel for|Failed to build|Failed building wheel for) '?([A-Za-z0-9][\w.-]*?)(?:[=<>!~ ']|$)",
    re.M,
)
_MODULE: Final = r"(?:ModuleNotFoundError|ImportError): No module named '?"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "", name).lower()


def _is_own(name: str, around: Context) -> bool:
    """Return whether the module *name* is one of the project itself."""
    top = name.partition(".")[0]
    if _OWN.fullmatch(top) and top not in _PROJECTS:
        return True
    found = _PROJECT.search(around.log, 0, 4000)
    return found is not None and _plain(found[1]).removeprefix("python") in {
        _plain(top),
        _plain(top).removeprefix("python"),
    }


def own(match: re.Match[str], around: Context) -> str | None:
    """Return the name of a module of the project itself."""
    return match[1] if _is_own(match[1], around) else None


def foreign(match: re.Match[str], _: Context) -> str | None:
    """Return the project that has a module."""
    name: str = match[1]
    while name and name not in _PROJECTS:
        name = name.rpartition(".")[0]
    if name:
        return _PROJECTS[name]
    return match[1].partition(".")[0].replace("_", "-").lower()


def _distutils_of_old_python(match: re.Match[str], around: Context) -> str | None:
    """Return the module if Python still has it, but this one does not."""
    return match[1] if around.python and around.python < (3, 12) else None


def _backend(match: re.Match[str], _: Context) -> str | None:
    """Return the project of a build backend that cannot be imported, if it is known."""
    name: str = match[1].partition(":")[0]
    while name and name not in _PROJECTS:
        name = name.rpartition(".")[0]
    return _PROJECTS.get(name)


RULES: Final = (
    Rule("windows-module", "unsupported-platform", "No module named ", _MODULE + rf"({_WINDOWS})'?$", "Windows only ({0})", SPECIFIC + 2),
    Rule("python-2-module", "python-2", "No module named ", _MODULE + rf"({_PYTHON_2})'?$", "{0}", SPECIFIC + 2, 0.95),
    Rule("slave-without-module", "incomplete-python", "No module named ", _MODULE + rf"({_COMPLETE})'?$", "{0}", SPECIFIC + 2),
    Rule("slave-without-distutils", "incomplete-python", "No module named ", _MODULE + r"(distutils(?:\.(?:core|util|command))?)'?$", _distutils_of_old_python, SPECIFIC + 2, 0.8),
    Rule("slave-without-zlib", "incomplete-python", "zlib not available", r"ZipImportError: can't decompress data; zlib not available", "zlib", SPECIFIC + 2, 0.9),
    Rule("removed-standard-module", "python-too-new", "No module named ", _MODULE + rf"({_REMOVED})'?$", "{0}", SPECIFIC + 2, 0.95),
    Rule("missing-pip-module", "dependency-undeclared", "No module named ", r"(?:rror|python[\d.]*): No module named '?pip\b", "pip", SPECIFIC + 1, 0.6),
    Rule("own-module", "incomplete-source", "No module named ", _MODULE + r"([\w.]+)'?", own, SPECIFIC, 0.7),
    Rule("module", "dependency-undeclared", "No module named ", _MODULE + r"([\w.]+)'?", foreign, SPECIFIC, 0.85),
    Rule("backend-undeclared", "dependency-undeclared", "BackendUnavailable", r"BackendUnavailable: Cannot import '([\w.:]+)'", _backend, 82, 0.9),
    Rule("backend-unavailable", "bad-backend", "BackendUnavailable", r"BackendUnavailable(?:: Cannot import '([\w.:]+)')?", "{0}", 81, 0.95),
    Rule("not-importable-backend", "bad-backend", "annot import ", r"Cannot import '([\w.:]+)'$", "{0}", SPECIFIC + 1, 0.85),
    Rule("distribution-not-found", "dependency-undeclared", "istributionNotFound", r"DistributionNotFound: The '([\w.-]+)[^']*' distribution was not found", "{0}"),
    Rule("package-not-found", "dependency-undeclared", "ackageNotFoundError", r"importlib\.metadata\.PackageNotFoundError: (?:No package metadata was found for )?'?([\w.-]+)", "{0}", SPECIFIC, 0.7),
    Rule("wheel-command", "dependency-undeclared", "nvalid command 'bdist_wheel'", r"invalid command 'bdist_wheel'", "wheel", SPECIFIC, 0.95),
    Rule("cython-pxd", "tools-too-new", ".pxd'", r"unknown file type '\.pxd' \(from '([^']*)'\)", "setuptools<58", SPECIFIC, 0.8),
    Rule("cython-needed", "dependency-undeclared", "ython", r"(?:[Cc]ython(?: ?[>=<~!]+ ?[\d.]+)?(?: and \w+)? (?:is |are )?(?:required|needed|must be installed|not found|is not installed|not available)|(?:need|requires?|install|without|no) [Cc]ython\b)", "cython", SPECIFIC - 1, 0.8),
    Rule("numpy-needed", "dependency-undeclared", "NumPy", r"(?:NumPy (?:is )?(?:required|needed|must be installed|not found|is not installed|headers)|(?:need|requires?|install) NumPy\b)", "numpy", SPECIFIC - 1, 0.75),
    Rule("cython-files", "dependency-undeclared", ".pyx'", r"unknown file type '\.pyx' \(from '([^']*)'\)", "cython", SPECIFIC, 0.95),
    Rule("requirement-to-install", "dependency-undeclared", "install ", r"(?:[Pp]lease|must|[Nn]eed to|have to) (?:first )?(?:pip )?install (?:the )?(?:python )?(?:package )?[`'\"]?((?:numpy|cython|Cython|scipy|cffi|setuptools|pybind11|scikit-build|wheel|six|pkgconfig|torch|tensorflow)\b)", lambda match, _: match[1].lower(), SPECIFIC - 1, 0.8),
    Rule("run-pip-install", "dependency-undeclared", "pip install ", r"(?:[Rr]un|[Tt]ry|[Uu]se):? [`'\"]?(?:python -m )?pip install (?:-U |--upgrade )?([A-Za-z][\w.-]*)[`'\"]?", "{0}", 37, 0.5),
)  # fmt: skip
