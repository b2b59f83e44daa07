"""The upstream index: its changelog, its pages, and how both are fetched."""
