"""The Celery door: it answers doorbells and due dates. It imports core, and never web."""
