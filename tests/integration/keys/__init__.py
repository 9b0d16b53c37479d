"""Keys over HTTP, in this process."""
