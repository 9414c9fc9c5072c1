"""The tests mirror the tree.

`check` executes the shape annotations of the code under test (see pyproject.toml); an int passes for a float, as
everywhere in Python.
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
