// usage: java Echo.java serve|serve-nio | load|load-nio PORT CONNECTIONS ROUNDS. Blocking sockets with a thread each, or one
// selector.
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.util.concurrent.atomic.AtomicInteger;

public class Echo {
    static byte streamByte(int connection, int at) { return (byte) (at * 7 + connection * 13 + (at >> 8)); }

    static byte[] question(int connection, int at, int round) {
        byte[] bytes = new byte[1 + round * 37 % 5000];
        for (int i = 0; i < bytes.length; i++) bytes[i] = streamByte(connection, at + i);
        return bytes;
    }

    static void serve() throws Exception {
        ServerSocket listener = new ServerSocket(0, 256, InetAddress.getByName("127.0.0.1"));
        System.out.println(listener.getLocalPort());
        daemon(() -> {
            while (true) {
                Socket s = listener.accept();
                daemon(() -> {
                    byte[] bytes = new byte[65536];
                    for (int n; (n = s.getInputStream().read(bytes)) > 0;) s.getOutputStream().write(bytes, 0, n);
                    s.close();
                });
            }
        });
    }

    static void load(int port, int connections, int rounds) throws Exception {
        AtomicInteger total = new AtomicInteger();
        Thread[] threads = new Thread[connections];
        for (int k = 0; k < connections; k++) {
            int c = k;
            threads[k] = daemon(() -> {
                Socket s = new Socket("127.0.0.1", port);
                s.setSoTimeout(c % 2 == 0 ? 60_000 : 0);
                DataInputStream in = new DataInputStream(s.getInputStream());
                for (int round = 0, at = 0; round < rounds; round++) {
                    byte[] out = question(c, at, round), back = new byte[out.length];
                    s.getOutputStream().write(out);
                    in.readFully(back);
                    if (!java.util.Arrays.equals(out, back)) throw new IOException("other bytes at " + at);
                    at += out.length;
                    total.incrementAndGet();
                }
            });
        }
        for (Thread t : threads) t.join();
        System.out.println("verified " + total);
    }

    static void serveSelector() throws Exception {
        Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0), 256);
        listener.configureBlocking(false).register(selector, SelectionKey.OP_ACCEPT);
        System.out.println(((InetSocketAddress) listener.getLocalAddress()).getPort());
        daemon(() -> {
            while (true) selector.select(key -> {
                try {
                    if (key.isAcceptable()) {
                        SocketChannel s = listener.accept();
                        s.configureBlocking(false).register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(65536));
                        return;
                    }
                    SocketChannel s = (SocketChannel) key.channel();
                    ByteBuffer bytes = (ByteBuffer) key.attachment();
                    if (key.isReadable() && s.read(bytes) < 0) { s.close(); return; }
                    bytes.flip();
                    s.write(bytes);
                    key.interestOps(bytes.hasRemaining() ? SelectionKey.OP_WRITE : SelectionKey.OP_READ);
                    bytes.compact();
                } catch (IOException e) { fail(e); }
            });
        });
    }

    static class Asker { int c, round, sent, seen; ByteBuffer out; }

    static void loadSelector(int port, int connections, int rounds) throws Exception {
        Selector selector = Selector.open();
        for (int c = 0; c < connections; c++) {
            SocketChannel s = SocketChannel.open();
            s.configureBlocking(false);
            Asker asker = new Asker();
            asker.c = c;
            s.register(selector, SelectionKey.OP_CONNECT, asker);
            s.connect(new InetSocketAddress("127.0.0.1", port));
        }
        ByteBuffer in = ByteBuffer.allocate(3000);
        for (int total = 0; total < connections * rounds;) {
            selector.select();
            for (SelectionKey key : selector.selectedKeys()) {
                SocketChannel s = (SocketChannel) key.channel();
                Asker a = (Asker) key.attachment();
                if (key.isConnectable()) s.finishConnect();
                if (key.isReadable()) {
                    in.clear();
                    if (s.read(in) < 0) throw new EOFException();
                    for (in.flip(); in.hasRemaining(); a.seen++)
                        if (in.get() != streamByte(a.c, a.seen)) throw new IOException("other byte at " + a.seen);
                    if (a.seen == a.sent) { a.out = null; total++; }
                }
                if (a.out == null && a.round < rounds) {
                    byte[] bytes = question(a.c, a.sent, a.round++);
                    a.sent += bytes.length;
                    a.out = ByteBuffer.wrap(bytes);
                }
                if (a.out != null) s.write(a.out);
                key.interestOps(a.out != null && a.out.hasRemaining() ? SelectionKey.OP_WRITE | SelectionKey.OP_READ : SelectionKey.OP_READ);
            }
            selector.selectedKeys().clear();
        }
        System.out.println("verified " + connections * rounds);
    }

    interface Work { void run() throws Exception; }

    static void fail(Exception e) {
        e.printStackTrace();
        System.exit(3);
    }

    static Thread daemon(Work work) {
        Thread t = new Thread(() -> { try { work.run(); } catch (Exception e) { fail(e); } });
        t.setDaemon(true);
        t.start();
        return t;
    }

    public static void main(String[] arguments) throws Exception {
        int[] n = java.util.Arrays.stream(arguments).skip(1).mapToInt(Integer::parseInt).toArray();
        switch (arguments[0]) {
            case "serve" -> serve();
            case "serve-nio" -> serveSelector();
            case "load" -> load(n[0], n[1], n[2]);
            default -> loadSelector(n[0], n[1], n[2]);
        }
        new BufferedReader(new InputStreamReader(System.in)).readLine();
        System.exit(0);
    }
}
