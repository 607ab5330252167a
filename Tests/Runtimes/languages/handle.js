// A connection is handed to a child in its middle: the parent answers the first rounds, the child the others.
// `node handle.js`, and `node handle.js child`
const net = require('net');
const { fork } = require('child_process');
if (process.argv[2] === 'child') {
    process.on('message', (m, socket) => {
        if (m === 'end') process.exit(0);
        if (!socket) return;
        socket.on('data', bytes => socket.write(bytes));
        socket.on('end', () => socket.end());
        socket.resume();
    });
} else {
    const children = [0, 1].map(() => fork(__filename, ['child']));
    let turn = 0;
    // The bytes of the first 40 rounds of `echo.js load`; it asks again when it has seen the whole answer.
    let first = 0;
    for (let round = 0; round < 40; round++) first += 1 + round * 37 % 5000;
    net.createServer(socket => {
        let seen = 0;
        const answer = bytes => {
            seen += bytes.length;
            if (seen < first) { socket.write(bytes); return; }
            socket.off('data', answer);
            socket._handle.readStop();
            socket.write(bytes, () => children[turn++ % 2].send('socket', socket));
        };
        socket.on('data', answer);
    }).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
    process.stdin.once('data', () => { for (const c of children) c.send('end'); process.exit(0); });
}
