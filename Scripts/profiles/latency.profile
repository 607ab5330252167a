# Lowest latency: a waiting call spins for up to 0.1 s before it sleeps. Takes a core per waiting thread while it does.
EF_POLL_USEC=100000
