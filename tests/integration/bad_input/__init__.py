"""What no client should send: answered with 4xx that says what is wrong, never with 5xx, and nothing is written."""
