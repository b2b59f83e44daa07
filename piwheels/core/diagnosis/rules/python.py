"""Rules for the errors of Python: versions, syntax, exceptions. Pure."""

from __future__ import annotations

import re
from typing import Final

from piwheels.core.diagnosis.rule import FRAME, GENERAL, LIKELY, SPECIFIC, Context, Rule

#: Attributes that modules, or classes, have no longer.
_GONE: Final = (
    r"'collections' has no attribute '\w+'|'inspect' has no attribute '(?:getargspec|formatargspec|getmoduleinfo)'|"
    r"'asyncio' has no attribute '(?:coroutine|async|JoinableQueue|ensure_future|Task\.all_tasks|get_event_loop_policy)'|'configparser' has no attribute 'SafeConfigParser'|"
    r"'platform' has no attribute '(?:linux_distribution|dist|popen|_supported_dists)'|'fractions' has no attribute 'gcd'|'time' has no attribute 'clock'|"
    r"'cgi' has no attribute 'escape'|'html\.parser' has no attribute 'HTMLParseError'|'unittest' has no attribute '(?:makeSuite|_TextTestResult|findTestCases)'|"
    r"'locale' has no attribute 'format'|'os' has no attribute 'errno'|'ast' has no attribute '(?:Str|Num|NameConstant|Bytes|Ellipsis|Index)'|"
    r"'typing' has no attribute '(?:io|re|GenericMeta|_ForwardRef|_Union|_FinalTypingBase|ClassVar\.__)\w*'|'sys' has no attribute '(?:setcheckinterval|getcheckinterval|set_coroutine_wrapper)'|"
    r"'importlib' has no attribute 'find_loader'|'pkgutil' has no attribute '(?:ImpImporter|ImpLoader|find_loader|get_loader)'|'base64' has no attribute '(?:decodestring|encodestring)'|"
    r"'importlib\.machinery' has no attribute '\w+'|'gettext' has no attribute '\w+'|'random' has no attribute 'jumpahead'|'threading' has no attribute '\w+'|'ssl' has no attribute '(?:wrap_socket|match_hostname|PROTOCOL_SSLv\d+)'|"
    r"'sqlite3' has no attribute '(?:OptimizedUnicode|Cache|Statement)'|'array\.array' .*'(?:tostring|fromstring)'|'logging' has no attribute 'warn'|'webbrowser' has no attribute 'MacOSX'|'zipimport' has no attribute '\w+'|'math' has no attribute 'gcd_'|'token' has no attribute '\w+'|'tokenize' has no attribute 'generate_tokens_'"
)  # fmt: skip
#: Names that moved, or went.
_MOVED: Final = (
    r"'(?:Mapping|MutableMapping|Sequence|MutableSequence|Set|MutableSet|Iterable|Iterator|Callable|Hashable|Sized|Container|ItemsView|KeysView|ValuesView|Generator|ByteString)' from 'collections'|"
    r"'(?:getargspec|formatargspec)' from 'inspect'|'(?:coroutine|async|JoinableQueue)' from 'asyncio'|'SafeConfigParser' from 'configparser'|'(?:linux_distribution|dist)' from 'platform'|"
    r"'gcd' from 'fractions'|'clock' from 'time'|'escape' from 'cgi'|'(?:HTMLParseError)' from 'html\.parser'|'(?:makeSuite|_TextTestResult)' from 'unittest'|'(?:ImpImporter|find_loader)' from 'pkgutil'|"
    r"'(?:ByteString)' from '(?:typing|collections\.abc)'|'(?:Str|Num|Bytes|NameConstant)' from 'ast'|'(?:_ForwardRef|GenericMeta|io)' from 'typing'|'(?:wrap_socket|match_hostname)' from 'ssl'|"
    r"'(?:decodestring|encodestring)' from 'base64'|'(?:find_module|load_module|load_source)' from 'imp(?:ortlib)?'|'formatargspec'|'(?:fixer_base|pytree|pygram|refactor)' from 'lib2to3'|'_bootlocale'|'USE_AFTER_FREE'|'Log' from 'distutils.log'"
)  # fmt: skip
_PYTHON_2_NAMES: Final = r"execfile|raw_input|unicode|xrange|basestring|reload|long|unichr|file|reduce|cmp|apply|buffer|coerce|intern|StandardError|WindowsError_"
_PYTHON_2_ATTRIBUTES: Final = (
    r"'(?:dict|OrderedDict)' object has no attribute '(?:has_key|iteritems|itervalues|iterkeys|viewitems)'|module 'string' has no attribute '(?:letters|lowercase|uppercase|maketrans|join|replace|lower|upper|split|strip|atoi|find)'|"
    r"module 'os' has no attribute '(?:getcwdu|popen2|popen3|popen4|spawnvp_|errno_)'|module 'sys' has no attribute '(?:maxint|setdefaultencoding|exc_clear|exc_type)'|module 'itertools' has no attribute '(?:izip|imap|ifilter|izip_longest)'|"
    r"module 'types' has no attribute '(?:\w+Type|StringTypes)'|module 'urllib' has no attribute '(?:urlopen|quote|unquote|urlretrieve|urlencode|FancyURLopener|URLopener|getproxies|splitquery)'|'str' object has no attribute 'decode'|"
    r"'dict_(?:keys|values|items)' object has no attribute '(?:sort|append|index|remove)'|module '__builtin__'|'_io\.TextIOWrapper' object has no attribute 'next'|'(?:generator|map|filter|zip|list_iterator)' object has no attribute 'next'|module 'string' has no attribute 'uppercase'|module 'exceptions'|module 'operator' has no attribute '(?:isCallable|div|sequenceIncludes|isSequenceType|isMappingType)'|'function' object has no attribute 'func_\w+'|module 'builtins' has no attribute '\w+'"
)  # fmt: skip
_PYTHON_2_IMPORTS: Final = (
    r"'(?:izip|imap|ifilter|izip_longest)' from 'itertools'|'(?:quote|unquote|urlopen|urlretrieve|urlencode|quote_plus|FancyURLopener|URLopener|pathname2url|url2pathname)' from 'urllib'|'(?:maketrans|letters|join|split|lower|upper|atoi)' from 'string'|"
    r"'(?:\w+Type|StringTypes|ClassType)' from 'types'|'(?:getcwdu|popen2)' from 'os'|'(?:maxint)' from 'sys'|'StringIO' from 'io_'|'(?:isCallable|div)' from 'operator'|'OrderedDict' from 'ordereddict'|'(?:MimeWriter|MIMEText|MIMEMultipart|MIMEBase|Utils|Encoders)' from 'email'"
)  # fmt: skip
#: Syntax of Python 2, in the line that Python prints before a SyntaxError.
_PYTHON_2_SYNTAX: Final = re.compile(
    r"except [\w.(), ]+, \w+ ?:|\bprint +[\"'%\w]|\bprint *$|\braise [\w.]+ ?, |<>|\bexec +[\"'\w]|\bur[\"']|\b0\d+\b|\b(?:0x)?[\da-fA-F]+[lL]\b|`[^`]+`|def \w+\(.*\([\w, ]+\).*\):|lambda \("
)  # fmt: skip
_NEW_SYNTAX: Final = re.compile(
    r"^ *(?:match|case) .{1,200}:$|\(\w+ := |except\*|^ *type \w+ = |def \w+\[|^ *with \($", re.M
)
_ASYNC: Final = re.compile(
    r"(?:^|[\s(,.])async\b *(?:=|,|\)|\.)|\bimport async\b|\.async\b|\bawait *="
)

