"""The admin API: a port and keys of its own, to look inside and to turn what may be turned while it runs."""
