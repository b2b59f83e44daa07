"""Complete farms as processes, with an index that the test serves."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest

from helpers import (
    PROJECT,
    QuietHandler,
    free_port,
    list_files,
    patience,
    until,
    wheel_bytes,
    write_sdist,
)
from hostile import house
from piwheels.up import site
from piwheels.up.__main__ import main

# A build backend that uses only the standard library. about.txt controls what it builds.
BACKEND = """
import base64, hashlib, os, sys, time, zipfile

def row(name, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return "%s,sha256=%s,%d\\n" % (name, digest, len(text.encode()))

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name, version, tag, wait, needs = open("about.txt").read().split(" ")
    print("building", name, flush=True)
    if tag == "broken":
        raise SystemExit("this cannot be built")
    tag = tag.replace("native", "cp%d%d-cp%d%d-linux_x86_64" % (sys.version_info[:2] * 2))
    while os.path.exists(wait):
        time.sleep(0.1)
    stem = "%s-%s" % (name, version)
    info = stem + ".dist-info/"
    meta = "Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n" % (name, version)
    meta += "Requires-Dist: %s\\n" % needs if needs else ""
    wheel = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: %s\\n" % tag
    files = {name + ".py": "answer = 42\\n", info + "METADATA": meta, info + "WHEEL": wheel}
    record = "".join(row(*each) for each in files.items()) + info + "RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, stem + "-" + tag + ".whl"), "w") as file:
        for each, text in {**files, info + "RECORD": record}.items():
            file.writestr(each, text)
    return stem + "-" + tag + ".whl"
"""


def add_source(index, name, version, tag, wait="-", *, needs="", requires="", has_wheel=False):
    about = f"{name} {version} {tag} {wait} {needs}"
    folder = index / "simple" / name
    folder.mkdir(parents=True, exist_ok=True)
    # It imports what its build requires.
    files = {"backend.py": BACKEND + (f"import {requires}\n" if requires else "")}
    files["pyproject.toml"] = PROJECT.replace("[]", f'["{requires}"]' if requires else "[]")
    write_sdist(folder, name, version, {**files, "about.txt": about})
    if has_wheel:
        (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(wheel_bytes(name, version))
    list_files(index, name, *(path.name for path in folder.glob(f"{name}-*")))


@pytest.fixture(scope="module")
def place(short_dir):
    """A folder with an index of sdists, and the address of the index."""
    index, flag = short_dir / "index", short_dir / "flags/wait"
    flag.parent.mkdir()
    add_source(index, "toy", "1.0", "py3-none-any")
    add_source(index, "metal", "2.0", "native", needs="ore<2")
    add_source(index, "ore", "1.5", "py3-none-any")
    add_source(index, "ore", "2.0", "py3-none-any")
    add_source(index, "broken", "3.0", "broken")
    add_source(index, "slow", "4.0", "native", str(flag))
    for folder, _, _ in os.walk(index):
        Path(folder).chmod(0o755)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(index)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield short_dir, f"http://127.0.0.1:{server.server_port}/simple/"
    server.shutdown()
    server.server_close()
    thread.join()


class Up:
    """A piw-up that runs in *home*. Its output is in files next to *home*."""

    def __init__(self, place, home, *args, prefix=(), **more):
        folder, index = place
        keep = {n: v for n, v in os.environ.items() if not n.startswith(("PIW_", "PIP_", "UV_"))}
        env = {**keep, "PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "*"}
        env |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        env["PIW_NO_BOARDS"] = "1"  # other farms may have the ports
        env["PKG_CONFIG_PATH"] = str(folder / "flags")  # a build sees what its variables name
        if root := os.environ.get("PIW_ALLOW_ROOT"):
            env["PIW_ALLOW_ROOT"] = root
        env |= more
        self.home = home
        self.out, self.err = folder / f"{home.name}.out", folder / f"{home.name}.err"
        command = [*prefix, sys.executable, "-P", "-m", "piwheels.up", f"--dir={home}", "--port=0"]
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*command, *args], env=env, stdout=out, stderr=err, cwd="/"
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def until(self, pattern, limit=40.0):
        """Wait until *pattern* occurs in the output, and return the match."""
        deadline = time.monotonic() + patience(limit)
        while time.monotonic() < deadline:
            output = self.out.read_text() + self.err.read_text()
            if match := re.search(pattern, output, re.MULTILINE):
                return match
            assert self.process.poll() is None, output
            time.sleep(0.05)
        raise AssertionError(f"{pattern} is not in the output:\n{output}")

    def end(self, limit=40.0):
        """Wait for the end, and return the exit status."""
        try:
            return self.process.wait(patience(limit))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.err.read_text()}") from None

    def processes(self):
        """Return the pids of the farm's processes that are alive, by command."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.home) in command and int(path.parent.name) != self.process.pid:
                found[command] = int(path.parent.name)
        return found

    def kill(self, words, sign=signal.SIGKILL):
        """Send *sign* to the farm's process whose command has *words*; return its pid."""
        (pid,) = [pid for command, pid in self.processes().items() if words in command]
        os.kill(pid, sign)
        return pid

    def wait_until_clean(self, limit=15.0):
        deadline = time.monotonic() + patience(limit)
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)
        assert not list((self.home / "build").iterdir())
        assert [p.name for p in (self.home / ".www.work").iterdir() if p.name != "layout"] == [
            "lock"
        ]


