"""`manage.py torture`: everything is killed at random under load, and what was sent is counted.

It has an installation of its own, in its own folder and on its own ports: the embedded PostgreSQL (durable),
the sandbox, the web, several workers and beat, each a process. What was sent is read from the sandbox's log,
joined by attempt, never from our tables.
"""
