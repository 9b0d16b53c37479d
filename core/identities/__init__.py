"""Identities: the people and organisations that balances belong to. They are in no chain of hashes, so they can be erased.

Read ``identities.py`` first: create, read, update, delete, erase and link. ``tokenization.py`` seals single fields, so that a
reader of the database or of ``GET /identities`` sees a token in their place. ``tokens.py`` has the cryptography.

No value of an identity may get into a log line, an error text or the audit log. Those have IDs and the names of fields.
"""
