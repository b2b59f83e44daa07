"""The tasks of a master that write the site, for tests of what they write."""

import json
from contextlib import contextmanager, suppress

from helpers import own_config, patience, until
from piwheels.core.database import Database
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import TheOracle
from piwheels.master.the_scribe import TheScribe
from piwheels.master.the_secretary import TheSecretary


@contextmanager
def scribes(site, dsn):
    """Run the tasks that write the site."""
    config = own_config(dsn=dsn, output_path=site, dev_mode=True)
    tasks = [Seraph(config), TheOracle(config), TheScribe(config), TheSecretary(config)]
    for task in tasks:
        task.start()
    yield
    for task in reversed(tasks):
        task.quit()
        task.join(patience(10))
    assert [task.failure for task in tasks] == [None] * len(tasks)


def listed(root):
    """Return the projects in the JSON *root* of an index (``None``: there is none)."""
    with suppress(OSError, ValueError):
        return [each["name"] for each in json.loads(root.read_bytes())["projects"]]
    return None


def write_pages(site, dsn):
    """Start the tasks, and wait until they have written all pages and logs that are pending."""
    root = [site / name for name in ("index.html", "feed.atom", "simple/index.html")]
    with Database(dsn) as db:
        names = db.get_simple_index()

        def whole():
            return all(page.exists() for page in root) and (
                listed(site / "simple/index.v1_json") == names
            )

        with scribes(site, dsn):
            until(lambda: not db.load_rewrites_pending() and not db.get_logs_gone(), 30)
            until(lambda: not db.get_unwritten_logs(1) and whole(), 30)
