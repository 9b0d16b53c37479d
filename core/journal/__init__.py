"""The journal has the rows that a change writes beside itself, in one commit: the audit log, and the keys of retries.

Read ``record.py`` first: it is what every use case calls that writes outside the log of transactions. ``actions.py`` lists
what is audited, ``audit_row.py`` says what the chain of hashes covers, and ``audit_list.py`` is the list that ``GET /audit``
answers. ``core/verification/audit.py`` checks the chain.

An audit row is never changed. Only ``cut.py`` removes rows, from the oldest on, and the chain says so.
"""