_VERSION: Final = r"(?:[<>=!~]=? ?)?\d(?:\.[\d*]+)+(?: ?, ?[<>=!~]=? ?\d(?:\.[\d*]+)+)*"


def _printed(match: re.Match[str], around: Context) -> str:
    """Return the line of source that Python prints before an error."""
    return "\n".join(around.before(500).rstrip("\n").split("\n")[-2:])


def _old_syntax(match: re.Match[str], around: Context) -> str | None:
    return "" if _PYTHON_2_SYNTAX.search(_printed(match, around)) else None


def _new_syntax(match: re.Match[str], around: Context) -> str | None:
    return "with newer syntax" if _NEW_SYNTAX.search(_printed(match, around)) else None


def _async(match: re.Match[str], around: Context) -> str | None:
    return "async is a keyword" if _ASYNC.search(_printed(match, around)) else None


def _tool(match: re.Match[str], around: Context) -> str | None:
    """Return the program that Python could not start."""
    name = match[1].rpartition("/")[2]
    if "_execute_child" in around.before(1500) or not re.search(r"[./]", match[1]):
        return name if re.fullmatch(r"[\w.+-]+", name) and not _FILES.search(name) else None
    return None


_FILES: Final = re.compile(
    r"\.(?:txt|md|rst|in|py|cfg|toml|json|ya?ml|[ch]|cpp|cc|hpp|pyx|pxd|so|a|proto|dat|csv|ini|git|lock|egg-info)$|^(?:README|VERSION|LICEN[CS]E|CHANGE\w*|HISTORY|NEWS|AUTHORS|requirements|RELEASE\w*|TODO|MANIFEST)",
    re.I,
)


