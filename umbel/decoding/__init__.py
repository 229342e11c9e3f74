"""From the bytes of a picture file to its pixels: what is taken, what is seen, and where decoding can do no harm.

opening.py opens a file by what its bytes are, within limits; color.py brings its colors to sRGB; images.py makes of it
what the service needs; jpeg.py and png.py tell from the file's structure whether it will decode. pool.py and child.py
do all that in processes that may die of it.
"""
