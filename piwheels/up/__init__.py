"""``piw-up``: a whole farm on one machine, from the database to the web server, with one command.

Every part is a process of its own, the same program that a large farm runs; piw-up starts them,
tells them what to build, shows what happens, and stops them.
"""
