"""Files of recipients, as people have them: CSV with any separator and encoding, .xlsx and .ods.

Read ``reader.py`` first. It finds out what a file is and yields its rows, whatever the format. ``lines.py`` makes lines of text
of bytes, and cells of lines. ``xlsx.py`` and ``ods.py`` make lines of sheets, within the limits of ``archive.py``. ``columns.py``
finds the header, ``numbers.py`` reads amounts as people and programs write them, and ``rejects.py`` writes the rows that cannot
be paid. Nothing here is guessed about money: what is not certain is refused, with what would make it certain.
"""