def test_a_new_farm_builds_wheels_that_pip_installs_and_new_releases(place, tmp_path):
    index, home = place[0] / "index", place[0] / "one"
    add_source(index, "late", "1.0", "py3-none-any")
    (late,) = (index / "simple/late").glob("*.tar.gz")
    hidden = late.rename(index / late.name)
    list_files(index, "late", "late-1.0-py3-none-any.whl")
    named = "toy", "metal==2.0", "broken", "late"
    with Up(place, home, *named, PIW_POLL_EVERY="1s") as up:
        command = up.until(r"^pip install .*$")[0].split()
        assert command[:3] == ["pip", "install", "--index-url"]
        assert command[4:] == ["toy", "metal==2.0"]
        report = up.out.read_text()
        assert re.search(
            r"^toy +1\.0 +cp\d+t? +built +\d+\.\d +toy-1\.0-py3-none-any.whl", report, re.M
        )
        assert re.search(r"^metal +2\.0 +cp\d+t? +built +\d+\.\d +metal-2.0-cp", report, re.M)
        assert re.search(r"^broken +3\.0 +cp\d+t? +failed +\d+\.\d$", report, re.M)
        assert re.search(r"^late +no source distribution$", report, re.M)
        why = r"^broken 3.0 for cp\d+t?: .*this cannot be built(\n  .*)*\n +http://"
        assert re.search(why, report, re.M), report
        assert "ore: needed by metal\n" in report
        metal = home / "www/project/metal/index.html"  # written before ore had a page
        until(lambda: 'href="../ore/"' in metal.read_text())
        page = (home / "www/project/toy/index.html").read_text()
        assert f"--index-url <var>{command[3].removesuffix('/simple/')}</var>/simple/ toy" in page
        options = [f"--target={tmp_path}", "--no-cache-dir", "--only-binary=:all:"]
        pip = [sys.executable, "-I", "-m", "pip", "--isolated", *command[1:], *options]
        subprocess.run(pip, check=True, capture_output=True, timeout=patience(60))
        assert (tmp_path / "toy.py").read_text() == (tmp_path / "metal.py").read_text()
        assert (tmp_path / "ore-1.5.dist-info").is_dir()
        # The projects without a version are watched.
        up.until(r"watching toy, broken, late: their new releases are built, too$")
        for program in ("master", "slave", "serve"):  # docs/operations.md: Log files
            up.kill(f"-m piwheels.{program}", signal.SIGHUP)
        add_source(index, "metal", "2.1", "py3-none-any")
        add_source(index, "toy", "1.1", "py3-none-any")
        hidden.rename(late)
        list_files(index, "late", late.name)
        site = home / "www/simple"
        until(lambda: "toy-1.1-py3-none-any.whl" in (site / "toy/index.html").read_text(), 40)
        until((site / "late/late-1.0-py3-none-any.whl").exists, 40)
        assert "was killed" not in up.err.read_text()
        assert "metal-2.1" not in (site / "metal/index.html").read_text()
        with Up(place, home, "toy") as second:
            assert second.end() == 1
            assert "is running already" in second.err.read_text()
        up.process.send_signal(signal.SIGINT)
        assert up.end() == 0
        up.wait_until_clean(0.0)
    assert "toy 1.1 is a new upstream release" in (home / "log/master.log").read_text()
    # A second start continues where the first stopped: nothing is built again.
    named = "toy==1.0", "metal==2.0", "broken==3.0", "missing"
    with Up(place, home, "--once", "--json", *named) as up:
        assert up.end() == 1  # broken 3.0 cannot be built
        assert "building" not in up.err.read_text()
        lines = [json.loads(line) for line in up.out.read_text().splitlines()]
        rows = [each for each in lines if each["event"] == "result"]
        assert [(each["package"], each["version"], each["result"]) for each in rows] == [
            ("toy", "1.0", "built"), ("metal", "2.0", "built"), ("broken", "3.0", "failed"),
            ("missing", "", "not found"),
        ]  # fmt: skip
        assert rows[2]["message"]
        assert "/logs/" in rows[2]["log"]
        assert [each["package"] for each in lines if each["event"] == "refused"] == ["missing"]
        assert lines[-1]["install"].endswith("/simple/ toy==1.0 metal==2.0")
        up.wait_until_clean(0.0)


