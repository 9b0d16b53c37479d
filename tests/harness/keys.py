"""The key of the services that tests start."""

KEY = "key-of-the-harness-8f3a6c"
HEADERS = {"X-Blnk-Key": KEY}
