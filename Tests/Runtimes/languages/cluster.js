// The primary of a cluster listens and hands each connection to a worker (round robin), or shares the listener; each worker
// echoes. `node cluster.js rr|shared`
const cluster = require('cluster');
const net = require('net');
cluster.schedulingPolicy = process.argv[2] === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
if (cluster.isPrimary) {
    let listening = 0;
    for (let i = 0; i < 2; i++) cluster.fork();
    cluster.on('listening', (_, address) => { if (++listening === 2) console.log(address.port); });
    cluster.on('exit', (worker, code, signal) => { if (!process.exitCode && code) { console.error(`worker: ${code} ${signal}`); process.exitCode = 1; } });
    process.stdin.once('data', () => { cluster.disconnect(() => process.exit()); for (const w of Object.values(cluster.workers)) w.send('end'); });
} else {
    process.on('message', m => { if (m === 'end') process.exit(0); });
    net.createServer(socket => socket.pipe(socket)).listen(0, '127.0.0.1');
}
