// HTTP kept alive: `node keep.js serve`, with bodies of the length that the path names; `node keep.js load PORT REQUESTS`.
const http = require('http');
const body = n => Buffer.alloc(n, i => 0).map((_, i) => (i * 11 + n) & 255);
if (process.argv[2] === 'serve') {
    const server = http.createServer((request, response) => {
        const parts = [];
        request.on('data', part => parts.push(part));
        request.on('end', () => {
            const sent = Buffer.concat(parts);
            response.end(Buffer.concat([sent, body(Number(request.url.slice(1)))]));
        });
    }).listen(0, '127.0.0.1', () => console.log(server.address().port));
    process.stdin.once('data', () => process.exit(0));
} else {
    const [port, requests] = process.argv.slice(3).map(Number);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
    let done = 0, next = 0, sockets = new Set();
    const one = () => {
        if (next === requests) return;
        const n = [1, 1024, 70000][next % 3], up = body([10, 0, 3000][next++ % 3]), wanted = Buffer.concat([up, body(n)]);
        http.request({ port, host: '127.0.0.1', path: `/${n}`, method: 'POST', agent }, response => {
            const parts = [];
            sockets.add(response.socket.localPort);
            response.on('data', part => parts.push(part));
            response.on('end', () => {
                if (!Buffer.concat(parts).equals(wanted)) throw new Error(`other body of ${n}`);
                if (++done === requests) console.log(`verified ${done} on ${sockets.size}`);
                else one();
            });
        }).end(up);
    };
    for (let i = 0; i < 4; i++) one();
    process.stdin.once('data', () => process.exit(0));
}
