"""Makes a site with examples of everything; TheScribe writes it from a real database."""

import hashlib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest import mock

from helpers import Connected, own_config, patience, until
from piwheels.core.database import Database
from piwheels.core.database.rows import Activity, SimpleProject
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import Attempt, BuildState, DownloadState, FileState, Retry
from piwheels.master.logic import web_pages
from piwheels.master.messages import RewritePages, WriteHome, WriteSearch
from piwheels.master.site.rendering import Renderer
from piwheels.master.the_scribe import TheScribe
from wheels import zip_wheel

NOW = datetime.now(UTC).replace(microsecond=0)
#: Hostile text.
EVIL = "\"'><script>document.title='evil'</script><img src=/x onerror=alert(1)>&amp;\u202e${1/0}"
LOG = """\
  Building wheel for holygrail (pyproject.toml): started
      swallow/unladen.c:1:10: fatal error: coconut.h: No such file or directory
          1 | #include <coconut.h>
            |          ^~~~~~~~~~~
      compilation terminated.
      error: command '/usr/bin/gcc' failed with exit code 1
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
  ERROR: Failed building wheel for holygrail
"""
#: What the metadata of a project says, in addition to its name and version.
ABOUT = {
    "holygrail": """\
Summary: It heals
License-Expression: MIT
Author-email: Sir Robin <robin@camelot.example>
Requires-Python: >=3.9
Requires-Dist: zope.interface>=5
Requires-Dist: coconut
Project-URL: Source, https://grail.example/source
Description-Content-Type: text/markdown

# Holy Grail

[![Build](https://spy.example/badge.svg)](https://grail.example/ci) ![](https://spy.example/pixel)

### Use

See [above](#holy-grail), or [nothing](docs/none.md):

```python
import holygrail
```

| | cup |
|-|-----|
| a long row with many words in each of its cells | averyveryveryveryverylongwordindeed |
""",
    "shrubbery": """\
Summary: Greenery that is planted in a garden

Shrubbery
=========

* a ``path``
""",
    "evil": f"""\
Summary: {EVIL}
License: {EVIL}
Author: {EVIL}
Keywords: {EVIL}
Project-URL: {EVIL}, https://evil.example/?"'><script>
Project-URL: Other, javascript:alert(1)
Requires-Dist: {EVIL}
Description-Content-Type: text/markdown

{EVIL}

<h1 id="main">Evil</h1></div></details></main><form id=q><input><iframe src=x></iframe>

<a href="#main"></a><svg onload=alert(1)> [x](javascript:alert(1)) ![x](https://spy.example/)
""",
}


def wheel(package, version):
    """Return the file name, bytes and metadata of a wheel that pip and uv can install."""
    stem = f"{package.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    metadata = f"{metadata}{ABOUT.get(package, '')}".encode()
    files = {
        f"{package.replace('-', '_')}.py": b"",
        f"{stem}.dist-info/METADATA": metadata,
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
    }
    return f"{stem}-py3-none-any.whl", zip_wheel(files, f"{stem}.dist-info"), metadata


def build(
    db, package, version, abi="cp311", *, output="built it\n", status=True, needs=(),
    machine="armv7l", **about,
):  # fmt: skip
    """Log a build in the database; return the contents of its files by name."""
    files, contents = {}, {}
    if status:
        name, content, metadata = wheel(package, version)
        name = name.replace("py3-none-any", f"{abi}-{abi}-linux_{machine}") if needs else name
        digest = hashlib.sha256(content).hexdigest()
        tags = (abi, abi, f"linux_{machine}") if needs else ("py3", "none", "any")
        parts = (package.replace("-", "_"), version, *tags)
        state = FileState(name, len(content), digest, *parts, ">=3.9", {"apt": list(needs)})
        state.metadata_hash = hashlib.sha256(metadata).hexdigest()
        files, contents = {name: state}, {name: content, f"{name}.metadata": metadata}
    took = timedelta(minutes=61, seconds=5)
    made = BuildState(1, package, version, abi, status, took, output, files)
    for name, value in about.items():
        setattr(made, name, value)
    db.log_build(made)
    return contents


def fill_with_failures(db, name):
    """Add the project *name*, whose builds have failed in each way; return its wheel as above."""
    db.add_new_package(name, description="Failures of each kind")
    for number in range(1, 6):
        db.add_new_package_version(name, f"1.{number}", NOW - timedelta(days=9 - number))
    header = Diagnosis("missing-header", "coconut.h", LOG.splitlines()[1].strip())
    old = Diagnosis("tools-too-new", "setuptools<58", "error: use_2to3 is invalid")
    full = Diagnosis("disk-full", "", "OSError: [Errno 28] No space left on device")
    older, apt = Recipe(constraints=("setuptools<58",)), Recipe(apt=("libcoconut-dev",))
    soon, later = timedelta(0), timedelta(hours=1)
    build(db, name, "1.1", output=LOG, status=False, diagnosis=header)
    build(db, name, "1.1", output=LOG, status=False, diagnosis=header, recipe=apt)
    build(db, name, "1.2", output=LOG, status=False, diagnosis=old)
    contents = build(db, name, "1.2", recipe=older, keeps=older)
    build(
        db, name, "1.3", output=LOG, status=False, diagnosis=full, counts=False, label="board7",
        retry=Retry(Attempt(1, ("at board7",)), PLAIN, later),
    )  # fmt: skip
    build(
        db, name, "1.4", output=LOG, status=False, diagnosis=header,
        retry=Retry(Attempt(1, ("apt libcoconut-dev",)), apt, soon),
    )  # fmt: skip
    return contents


