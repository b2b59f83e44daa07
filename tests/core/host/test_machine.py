from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from piwheels.core.host.machine import disk_space, machine, slave_stats

NOW = datetime(2024, 1, 2, tzinfo=UTC)


def test_this_machine() -> None:
    stats = slave_stats(Path("/"), NOW)
    assert stats.timestamp == NOW
    assert 0 < stats.disk_size >= stats.disk_free
    assert 0 < stats.mem_size >= stats.mem_free > 0
    assert machine().os_name


def test_a_board(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "sys/class/thermal/thermal_zone0").mkdir(parents=True)
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("48312\n")
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\n\nRevision\t: c03114\nSerial\t\t: 10ab\n"
    )
    (tmp_path / "proc/meminfo").write_text("MemTotal:  100 kB\nMemAvailable: 40 kB\nHugePages: 3\n")
    stats = slave_stats(tmp_path, NOW, tmp_path)
    assert (stats.mem_size, stats.mem_free, stats.swap_size) == (102400, 40960, 0)
    assert stats.cpu_temp == 48.312
    assert machine(tmp_path)[2:] == ("c03114", "10ab")
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\n")
    (tmp_path / "proc/device-tree/serial-number").write_bytes(b"99ff\0")
    assert machine(tmp_path)[2:] == ("", "99ff")


def test_a_machine_without_information(tmp_path: Path) -> None:
    stats = slave_stats(tmp_path / "none", NOW, tmp_path)
    assert stats[1:7] == (0,) * 6
    assert stats.cpu_temp == 0
    assert disk_space(tmp_path / "none") == (0, 0)
