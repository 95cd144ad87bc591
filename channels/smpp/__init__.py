"""SMPP 3.4 as a client: one bound session with a window, and what it brings in."""
