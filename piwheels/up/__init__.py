"""``piw-up``: a whole farm on one machine, from the database to the web server, with one command.

Every part is a process of its own, the same program as in a large farm. piw-up starts them,
registers the versions to build, shows the progress, and stops them.
"""
