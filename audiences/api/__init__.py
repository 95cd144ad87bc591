"""REST of this app, one module a subject."""
