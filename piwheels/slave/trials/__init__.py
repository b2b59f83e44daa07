"""Tries each wheel of a build: pip installs it, and a process of its own imports its modules.

Both happen in the sandbox of builds, without a network, in a folder that goes afterwards.
"""
