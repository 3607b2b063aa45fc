"""Speaks to a data holder; knows no notebook, no table, no disk."""
