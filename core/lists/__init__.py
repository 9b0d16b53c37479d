"""The lists folder holds the filter language and the pages, which are the same for every list of the API.

Read ``filters.py`` first. It checks a request for a list. ``plans.py`` chooses how to find its rows, and ``query.py`` finds
them. ``fields.py`` has the words in which a feature describes the fields of its list. This folder may not know what a
balance or a transaction is.
"""
