"""The machine: its interpreters, pip, processes, and an embedded PostgreSQL."""
