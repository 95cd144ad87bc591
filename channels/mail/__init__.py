"""How an email is written, and how the reports about it are read."""
