"""Follows the upstream index by its changelog or its pages, and fetches both."""
