"""The `pacioli` command and everything that an operator runs with it."""
