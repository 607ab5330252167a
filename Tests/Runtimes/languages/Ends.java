// Ends under a blocked thread: what a reader, a writer, an acceptor and a selector are told when another thread closes, shuts
// down or interrupts. The connections have talked before. Prints a line for each; the same with and without Sluice.
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.util.concurrent.*;

public class Ends {
    interface Work { Object run() throws Exception; }
    interface End { void run(Pair p, Thread blocked) throws Exception; }
    interface Call { Object run(Pair p) throws Exception; }

    static class Pair {
        final SocketChannel a, b;
        Pair() throws Exception {
            try (ServerSocketChannel l = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0))) {
                a = SocketChannel.open(l.getLocalAddress());
                b = l.accept();
            }
            byte[] bytes = new byte[64];
            for (int i = 0; i < 100; i++) {
                pass(a.socket(), b.socket(), bytes, i);
                pass(b.socket(), a.socket(), bytes, i + 1);
            }
        }
    }

    static void pass(Socket from, Socket to, byte[] bytes, int i) throws IOException {
        bytes[3] = (byte) i;
        from.getOutputStream().write(bytes);
        if (to.getInputStream().readNBytes(bytes.length)[3] != (byte) i) throw new IOException("other bytes");
    }

    static String said(Callable<Object> call) {
        try { return String.valueOf(call.call()); } catch (Throwable e) { return e.getClass().getSimpleName() + ": " + e.getMessage(); }
    }

    // Blocked in the kernel, or wherever the thread waits: its time of CPU stands still and it is in native code.
    static void awaitBlocked(Thread t) throws Exception {
        for (int i = 0, quiet = 0; quiet < 5 && i < 2000; i++) {
            StackTraceElement[] trace = t.getStackTrace();
            quiet = trace.length > 0 && trace[0].isNativeMethod() ? quiet + 1 : 0;
            Thread.sleep(10);
        }
    }

    static void one(String name, Call call, End end) throws Exception {
        Pair p = new Pair();
        String[] result = {null};
        Thread t = new Thread(() -> result[0] = said(() -> call.run(p)));
        t.setDaemon(true);
        t.start();
        awaitBlocked(t);
        end.run(p, t);
        t.join(20_000);
        System.out.println(name + ": " + (t.isAlive() ? "hangs" : result[0]) + ", open " + p.a.isOpen());
        p.a.close();
        System.out.println(name + ", peer: " + said(() -> rest(p)));
        p.b.close();
    }

    static Object fill(Pair p) throws Exception {
        byte[] bytes = new byte[1 << 20];
        while (true) p.a.socket().getOutputStream().write(bytes);
    }

    // The first byte of what came, and that the rest ends in order.
    static Object rest(Pair p) throws IOException {
        if (!p.b.isOpen()) return "closed";
        InputStream in = p.b.socket().getInputStream();
        int first = in.read();
        while (in.read(new byte[65536]) > 0) { }
        return first;
    }

    public static void main(String[] ignored) throws Exception {
        Call read = p -> p.a.socket().getInputStream().read();
        Call readChannel = p -> p.a.read(ByteBuffer.allocate(10));
        Call timedRead = p -> { p.a.socket().setSoTimeout(30_000); return p.a.socket().getInputStream().read(); };
        Call select = p -> {
            Selector s = Selector.open();
            p.a.configureBlocking(false).register(s, SelectionKey.OP_READ);
            int n = s.select(30_000);
            return n + " " + (p.a.isOpen() ? p.a.read(ByteBuffer.allocate(10)) : "closed");
        };
        End close = (p, t) -> p.a.close();
        one("socket read, close", read, (p, t) -> p.a.socket().close());
        one("timed read, close", timedRead, (p, t) -> p.a.socket().close());
        one("channel read, close", readChannel, close);
        one("channel read, interrupt", readChannel, (p, t) -> t.interrupt());
        one("channel read, shutdown of input", readChannel, (p, t) -> p.a.shutdownInput());
        one("channel read, peer closes", readChannel, (p, t) -> p.b.close());
        one("channel read, peer resets", readChannel, (p, t) -> { p.b.setOption(StandardSocketOptions.SO_LINGER, 0); p.b.close(); });
        one("channel read, peer sends", readChannel, (p, t) -> { p.b.write(ByteBuffer.wrap("news".getBytes())); t.join(20_000); });
        one("socket write, close", Ends::fill, close);
        one("select, wake-up by bytes", select, (p, t) -> { p.b.write(ByteBuffer.wrap("news".getBytes())); t.join(20_000); p.a.close(); });
        one("select, interrupt", select, (p, t) -> { t.interrupt(); t.join(20_000); p.a.close(); });
        plainSockets();
        System.exit(0);
    }

    // The sockets of java.net, not those of channels.
    static void plainSockets() throws Exception {
        for (int way = 0; way < 3; way++) {
            ServerSocket l = new ServerSocket(0, 5, InetAddress.getByName("127.0.0.1"));
            Socket a = new Socket("127.0.0.1", l.getLocalPort()), b = l.accept();
            byte[] bytes = new byte[64];
            for (int i = 0; i < 100; i++) { pass(a, b, bytes, i); pass(b, a, bytes, i + 1); }
            if (way == 1) a.setSoTimeout(50);
            String[] result = {null};
            Thread t = new Thread(() -> result[0] = said(() -> a.getInputStream().read()));
            t.setDaemon(true);
            t.start();
            if (way != 1) awaitBlocked(t);
            if (way == 0) a.close();
            if (way == 2) a.shutdownInput();
            t.join(20_000);
            System.out.println("plain socket " + way + ": " + (t.isAlive() ? "hangs" : result[0]));
            if (way == 1) { pass(a, b, bytes, 1); pass(b, a, bytes, 2); }
            a.close();
            System.out.println("plain socket " + way + ", peer: " + said(() -> b.getInputStream().read()));
            Thread acceptor = new Thread(() -> result[0] = said(l::accept));
            acceptor.setDaemon(true);
            acceptor.start();
            awaitBlocked(acceptor);
            l.close();
            acceptor.join(20_000);
            System.out.println("acceptor " + way + ": " + (acceptor.isAlive() ? "hangs" : result[0]));
        }
    }
}
