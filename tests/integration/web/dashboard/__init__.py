"""The dashboard, in this process."""
