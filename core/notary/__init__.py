"""The notary: signs what the log holds, so that nobody who can write the database can change it unseen.

A process of its own has an Ed25519 key that no other process has. Every few seconds it computes the digests of new rows again
and adds a *seal*: a signed statement of the end of the chain, and of a Merkle root over the rows since the seal before.
Read ``seals.py`` first, which says what is signed, then ``notary.py``, which makes the next seal. ``merkle.py`` has the
tree, ``receipts.py`` shows one transaction by it. This folder decides nothing, and writes nothing but seals.
"""
