"""The HTTP door: Flask. Parses, calls core, answers. Never imports worker."""
