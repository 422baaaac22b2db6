"""The life of the process as its load balancer sees it: serving, then draining."""


class Lifecycle:
    """`draining` turns true once, before anything closes, so that traffic goes elsewhere first."""

    def __init__(self) -> None:
        self.draining = False

    def drain(self) -> None:
        """Ask for no more traffic."""
        self.draining = True
