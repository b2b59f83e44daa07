"""What every program has: options, help, a terminal, locks, systemd, and the way to MrChase."""
