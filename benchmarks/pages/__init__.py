"""What the pages show of the records: tables and the index."""