def fill(db, site):
    """Add packages to the database, and their wheels to *site*; return the package names."""
    for abi in ("cp311", "cp313", "cp313t"):
        db.add_build_abi(abi)
    names = {
        "holygrail": "What knights search for",
        "shrubbery": "",
        "zope-interface": "Interfaces for a parrot",
        "evil": EVIL,
        "spanish-inquisition": "Nobody expects it",
        "parrot": "It is resting",
        "newt": "",
    }
    for name, description in names.items():
        db.add_new_package(name, description=description)
    for number in range(12):
        db.add_new_package_version("holygrail", f"1.{number}", NOW - timedelta(days=90 - number))
    contents = {"holygrail": build(db, "holygrail", "1.10", needs=["libgrail1", "libknight2"])}
    contents["holygrail"] |= build(db, "holygrail", "1.9", "cp313", needs=["libgrail1"])
    contents["holygrail"] |= build(
        db, "holygrail", "1.8", "cp313", needs=["libgrail1"], machine="aarch64"
    )
    build(db, "holygrail", "1.10", "cp313", output=LOG, status=False)
    build(db, "holygrail", "1.11", output=LOG, status=False)
    db.yank_version("holygrail", "1.9", "Brought the wrong cup")
    db.skip_package_version("holygrail", "1.0", "too old")
    for name in ("shrubbery", "zope-interface", "spanish-inquisition", "evil"):
        db.add_new_package_version(name, "1.0", NOW - timedelta(days=2))
        contents[name] = build(db, name, "1.0")
    db.add_package_name("zope-interface", "Zope.Interface")
    db.set_package_status("spanish-inquisition", "quarantined")
    db.set_package_status("parrot", "archived")
    db.skip_package("parrot", "It has ceased to be")
    db.add_new_package_version("newt", "0.1")
    db.add_new_package_version("evil", "2.0")
    db.skip_package_version("evil", "2.0", EVIL)
    db.yank_version("evil", "1.0", EVIL)
    db.add_new_package_version("evil", "3.0")
    build(db, "evil", "3.0", output=EVIL, status=False)
    fields = dict.fromkeys(DownloadState._fields[3:])
    for name, count in (("holygrail", 1234), ("shrubbery", 7)):
        [file] = [name for name in contents[name] if name.endswith(".whl")][:1]
        entry = DownloadState(file, "192.0.2.1", NOW - timedelta(days=1), **fields)
        db.log_many([entry] * count)
    contents["tim"] = fill_with_failures(db, "tim")
    for package, files in contents.items():
        for name, data in files.items():
            path = site / "simple" / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return sorted({*names, *contents})


@contextmanager
def scribe(config, dsn):
    """Run TheScribe on the database *dsn*; yield a client for it."""
    task = TheScribe(config)
    task.db = Database(dsn)
    client = Connected(config, "scribe")
    task.start()
    try:
        yield client
    finally:
        task.quit()
        task.join(patience(10))
        client.close()
    assert task.failure is None


def write(dsn, path, site_url=""):
    """Write a site to *path* from the database *dsn*."""
    config = own_config(dsn=dsn, output_path=path, dev_mode=True, site_url=site_url)
    with Database(dsn) as db:
        names = fill(db, config.output_path)
        logs = config.output_path / "logs"
        with scribe(config, dsn) as client:
            until(lambda: not db.get_unwritten_logs() and logs.is_dir())
            for name in (*names, "holygrail"):  # again, when its dependency has a page
                client.call(RewritePages("BOTH", name))
            client.call(WriteSearch())
            client.call(WriteHome({**db.get_statistics(), "disk_free": 12 * 10**9}))
            root = config.output_path
            for page in ("index.html", "stats.html", "packages.html"):
                until(lambda path=root / page: contains(path, b"holygrail"))
            until(lambda: contains(root / "stats.html", b"12.0 GB"))
            until(lambda: contains(root / "summaries1.json", b"planted in a garden"))
            if config.site_url:
                until((root / "sitemap.xml").exists)


def rare_pages():
    """Return pages of states that :func:`fill` does not make, by their path in the site."""
    renderer, known = Renderer(), Renderer("https://wheels.example/")
    release = {
        "released": NOW, "yanked": False, "yank_reason": "", "yanked_upstream": False,
        "skip": "", "quarantined": False, "requires_python": None, "excluded": [],
        "files": {}, "builds": [],
    }  # fmt: skip
    changes = (
        {"quarantined": True},
        {"requires_python": ">=3.99", "excluded": ["cp311"]},
        {"yanked": True, "yanked_upstream": True},
        {"skip": EVIL},
        {},
    )
    releases = {f"1.{at}": release | changes[at % len(changes)] for at in range(6)}
    about = {"description": "", "skip": "", "releases": {}, "status": "active", "recipe": None}
    crowded = {**about, "name": "crowded", "status": "deprecated", "releases": releases}
    with mock.patch.object(web_pages, "FULL", 4):  # the others are in the list of older releases
        crowded_page = known.project(crowded, {})
    return {
        "empty.html": known.home({}, [], [], {}),
        "empty-packages.html": renderer.packages([], 0),
        "empty-stats.html": renderer.stats({}, Activity({}, {}), []),
        "project/crowded/index.html": crowded_page,
        "project/bare/index.html": renderer.project({**about, "name": "bare", "skip": EVIL}, {}),
        "simple/bare/index.html": renderer.simple_project(
            SimpleProject("bare", "archived", "", [], [])
        ),
        "simple/empty.html": renderer.simple_root([]),
    }


def contains(path, text):
    """Return whether the file *path* exists and contains *text*."""
    return path.exists() and text in path.read_bytes()
