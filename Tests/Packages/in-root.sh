#!/bin/bash
# Runs in the clean root directory: a server and a client, each started by LAUNCHER..., and what sluicestat says of them.
# usage: in-root.sh FOLDER-OF-THE-TOOLS [LAUNCHER...]    prints the client's line; leaves /sockets.json
set -u
tools=$1
shift
rm -f /port /said /go
mkfifo /port /said /go
"$@" /talk serve > /port &
read -r port < /port
"$@" /talk ask "$port" 1000 > /said < /go &
client=$!
exec {said}< /said {go}> /go
read -r line <&"$said"
"$tools/sluicestat" netstat -a --json > /sockets.json || line="sluicestat ended with $?"
echo "port $port, $line"
echo >&"$go"
wait "$client" && wait
