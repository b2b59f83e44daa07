"""The site's files are complete or absent, and never outside the site."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.errors import BadWheel, Fatal
from piwheels.master.site.files import Site

WHEEL = "Holy_Grail-1.0-py3-none-any.whl"


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "www", tmp_path / ".www.work")
    site.lock()
    yield site
    site.close()


def tree(site):
    return sorted(
        str(path.relative_to(site.root)) for path in site.root.rglob("*") if not path.is_dir()
    )


def leftovers(site):
    return [path.name for path in site.work.iterdir() if path.name not in ("lock", "layout")]


def test_a_wheel_is_published_with_its_metadata(site):
    tmp = site.temporary(".whl")
    tmp.write_bytes(b"wheel")
    site.publish(tmp, "Holy.Grail", WHEEL, b"Name: Holy.Grail\n")
    folder = site.project_dir("holy-grail")
    assert (folder / WHEEL).read_bytes() == b"wheel"
    assert (folder / f"{WHEEL}.metadata").read_bytes() == b"Name: Holy.Grail\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
    assert leftovers(site) == []


@pytest.mark.parametrize(
    ("package", "filename"),
    [
        ("other", WHEEL),
        ("holy-grail", "../Holy_Grail-1.0-py3-none-any.whl"),
        ("holy-grail", "holy_grail-1.0.tar.gz"),
        ("holy-grail", ".holy_grail-1.0-py3-none-any.whl"),
    ],
)
def test_a_wheel_of_another_name_is_refused(site, package, filename):
    tmp = site.temporary()
    with pytest.raises(BadWheel):
        site.publish(tmp, package, filename, b"")
    assert tree(site) == []


def test_unchanged_files_are_not_written(site):
    page = site.project_dir("spam") / "index.html"
    assert site.write(page, b"one")
    before = page.stat()
    assert not site.write(page, b"one")
    assert page.stat().st_ino == before.st_ino
    assert site.write(page, b"two")
    assert page.read_bytes() == b"two"
    assert leftovers(site) == []


def test_a_failed_write_changes_nothing(site):
    page = site.root / "index.html"
    (page / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        site.write(page, b"one")
    assert leftovers(site) == []


@given(name=st.one_of(st.text(), st.sampled_from(["..", "../x", "/etc", "a/b", "", "x\0", "."])))
def test_no_name_leads_outside_the_site(tmp_path_factory, name):
    base = tmp_path_factory.getbasetemp() / "guard"
    site = Site(base / "www", base / ".work")
    for place in (site.project_dir, site.page_dir):
        try:
            path = place(name)
        except ValueError:
            continue
        assert path.parent.parent == site.root
        assert path.name not in {"", ".", ".."}
    for path in (site.root / ".." / "x", site.root, site.root / "simple" / ".." / ".." / "x"):
        with pytest.raises(ValueError, match="not inside"):
            site.write(path, b"")


def test_a_link_out_of_the_site_is_not_followed(site, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (site.root / "simple").mkdir()
    (site.root / "simple" / "spam").symlink_to(outside)
    with pytest.raises(ValueError, match="not inside"):
        site.write(site.project_dir("spam") / "index.html", b"")
    assert list(outside.iterdir()) == []


def test_logs_are_found_by_number_and_equal_for_equal_text(site):
    folder = site.write_log(123456789, "hällo\n")
    path = site.root / "logs/0001/2345/6789.txt.gz"
    assert path.parent == folder
    assert gzip.decompress(path.read_bytes()).decode() == "hällo\n"
    site.write_log(1, "hällo\n")
    assert site.log_path(1).read_bytes() == path.read_bytes()
    for number in (-1, 10**12):
        with pytest.raises(ValueError, match="not the number"):
            site.log_path(number)


def test_links_are_replaced_only_if_they_differ(site):
    folder = site.project_dir("spam")
    site.write(folder / "index.html", b"page")
    assert site.link(folder / "index.v1_html", "index.html")
    assert not site.link(folder / "index.v1_html", "index.html")
    assert (folder / "index.v1_html").read_bytes() == b"page"
    with pytest.raises(ValueError, match="not a file name"):
        site.link(folder / "x", "../../secret")


def test_aliases_link_to_the_page_and_are_removed_with_it(site):
    site.write(site.page_dir("holy-grail") / "index.html", b"page")
    assert site.link_alias("holy-grail", "Holy.Grail")
    assert not site.link_alias("holy-grail", "holy-grail")
    assert (site.root / "project/Holy.Grail/index.html").read_bytes() == b"page"
    assert [path.name for path in site.aliases_of("holy-grail")] == ["Holy.Grail"]
    for alias in ("..", "a/b", ""):
        with pytest.raises(ValueError, match="not the name"):
            site.link_alias("holy-grail", alias)


def test_a_folder_is_removed_atomically(site):
    site.write(site.project_dir("spam") / "index.html", b"page")
    assert site.remove_folder(site.project_dir("spam"))
    assert not site.remove_folder(site.project_dir("spam"))
    assert tree(site) == leftovers(site) == []


def test_files_of_a_version_are_found_by_normalised_version(site):
    names = ["spam-1.0-py3-none-any.whl", "spam-1.0.0-cp311-cp311-linux_armv7l.whl"]
    for name in [*names, "spam-1.0.1-py3-none-any.whl"]:
        for suffix in ("", ".metadata"):
            site.write(site.project_dir("spam") / f"{name}{suffix}", b"")
    site.write(site.project_dir("spam") / "index.html", b"")
    found = [path.name for path in site.files_of("spam", "1.0")]
    assert found == sorted([*names, *(f"{name}.metadata" for name in names)])
    assert site.files_of("eggs", "1.0") == []


def test_a_second_master_is_refused_and_changes_nothing(site):
    tmp = site.temporary()
    second = Site(site.root, site.work)
    with pytest.raises(Fatal, match="another master"):
        second.lock()
    assert tmp.exists()


def test_temporary_files_of_a_killed_master_are_removed(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from piwheels.master.site.files import Site\n"
        "site = Site(Path(sys.argv[1]), Path(sys.argv[2])); site.lock(); site.temporary('.whl')\n"
        "os.kill(os.getpid(), 9)"
    )
    args = [sys.executable, "-c", script, str(tmp_path / "www"), str(tmp_path / "work")]
    assert subprocess.run(args, check=False).returncode == -9
    assert len(list((tmp_path / "work").iterdir())) == 2
    site = Site(tmp_path / "www", tmp_path / "work")
    site.lock()
    assert leftovers(site) == []
    site.close()


def test_an_unwritable_folder_gives_a_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    site = Site(tmp_path / "file" / "www", tmp_path / "file" / "work")
    with pytest.raises(Fatal, match=r"cannot write to .*--output-path"):
        site.lock()


def test_another_file_system_gives_a_clear_error(tmp_path):
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:  # noqa: PTH112, PTH116
        pytest.skip("this machine has one file system only")
    from pathlib import Path  # noqa: PLC0415

    work = Path("/dev/shm") / f"piwheels-test-{os.getpid()}"
    try:
        with pytest.raises(Fatal, match="different file systems"):
            Site(tmp_path / "www", work).lock()
    finally:
        work.rmdir()


def test_a_log_is_read_as_it_was_written(site):
    assert site.read_log(7) is None
    assert site.read_log(-1) is None
    site.write_log(7, "one\r\ntwo \u20ac\n")
    assert site.read_log(7) == "one\r\ntwo \u20ac\n"


@pytest.mark.parametrize("what", ["link", "folder", "fifo", "text", "cut", "huge"])
def test_other_files_are_not_read_as_logs(site, what):
    path = site.write_log(7, "log" * 1000) / site.log_path(7).name
    data = path.read_bytes()
    path.unlink()
    match what:
        case "link":
            path.symlink_to(__file__)
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "text":
            path.write_text("no gzip")
        case "cut":
            path.write_bytes(data[:-12])
        case "huge":
            path.touch()
            os.truncate(path, 2**31)
    with pytest.raises(OSError, match=r"."):
        site.read_log(7)


def test_no_log_is_read_outside_the_site(site, tmp_path):
    outside = tmp_path / "outside/0000/0000"
    outside.mkdir(parents=True)
    (outside / "0007.txt.gz").write_bytes(gzip.compress(b"secret"))
    (site.root / "logs").symlink_to(tmp_path / "outside")
    assert site.read_log(7) is None


def test_long_pages_have_a_compressed_copy(site):
    page = site.root / "index.html"
    copy = page.with_name("index.html.gz")
    assert site.write_pages({page: b"long" * 1000})
    assert gzip.decompress(copy.read_bytes()) == b"long" * 1000
    assert not site.write_pages({page: b"long" * 1000}), "equal"
    copy.write_bytes(b"damaged")
    assert site.write_pages({page: b"long" * 1000})
    assert gzip.decompress(copy.read_bytes()) == b"long" * 1000
    site.link_page(page.with_name("index.v1_html"), "index.html")
    assert page.with_name("index.v1_html.gz").readlink() == Path("index.html.gz")
    assert site.write_pages({page: b"short"})
    site.link_page(page.with_name("index.v1_html"), "index.html")
    assert sorted(path.name for path in site.root.iterdir()) == ["index.html", "index.v1_html"]


def test_a_page_is_removed_with_its_copy(site):
    page = site.root / "index.html"
    site.write_pages({page: b"long" * 1000})
    site.remove_page(page)
    assert list(site.root.iterdir()) == []
