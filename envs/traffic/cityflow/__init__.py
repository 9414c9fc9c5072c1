"""CityFlow's Python interface on the simulator, its snapshots and its replays.

`interface` has the class `Engine`; `roster` and `additions` know vehicles by id and what was added by hand; the
`archive` modules read and write snapshots, CityFlow's ones too; `replay` writes what its viewer shows.
"""
