"""What counts as a picture and what is passed over in folders and archives, in one place for the client, the server,
the page and training. It needs nothing but Python.

kinds.py tells a file's kind from its first bytes, names.py what its name tells and how it is kept, skipping.py lists
what is never meant to be a picture, walking.py goes through a folder by these rules, tally.py counts what is not taken.
"""
