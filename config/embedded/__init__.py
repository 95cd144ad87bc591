"""The PostgreSQL backend of Django that starts the embedded server before the first connection."""
