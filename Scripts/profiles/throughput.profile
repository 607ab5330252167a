# Streams that come in bursts: a sender gets rid of up to 4 MB without waiting for its reader, where memory allows it. Waiting
# stays adaptive, so that no core is kept busy.
SLUICE_RING_BYTES=4194304
