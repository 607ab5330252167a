// usage: node echo.js serve | node echo.js load PORT CONNECTIONS ROUNDS
const net = require('net');
const [role, port, connections, rounds] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const streamByte = (connection, at) => (at * 7 + connection * 13 + (at >> 8)) & 255;
const lineFromInput = then => process.stdin.once('data', then);

function load(connection, done) {
    let round = 0, sent = 0, seen = 0;
    const socket = net.connect(port, '127.0.0.1');
    const ask = () => {
        const bytes = Buffer.allocUnsafe(1 + round++ * 37 % 5000);
        for (let i = 0; i < bytes.length; i++) bytes[i] = streamByte(connection, sent + i);
        sent += bytes.length;
        socket.write(bytes);
    };
    socket.on('connect', ask);
    socket.on('data', bytes => {
        for (const byte of bytes) if (byte !== streamByte(connection, seen++)) throw new Error(`other byte at ${seen - 1}`);
        if (seen === sent) { if (round < rounds) ask(); else done(round); }
    });
    socket.on('end', () => { throw new Error('early end'); });
    return socket;
}

if (role === 'serve') {
    const server = net.createServer(socket => socket.pipe(socket)).listen(0, '127.0.0.1', 256, () => console.log(server.address().port));
    lineFromInput(() => process.exit(0));
} else {
    let open = connections, total = 0;
    for (let i = 0; i < connections; i++)
        load(i, count => { total += count; if (--open === 0) console.log(`verified ${total}`); });
    lineFromInput(() => process.exit(0));
}
