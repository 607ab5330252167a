# Lowest latency, from the beginning of a connection: as the profile latency, and a connection leaves the kernel after its
# first message. Use it at both ends.
EF_POLL_USEC=100000
SLUICE_LANE_AT=1
