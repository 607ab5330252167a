# Connections between programs of different users of this host may be accelerated too. Both ends must run with this
# profile (or an EF_SHARE_WITH that admits the other); they share nothing but the traffic of their own connections.
EF_SHARE_WITH=-1
