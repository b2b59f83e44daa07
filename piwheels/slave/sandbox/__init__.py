"""Confines a build: it sees the system, its interpreter and its own folder, and no other process.

:func:`~piwheels.slave.sandbox.choice.choose` returns the strongest sandbox that works here:
namespaces by bubblewrap, else Landlock, else none.
"""
