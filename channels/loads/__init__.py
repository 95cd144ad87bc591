"""What can be loaded about channels: daily spend, wallet entries, balances, receipts. See :mod:`audiences.imports`."""
