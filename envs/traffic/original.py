"""CityFlow's own engine in place of ours, where it is installed."""


class OriginalBatch:
    pass
