"""The site from a real database: pages offer the files of a build."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta

import pytest

from helpers import Connected, patience, until
from piwheels.core.states import BuildState, FileState
from piwheels.master.messages import DeletePackage, DeleteVersion, RewritePages, WriteLog
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import TheOracle
from piwheels.master.the_scribe import TheScribe
from piwheels.master.the_secretary import TheSecretary

METADATA = """\
Metadata-Version: 2.1
Name: spam
Summary: Ham
License: MIT
Requires-Dist: Eggs>=2
Description-Content-Type: text/markdown

*Lovely*
"""
WHEEL = "spam-1.0-cp311-cp311-linux_x86_64.whl"


@pytest.fixture
def site(make_config, tmp_path, db, db_dsn):
    config = make_config(db_dsn, output_path=tmp_path / "www", dev_mode=True)
    db.add_build_abi("cp311")
    db.add_new_package("spam", description="A <b>tin</b>")
    db.add_new_package_version("spam", "1.0")
    db.add_package_name("spam", "Spam")
    state = FileState(
        WHEEL, 1337, "ab" * 32, "spam", "1.0", "cp311", "cp311", "linux_x86_64", ">=3.9",
        {"apt": ["libtin1"]}, metadata_hash="cd" * 32,
    )  # fmt: skip
    folder = config.output_path / "simple/spam"
    folder.mkdir(parents=True)
    (folder / f"{WHEEL}.metadata").write_text(METADATA)
    duration = timedelta(seconds=125)
    build_id = db.log_build(
        BuildState(1, "spam", "1.0", "cp311", True, duration, "built it", {WHEEL: state})
    )
    tasks = [Seraph(config), TheOracle(config), TheScribe(config), TheSecretary(config)]
    client = Connected(config, "web")
    for task in tasks:
        task.start()
    yield config.output_path, client, build_id
    for task in reversed(tasks):
        task.quit()
        task.join(patience(10))
    client.close()
    assert [task.failure for task in tasks] == [None] * len(tasks)


def test_rewrites_and_logs_that_a_crash_interrupted_are_written_at_start(site, db):
    """No request is sent: the database holds the rewrite and the log since the build."""
    path, client, build_id = site
    until(lambda: not db.load_rewrites_pending() and not db.get_unwritten_logs())
    log = path / "logs/0000/0000" / f"{build_id:04d}.txt.gz"
    assert gzip.decompress(log.read_bytes()) == b"built it"
    made = json.loads((path / "simple/spam/index.v1_json").read_bytes())
    assert made["versions"] == ["1.0"]
    [file] = made["files"]
    assert file["filename"] == WHEEL
    assert file["core-metadata"] == {"sha256": "cd" * 32}
    assert file["_apt-dependencies"] == ["libtin1"]
    page = (path / "project/Spam/index.html").read_text()
    assert "A &lt;b&gt;tin&lt;/b&gt;" in page
    assert f"../../logs/0000/0000/{build_id:04d}.txt.gz" in page
    assert "<em>Lovely</em>" in page
    about = json.loads((path / "project/spam/json/index.json").read_bytes())
    assert about["description"] == "A <b>tin</b>"  # an operator's overrides the summary
    assert (about["metadata"]["summary"], about["metadata"]["license"]) == ("Ham", "MIT")
    db.set_package_description("spam", "")
    assert db.get_summaries(["spam"], 200) == {"spam": "Ham"}
    until(lambda: b'"spam"' in (path / "simple/index.v1_json").read_bytes())

    db.delete_version("spam", "1.0")
    client.call(DeleteVersion("spam", "1.0"))
    assert not list((path / "simple/spam").iterdir())
    assert db.get_summaries(["spam"], 200) == {}
    assert json.loads((path / "project/spam/json/index.json").read_bytes())["metadata"] is None
    until(lambda: not db.get_logs_gone())
    assert not log.exists()
    client.call(WriteLog(build_id, "built it"))  # a request that was in flight
    client.call(DeleteVersion("spam", "1.0"))
    assert not log.exists()
    db.delete_package("spam")
    client.call(DeletePackage("spam"))
    assert not (path / "simple/spam").exists()
    assert list((path / "project").iterdir()) == []
    until(lambda: b"spam" not in (path / "simple/index.v1_json").read_bytes())


def test_a_dependency_is_a_link_while_it_has_a_page(site, db):
    path, client, _ = site
    page = path / "project/spam/index.html"
    linked = lambda: b'href="../eggs/"' in page.read_bytes()  # noqa: E731
    until(page.exists)
    assert not linked()
    db.add_new_package("eggs")
    client.call(RewritePages("PROJECT", "eggs"))
    until(linked)
    db.delete_package("eggs")
    client.call(DeletePackage("eggs"))
    until(lambda: not linked())
    until(lambda: not db.get_links_pending(1))
