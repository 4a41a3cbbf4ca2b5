"""Interchange: what nolr writes for later, for others, and for itself."""

from nolr.interchange.run_file import RunFile, read_run, write_run

__all__ = ["RunFile", "read_run", "write_run"]
