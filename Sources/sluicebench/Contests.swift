/// All contests, in the order in which they are held; `stat` is the path of sluicestat.
func allContests(_ peer: Peer, _ programs: Programs, stat: String, _ pace: Pace) -> [Contest] {
    Transfers(peer: peer, pace: pace).contests + Datagrams(peer: peer, pace: pace).contests
        + Clients(peer: peer, pace: pace).contests + Lifecycles(peer: peer, pace: pace).contests
        + Redis(programs: programs, pace: pace).contests + Memcached(programs: programs, peer: peer, pace: pace).contests
        + Nginx(programs: programs, pace: pace).contests + PostgreSQL(programs: programs, pace: pace).contests
        + Tools(programs: programs, pace: pace).contests + Observers(peer: peer, pace: pace, stat: stat).contests
}
