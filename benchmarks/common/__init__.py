"""Code that several topics share: networks, timing, tables, records, plots."""
