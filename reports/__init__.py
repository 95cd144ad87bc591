"""WHAT CAME BACK: coverage, attribution, lift, ledger, ROI, exports."""
