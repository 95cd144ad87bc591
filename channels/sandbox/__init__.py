"""The sandbox: the far sides of our adapters, in one process, and people who react behind them.

It stands for the providers. So it imports nothing of ours but the WeCom envelope, never touches our database,
speaks the vendors' own protocols, and tells only what the real platform would tell. Start it with
``manage.py sandbox``, or inside a test with :class:`channels.sandbox.server.Sandbox`; see docs/sandbox.md.
"""
