"""CSV files of reports, as all of them are made."""

from audiences.csv_file import cell, csv_response, lines

__all__ = ["cell", "csv_response", "lines"]
