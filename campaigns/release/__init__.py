"""A plan becomes members, targets and touches."""

from campaigns.release.release import Released, admit, extend, release

__all__ = ["Released", "admit", "extend", "release"]
