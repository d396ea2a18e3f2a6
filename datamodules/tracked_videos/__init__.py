"""Layouts of tracked videos, one reader per file; each gives a ``Video`` that ``data=monocular`` reads."""
