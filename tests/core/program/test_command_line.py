"""The options of the programs: where their values come from, and what is refused."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from piwheels.core.errors import Fatal
from piwheels.core.paths import address, runtime_dir
from piwheels.core.program import command_line
from piwheels.core.program.command_line import Common, duration, option, port_number


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Common):
    """Count the toys.

    Those under the bed
    count, too.
    """

    dsn: str = option("-d", default="postgresql:///toys", metavar="URL", help="the database")
    timeout: timedelta = option(
        "-t", default=timedelta(hours=3), help="the limit of 100% of builds"
    )
    python: list[Path] = option(default=[], help="interpreters")
    queue: str = option(default="ipc://{run}/x", help="the queue", parse=address)
    port: int = option(default=80, help="the port", parse=port_number)
    speed: int = option(default=1, choices=(0, 1), help="how fast")
    dev_mode: bool = option(default=False, help="develop")
    packages: list[str] = option(default=[], positional=True, metavar="PKG", help="packages")


@command_line.program(
    "piw-up",
    ToyConfig,
    [("piw-up six", "look"), (f"piw-up --dsn {'x' * 40} --queue ipc:///tmp/toys", "look there")],
)
def main(config: ToyConfig) -> int:
    """Do nothing but fail when asked to."""
    if config.dsn == "fail":
        raise Fatal("the toys are gone")
    return 0


def load(*args: str, **environ: str) -> ToyConfig:
    return command_line.load("piw-up", ToyConfig, args, {"HOME": "/nonexistent"} | environ)


def test_defaults_then_file_then_environment_then_flags(tmp_path):
    assert load().dsn == "postgresql:///toys"
    file = tmp_path / "x.toml"
    file.write_text(
        '[up]\ndsn = "file"\ntimeout = "1h30m"\ndev-mode = true\nport = 8\n[slave]\nx = 1\n'
    )
    config = load("-c", str(file), PIW_PORT="9")
    assert (config.dsn, config.timeout, config.dev_mode) == ("file", timedelta(minutes=90), True)
    assert config.port == 9
    assert load("-c", str(file), "--port", "10", PIW_PORT="9").port == 10
    assert load(PIW_CONFIG=str(file)).dsn == "file"


def test_defaults_are_converted_like_given_values():
    assert load().queue == f"ipc://{runtime_dir()}/x"
    assert load("--queue", "ipc://{run}/y").queue == f"ipc://{runtime_dir()}/y"


def test_lists_come_from_repeated_flags_commas_and_arrays(tmp_path):
    assert load("--python", "a", "--python", "b").python == [Path("a"), Path("b")]
    assert load(PIW_PYTHON="a, b").python == [Path("a"), Path("b")]
    file = tmp_path / "x.toml"
    file.write_text('[up]\npython = ["a"]\npackages = ["six"]\n')
    assert load("-c", str(file)).python == [Path("a")]
    assert load("-c", str(file)).packages == ["six"]
    assert load("-c", str(file), "wrapt").packages == ["wrapt"]


def test_all_mistakes_are_reported_together(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text('oops = 1\n[up]\nport = "many"\ncolour = 3\ndev_mode = 1\n')
    with pytest.raises(Fatal) as error:
        load("-c", str(file), PIW_TIMEOUT="soon")
    for word in ("oops", "port", "colour", "dev_mode", "PIW_TIMEOUT"):
        assert word in str(error.value)


@pytest.mark.parametrize("path", ["x" * 256, "a/" * 2100, "/tmp/" + "é" * 128])
def test_a_path_that_no_file_can_have_is_an_error(path):
    with pytest.raises(SystemExit), pytest.raises(Fatal, match="is too long for the name"):
        load("--python", path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "port = 70000",
            "port: '70000' is not a port: write a number up to 65535 (0: any free one)",
        ),
        ("speed = 2", "speed: '2' is not one of 0, 1"),
        ("speed = true", "speed: expected a whole number"),
        ("timeout = 0", "timeout: '0' is not a duration of up to a year"),
        ("dev-mode = 1", "dev-mode: expected true or false"),
        ("dsn = 1", "dsn: expected text"),
    ],
)
def test_a_file_is_checked_like_the_command_line(tmp_path, line, sentence):
    file = tmp_path / "x.toml"
    file.write_text(f"[up]\n{line}\n")
    with pytest.raises(Fatal) as error:
        load("-c", str(file))
    assert str(error.value) == f"{file}: [up] {sentence}"


@pytest.mark.parametrize("text", ["[up", "\xff", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    file = tmp_path / "x.toml"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(Fatal, match=r"x\.toml"):
        load("-c", str(file))


LOCKED = """
import os, sys
from piwheels.core.program.command_line import load
from piwheels.core.errors import Fatal
from piwheels.core.program.options import Common
load("piw-up", Common, [], {})  # imports what it needs, while it may
if os.geteuid() == 0:
    os.seteuid(65534)
environ = {"XDG_CONFIG_HOME": sys.argv[1]}
print(load("piw-up", Common, [], environ).config)
try:
    load("piw-up", Common, ["-c", sys.argv[1] + "/x.toml"], environ)
