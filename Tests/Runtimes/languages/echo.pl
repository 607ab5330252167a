# usage: perl echo.pl serve | perl echo.pl load PORT CONNECTIONS ROUNDS. The server waits by IO::Select, the client by blocking calls.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
$| = 1;
my ($role, $port, $connections, $rounds) = @ARGV;
sub stream_bytes { my ($c, $at, $n) = @_; return pack('C*', map { ($_ * 7 + $c * 13 + ($_ >> 8)) & 255 } $at .. $at + $n - 1); }
sub write_all {
    my ($s, $bytes) = @_;
    while (length $bytes) { my $n = syswrite($s, $bytes) // die "write: $!"; substr($bytes, 0, $n) = ''; }
}
if ($role eq 'serve') {
    my $l = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1') or die $!;
    print $l->sockport, "\n";
    my $set = IO::Select->new($l, \*STDIN);
    while (1) {
        for my $s ($set->can_read) {
            exit 0 if $s == \*STDIN;
            if ($s == $l) { $set->add(scalar $l->accept); next; }
            my $n = sysread($s, my $bytes, 65536) // die "read: $!";
            if ($n) { write_all($s, $bytes) } else { $set->remove($s); close $s; }
        }
    }
}
my @open = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die $! } 1 .. $connections;
my ($total, @sent) = (0, (0) x $connections);
for my $round (0 .. $rounds - 1) {
    my $n = 1 + $round * 37 % 5000;
    for my $c (0 .. $#open) {
        write_all($open[$c], stream_bytes($c, $sent[$c], $n));
    }
    for my $c (0 .. $#open) {
        my $got = '';
        while (length $got < $n) { sysread($open[$c], $got, $n - length $got, length $got) or die "read: $!"; }
        $got eq stream_bytes($c, $sent[$c], $n) or die "other bytes";
        $sent[$c] += $n;
        $total++;
    }
}
print "verified $total\n";
<STDIN>;
