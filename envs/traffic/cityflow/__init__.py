"""CityFlow's Python interface on the simulator, its snapshots and its replays.

`interface` has the class `Engine`; `roster` maps ids to vehicles, and `additions` holds what was added by hand; the
`archive` modules write snapshots and read them, including CityFlow's; `replay` writes the log for CityFlow's viewer.
"""
