"""Keys: who may ask the service for what.

A key has an owner, scopes, a reach and an expiry. Its secret is shown once, and the database keeps only a keyed hash of it.
``core/base/actors.py`` says what scopes there are. Read ``manage.py`` for what a key's owner can do, and ``ring.py`` for how
a request's key is found. Nothing here may hand a secret to a log line, or show one a second time.
"""