def test_a_farm_survives_the_death_of_each_of_its_processes_in_mid_build(place):
    home, flag = place[0] / "two", place[0] / "flags/wait"
    flag.touch()
    with Up(place, home, "--once", "slow==4.0") as up:
        up.until(r"building slow 4\.0")
        until(lambda: len(up.processes()) >= 5)
        up.process.kill()
        up.process.wait()
        up.wait_until_clean()
    # The next start continues. Each process that dies is started again, and the build ends.
    with Up(place, home, "slow==4.0") as up:
        up.until(r"building slow 4\.0")
        first = up.kill("-m piwheels.master")
        up.until(
            r"^\d.*piw-master was killed by signal 9: starting it again in 1 s; the end of .*:$"
        )
        assert "listening for slaves" in up.err.read_text()
        up.until("started piw-master again")
        assert up.kill("/postgres -D") != first
        up.until("PostgreSQL has ended: starting it again in 1 s; the end of")
        up.until("started PostgreSQL again")
        up.kill("-m piwheels.serve")
        flag.unlink()
        # The build continues, and the site is served again.
        address = up.until(r"^pip install --index-url (\S+)/simple/ slow==4.0$", 90)[1]
        up.until("started piw-serve again")
        until(lambda: is_served(f"{address}/simple/slow/"), 20)
        assert (home / "log/master.log").read_text().count("built slow 4.0") == 1
        up.process.send_signal(signal.SIGINT)
        assert up.end() == 0
        up.wait_until_clean(0.0)


def install(command, folder):
    """Install by the command that piw-up prints, into *folder*; return the names there."""
    options = [f"--target={folder}", "--no-cache-dir", "--only-binary=:all:"]
    pip = [sys.executable, "-I", "-m", "pip", "--isolated", *command.split()[1:], *options]
    subprocess.run(pip, check=True, capture_output=True, timeout=patience(60))
    return sorted(path.name for path in folder.glob("*.dist-info"))


def test_a_lock_file_becomes_an_index_of_its_own(place, tmp_path):
    index, home = place[0] / "index", place[0] / "lock"
    add_source(index, "app", "1.0", "native", needs="part<2", requires="tool")
    add_source(index, "part", "1.5", "py3-none-any", has_wheel=True)
    add_source(index, "part", "2.0", "py3-none-any")
    add_source(index, "tool", "1.0", "py3-none-any", requires="base")
    add_source(index, "base", "1.0", "py3-none-any")
    add_source(index, "egg", "1.0", "py3-none-any", requires="hen", has_wheel=True)
    add_source(index, "hen", "1.0", "py3-none-any", requires="egg", has_wheel=True)
    add_source(index, "split", "1.0", "broken", has_wheel=True)
    add_source(index, "fragile", "1.0", "py3-none-any", requires="split", has_wheel=True)
    wanted = place[0] / "requirements.txt"
    wanted.write_text("app\negg==1.0\nforge @ git+https://git.example/forge\nfragile\n")
    options = "-r", str(wanted), "--from-source=all"
    with Up(place, home, *options) as up:
        command = up.until(r"^pip install .* --require-hashes -r .*$", 180)[0]
        report, said = up.out.read_text(), up.err.read_text()
        for row in ("app +1.0", "part +1.5", "egg +1.0", "tool +1.0", "base +1.0"):
            assert re.search(rf"^{row} +cp\d+t? +built ", report, re.M), report
        assert re.search(r"^hen +1\.0 +cp\d+t? +upstream wheel +hen-1\.0-py3", report, re.M)
        assert "hen-1.0-py3-none-any.whl, because egg 1.0, hen 1.0 need each other" in said
        assert "forge @ git+https://git.example/forge: not from the index" in report
        assert "fragile==1.0: not built: it needs split 1.0 for its build, which is not" in report
        order = [said.index(f"registered {name}") for name in ("base", "tool", "app")]
        assert order == sorted(order)
        for name, need in (("app", "tool"), ("tool", "base"), ("egg", "hen")):
            page = (home / f"www/project/{name}/index.html").read_text()
            assert f"{command.split()[3]}{need}/{need}-1.0-py3-none-any.whl" in page
            assert f"{place[1]}{name}/{name}-1.0.tar.gz" in page
        names = install(command, tmp_path)
        assert names == ["app-1.0.dist-info", "egg-1.0.dist-info", "part-1.5.dist-info"]
        up.process.send_signal(signal.SIGINT)
        assert up.end() == 0