def _file(match: re.Match[str], around: Context) -> str | None:
    """Return the file that the source lacks, relative to its folder."""
    if "_execute_child" in around.before(1500):
        return None
    name = re.sub(
        r"^.*/pip-(?:wheel|req-build|build|install)-[^/]+/(?:[^/]+_[0-9a-f]{32}/|[^/]+/)?",
        "",
        match[1],
    )
    return (
        name
        if _FILES.search(name) or ("/" in name.strip("/") and not name.startswith("/usr"))
        else None
    )


def _exception(match: re.Match[str], _: Context) -> str | None:
    kind, text = match[1].rpartition(".")[2], (match[2] or "").strip()
    return f"{kind}: {text}"[:200] if text else kind


def _supported(match: re.Match[str], _: Context) -> str | None:
    return match[1] or match[2]


RULES: Final = (
    # Python 2
    Rule("python-2-print", "python-2", "Missing parentheses in call", r"SyntaxError: Missing parentheses in call to '(print|exec)'", "{0}", SPECIFIC + 1, 0.98),
    Rule("python-2-except", "python-2", "multiple exception types", r"SyntaxError: multiple exception types must be parenthesized", "except", SPECIFIC + 1, 0.98),
    Rule("python-2-octal", "python-2", "SyntaxError: leading zeros", r"SyntaxError: leading zeros in decimal integer literals", "octal numbers", SPECIFIC + 1, 0.95),
    Rule("python-2-long", "python-2", "SyntaxError: invalid ", r"SyntaxError: invalid (?:decimal|hexadecimal|octal) literal", "numbers", SPECIFIC, 0.8),
    Rule("python-2-tabs", "python-2", "TabError", r"TabError: inconsistent use of tabs", "tabs", SPECIFIC + 1, 0.9),
    Rule("python-2-syntax", "python-2", "SyntaxError: ", r"SyntaxError: (?:invalid syntax|invalid token|Generator expression|cannot assign|expected )", _old_syntax, SPECIFIC + 1, 0.9),
    Rule("python-2-encoding", "python-2", "Non-UTF-8 code", r"SyntaxError: \(?'?(?:Non-UTF-8 code|.*'utf-?8' codec can't decode)", "its encoding", SPECIFIC, 0.7),
    Rule("python-2-encoding-decode", "python-2", "(unicode error)", r"SyntaxError: \(unicode error\)", "its encoding", SPECIFIC, 0.7),
    Rule("python-2-name", "python-2", "NameError: name ", rf"NameError: name '({_PYTHON_2_NAMES})' is not defined", "{0}", SPECIFIC + 1, 0.97),
    Rule("python-2-attribute", "python-2", "has no attribute ", rf"AttributeError: (?:module )?({_PYTHON_2_ATTRIBUTES})", "{0}", SPECIFIC + 1, 0.9),
    Rule("python-2-import", "python-2", "annot import name ", rf"cannot import name ({_PYTHON_2_IMPORTS})", "{0}", SPECIFIC + 1, 0.93),
    Rule("python-2-bytes", "python-2", "ytes", r"TypeError: (?:a bytes-like object is required, not 'str'|can't concat (?:str to bytes|bytes to str)|write\(\) argument must be str, not bytes|cannot use a string pattern on a bytes-like object|can only concatenate str \(not \"bytes\"\) to str|startswith first arg must be bytes|must be str, not bytes|Type str doesn't support the buffer API|argument should be integer or bytes-like object)", "bytes are no text", SPECIFIC, 0.75),
    Rule("python-2-views", "python-2", "TypeError: ", r"TypeError: (?:'(?:dict_keys|dict_values|dict_items|map|filter|zip|range)' object (?:is not subscriptable|does not support item)|object of type '(?:map|filter|zip)' has no len|unorderable types|'encoding' is an invalid keyword argument)", "", SPECIFIC, 0.75),
    Rule("python-2-api", "python-2", "rror: ", r"error: .{0,100}?'(Py(?:String|Int|Class|Instance|CObject|File)_\w+|Py_InitModule\w*|PyClass_Type|PyInstance_Type|PyCObject_\w+|staticforward|statichere|Py_FindMethod|PySlice_GetIndicesEx_2|PyNumber_(?:Int|Divide|Coerce\w*)|cmpfunc|getreadbufferproc|PyBuffer_\w*New\w*|PyObject_Compare|PyObject_Cmp|PyObject_Unicode|Py_TPFLAGS_(?:CHECKTYPES|HAVE_ITER|HAVE_RICHCOMPARE|HAVE_WEAKREFS|HAVE_CLASS)|PyEval_GetRestricted|PyMethodChain)'", "{0}", SPECIFIC + 1, 0.93),
    Rule("python-2-headers", "python-2", "rror: ", r"fatal error: '?((?:stringobject|intobject|cStringIO|cobject|classobject|bufferobject)\.h)\b", "{0}", SPECIFIC + 2, 0.95),
    Rule("python-2-only", "python-2", "ython", r"(?:(?:only|just) (?:for|works? (?:with|on|under|in)|supports?|runs? (?:on|under|with)|compatible with|available (?:for|on)) Python ?(?:v(?:ersion)? ?)?(?:\b2\b|2\.\d)|for Python 2(?:\.\d)? only|Python ?2(?:\.\d)? only|(?:not|n't) (?:yet )?(?:be )?(?:compatible with|support(?:ed)?(?: on| by)?|work (?:with|on|under)|for|available (?:for|on)|run (?:on|under)|designed for) (?:Python ?|py)(?:v(?:ersion)? ?)?3(?![.\d])|Python ?3(?:\.x)? (?:is|are) (?:not|un)(?: yet| currently)? ?(?:supported|compatible)|[Pp]lease use Python 2|requires? Python ?2(?:\.\d)?(?!\.?\d)(?! or| and |\+)|[Nn]eeds? Python 2(?:\.\d)?(?!\.?\d)(?! or|\+)|Python ?2 is required|must use Python ?2)", "", SPECIFIC - 1, 0.85),
    # This Python is too new.
    Rule("removed-attribute-of-python", "python-too-new", "has no attribute ", rf"AttributeError: module ({_GONE})", "{0}", SPECIFIC + 1, 0.93),
    Rule("moved-name-of-python", "python-too-new", "annot import name ", rf"cannot import name ({_MOVED})", "{0}", SPECIFIC + 1, 0.93),
    Rule("removed-method", "python-too-new", "has no attribute ", r"AttributeError: '\w+' object has no attribute '(readfp|isAlive|getchildren|getiterator|find_module|find_loader|load_module|tostring|fromstring|assertEquals|assertItemsEqual|_tp_cache|__args__|__origin__)'", "{0}", SPECIFIC, 0.85),
    Rule("open-mode", "python-too-new", "nvalid mode: ", r"ValueError: invalid mode: '(r?[bt]?U[rb]*|Ur|rbU)'", "open() in mode {0}", SPECIFIC + 1, 0.95),
    Rule("async-keyword", "python-too-new", "SyntaxError: ", r"SyntaxError: invalid syntax", _async, SPECIFIC + 2, 0.93),
    Rule("ssize-t-clean", "python-too-new", "PY_SSIZE_T_CLEAN", r"SystemError: PY_SSIZE_T_CLEAN macro must be defined", "PY_SSIZE_T_CLEAN", SPECIFIC + 1, 0.95),
    Rule("code-arguments", "python-too-new", "rror: ", r"TypeError: (?:code (?:expected|argument) .*|code\(\) (?:takes|argument \d+ must|expected) .*|required field \"\w+\" missing from \w+|an integer is required \(got type bytes\).*)", "the internals of Python", SPECIFIC, 0.85),
    Rule("loop-argument", "python-too-new", "loop", r"TypeError: .*__init__\(\) got an unexpected keyword argument 'loop'", "the argument loop of asyncio", SPECIFIC, 0.85),
    Rule("regular-expression-flags", "python-too-new", "global flags not at the start", r"re\.(?:error|PatternError): global flags not at the start of the expression", "flags in the middle of a regular expression", SPECIFIC + 1, 0.95),
    Rule("regular-expression-repeat", "python-too-new", "ultiple repeat", r"(?:re|sre_constants)\.\w*[eE]rror: multiple repeat", "a regular expression", SPECIFIC, 0.6),
    Rule("dataclass-default", "python-too-new", "mutable default", r"ValueError: mutable default <class '.*'> for field \w+ is not allowed", "a mutable default of a dataclass", SPECIFIC, 0.9),
    Rule("random-sample", "python-too-new", "opulation must be a sequence", r"TypeError: Population must be a sequence", "random.sample of a set", SPECIFIC, 0.9),
    Rule("c-api-member", "python-too-new", "rror: ", r"error: '(?:const )?(?:struct )?(?:PyThreadState|_ts|PyFrameObject|_frame|PyTypeObject|_typeobject|PyLongObject|_longobject|PyCodeObject|PyInterpreterState|_is|PyUnicodeObject|PyASCIIObject|PyCompactUnicodeObject|_PyErr_StackItem|_err_stackitem|PyGenObject|PyFunctionObject|PyModuleObject|PyDictObject|PyFloatObject|PyListObject|PyHeapTypeObject|_heaptypeobject|PyBytesObject|PyMethodObject|PyCFunctionObject|PyConfig|_PyCFrame|_cframe|PyDateTime_\w+|PySetObject|PyObject|_object)'?(?: \{aka '?[^'}]*'?\})? ?has no member named '(\w+)'", "{0}", SPECIFIC + 1, 0.95),
    Rule("c-api-member-clang", "python-too-new", "rror: no member named", r"error: no member named '(\w+)' in '(?:struct )?(?:_ts|_frame|_typeobject|_longobject|PyThreadState|PyFrameObject|PyCodeObject|PyTypeObject|PyASCIIObject|PyUnicodeObject|_PyErr_StackItem|_err_stackitem)'", "{0}", SPECIFIC + 1, 0.95),
    Rule("c-api-incomplete", "python-too-new", "ncomplete ", r"error: .{0,100}?(?:incomplete|forward declaration)\b.*'(?:struct )?(PyFrameObject|_frame|PyInterpreterState|_is|PyCodeObject|_PyInterpreterFrame|PyTryBlock|_PyUnicodeWriter|PyGC_Head)\b", "{0}", SPECIFIC + 1, 0.95),
    Rule("c-api-name", "python-too-new", "rror: ", r"error: .{0,100}?'(_PyLong_\w+|_PyUnicode_\w+|_PyObject_\w+|_PyDict_\w+|_PyGen_\w+|_PyThreadState_\w+|_PyInterpreterState_\w+|_PyErr_\w+|_PyImport_\w+|_PyBytes_\w+|_PyEval_\w+|_PyGC_\w+|_PyType_\w+|_PyArg_\w+|_PyTime_\w+|_PyFloat_\w+|_PyRuntime|_Py_\w+|PyUnicode_(?:AsUnicode|AsUnicodeAndSize|FromUnicode|AS_UNICODE|AS_DATA|GET_SIZE|GET_DATA_SIZE|GetSize|Encode\w*|READY|WCHAR_KIND|TransformDecimalToASCII|InternImmortal|FromFormat_|GetMax|AsUnicodeCopy|CheckExact_|DecodeUTF7_|AS_DATA_SIZE)|PyEval_(?:CallObject\w*|CallFunction|CallMethod|ThreadsInitialized|InitThreads|ReInitThreads|AcquireLock|ReleaseLock|EvalFrameEx_)|PyCFunction_Call|PyObject_As(?:Read|Char|Write)Buffer|PyObject_CheckReadBuffer|Py_UNICODE\w*|PyDescr_COMMON|PyImport_(?:ImportModuleNoBlock|GetMagicTag_|Cleanup)|PyTrash_UNWIND_LEVEL|Py_TRASHCAN_SAFE_(?:BEGIN|END)|PyNode_\w+|PyParser_\w+|PyAST_\w+|PySys_(?:SetPath|AddWarnOption\w*|SetArgv\w*|AddXOption|HasWarnOptions)|Py_(?:SetProgramName|SetPythonHome|SetPath|GetProgramFullPath|NoSiteFlag|OptimizeFlag|FileSystemDefaultEncoding|HasFileSystemDefaultEncoding|UTF8Mode|Py3kWarningFlag|UnicodeFlag|HashRandomizationFlag|ABS_|CLEARFREELIST|MEMCPY|FatalError_|INCREF_|ADDRESS_IN_RANGE)|PyFrame_(?:BlockSetup|BlockPop|FastToLocals\w*)|PyCode_(?:New|NewWithPosOnlyArgs|GetFirstFree)|PyThread_(?:create_key|delete_key\w*|set_key_value|get_key_value|ReInitTLS)|PyOS_(?:AfterFork|sighandler_t_)|PyMem_(?:DEL|Del_|New_|FREE_)|PyGILState_|PyLong_(?:FromUnicode|AsLongLong_|SHIFT_)|PyTuple_ClearFreeList|PyList_ClearFreeList|PyFloat_ClearFreeList|PyFloat_(?:AsString|AsReprString)|PyAsyncGen_ClearFreeLists|PyDict_(?:ClearFreeList|Contains_)|PySet_ClearFreeList|PyMarshal_\w+|PyModule_GetFilename_|PyMember_(?:Get|Set)|PyErr_Print_|PyHash_Func|tp_print|tp_vectorcall_offset|T_(?:INT|OBJECT_EX_)|CO_NOFREE|CO_FUTURE_\w+|Py_MARSHAL_VERSION|PyEval_MergeCompilerFlags|PyHeapType_GET_MEMBERS|PyStructSequence_UnnamedField_|PY_UNICODE_TYPE|Py_LIMITED_API_|_PyVectorcall\w*|_Py_TPFLAGS\w*|PyTryBlock|PyGC_Head|_PyUnicodeWriter\w*|PyCoro_\w+|PyGen_NeedsFinalizing)'", "{0}", SPECIFIC + 1, 0.93),
    Rule("c-api-arguments", "python-too-new", "arguments to function ", r"error: too (?:few|many) arguments to function '(?:\w+ )*\*?\(?(_?Py\w+)", "{0}", SPECIFIC + 1, 0.93),
    Rule("c-api-assignment", "python-too-new", "rror: ", r"error: (?:lvalue required as left operand of assignment|expression is not assignable)", lambda _, around: (re.search(r"\b(Py_(?:TYPE|SIZE|REFCNT))\b", around.after(160)) or [None])[0], SPECIFIC + 1, 0.95),
    Rule("c-api-header", "python-too-new", "rror: ", r"fatal error: '?((?:longintrepr|code|eval|node|graminit|parsetok|grammar|bitset|token|symtable|asdl|ast|Python-ast|ucnhash|pyarena|pymath_|structseq_|frameobject_|opcode_|cellobject_|pystrhex|dynamic_annotations|compile_|pyctype_|dictobject_|pystate_)\.h|internal/\w+\.h|cpython/\w+\.h|pycore_\w+\.h)\b", "{0}", SPECIFIC + 2, 0.95),
    Rule("c-api-error-directive", "python-too-new", "rror: #error", r"error: #error \"?(.*(?:[Pp]ython|PYTHON|CPython|Py_\w+).*)", "{0}", SPECIFIC, 0.75),
    Rule("c-api-symbol", "python-too-new", "ndefined symbol: ", r"undefined symbol: (_?Py[A-Z_]\w+)", "{0}", SPECIFIC, 0.85),
    Rule("pyo3-maximum", "python-too-new", "PyO3's maximum", r"the configured Python interpreter version \((\S+)\) is newer than PyO3's maximum supported version \((\S+)\)", "PyO3 supports {1} at most", SPECIFIC + 2, 0.98),
    Rule("only-versions", "python-too-new", "only versions ", r"(?:Cannot install on Python version \S+|Python version \S+ is not supported)[;,] only versions ([^ ]+) are supported", "{0}", SPECIFIC, 0.95),
    Rule("newer-python-unsupported", "python-too-new", "ython", r"(?:Python ?(?:version )?(?:>=? ?)?(3\.\d+)\S*(?: or (?:newer|later|above|higher)| and (?:newer|later|above|higher))? (?:is |are )?(?:not|un)(?: yet| currently)? ?(?:supported|compatible)|(?:not|n't) (?:yet )?(?:be )?(?:compatible with|support(?:ed)?(?: on| for)?|work with|available for) Python ?(?:version )?(?:>=? ?)?(3\.\d+))", _supported, SPECIFIC - 1, 0.8),
    Rule("older-python-needed", "python-too-new", "ython", r"(?:supports?|requires?|needs?|[Oo]nly works with|[Uu]se) (?:only )?[Pp]ython ?(?:versions? )?((?:<=? ?|up to |below |older than |prior to )3\.\d+)", "{0}", SPECIFIC - 1, 0.8),
    Rule("python-range", "python-too-new", "ython", r"[Pp]ython (?:versions? )?(?:must be|should be|has to be|needs to be|supported:?) (?:between )?((?:>=? ?)?3\.\d+ ?(?:,|and|to|-) ?<?=? ?3\.\d+)", "{0}", SPECIFIC - 2, 0.6),
    # This Python is too old.
    Rule("future-feature", "python-too-old", "SyntaxError: future feature", r"SyntaxError: future feature (\w+) is not defined", ">=3.7 ({0})", SPECIFIC + 1, 0.95),
    Rule("tomllib", "python-too-old", "No module named 'tomllib'", r"No module named 'tomllib'", ">=3.11 (tomllib)", SPECIFIC + 2, 0.9),
    Rule("newer-syntax", "python-too-old", "SyntaxError: ", r"SyntaxError: invalid syntax", _new_syntax, SPECIFIC + 1, 0.85),
    Rule("older-python-unsupported", "python-too-old", "ython", r"Python ?(?:versions? )?(?:<=? ?|below |older than |prior to |before |lower than )(3\.\d+)\S* (?:is|are) (?:not|un)(?: longer)? ?supported", ">={0}", SPECIFIC - 1, 0.85),
    Rule("newer-typing", "python-too-old", "from 'typing'", r"cannot import name '(Self|override|Never|NotRequired|Required|LiteralString|TypeAlias|ParamSpec|Protocol|Literal|Final|TypedDict|Annotated|assert_never|Unpack|TypeIs)' from 'typing'", "with typing.{0}", SPECIFIC + 1, 0.9),
    Rule("newer-standard-library", "python-too-old", "annot import name ", r"cannot import name '(?:StrEnum|batched|pairwise|cache|cached_property|removeprefix|UTC|nullcontext|files|AsyncExitStack|to_thread|TaskGroup)' from '(enum|itertools|functools|datetime|contextlib|importlib\.resources|asyncio)'", "with a newer {0}", SPECIFIC + 1, 0.85),
    Rule("generic-types", "python-too-old", "object is not subscriptable", r"TypeError: '(?:type|ABCMeta|_GenericAlias|method_descriptor)' object is not subscriptable", ">=3.9 (types with parameters)", SPECIFIC, 0.8),
    Rule("union-types", "python-too-old", "unsupported operand type(s) for |", r"TypeError: unsupported operand type\(s\) for \|: '(?:type|_GenericAlias|NoneType)'", ">=3.10 (types with |)", SPECIFIC, 0.9),
    Rule("removeprefix", "python-too-old", "has no attribute ", r"'str' object has no attribute '(remove(?:prefix|suffix))'", ">=3.9 (str.{0})", SPECIFIC + 1, 0.95),
    Rule("newer-python-needed", "python-too-old", "ython", r"(?:(?:requires?|needs?|supports? only|supports?|minimum|at least)(?: a)? [Pp]ython(?: version)?:? ?(?:of )?((?:>=? ?)?3\.\d+(?:\.\d+)?)(?: ?\+| or| and| at least|$|\.? )|[Pp]ython(?: version)? ?((?:>=? ?)3\.\d+(?:\.\d+)?|3\.\d+(?:\.\d+)?\+?)(?: or (?:newer|later|above|higher|greater)| and (?:newer|later|above|higher)|\+)? (?:is |are )?(?:required|needed))", _supported, SPECIFIC - 2, 0.7),
    # Input
    Rule("end-of-input", "asks-input", "EOF when reading a line", r"EOFError: EOF when reading a line", "", SPECIFIC + 2, 0.97),
    Rule("no-terminal", "asks-input", "nappropriate ioctl", r"(?:termios\.error|OSError): (?:\(25, '|\[Errno 25\] )Inappropriate ioctl for device", "", SPECIFIC, 0.9),
    Rule("password-input", "asks-input", "GetPassWarning", r"GetPassWarning: Can not control echo", "", SPECIFIC, 0.8),
    # Tests
    Rule("unittest-failed", "test-failure", "FAILED (", r"^FAILED \((?:failures|errors)=\d+", "", 56, 0.85),
    Rule("pytest-failed", "test-failure", " failed", r"^=+ .*\b\d+ failed\b.* in [\d.]+s", "", 56, 0.9),
    Rule("ctest-failed", "test-failure", "tests FAILED", r"The following tests FAILED:|\d{1,3}% tests passed, [1-9]\d* tests? failed out of \d+", "", 56, 0.9),
    Rule("cargo-test-failed", "test-failure", "test result: FAILED", r"^test result: FAILED\.", "", 56, 0.9),
    Rule("tests-failed", "test-failure", "ests failed", r"\b[Tt]ests failed\b(?!: 0)|^# (?:FAIL|ERROR): +[1-9]", "", LIKELY, 0.7),
    Rule("doctests-failed", "test-failure", "***Test Failed***", r"\*\*\*Test Failed\*\*\* \d+ failures?", "", 56, 0.9),
    Rule("make-check-failed", "test-failure", "rror ", r"^make(?:\[\d+\])?: \*\*\* \[(?:\S+: )?(?:check|test|check-TESTS|test-suite\.log|run-tests?)\] Error \d+", "", LIKELY + 1, 0.8),
    # Files and programs
    Rule("file", "incomplete-source", "[Errno 2] No such file or directory: ", r"\[Errno 2\] No such file or directory: '([^']+)'", _file, SPECIFIC - 1, 0.85),
    Rule("program", "missing-tool", "[Errno 2] No such file or directory: ", r"\[Errno 2\] No such file or directory: '([^']+)'", _tool, SPECIFIC, 0.85),
    # Crashes
    Rule("backend-crashed", "crashed", "exit code: -", r"^exit code: -(4|6|7|8|11|31)$", "signal {0}", SPECIFIC + 10, 0.95),
    Rule("old-pip-crashed", "crashed", "xit status -", r"exit(?:ed with)? status -(4|6|7|8|11|31)\b", "signal {0}", SPECIFIC + 5, 0.85),
    Rule("backend-ended", "killed", "exit code: -", r"^exit code: -(\d+)$", "signal {0}", SPECIFIC + 10, 0.8),
    Rule("command-crashed", "crashed", "died with <Signals.", r"died with <Signals\.(SIG(?:SEGV|ABRT|ILL|BUS|FPE|SYS|TRAP))", "{0}", SPECIFIC + 3, 0.9),
    Rule("crash-message", "crashed", "ault", r"^(?:\S+: line \d+: +\d+ )?(Segmentation fault|Bus error|Illegal instruction|Fatal Python error: \w.*|Aborted)(?: +\(core dumped\))?(?: |$)", "{0}", SPECIFIC, 0.85),
    Rule("make-crash", "crashed", "***", r"^make(?:\[\d+\])?: \*\*\* \[.*\] (Segmentation fault|Aborted|Bus error|Illegal instruction)", "{0}", SPECIFIC + 2, 0.9),
    Rule("illegal-instruction", "crashed", "llegal instruction", r"^(?:\S+: line \d+: +\d+ )?(Illegal instruction)", "{0}", SPECIFIC, 0.9),
    Rule("python-fatal", "crashed", "Fatal Python error", r"Fatal Python error: (\w.*)", "{0}", SPECIFIC + 1, 0.9),
    Rule("compiler-crashed", "crashed", "nternal compiler error", r"internal compiler error: (.*)", "the compiler: {0}", SPECIFIC + 3, 0.9),
    Rule("rustc-signal", "crashed", "(signal: ", r"\(signal: (4|6|7|8|11), SIG", "signal {0}", SPECIFIC + 2, 0.9),
    Rule("java-crash", "crashed", "atal error has been detected", r"A fatal error has been detected by the Java Runtime", "java", SPECIFIC, 0.9),
    Rule("rustc-crashed", "crashed", "unexpectedly panicked", r"the compiler unexpectedly panicked", "rustc", SPECIFIC + 3, 0.9),
    Rule("recursion", "setup-error", "RecursionError", r"^RecursionError: (.*)", "RecursionError: {0}", SPECIFIC, 0.9),
    # Any other exception
    Rule("permission", "setup-error", "ermission denied", r"(?:PermissionError: |error: )?\[Errno 13\] Permission denied: '([^']*)'", "it writes to {0}", SPECIFIC - 1, 0.85),
    Rule("read-only-path", "setup-error", "[Errno 30] ", r"\[Errno 30\] Read-only file system: '([^']*)'", "it writes to {0}", SPECIFIC - 1, 0.85),
    Rule("root-needed", "refuses", "root", r"(?:must (?:be )?(?:run )?(?:this \w+ )?as root|requires? root|[Nn]eed(?:s)? (?:to be )?root|run (?:this )?with sudo)", "it needs root", LIKELY, 0.8),
    Rule("exit-text", "refuses", "SystemExit: ", r"^SystemExit: (.*[a-zA-Z]{3}.*)", "{0}", GENERAL + 1, 0.6),
    Rule("exception", "setup-error", "rror", r"^(?!subprocess\.CalledProcessError|(?:distutils|setuptools)\.[\w.]*CompileError)((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Failure|Failed|Exit|Missing|NotFound))(?:: (.*)|$)", _exception, GENERAL, 0.7),
    Rule("module-error", "setup-error", ".error: ", r"^((?:\w+\.)+error): (.*)", _exception, GENERAL, 0.7),
    Rule("exception-other", "setup-error", "xception", r"^((?:[A-Za-z_]\w*\.)*\w*Exception)(?:: (.*)|$)", _exception, GENERAL, 0.7),
    Rule("command-line", "setup-error", "rror in ", r"^error in \S+ setup command: (.*)", "{0}", GENERAL + 3, 0.8),
    Rule("subprocess", "setup-error", "returned non-zero", r"subprocess\.CalledProcessError: Command .* returned non-zero exit status \d+", "a command failed", FRAME + 2, 0.4),
)  # fmt: skip
