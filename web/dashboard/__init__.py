"""The dashboard: pages for a browser, over the HTTP API.

It asks the API inside the process for everything, with the key of whoever signed in. So it has no rights, reads or writes of
its own, and what a page shows is what the API answers.
"""
