"""Keys without a database."""
