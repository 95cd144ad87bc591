"""PLAN AND RUN: lifecycle, frequency and budgets, planner, members, touches, dispatch, responses."""
