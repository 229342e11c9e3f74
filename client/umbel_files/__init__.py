"""What counts as a picture and what is passed over in folders and archives, in one place for the client, the server,
the page and training. It needs nothing but Python.

kinds.py tells a file's kind from its first bytes, skipping.py lists what is never meant to be a picture.
"""