except Fatal as exc:
    print(exc)
"""


def test_an_unreadable_folder_is_an_error_only_if_it_was_named(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    command = [sys.executable, "-c", LOCKED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"None\n{folder}/x.toml: Permission denied\n", "")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--nonsense"], "no option --nonsense"),
        (["--dns", "x"], "no option --dns: did you mean --dsn?"),
        (["six", "--pord=8"], "no option --pord: did you mean --port?"),
        (["--dev"], "no option --dev: did you mean --dev-mode?"),
        (["--hiddem", "x"], "no option --hiddem"),
        (
            ["--port", "x"],
            "--port: 'x' is not a port: write a number up to 65535 (0: any free one)",
        ),
        (["--speed", "2"], "--speed: '2' is not one of 0, 1"),
        (["-d"], "-d/--dsn: expected one argument"),
        (
            ["--print-completion", "fish"],
            "--print-completion: 'fish' is not one of bash, zsh, tcsh",
        ),
        (["--dev-mode=3"], "--dev-mode: takes no value, but was given '3'"),
        (["-t", "soon"], "-t/--timeout: 'soon' is not a duration: write 90, 90s, 15m, 3h or 1h30m"),
        (["--port", "x" * 5000], f"--port: '{'x' * 991}"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_status_2(args, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        main(args)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"piw-up: {sentence} (see piw-up --help)\n"


def test_arguments_and_options_come_in_any_order():
    config = load("six", "--port", "9", "wrapt", "--dev-mode", "--", "-odd")
    assert (config.packages, config.port, config.dev_mode) == (["six", "wrapt", "-odd"], 9, True)


@dataclass(frozen=True, kw_only=True)
class WordConfig(Common):
    """Look at a toy, and maybe at one of its parts."""

    toy: str = option(positional=True, metavar="TOY", help="which")
    part: str = option(
        default="", positional=True, metavar="PART", help="which part of it", parse=str.upper
    )
    more: list[str] = option(default=[], positional=True, metavar="MORE", help="what more")


def test_required_and_optional_arguments(capsys):
    def words(*args: str) -> tuple[str, str, list[str]]:
        config = command_line.load("piw-add", WordConfig, args, {"HOME": "/nonexistent"})
        return config.toy, config.part, config.more

    assert words("duck") == ("duck", "", [])
    assert words("duck", "-v", "bill") == ("duck", "BILL", [])
    assert words("duck", "bill", "a", "-v", "b") == ("duck", "BILL", ["a", "b"])
    with pytest.raises(SystemExit):
        words("-v")
    assert "are required: TOY (see" in capsys.readouterr().err


def test_an_excess_argument_is_an_error(capsys):
    with pytest.raises(SystemExit):
        command_line.load("piw-initdb", Common, ["-v", "x"], {})
    assert "piw-initdb: too many arguments: 'x' (see" in capsys.readouterr().err


def test_an_error_is_one_sentence_and_status_1(capsys):
    assert main(["-d", "fail"]) == 1
    assert capsys.readouterr().err == "piw-up: the toys are gone\n"


def test_help_is_a_page_of_a_manual(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out == PAGE.format(run=runtime_dir())


PAGE = """\
piw-up - count the toys

Usage: piw-up [OPTION]... [PKG]...

Those under the bed count, too.

Arguments:
  PKG                       packages

Options:
  -d, --dsn URL             the database (default: postgresql:///toys)
  -t, --timeout TIMEOUT     the limit of 100% of builds (default: 3h)
      --python PYTHON       interpreters
      --queue QUEUE         the queue (default: ipc://{run}/x)
      --port PORT           the port (default: 80)
      --speed 0|1           how fast (default: 1)
      --dev-mode            develop

Common options:
  -c, --config FILE         read options from this TOML file too
  -q, --quiet               log only warnings and errors
  -v, --verbose             log debug messages too
  -l, --log-file FILE       write the log to this file too
  -h, --help                show this help and exit
      --version             show the version and exit
      --print-completion SHELL
                            write a completion script for bash, zsh or tcsh and
                            exit

Examples:
  piw-up six
      look
  piw-up --dsn xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx --queue \\
      ipc:///tmp/toys
      look there

Files and environment:
  /etc/piwheels.toml        the table [up] (with keys such as dsn)
  ~/.config/piwheels/piwheels.toml
                            the same table
  FILE of --config          the same table
  PIW_...                   the environment (PIW_DSN and so on)
  Later sources override earlier ones; the command line overrides them all.

Exit status:
  0 done, 1 refused or failed (standard error says why), 2 wrong command line
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("3h", 10800),
        ("1h30m", 5400),
        ("2 days", 172800),
        ("1 hour 5 min", 3900),
    ],
)
def test_durations(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "0", "3x", "3hh", "1e9", "9" * 40, "10 years", "500 days"]
)
def test_invalid_durations(text):
    with pytest.raises(ValueError, match="not a duration"):
        duration(text)
