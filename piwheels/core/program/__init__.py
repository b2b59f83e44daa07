"""The frame of a program: options, help, terminal, locks, systemd, privileges."""
