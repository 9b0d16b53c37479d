"""The parts that all resources share: JSON, parameters, pages, errors and the OpenAPI document.

Read ``wire.py`` first. A resource's own words belong beside the resource, not here.
"""
