"""Several serving processes, and the supervisor that starts and watches them."""
