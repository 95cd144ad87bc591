"""A plan becomes members, targets and touches."""

from campaigns.release.release import Released, admit, release

__all__ = ["Released", "admit", "release"]
