"""The files of the data sets and their checksums, one family a file."""
