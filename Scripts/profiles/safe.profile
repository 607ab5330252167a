# The most cautious settings: no waiting call ever spins, and only programs of the same user share memory.
_NET_KERNEL_BYPASS_RECV_MODE=0
EF_POLL_USEC=0
EF_SPIN_USEC=0
EF_SHARE_WITH=0
