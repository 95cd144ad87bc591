"""REST of channels: accounts, rules, inbox, money, audiences. Paths are in ``channels/api_urls.py``."""
