"""The filter language and its pages, the same for every list of the API.

Read ``filters.py`` first: it checks what a client asked for. ``query.py`` turns that into SQL. A feature owns the table
of its own fields; this folder may not know what a balance or a transaction is.
"""