def test_a_lock_file_takes_upstream_wheels_and_checks_hashes(place, tmp_path):
    index, home = place[0] / "index", place[0] / "hashed"
    add_source(index, "whole", "1.0", "py3-none-any", has_wheel=True)
    add_source(index, "raw", "1.0", "py3-none-any")
    add_source(index, "false", "1.0", "py3-none-any")
    add_source(index, "sly", "1.0", "py3-none-any", has_wheel=True)
    at_start = wheel_bytes("sly", "1.0", files=[("sly.pth", b"import os")])
    (index / "simple/sly/sly-1.0-py3-none-any.whl").write_bytes(at_start)
    files = "whole-1.0-py3-none-any.whl", "raw-1.0.tar.gz", "sly-1.0-py3-none-any.whl"
    hashes = [
        hashlib.sha256(next(index.glob(f"simple/*/{name}")).read_bytes()).hexdigest()
        for name in (*files, "sly-1.0.tar.gz")
    ]
    wanted, made = place[0] / "hashed.txt", place[0] / "pylock.toml"
    lines = (f"whole==1.0 --hash=sha256:{hashes[0]}", f"raw==1.0 --hash=sha256:{hashes[1]}")
    bad = f"false==1.0 --hash=sha256:{'0' * 64}", f"absent==1.0 --hash=sha256:{'0' * 64}"
    sly = f"sly==1.0 --hash=sha256:{hashes[2]} --hash=sha256:{hashes[3]}"
    wanted.write_text("\n".join([*lines, *bad, sly]))
    options = "-r", str(wanted), f"--lock-file={made}"
    with Up(place, home, "--once", *options) as up:
        assert up.end(90) == 1
    report = up.out.read_text()
    assert re.search(r"^whole +1\.0 +cp\d+t? +upstream wheel +whole-1", report, re.M)
    assert re.search(r"^raw +1\.0 +cp\d+t? +built ", report, re.M)
    assert "the farm refused the upstream wheel sly-1.0-py3-none-any.whl: " in up.err.read_text()
    assert re.search(r"^sly +1\.0 +cp\d+t? +built ", report, re.M)
    assert "false==1.0: not built: its source has the hash " in report
    assert "absent==1.0: not built: Could not find a version that satisfies" in report
    assert not (home / "www/simple/false").exists()
    text = made.read_text()
    assert text.startswith("# missing: false==1.0: not built: its source has the hash ")
    assert hashes[0] in text
    # The wheels of before are those of the lock file, or not.
    wanted.write_text("\n".join([lines[0], bad[0].replace("false", "raw")]))
    with Up(place, home, "--once", "--port", str(free_port()), *options) as up:
        assert up.end(90) == 1
    report = up.out.read_text()
    assert re.search("^raw==1.0: not built: no file that raw-1.0-.* has a hash", report, re.M)
    assert re.search(r"^whole +1\.0 +cp\d+t? +upstream wheel +whole-1", report, re.M)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("six==1 and more", "line 1: 'six==1 and more' is no requirement"),
        ("ore<2\nmetal==2.0\nore==2.0", "line 3: ore==2.0, but before ore<2"),
        ("metal==2.0\nore==2.0", "cannot be satisfied together: Cannot install"),
    ],
)
def test_a_wrong_lock_file_starts_no_farm(place, text, sentence):
    home, wanted = place[0] / "wrong", place[0] / "wrong.txt"
    wanted.write_text(text)
    with Up(place, home, "--once", "-r", str(wanted)) as up:
        assert up.end(60) == 1
    said = up.err.read_text()
    assert sentence in said, said
    assert said.count("\n") == 1
    assert not (home / "postgres").exists()


def is_served(url):
    with contextlib.suppress(OSError), urlopen(url, timeout=5) as page:  # noqa: S310 (it is http)
        return page.status == 200
    return False


