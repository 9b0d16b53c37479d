"""Commands that put the service to the test: ``bench`` measures it, ``torture`` tries to break it."""
