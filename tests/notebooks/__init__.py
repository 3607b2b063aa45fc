"""Checks of the workshop: its notebooks, its glossary, its links, and the room it needs."""
