"""The life of the process as its load balancer sees it: serving, then draining."""


class Lifecycle:
    """`draining` turns true once, before anything closes, so that traffic goes elsewhere first.

    `others_ready`: whether the other workers could answer; a balancer cannot choose among them.
    """

    def __init__(self) -> None:
        self.draining = False
        self.others_ready = True

    def drain(self) -> None:
        """Ask for no more traffic."""
        self.draining = True
