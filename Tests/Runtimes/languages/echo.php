<?php
// usage: php echo.php serve | php echo.php load PORT CONNECTIONS ROUNDS. Streams, waited for by stream_select.
[, $role] = $argv;
function stream_bytes(int $c, int $at, int $n): string {
    $bytes = '';
    for ($i = $at; $i < $at + $n; $i++) $bytes .= chr(($i * 7 + $c * 13 + ($i >> 8)) & 255);
    return $bytes;
}
function write_all($s, string $bytes): void {
    while ($bytes !== '') {
        $n = fwrite($s, $bytes);
        if ($n === false) exit(3);
        if ($n === 0) { $r = $e = null; $w = [$s]; stream_select($r, $w, $e, 60); }
        $bytes = substr($bytes, $n);
    }
}
if ($role === 'serve') {
    $listener = stream_socket_server('tcp://127.0.0.1:0');
    echo substr(strrchr(stream_socket_get_name($listener, false), ':'), 1), "\n";
    $all = [$listener, STDIN];
    while (true) {
        $r = $all;
        $w = $e = null;
        stream_select($r, $w, $e, null);
        foreach ($r as $s) {
            if ($s === STDIN) exit(0);
            if ($s === $listener) { $c = stream_socket_accept($listener); stream_set_blocking($c, false); $all[] = $c; continue; }
            $bytes = fread($s, 65536);
            if ($bytes !== '' && $bytes !== false) write_all($s, $bytes);
            elseif (feof($s)) { fclose($s); $all = array_filter($all, fn ($x) => $x !== $s); }
        }
    }
}
[, , $port, $connections, $rounds] = $argv;
$open = [];
for ($c = 0; $c < $connections; $c++) $open[] = stream_socket_client("tcp://127.0.0.1:$port");
$total = 0;
$at = 0;
for ($round = 0; $round < $rounds; $round++) {
    $n = 1 + $round * 37 % 5000;
    foreach ($open as $c => $s) write_all($s, stream_bytes($c, $at, $n));
    foreach ($open as $c => $s) {
        for ($got = ''; strlen($got) < $n; $got .= $part) if (($part = fread($s, $n - strlen($got))) === '' || $part === false) exit(4);
        if ($got !== stream_bytes($c, $at, $n)) exit(5);
        $total++;
    }
    $at += $n;
}
echo "verified $total\n";
fgets(STDIN);
