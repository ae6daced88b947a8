"""The contents of pages from the records: tables and the index."""
