"""Notebook files of any origin and format, read as one of today's."""