@pytest.mark.parametrize(
    ("wrong", "end"),
    [
        ("toy>=1", (2, "PACKAGE: 'toy>=1' is neither NAME nor NAME==VERSION")),
        ("--emulate=vax", (2, "--emulate: 'vax' cannot be emulated: choose among arm64,")),
        ("-r=x --from-source=all --emulate=armhf", (2, "--from-source all is for this machine")),
        ("--python=/nowhere/python", (1, "there is no interpreter /nowhere/python")),
    ],
)
def test_wrong_usage_gives_an_error_message(wrong, end, tmp_path, monkeypatch, capsys):
    status, sentence = end
    monkeypatch.setenv("PIW_ALLOW_ROOT", "1")
    try:
        code = main([f"--dir={tmp_path / 'home'}", "--port=0", *wrong.split()])
    except SystemExit as exc:
        code = exc.code
    assert code == status
    assert capsys.readouterr().err.startswith(f"piw-up: {sentence}")
    assert not (tmp_path / "home").exists()


def test_a_board_joins_by_the_line_that_piw_up_prints(place, tmp_path):
    home, slave, file = place[0] / "boards", free_port(), free_port()
    queues = f"--slave-queue=tcp://*:{slave}", f"--file-queue=tcp://*:{file}"
    with Up(place, home, *queues, "toy==1.0", PIW_NO_BOARDS="") as up:
        line = up.until(r"by this command:\n +(piw-slave --master (\S+) .*--join \S+)$")
        words = line[1].replace(line[2], "127.0.0.2").split()[1:]  # an address of another machine
        command = [sys.executable, "-P", "-m", "piwheels.slave", *words, "--label=board"]
        env = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        log = tmp_path / "log"
        with log.open("w") as output, subprocess.Popen(command, env=env, stderr=output) as board:
            until(lambda: "welcomed by the master at tcp://127.0.0.2" in log.read_text(), 30)
            board.terminate()
        up.until("the site is at")
        again = subprocess.run(
            [*command, f"--key={tmp_path}/second"], env=env, capture_output=True, text=True,
            timeout=patience(60), check=False,
        )  # fmt: skip
        assert "invitation" in again.stderr


HOSTILE = """
import json, sys
def build_wheel(*_, **__):
    runner, *sys.argv[1:] = json.load(open("attacks.json"))
    exec(runner, {})
    raise SystemExit("this cannot be built")
"""


@pytest.mark.parametrize("own_user", [False, True], ids=["one user", "own user"])
def test_attacks_from_inside_a_build_on_its_farm_are_stopped(
    place, short_dir, monkeypatch, own_user
):
    if own_user and os.geteuid() != 0:
        pytest.skip("only a farm that root starts has a user of its own for builds")
    monkeypatch.delenv("CHAMELEON_CACHE", raising=False)  # other users may not read it
    home = short_dir / f"attacked{own_user:d}"
    ordinary = sys.executable, "-m", "piwheels.core.program.privileges"
    prefix = () if own_user or os.geteuid() else ordinary
    attacks = house.attacks(home)
    if prefix:  # it becomes the user that the prefix makes
        subprocess.run([*prefix, "true"], env={**os.environ, "PIW_ALLOW_ROOT": ""}, check=True)
        home.mkdir()
        shutil.chown(home, "piw")
    index = place[0] / "index"
    for number, sandbox in enumerate(("none", "landlock", "bwrap")):
        files = {"backend.py": HOSTILE, "attacks.json": json.dumps(attacks)}
        (index / "simple/hostile").mkdir(exist_ok=True)
        write_sdist(index / "simple/hostile", "hostile", f"{number}.0", files)
        names = [path.name for path in (index / "simple/hostile").glob("*.tar.gz")]
        list_files(index, "hostile", *names)
        options = (
            f"--sandbox={sandbox}",
            f"--slave-queue=tcp://127.0.0.1:{free_port()}",
            "--once",
            "--no-deps",
        )
        version = f"{number}.0"
        with Up(
            place, home, *options, f"hostile=={version}", prefix=prefix, PIW_ALLOW_ROOT=""
        ) as up:
            assert up.end() == 1
            said = up.err.read_text()
        about = json.loads((home / "www/project/hostile/json/index.json").read_text())
        build = about["releases"][version]["builds"][0]["build_id"]  # others may follow
        log = {line.strip() for line in site.read_log(home / "www", build).splitlines()}
        assert "this cannot be built" in log, said
        mode = sandbox + "+" * own_user
        succeeded = {each.name for each in house.ATTACKS if each.name in log}
        assert succeeded == {each.name for each in house.ATTACKS if mode in each.works}, mode
        assert ("not separated: " in said) == bool(succeeded)
        assert ("as the user piw-build" in said) == own_user
