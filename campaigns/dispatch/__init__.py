"""Sending: claim, call, record, each in a transaction of its own.

Rows are the truth and Celery only wakes workers: a touch is due when its row says so, and an attempt is
committed before the provider is called.
"""

from campaigns.dispatch.loop import Dispatched, dispatch_channel
from campaigns.dispatch.sweeping import sweep
from campaigns.dispatch.waking import tick

__all__ = ["Dispatched", "dispatch_channel", "sweep", "tick"]
