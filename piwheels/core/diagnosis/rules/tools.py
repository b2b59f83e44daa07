"""Rules for sources that need older, or newer, build tools: the subject is the requirement. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from piwheels.core.diagnosis.rule import LIKELY, Context, Rule

if TYPE_CHECKING:
    import re

#: Modules that setuptools had once, and the requirement that has them.
_SETUPTOOLS_MODULES: Final = {
    "pkg_resources": "setuptools<81", "setuptools.extern": "setuptools<71", "setuptools.extern.six": "setuptools<40",
    "setuptools._vendor.six": "setuptools<71", "setuptools.command.test": "setuptools<72",
    "setuptools.command.upload": "setuptools<72", "setuptools.command.register": "setuptools<72",
    "setuptools.command.bdist_wininst": "setuptools<58", "setuptools.lib2to3_ex": "setuptools<58",
    "setuptools.py27compat": "setuptools<58", "setuptools.py31compat": "setuptools<50", "setuptools.py33compat": "setuptools<50",
    "setuptools.py34compat": "setuptools<66", "setuptools.py36compat": "setuptools<58", "setuptools.ssl_support": "setuptools<56",
    "setuptools.dep_util": "setuptools<69", "setuptools.package_index": "setuptools<80", "setuptools.sandbox": "setuptools<80",
    "setuptools.command.py36compat": "setuptools<66", "setuptools.config.read_configuration": "setuptools<61",
    "setuptools._distutils.msvccompiler": "setuptools<74", "distutils.msvccompiler": "setuptools<74",
    "distutils.command.bdist_wininst": "setuptools<58", "distutils.msvc9compiler": "setuptools<65", "distutils.command.bdist_msi": "setuptools<65",
    "distutils.command.upload": "setuptools<72", "distutils.command.register": "setuptools<72", "distutils.log": "setuptools<72",
    "distutils._msvccompiler": "setuptools<74", "distutils.py38compat": "setuptools<72",
    "numpy.distutils": "numpy<1.26", "numpy.distutils.core": "numpy<1.26", "numpy.distutils.misc_util": "numpy<1.26",
    "numpy.oldnumeric": "numpy<1.9", "numpy.numarray": "numpy<1.9", "numpy.compat": "numpy<2", "numpy.testing.utils": "numpy<1.25",
    "numpy.testing.decorators": "numpy<1.18", "numpy.core.umath_tests": "numpy<1.17",
    "wheel.pep425tags": "wheel<0.35", "wheel.bdist_wheel": "wheel<0.46", "wheel.util": "wheel<0.38", "wheel.install": "wheel<0.35",
    "wheel.archive": "wheel<0.32", "wheel.macosx_libfile": "wheel<0.46", "wheel.vendored": "wheel<0.47",
    "poetry.masonry": "poetry<1.1", "poetry.masonry.api": "poetry<1.1",
    "Cython.Distutils.build_ext.old_build_ext": "cython<3", "Cython.Distutils.old_build_ext": "cython<3.1",
    "pip.req": "pip<10", "pip.download": "pip<10", "pip._internal.req": "pip<20", "pip._internal.download": "pip<20",
    "jinja2.ext.autoescape": "jinja2<3", "markupsafe._speedups": "markupsafe<2.1",
    "setuptools_scm.git_archive": "setuptools_scm<7", "setuptools_scm.hacks": "setuptools_scm<8", "setuptools_scm.utils": "setuptools_scm<8",
    "sphinx.setup_command": "sphinx<7", "babel.messages.frontend": "babel<3", "scikits": "scikit-learn<0.12",
    "pytest_runner": "setuptools<58", "sipconfig": "sip<5", "sipdistutils": "sip<5",
}  # fmt: skip

#: Names that packages had once.
_NAMES: Final = {
    ("Feature", "setuptools"): "setuptools<46", ("run_2to3_on_doctests", "setuptools.lib2to3_ex"): "setuptools<58",
    ("ScriptWriter", "setuptools.command.easy_install"): "setuptools<80", ("sandbox", "setuptools"): "setuptools<80",
    ("dep_util", "setuptools"): "setuptools<69", ("six", "setuptools.extern"): "setuptools<58",
    ("packaging", "setuptools.extern"): "setuptools<71", ("bdist_wininst", "distutils.command"): "setuptools<58",
    ("newer_group", "setuptools.dep_util"): "setuptools<69", ("log", "distutils"): "setuptools<72",
    ("read_configuration", "setuptools.config"): "setuptools<61", ("upload", "setuptools.command"): "setuptools<72",
    ("test", "setuptools.command"): "setuptools<72", ("find_vcvarsall", "setuptools.msvc"): "setuptools<74",
    ("msvc_version", "numpy.distutils.msvccompiler"): "numpy<1.24", ("get_platform", "wheel.bdist_wheel"): "wheel<0.46",
    ("get_abi_tag", "wheel.pep425tags"): "wheel<0.35", ("soft_unicode", "markupsafe"): "markupsafe<2.1",
    ("environmentfilter", "jinja2"): "jinja2<3.1", ("contextfunction", "jinja2"): "jinja2<3.1", ("contextfilter", "jinja2"): "jinja2<3.1",
    ("Markup", "jinja2"): "jinja2<3.1", ("escape", "jinja2"): "jinja2<3.1", ("evalcontextfilter", "jinja2"): "jinja2<3.1",
    ("json", "itsdangerous"): "itsdangerous<2.1", ("parse_requirements", "pip.req"): "pip<10",
    ("main", "pip"): "pip<10", ("get_installed_distributions", "pip"): "pip<10",
}  # fmt: skip

#: Attributes that modules had once.
_ATTRIBUTES: Final = {
    ("setuptools", "dist"): "setuptools<58", ("setuptools.dist", "check_specifier"): "setuptools<58",
    ("pkg_resources", "SetuptoolsLegacyVersion"): "setuptools<66",
    ("pkg_resources.extern.packaging.version", "LegacyVersion"): "setuptools<66", ("packaging.version", "LegacyVersion"): "packaging<22",
}  # fmt: skip


def _setuptools_module(match: re.Match[str], around: Context) -> str | None:
    """Return the requirement that has a module that a package had once."""
    name = match[1]
    if name == "pkg_resources" and "etuptools-" not in around.log[: around.start]:
        return None  # setuptools is not there
    if (
        name in {"numpy.distutils", "numpy.distutils.core", "numpy.distutils.misc_util"}
        and "umpy-" not in around.log[: around.start]
    ):
        return None
    if name.startswith("distutils.") and name not in _SETUPTOOLS_MODULES:
        return "setuptools<60" if "etuptools-" in around.log[: around.start] else None
    return _SETUPTOOLS_MODULES.get(name) or (
        _SETUPTOOLS_MODULES.get(name.rpartition(".")[0]) if "." in name else None
    )


def _name(match: re.Match[str], _: Context) -> str | None:
    """Return the requirement that has a name that a package had once."""
    return _NAMES.get((match[1], match[2]))


def _attribute(match: re.Match[str], _: Context) -> str | None:
    return _ATTRIBUTES.get((match[1], match[2])) or None


_NUMPY_1_24: Final = r"(?:int|float|bool|object|str|complex|long|unicode|typeDict)"
_CYTHON_3: Final = (
    r"Exception values are incompatible\. Suggest adding 'noexcept'",
    r"Cannot assign type '.*' to '.*(?:noexcept|except).*'",
    r"undeclared name not builtin: (?:long|unicode|basestring|xrange|unichr|reduce|raw_input)\b",
    r"'long' is not a (?:cimported module|type identifier|constant)",
    r"cdef statement not allowed here",
    r"Cannot take (?:the )?address of Python",
    r"Invalid index for memoryview specified, type long",
    r"Converting to Python object not allowed without gil",
    r"Calling gil-requiring function not allowed without gil",
    r"dereference of pointer to incomplete",
    r"Operation not allowed without gil",
    r"cimported module has no attribute 'long'",
    r"'.*' redeclared",
    r"C function .* has no definition",
    r"Function declared nogil has Python locals or temporaries",
    r"Signature not compatible with previous declaration",
    r"ambiguous overloaded method",
    r"'unicode' is not a (?:type identifier|constant)",
    r"'PyUnicode_AS_UNICODE'",
)  # fmt: skip

RULES: Final = (
    # setuptools
    Rule("use-2to3-attribute", "tools-too-new", "use_2to3", r"has no attribute 'use_2to3'", "setuptools<58", 50, 0.9),
    Rule("use-2to3", "tools-too-new", "use_2to3", r"(?:use_2to3(?:_\w+)? is (?:invalid|no longer supported)|unexpected keyword argument 'use_2to3)", "setuptools<58", 50, 0.98),
    Rule("ez-setup", "tools-too-new", "ez_setup.py", r'File "[^"]*\bez_setup\.py", line \d+, in (?:_do_download|download_setuptools|use_setuptools|_clean_check|download_file\w*)', "setuptools<58", 58, 0.8),
    Rule("legacy-version", "tools-too-new", "Invalid version", r"InvalidVersion: Invalid version: ", "setuptools<66", 50, 0.85),
    Rule("legacy-specifier", "tools-too-new", "InvalidSpecifier", r"InvalidSpecifier: Invalid specifier", "setuptools<66", 50, 0.8),
    Rule("invalid-requirements", "tools-too-new", "setup command: '", r"error in .* setup command: '(?:install_requires|extras_require|tests_require|setup_requires|python_requires)' must be", "setuptools<66", 50, 0.75),
    Rule("package-data", "tools-too-new", "package_data", r"error in .* setup command: \"values of 'package_data' dict\" must be", "setuptools<42", 50, 0.8),
    Rule("metadata-version", "tools-too-new", "setup command: ", r"error in .* setup command: (?:'[^']*' is an invalid (?:value|PEP 440)|Invalid version)", "setuptools<66", 50, 0.75),
    Rule("removed-module", "tools-too-new", "No module named ", r"No module named '?([\w.]+)'?", _setuptools_module, 51),
    Rule("removed-name", "tools-too-new", "annot import name ", r"cannot import name '?(\w+)'?(?: from '([\w.]+)')?", _name, 51),
    Rule("removed-attribute", "tools-too-new", "has no attribute ", r"module '([\w.]+)' has no attribute '(\w+)'", _attribute, 51),
    Rule("flat-layout", "tools-too-new", "discovered in a flat-layout", r"Multiple top-level (?:packages|modules) discovered in a flat-layout", "setuptools<61", 50, 0.9),
    Rule("dashed-key", "tools-too-new", "dash-separated", r"(?:Invalid dash-separated key|Usage of dash-separated) '([\w-]+)'", "setuptools<78", 50, 0.9),
    Rule("uppercase-key", "tools-too-new", "ppercase key", r"(?:Invalid uppercase key|Usage of uppercase key) '([\w-]+)'", "setuptools<78", 50, 0.9),
    Rule("test-command", "tools-too-new", "nvalid command 'test'", r"invalid command 'test'", "setuptools<72", 50, 0.9),
    Rule("wininst-command", "tools-too-new", "nvalid command 'bdist_wininst'", r"invalid command 'bdist_wininst'", "setuptools<58", 50, 0.9),
    Rule("develop-option", "tools-too-new", "easy_install", r"module 'setuptools\.command\.easy_install' has no attribute", "setuptools<80", 50, 0.8),
    Rule("install-layout", "tools-too-new", "install_layout", r"AttributeError: install_layout", "setuptools<60", 50, 0.9),
    Rule("doctests-2to3", "tools-too-new", "convert_2to3_doctests", r"convert_2to3_doctests", "setuptools<58", 50, 0.9),
    Rule("dry-run-argument", "tools-too-new", "'dry_run'", r"TypeError: .*got an unexpected keyword argument 'dry_run'", "setuptools<81", 52, 0.85),
    Rule("compiler-arguments", "tools-too-new", "Compiler.__init__()", r"TypeError: C?Compiler\.__init__\(\) takes from 1 to 3 positional arguments", "setuptools<81", 52, 0.85),
    Rule("numpy-setup", "tools-too-new", "__NUMPY_SETUP__", r"has no attribute '__NUMPY_SETUP__'", "setuptools<60", 50, 0.6),
    Rule("strip-trailing-zero", "tools-too-old", "strip_trailing_zero", r"unexpected keyword argument 'strip_trailing_zero'", "packaging>=22", 50, 0.95),
    Rule("setuptools-attribute", "tools-too-new", "module 'setuptools", r"AttributeError: module 'setuptools(?:\.[\w.]+)?' has no attribute '(\w+)'", "setuptools<58", LIKELY, 0.6),
    Rule("setuptools-name", "tools-too-new", "from 'setuptools", r"ImportError: cannot import name '(\w+)' from 'setuptools(?:\.[\w.]+)?'", "setuptools<58", LIKELY, 0.6),
    Rule("distutils-name", "tools-too-new", "from 'distutils", r"ImportError: cannot import name '(\w+)' from 'distutils(?:\.[\w.]+)?'", "setuptools<60", LIKELY, 0.7),
    Rule("distutils-ccompiler", "tools-too-new", "has no attribute ", r"(?:module 'distutils(?:\.\w+)*'|'(?:Unix)?C?Compiler' object) has no attribute '(\w+)'", "setuptools<60", LIKELY, 0.6),
    Rule("numpy-ccompiler", "tools-too-new", "name 'CCompiler'", r"NameError: name 'CCompiler' is not defined", "setuptools<74", 50, 0.7),
    Rule("distutils-simple", "tools-too-new", "CCompiler", r"(?:CCompiler_\w+|CCompiler\.\w+)\(\) (?:got an unexpected keyword|missing \d+ required)", "setuptools<60", 50, 0.7),
    Rule("setup-configuration", "invalid-metadata", "InvalidConfigError: ", r"setuptools\.errors\.InvalidConfigError: (.*)", "{0}", 48, 0.8),
    Rule("pyproject-validation", "invalid-metadata", "ValidationError: ", r"ValidationError: (`(?:project|tool|build-system)[^`]*`.*)", "{0}", 50, 0.85),
    Rule("license-expression", "invalid-metadata", "License classifiers", r"License classifiers have been (?:superseded|deprecated)", "license classifiers and a license expression", 50, 0.8),
    Rule("license-table", "tools-too-old", "project.license", r"configuration error: `project\.license` must be valid", "setuptools>=77", 50, 0.9),
    Rule("pyproject-invalid", "invalid-metadata", "pyproject.toml config", r"invalid pyproject\.toml config: [`'](.*?)[`']", "{0}", 50, 0.9),
    Rule("pyproject-configuration", "invalid-metadata", "configuration error: ", r"configuration error: (`[^`]*` must .*)", "{0}", 50, 0.9),
    # Cython
    Rule("cython-sources", "tools-too-new", "cython_sources", r"'build_ext' object has no attribute 'cython_sources'", "cython<3", 50, 0.98),
    Rule("cython-3", "tools-too-new", ".pyx:", r"\.p(?:yx|xd|xi):\d+:\d+: (?:" + "|".join(_CYTHON_3) + ")", "cython<3", 50, 0.85),
    Rule("cython-options", "tools-too-new", "module 'Cython", r"module 'Cython(?:\.\w+)*' has no attribute", "cython<3", 50, 0.8),
    Rule("cython-crash", "tools-too-new", "Compiler crash in", r"Compiler crash in \w+", "cython<3", 50, 0.6),
    Rule("cython-python-2", "tools-too-new", "c_string_encoding", r"c_string_encoding.{0,100}(?:default|unicode)", "cython<3", LIKELY, 0.5),
    Rule("cython-compile", "tools-too-new", "Compiler.Errors.CompileError", r"^Cython\.Compiler\.Errors\.CompileError: (.*)", "cython<3", 40, 0.6, "any", "ython-3"),
    Rule("old-cython", "tools-too-old", "Cython", r"(?:requires? (?:a )?(?:newer )?(?:version of )?[Cc]ython (?:version )?>=? ?|[Cc]ython version (?:>=? ?)?)(\d[\w.]{0,12})(?: or (?:newer|later|greater|higher|above)|, (?:but )?(?:found|have|you)| is required)", "cython>={0}", 50, 0.8),
    # numpy
    Rule("numpy-aliases", "tools-too-new", "module 'numpy' has no attribute", r"module 'numpy' has no attribute '" + _NUMPY_1_24 + "'", "numpy<1.24", 50, 0.95),
    Rule("numpy-2", "tools-too-new", "NumPy 2", r"was removed in the NumPy 2\.0 release|cannot be run in\s*NumPy 2|compiled using NumPy 1", "numpy<2", 50, 0.95),
    Rule("numpy-descriptor", "tools-too-new", "rror: ", r"error: '(?:struct )?(?:_?PyArray_Descr|PyArray_Descr)'(?: \{aka [^}]*\})? has no member named '(?:elsize|subarray|names|fields|alignment|c_metadata|f)'", "numpy<2", 50, 0.95),
    Rule("numpy-array-fields", "tools-too-new", "rror: ", r"error: '(?:struct )?(?:tagPyArrayObject|PyArrayObject)'(?: \{aka [^}]*\})? has no member named '\w+'", "numpy<2", 50, 0.85),
    Rule("numpy-c-api", "tools-too-new", "rror: ", r"error: .{0,100}?'(?:NPY_C_CONTIGUOUS|NPY_OWNDATA|NPY_CHAR|PyArray_FROMDIMS|PyArray_FromDims|NPY_INTP_FMT|NPY_IN_ARRAY|NPY_INOUT_ARRAY|NPY_OUT_ARRAY|NPY_CONTIGUOUS|NPY_ALIGNED|NPY_WRITEABLE|NPY_DEFAULT|PyArray_MoveInto|NPY_F_CONTIGUOUS|NPY_NOTSWAPPED|PyArray_ArgSortFunc|npy_longlong_t)' (?:undeclared|was not declared)", "numpy<2", 50, 0.85),
    Rule("numpy-headers", "tools-too-new", "rror: numpy/", r"fatal error: (numpy/(?:noprefix|oldnumeric|arraybase|old_defines|npy_deprecated_api)\.h): No such file", "numpy<1.25", 52, 0.9),
    Rule("numpy-attribute", "tools-too-new", "module 'numpy", r"module 'numpy(?:\.[\w.]+)?' has no attribute '(\w+)'", "numpy<2", LIKELY, 0.75),
    Rule("numpy-complex", "tools-too-new", "rror: ", r"error: request for member '(?:real|imag)' in something not a structure or union", "numpy<2", LIKELY, 0.6, "any", "numpy"),
    # Others
    Rule("scm-argument", "tools-too-new", "setuptools_scm", r"(?:TypeError|ValueError|AttributeError|ImportError): .*setuptools_scm", "setuptools_scm<8", LIKELY, 0.7),
    Rule("scm-configuration", "tools-too-new", "unexpected keyword argument", r"(?:Configuration|_?get_version|Version|use_scm_version)\.?(?:__init__)?\(\) got an unexpected keyword argument '(\w+)'", "setuptools_scm<8", LIKELY, 0.6),
    Rule("poetry-configuration", "tools-too-new", "Poetry configuration is invalid", r"The Poetry configuration is invalid", "poetry-core<2", 50, 0.75),
    Rule("flit-table", "tools-too-new", "flit_core", r"flit_core\.config\.ConfigError: (?:.*tool\.flit\.metadata|.*removed).*", "flit_core<4", 50, 0.7),
    Rule("flit-configuration", "invalid-metadata", "flit_core", r"flit_core\.(?:config\.ConfigError|common\.\w+): (.*)", "{0}", 48, 0.85),
    Rule("old-cmake-policy", "tools-too-new", "with CMake <", r"Compatibility with CMake < (?:[\d.]+) has been removed", "cmake<4", 50, 0.95),
    Rule("newer-cmake", "tools-too-old", "or higher is required", r"CMake ([\d.]+)(?:\.\.\.[\d.]+)? or higher is required", "cmake>={0}", 50, 0.95),
    Rule("newer-meson", "tools-too-old", "eson version", r"Meson version is (?:\S+) but project requires (>=? ?[\d.]+)", "meson{0}", 50, 0.95),
    Rule("newer-pybind11", "tools-too-old", "pybind11", r"pybind11 (?:version )?>= ?([\d.]+) (?:is )?(?:required|needed)", "pybind11>={0}", 50, 0.8),
    Rule("newer-setuptools", "tools-too-old", "etuptools", r"(?:[Rr]equires?|[Nn]eeds?|[Mm]inimum)(?: a)?(?: newer)?(?: version of)? [Ss]etuptools ?(?:version )?(?:>= ?|of )?(\d[\d.]*)|[Ss]etuptools ?>= ?(\d[\d.]*) is (?:required|needed)", lambda match, _: f"setuptools>={match[1] or match[2]}", 50, 0.75),
    Rule("newer-compiler", "tools-too-old", "std=", r"unrecognized command[- ]line option '-std=([\w+]+)'", "compiler, for {0}", 50, 0.9),
    Rule("newer-standard", "tools-too-old", "rror: #error", r"#error \"?.{0,100}?(?:requires?|needs?|enable).{0,40}\b(C\+\+\s?\d\d|c\+\+\d\d|C\d\d)\b|#error \"?(C\+\+\s?\d\d|C\d\d)\b.{0,20}(?:required|needed|newer|later)", lambda match, _: f"compiler, for {match[1] or match[2]}", 48, 0.7),
    Rule("newer-gcc", "tools-too-old", "equires ", r"(?:requires|[Nn]eeds?|REQUIRES) (?:at least )?(GCC|gcc|[Cc]lang|g\+\+)(?: version)? ?>?=? ?(\d[\d.]*)", "{0}>={1}", 48, 0.7),
    Rule("swig-too-old", "tools-too-old", "SWIG", r"SWIG (?:version )?>?=? ?([\d.]+) or (?:later|newer|higher) is required", "swig>={0}", 50, 0.8),
)  # fmt: skip
