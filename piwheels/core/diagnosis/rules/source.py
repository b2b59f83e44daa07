"""Rules for sources that lack files, fetch others, or refuse to be built. Pure."""

from __future__ import annotations

import re
from typing import Final

from piwheels.core.diagnosis.rule import LIKELY, SPECIFIC, Context, Rule

#: The note of the farm about an address that a build asked for.
_REFUSED: Final = re.compile(
    r"^piwheels: asked for (?:\w+://)?(?:[^/@\s]*@)?([^/:\s]+)\S*: refused", re.M
)
_HOST: Final = re.compile(r"(?:https?|git|ssh|ftp)://(?:[^/@\s'\"]*@)?([\w.-]+)")


def fetched(match: re.Match[str], around: Context) -> str:
    """Return the host that a build could not reach: from its message, or from the farm's note."""
    found = next((each for each in match.groups() if each), "")
    if not found:
        line = around.log[around.start : around.end]
        note = _REFUSED.search(around.log[-20_000:])
        host = _HOST.search(line) or note or _HOST.search(around.before(1500))
        found = host[1] if host else ""
    return re.sub(r"^\w+://(?:[^/@]*@)?|[:/].*$", "", found)


RULES: Final = (
    # It fetches something.
    Rule("resolve-host", "network-denied", "esolve", r"[Cc]ould not resolve (?:host|proxy|hostname):? ?'?([\w.-]+)?|unable to resolve host(?: address)? '?([\w.-]+)", fetched, SPECIFIC + 2, 0.95),
    Rule("name-resolution", "network-denied", "ame ", r"(?:Temporary failure in name resolution|Name or service not known|nodename nor servname provided|Name does not resolve|getaddrinfo (?:failed|ENOTFOUND|EAI_AGAIN) ?([\w.-]+)?)", fetched, SPECIFIC + 1, 0.93),
    Rule("url-error", "network-denied", "urlopen error", r"URLError: <urlopen error (?!unknown url|no host)", fetched, SPECIFIC + 1, 0.92),
    Rule("http-error", "network-denied", "HTTP Error ", r"HTTPError: HTTP Error \d+", fetched, SPECIFIC + 1, 0.9),
    Rule("requests-error", "network-denied", "onnectionPool", r"(?:ConnectionError|ProxyError|MaxRetryError|SSLError|ConnectTimeout|ReadTimeout|NewConnectionError).*HTTPS?ConnectionPool\(host='([^']*)'", fetched, SPECIFIC + 1, 0.94),
    Rule("client-error", "network-denied", "for url: ", r"HTTPError: \d{3} (?:Client|Server) Error: .* for url: (\S+)", fetched, SPECIFIC + 1, 0.9),
    Rule("tunnel", "network-denied", "unnel", r"(?:CONNECT tunnel failed|Tunnel connection failed|Proxy CONNECT aborted|Received HTTP code \d+ from proxy)", fetched, SPECIFIC + 1, 0.94),
    Rule("network-unreachable", "network-denied", "etwork is unreachable", r"Network is unreachable", fetched, SPECIFIC, 0.9),
    Rule("connection-refused", "network-denied", "onnection refused", r"(?:\[Errno 111\] |: |\()Connection refused", fetched, SPECIFIC - 1, 0.8),
    Rule("connect-message", "network-denied", "onnect to ", r"(?:[Cc](?:ould|an) ?not|[Uu]nable to|[Ff]ailed to) connect to (?:host )?(?:\w+://)?([\w.-]+\.[a-z]{2,})", fetched, SPECIFIC, 0.9),
    Rule("rpc-failed", "network-denied", "RPC failed", r"error: RPC failed; ", fetched, SPECIFIC, 0.9),
    Rule("node-lookup", "network-denied", "ENOTFOUND", r"getaddrinfo ENOTFOUND ([\w.-]+)", fetched, SPECIFIC + 2, 0.93),
    Rule("connect-failed", "network-denied", "ailed to connect to ", r"[Ff]ailed to connect to ([\w.-]+)(?: port| \()", fetched, SPECIFIC + 1, 0.93),
    Rule("git-access", "network-denied", "nable to access ", r"unable to access '([^']+)'", fetched, SPECIFIC + 1, 0.94),
    Rule("git-clone", "network-denied", "fatal: ", r"fatal: (?:clone of '([^']+)'|unable to (?:connect|look up) (?:to )?([\w.-]+)|Could not read from remote repository|repository '([^']+)' not found)", fetched, SPECIFIC, 0.9),
    Rule("git-fetch", "network-denied", "returned non-zero", r"(?:Command|command) .*git'?,? '?(?:clone|fetch|submodule).*(?:returned non-zero|failed|died)", fetched, SPECIFIC - 1, 0.8),
    Rule("cargo-download", "network-denied", "ailed to ", r"failed to (?:download from|fetch|get|load source for dependency|query replaced source registry|update registry) `?(https?://\S+)?", fetched, SPECIFIC, 0.85),
    Rule("cargo-offline", "network-denied", "--offline", r"(?:attempting to make an HTTP request, but --offline was specified|--offline was specified)", fetched, SPECIFIC + 1, 0.9),
    Rule("cargo-registry", "network-denied", "registry", r"(?:Unable to update registry|failed to update registry|download of config\.json failed)", fetched, SPECIFIC + 1, 0.93),
    Rule("go-proxy", "network-denied", "dial tcp", r"(?:Get \"?https?://([\w.-]+).*)?dial tcp:? (?:lookup ([\w.-]+))?", fetched, SPECIFIC + 1, 0.93),
    Rule("npm", "network-denied", "npm ", r"npm (?:ERR!|error) (?:network|code E(?:NOTFOUND|CONNREFUSED|AI_AGAIN|CONNRESET))", fetched, SPECIFIC + 1, 0.9),
    Rule("curl", "network-denied", "curl: (", r"curl: \((?:5|6|7|22|28|35|52|56|60)\)", fetched, SPECIFIC, 0.93),
    Rule("wget", "network-denied", "wget", r"wget: (?:bad address|can't connect)", fetched, SPECIFIC, 0.92),
    Rule("fetching-command", "network-denied", "returned non-zero", r"Command .*'(?:curl|wget)'.*?(?:https?|ftp)://([\w.-]+).*returned non-zero", fetched, SPECIFIC, 0.92),
    Rule("download-failed", "network-denied", "ownload", r"(?:[Ff]ailed to|[Cc](?:ould|an) ?not|[Uu]nable to|[Ee]rror|[Cc]ouldn't) (?:be )?download(?:ing|ed)?|[Dd]ownload(?:ing)? (?:of \S+ )?failed", fetched, SPECIFIC - 1, 0.85),
    Rule("fetch-content", "network-denied", "ailed", r"(?:each download failed|Failed to (?:clone|checkout) (?:repository|remote|tag)|error: downloading '?(\S+?)'? failed)", fetched, SPECIFIC + 1, 0.9),
    Rule("bazel", "network-denied", "java.io.IOException", r"java\.(?:io\.IOException: Error downloading|net\.UnknownHostException:? ?([\w.-]+)?)", fetched, SPECIFIC, 0.85),
    Rule("meson-wrap", "network-denied", "WrapException", r"(?:WrapException|could not get (https?://\S+) is the internet available)", fetched, SPECIFIC, 0.85),
    Rule("timed-out-connection", "network-denied", "timed out", r"(?:TimeoutError|socket\.timeout|ConnectionError|timeout)(?:: |\(').*timed out", fetched, SPECIFIC - 1, 0.75),
    Rule("connection-reset", "network-denied", "onnection", r"(?:ConnectionResetError|RemoteDisconnected|ConnectionAbortedError|ConnectionRefusedError)\b", fetched, SPECIFIC - 1, 0.8),
    # It lacks something.
    Rule("package-directory", "incomplete-source", "ackage directory '", r"package directory '([^']*)' does not exist", "{0}", SPECIFIC, 0.93),
    Rule("copy", "incomplete-source", "an't copy '", r"can't copy '([^']*)': doesn't exist", "{0}", SPECIFIC, 0.93),
    Rule("open-file", "incomplete-source", "an't open file", r"can't open file '([^']*)'", "{0}", SPECIFIC, 0.85),
    Rule("no-files-match", "incomplete-source", "match any files", r"'([^']*)' doesn't match any files", "{0}", SPECIFIC, 0.93),
    Rule("patch-file", "incomplete-source", "an't find file to patch", r"can't find file to patch", "a file to patch", SPECIFIC, 0.8),
    Rule("scm-version", "incomplete-source", "nable to detect version", r"setuptools[-_]scm was unable to detect version", ".git, or PKG-INFO with its version", SPECIFIC + 1, 0.93),
    Rule("pbr-version", "incomplete-source", "ersioning for this project requires", r"Versioning for this project requires either an sdist tarball", ".git, or PKG-INFO with its version", SPECIFIC + 1, 0.93),
    Rule("git-describe", "incomplete-source", "ot a git repository", r"fatal: not a git repository", ".git", LIKELY - 3, 0.6),
    Rule("submodules", "incomplete-source", "ubmodule", r"(?:git submodule update --init|[Ss]ubmodules? (?:\S+ )?(?:is |are |not )?(?:missing|not (?:found|initialized|checked out|updated)))", "its git submodules", SPECIFIC - 1, 0.8),
    Rule("cargo-manifest", "incomplete-source", "Cargo.toml", r"(?:manifest path `([^`]*Cargo\.toml)` does not exist|could not find `(Cargo\.toml)`|failed to read `([^`]*Cargo\.toml)`|No such file or directory: '([^']*Cargo\.toml)')", lambda match, _: next((each for each in match.groups() if each), ""), SPECIFIC + 1, 0.93),
    Rule("cargo-lock", "incomplete-source", "Cargo.lock", r"(?:lock file .* needs to be updated but --locked|cannot (?:create|update) the lock file)", "a current Cargo.lock", SPECIFIC, 0.85),
    Rule("file-of-source", "incomplete-source", "o such file", r"(?:FileNotFoundError|IOError|OSError|[Ee]rror\b).{0,100}?\b((?:README|CHANGE\w*|HISTORY|LICEN[CS]E|VERSION|requirements[\w-]*|AUTHORS|NEWS)\b[\w.-]{0,40})'?.{0,40}No such file", "{0}", SPECIFIC - 1, 0.85),
    Rule("not-there", "incomplete-source", "does not exist", r"(?:[Ff]ile|[Dd]irectory|[Pp]ath):? [`'\"]?([\w][\w./-]*\.(?:c|h|cpp|py|pyx|txt|md|rst|in|toml|cfg|json|proto))[`'\"]? does not exist", "{0}", SPECIFIC - 2, 0.8),
    Rule("missing-files", "incomplete-source", "issing", r"[Mm]issing (?:source )?files?:? [`'\"]?([\w./-]+\.\w+)", "{0}", SPECIFIC - 2, 0.75),
    Rule("sdist-cannot-build", "incomplete-source", "sdist", r"(?:(?:[Cc]an|[Cc]ould) ?not|[Cc]an't|[Uu]nable to) (?:be )?(?:buil[dt]|install)\w*.*(?:from (?:an? )?|an? )(?:sdist|source distribution)", "what its build needs", LIKELY, 0.7),
    # It refuses.
    Rule("deprecated-name", "refuses", "eprecated", r"(?:[Tt]he '?[\w.-]+'? (?:PyPI )?(?:meta-?package|package|project|name) is deprecated|[Tt]his (?:package|project|module|name)(?: name)? (?:is|has been) (?:now )?(?:deprecated|renamed|retired|discontinued|abandoned|replaced|superseded))(.*)", lambda match, _: match[0][:200], SPECIFIC - 1, 0.9),
    Rule("unmaintained", "refuses", "o longer ", r"(?:is|are) no longer (?:maintained|supported|developed|available|updated),? ?(?:[Pp]lease )?(?:use|see|install)", "it is no longer maintained", SPECIFIC - 1, 0.85),
    Rule("stub", "refuses", " is a ", r"(?:package|project) is an? (?:stub|dummy|fake|empty package|decoy)", "a placeholder", SPECIFIC - 1, 0.85),
    Rule("do-not-install", "refuses", "o not install ", r"(?:[Pp]lease )?[Dd]o not install (?:this|the) ", "it must not be installed", SPECIFIC - 1, 0.85),
    Rule("renamed", "refuses", "enamed", r"(?:(?:has been|was|is now) renamed|is now (?:called|named))(?: (?:to |as )?[`'\"]?([\w.-]+))?", lambda match, _: f"use {match[1]}" if match[1] else "it has another name now", SPECIFIC - 1, 0.85),
    Rule("wrong-name", "refuses", "tried to install ", r"You tried to install ['\"]?([\w.-]+)['\"]?\. The package named for \w+ is ['\"]?([\w.-]+)", "use {1}", SPECIFIC, 0.95),
    Rule("install-instead", "refuses", "nstead", r"\b(?:[Uu]se |[Ii]nstall |[Tt]ry |[Pp]lease (?:use |install |try ))(?:installing |the |using ){0,2}[`'\"]?(?:pip3? install )?([A-Za-z][\w.-]{2,})[`'\"]?(?: package| project)?,? instead", "use {0}", LIKELY, 0.8),
    Rule("rather-than", "refuses", "rather than", r"use '?(?:pip install )?([\w.-]+)'? rather than", "use {0}", LIKELY, 0.85),
    Rule("placeholder", "refuses", "laceholder", r"(?:is|as) (?:just |only )?an? (?:dummy|empty|stub|name|security)? ?(?:package )?placeholder|placeholder (?:package|project)", "a placeholder", SPECIFIC - 1, 0.9),
    Rule("fake", "refuses", "his package", r"[Tt]his package (?:should not|must not|cannot|can not|is not (?:meant|intended|supposed) to) be (?:installed|built|used)", "it must not be installed", SPECIFIC - 1, 0.9),
    Rule("private-index", "refuses", "his package is", r"[Tt]his package is (?:only )?(?:available|hosted|served|published) (?:on|from|at|via)", "another index has it", SPECIFIC - 1, 0.85),
    Rule("wheels-only", "refuses", "wheel", r"(?:[Nn]o|[Cc](?:ould|an)(?: ?not|'t) find (?:a |any )?)(?: ?(?:pre-?built|compatible|binary|suitable))+ wheels?\b|(?:only|just) (?:distributed|available|provided|released|published) (?:as|in|through|via) (?:binary |pre-?built )?wheels", "it has wheels alone", LIKELY, 0.8),
    Rule("windows-only", "unsupported-platform", "indows", r"(?:(?:[Oo]nly|[Jj]ust) (?:\w+ )?(?:works?|supports?|supported|available|runs?|for|builds?|installs?|be \w+)? ?(?:on|under|with|for|by)? ?(?:MS |Microsoft )?Windows|Windows[- ]only|requires? (?:MS |Microsoft )?Windows|(?:is|are) (?:for|a) Windows)", "Windows only", SPECIFIC - 1, 0.88),
    Rule("macos-only", "unsupported-platform", "mac", r"(?:(?:[Oo]nly|[Jj]ust) (?:\w+ )?(?:works?|supports?|supported|available|runs?|for|builds?|be \w+)? ?(?:on|under|for)? ?(?:macOS|Mac ?OS ?X?|OS ?X|Darwin|mac\b)|requires? (?:macOS|Mac ?OS ?X?|OS ?X|Darwin)|(?:macOS|OS ?X)[- ]only)", "macOS only", SPECIFIC - 1, 0.88),
    Rule("os-x-only", "unsupported-platform", "OS X", r"(?:[Oo]nly|requires?).{0,40}OS X|OS X.{0,20}(?:only|required)", "macOS only", SPECIFIC - 2, 0.8),
    Rule("not-linux", "unsupported-platform", "inux", r"(?:not (?:supported|available|compatible|work\w*|implemented)(?: on| for| with| under)* Linux|Linux (?:is )?not (?:yet )?supported|not support(?:ed)? (?:on )?linux|[Uu]nsupported (?:platform|OS|operating system|system):? \(?'?linux)", "not Linux", SPECIFIC - 1, 0.9),
    Rule("unknown-architecture", "unsupported-platform", "nknown ", r"[Uu]n(?:known|recogni[sz]ed) (?:architecture|platform|machine|CPU|operating system|processor):? ['\"]?([\w-]+)", "{0}", SPECIFIC - 1, 0.88),
    Rule("platform", "unsupported-platform", "upport", r"(?:[Pp]latform \w+ not supported|[Uu]nsupported (?:platform|OS|operating system|architecture|arch|CPU|machine|processor|system)|(?:[Pp]latform|[Oo]perating system|[Aa]rchitecture|OS|CPU|[Mm]achine|system)\b.{0,60} (?:is|are) (?:not|un)(?: yet| currently)? ?supported|not (?:yet )?supported (?:on|for) (?:this|your) (?:platform|system|OS|architecture|machine|operating system|CPU)|does(?:n't| not) support (?:this|your) (?:platform|system|OS|architecture|machine|operating system))(?:[:]? ?(.*))?", lambda match, _: (match[1] or "").strip(" .:'\"()") or "this platform", SPECIFIC - 1, 0.88),
    Rule("raspberry-only", "unsupported-platform", "Raspberry", r"(?:only|requires?|must).{0,40}Raspberry Pi|(?:not|detect if) (?:a |on a? ?|running on (?:a|the)? ?)Raspberry Pi", "Raspberry Pi only", SPECIFIC - 2, 0.8),
)  # fmt: skip
