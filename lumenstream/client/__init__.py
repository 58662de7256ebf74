"""A client of the API for Python programs."""
