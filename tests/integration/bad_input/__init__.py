"""Bad input is answered with a 4xx that says what is wrong, never with a 5xx, and nothing is written."""
