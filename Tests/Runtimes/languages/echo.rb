# usage: ruby echo.rb serve | ruby echo.rb load PORT CONNECTIONS ROUNDS. Threads, buffered sockets and sysread in turns.
require 'socket'
$stdout.sync = true
role, port, connections, rounds = ARGV[0], *ARGV[1..].map(&:to_i)
def stream_bytes(c, at, n) = (at...at + n).map { |i| (i * 7 + c * 13 + (i >> 8)) & 255 }.pack('C*')
Thread.abort_on_exception = true
if role == 'serve'
  server = TCPServer.new('127.0.0.1', 0)
  puts server.addr[1]
  Thread.new do
    loop do
      Thread.new(server.accept) do |s|
        loop { s.write(s.readpartial(65536)) }
      rescue EOFError
        s.close
      end
    end
  end
  $stdin.gets
  exit 0
end
total = (0...connections).map do |c|
  Thread.new do
    s = TCPSocket.new('127.0.0.1', port)
    at = 0
    rounds.times do |round|
      n = 1 + round * 37 % 5000
      wanted = stream_bytes(c, at, n)
      s.write(wanted)
      got = round.even? ? s.read(n) : ''.b
      got << s.recv(n - got.size, Socket::MSG_WAITALL) while got.size < n
      raise "other bytes at #{at}" unless got == wanted
      at += n
    end
    [s, rounds]
  end
end.map(&:value)
puts "verified #{total.sum { |t| t[1] }}"
$stdin.gets
