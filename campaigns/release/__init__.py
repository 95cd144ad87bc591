"""A plan becomes members, targets and touches."""

from campaigns.release.release import Released, admit, extend, open_for, present_of, release

__all__ = ["Released", "admit", "extend", "open_for", "present_of", "release"]
