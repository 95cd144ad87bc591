"""Campaigns that ran elsewhere: import kinds ``campaigns``, ``touches`` and ``responses``.

Being built at this moment by the lead. LIFE founder: do not write this package; go on with the rest.
"""
