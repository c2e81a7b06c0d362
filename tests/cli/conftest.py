"""The tiny notebooks' fixtures."""

from tiny_notebooks import tiny_home, write_stage

__all__ = ["tiny_home", "write_stage"]
