"""The Celery door: doorbells and due dates. Imports core, never web."""
