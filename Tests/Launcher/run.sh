#!/bin/bash
# Cases for Scripts/sluice and Scripts/install.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
sluice=$top/Scripts/sluice
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
unset LD_PRELOAD EF_POLL_USEC EF_SHARE_WITH
cd "$work" || exit 1

# MARK: options

expect "-h helps" 0 '^usage: sluice' "$sluice" -h
expect "--version" 0 '^sluice [0-9]+\.[0-9]+' "$sluice" --version
version=$("$sluice" --version)
version=${version#sluice }
expect "the stat tool is of the same version" 0 "^$version\$" "$build/bin/sluicestat" --version
expect "and so is the library" 0 "^$version\$" python3 -c 'import ctypes, sys
say = ctypes.CDLL(sys.argv[1]).sluice_version; say.restype = ctypes.c_char_p; print(say().decode())' "$library"
expect "no command is wrong use" 2 'no command' "$sluice"
expect "an unknown option is wrong use" 2 'no option --nope' "$sluice" --nope true
expect "-p without a profile is wrong use" 2 'wants a profile' "$sluice" -p
expect "options end at the command" 0 '^-v$' "$sluice" printf '%s\n' -v
expect "-- ends the options" 127 'no such command' "$sluice" -- -v

# MARK: the command

expect "the command's exit code is passed on" 7 '' "$sluice" sh -c 'exit 7'
expect "a missing command" 127 'nope: no such command' "$sluice" nope
expect "a missing path" 127 'no such command' "$sluice" ./nope
printf '#!/bin/sh\necho never\n' > plain
expect "a file that is not executable" 126 'not executable' "$sluice" ./plain
expect "a folder" 126 'is a directory' "$sluice" /
expect "arguments arrive as given" 0 "^<a b><><\*>\$" "$sluice" printf '<%s>' 'a b' '' '*'
expect "argv[0] is what was typed" 0 '^sh$' "$sluice" sh -c 'tr "\0" "\n" < /proc/$$/cmdline | head -n 1'
expect "a script without an interpreter line" 0 'libsluice' bash -c "printf 'echo \$LD_PRELOAD \$1\n' > bare; chmod +x bare; '$sluice' ./bare x"
expect "no process stays between" 0 '^same$' bash -c "'$sluice' sh -c '[ \$PPID -eq '\$\$' ] && echo same'; :"

# MARK: the library

expect "-t prints where the library is" 0 "^library: $library\$" "$sluice" -t true
expect "-t does not run" 0 '^not run$' bash -c "'$sluice' -t touch ran > /dev/null; [ -e ran ] || echo not run"
expect "-t prints the command" 0 '^command: .*/printf a\\ b$' "$sluice" -t printf 'a b'
expect "-v says so and runs" 3 '^variable: LD_PRELOAD=' "$sluice" -v sh -c 'exit 3'
expect "quiet without -v" 0 '!.' "$sluice" true
expect "the library is mapped in the command" 0 "$library" "$sluice" cat /proc/self/maps
expect "LD_PRELOAD is kept, in front" 0 '^LD_PRELOAD=libc.so.6:/.*libsluice.so$' env LD_PRELOAD=libc.so.6 "$sluice" env
expect "twice is once" 0 "^LD_PRELOAD=$library\$" "$sluice" "$sluice" env
expect "--preload takes another library" 0 "^library: $work/other.so" bash -c "cp '$library' other.so; '$sluice' --preload other.so -t true"
expect "a missing library" 4 'no library at' "$sluice" --preload ./nope.so true
expect "a library that is none" 4 'not a shared library' "$sluice" --preload /etc/passwd true
mkdir 'with space' 'with:colon'
cp "$library" 'with space/l.so'
cp "$library" 'with:colon/l.so'
expect "a path with a space" 4 'cannot stand in LD_PRELOAD' "$sluice" --preload 'with space/l.so' true
expect "a path with a colon" 4 'cannot stand in LD_PRELOAD' "$sluice" --preload 'with:colon/l.so' true

# MARK: profiles

expect "a profile" 0 '^EF_POLL_USEC=100000$' "$sluice" -p latency env
expect "the environment wins" 0 '^EF_POLL_USEC=5$' env EF_POLL_USEC=5 "$sluice" -p latency env
expect "an empty variable wins too" 0 '^EF_POLL_USEC=$' env EF_POLL_USEC= "$sluice" -p latency env
expect "unless forced" 0 '^EF_POLL_USEC=100000$' env EF_POLL_USEC=5 "$sluice" -P -p latency env
expect "two profiles, the later wins" 0 '^EF_POLL_USEC=0$' "$sluice" -p latency -p safe env
expect "local-trust" 0 '^EF_SHARE_WITH=-1$' "$sluice" --profile=local-trust env
expect "latency-best" 0 '^SLUICE_LANE_AT=1$' "$sluice" -p latency-best env
expect "which spins as latency does" 0 '^EF_POLL_USEC=100000$' "$sluice" -p latency-best env
expect "throughput" 0 '^SLUICE_RING_BYTES=4194304$' "$sluice" -p throughput env
# A profile that sets what nobody reads, or what cannot be used, would be in vain.
for profile in "$top"/Scripts/profiles/*.profile; do
    name=${profile##*/}
    expect "the profile ${name%.profile} says nothing in vain" 0 '!value cannot be used|has no effect|does not apply|is not known' \
        env EF_LOG=config_warnings,more_config_warnings "$sluice" -p "${name%.profile}" python3 -c 'import socket; socket.socket()'
done
expect "a missing profile" 3 "no profile 'nope'; there are: latency-best latency local-trust safe throughput" "$sluice" -p nope true
printf '# comment\n\n  EF_LOG = 1\n' > bad.profile
expect "a line that is none" 3 'bad.profile, line 3' "$sluice" -p ./bad.profile true
printf '  A_B=x y = z\t\n#C=1\nversion=9' > good.profile
expect "a profile by path, values as they stand" 0 '^A_B=x y = z$' "$sluice" -p ./good.profile env
expect "its last line needs no end" 0 '^version=9$' "$sluice" -p ./good.profile env
expect "names of the launcher's own don't matter" 0 '^version=8$' env version=8 "$sluice" -p ./good.profile env
expect "the user's variables arrive" 0 '^library=mine$' env library=mine "$sluice" env
mkdir -p home/.config/sluice/programs xdg/sluice/programs
echo SLUICE_PORTS=6379 > home/.config/sluice/programs/env.profile
echo SLUICE_PORTS=!22 > xdg/sluice/programs/env.profile
expect "the profile of a program" 0 '^SLUICE_PORTS=6379$' env -u XDG_CONFIG_HOME HOME="$PWD/home" "$sluice" env
expect "found by the file's name" 0 '^SLUICE_PORTS=6379$' env -u XDG_CONFIG_HOME HOME="$PWD/home" "$sluice" "$(type -P env)"
expect "in XDG_CONFIG_HOME" 0 '^SLUICE_PORTS=!22$' env XDG_CONFIG_HOME="$PWD/xdg" HOME="$PWD/home" "$sluice" env
expect "not that of another program" 0 '!SLUICE_PORTS=' env -u XDG_CONFIG_HOME HOME="$PWD/home" "$sluice" printenv
expect "-p stands in its place" 0 '!SLUICE_PORTS=' env -u XDG_CONFIG_HOME HOME="$PWD/home" "$sluice" -p latency env
expect "-p none: no profile" 0 '!SLUICE_PORTS=' env -u XDG_CONFIG_HOME HOME="$PWD/home" "$sluice" -p none env
expect "the environment wins over it" 0 '^SLUICE_PORTS=1$' env -u XDG_CONFIG_HOME HOME="$PWD/home" SLUICE_PORTS=1 "$sluice" env
expect "-t tells it" 0 'programs/env.profile' env -u XDG_CONFIG_HOME HOME="$PWD/home" "$sluice" -t env

printf 'LD_PRELOAD=/x.so\n' > preload.profile
expect "a profile cannot set LD_PRELOAD" 3 'cannot set LD_PRELOAD' "$sluice" -p ./preload.profile true

# MARK: called as onload

ln -s "$sluice" onload
mkdir -p there/.openonload/profiles there/.config/sluice/programs
cat > there/.openonload/profiles/mine.opf <<'END'
# One of Onload's.
onload_set EF_POLL_USEC 7
onload_import base 'three  words'
[ -z "${EF_SWITCH-}" ] || onload_set EF_SEEN "$EF_SWITCH"
echo said by a profile
END
echo 'onload_set EF_NAME "$1"; onload_set EF_POLL_USEC 8; onload_set EF_TWO "a=b"' > there/.openonload/profiles/base.opf-fragment
echo 'onload_import nowhere' > there/.openonload/profiles/lost.opf
echo 'onload_set LD_PRELOAD /x.so' > there/.openonload/profiles/preload.opf
echo 'onload_set EF_X' > there/.openonload/profiles/half.opf
echo 'onload_set EF_SPIN_USEC 9' > there/.openonload/profiles/latency.opf
echo SLUICE_PORTS=6379 > there/.config/sluice/programs/other.profile
as_onload=(env -u XDG_CONFIG_HOME HOME="$PWD/there" ./onload)
expect "onload -h" 0 '^usage: onload' ./onload -h
expect "onload --version" 0 '^sluice [0-9]' ./onload --version
expect "onload runs with the library" 0 "^LD_PRELOAD=$library\$" ./onload env
expect "it says so by its name" 2 '^onload: no option --nope' ./onload --nope true
expect "its own options are not sluice's" 2 'no option --keep-wrapper' "$sluice" --keep-wrapper true
expect "options of Onload's" 5 '^library: ' ./onload -v --no-app-handler --keep-wrapper --app=x --preload="$library" -- sh -c 'exit 5'
expect "onload -t" 0 '^command: /.*true$' ./onload --test true
expect "onload: the exit code of a missing command" 127 'no such command' ./onload nope
expect "onload: of a missing profile" 3 "^onload: no profile 'nope'" ./onload -p nope true
expect "a profile of Onload's" 0 '^EF_NAME=three  words$' "${as_onload[@]}" -p mine env
expect "what it sets later wins" 0 '^EF_POLL_USEC=8$' "${as_onload[@]}" -p mine env
expect "a value with =" 0 '^EF_TWO=a=b$' "${as_onload[@]}" -p mine env
expect "the environment wins over it" 0 '^EF_POLL_USEC=5$' env EF_POLL_USEC=5 "${as_onload[@]}" -p mine env
expect "unless --force-profiles" 0 '^EF_POLL_USEC=8$' env EF_POLL_USEC=5 "${as_onload[@]}" --force-profiles -p mine env
expect "it sees the environment" 0 '^EF_SEEN=on$' env EF_SWITCH=on "${as_onload[@]}" -p mine env
expect "what it prints is no output of the command" 0 '^1$' bash -c "env HOME='$PWD/there' ./onload -p mine echo 1 2> /dev/null"
expect "a list of profiles" 0 '^EF_POLL_USEC=0$' "${as_onload[@]}" --profile=mine,safe env
expect "of which all count" 0 '^EF_NAME=three  words$' "${as_onload[@]}" -p mine,safe env
expect "the user's profile before ours" 0 '^EF_SPIN_USEC=9$' "${as_onload[@]}" -p latency env
expect "only for onload" 0 '!EF_SPIN_USEC' env HOME="$PWD/there" "$sluice" -p latency env
expect "by its path for sluice too" 0 '^EF_POLL_USEC=8$' "$sluice" -p there/.openonload/profiles/mine.opf env
expect "ours, where there is no other" 0 '^EF_SHARE_WITH=-1$' "${as_onload[@]}" -p local-trust env
expect "an import that is not there" 3 'finds no profile nowhere' "${as_onload[@]}" -p lost true
expect "it cannot set LD_PRELOAD" 3 'cannot set LD_PRELOAD' "${as_onload[@]}" -p preload true
expect "onload_set with one word" 3 'wants a variable and a value' "${as_onload[@]}" -p half true
expect "--app: the profile of that program" 0 '^SLUICE_PORTS=6379$' "${as_onload[@]}" --app=other env
expect "--no-app-handler: none" 0 '!SLUICE_PORTS' "${as_onload[@]}" --app=other --no-app-handler env
echo 'export EF_POLL_USEC=3 EF_LOG=banner OTHER=1; echo said' > there/.openonload.sh
expect "~/.openonload.sh is read" 0 '^EF_LOG=banner$' "${as_onload[@]}" env
expect "and wins over a profile, as the environment" 0 '^EF_POLL_USEC=3$' "${as_onload[@]}" -p mine env
expect "unless it is forced" 0 '^EF_POLL_USEC=8$' "${as_onload[@]}" --force-profiles -p mine env
expect "no other variable of it" 0 '!OTHER|said' bash -c "env HOME='$PWD/there' ./onload env 2> /dev/null"
expect "nor for sluice" 0 '!EF_LOG' env HOME="$PWD/there" "$sluice" env

# MARK: commands in which Sluice cannot act

printf 'int main(void) { return 5; }\n' > five.c
gcc -o five five.c
expect "nothing is said of an ordinary program" 5 '!.' "$sluice" ./five
if gcc -static -o static five.c 2> /dev/null; then
    expect "statically linked" 5 'statically linked' "$sluice" ./static
    printf '#!%s/static\n' "$work" > of-static
    chmod +x of-static
    expect "a script whose interpreter is statically linked" 5 'interpreter .*/static.* statically linked' "$sluice" ./of-static
else
    skip "statically linked" "no static libc here"
    skip "a script whose interpreter is statically linked" "no static libc here"
fi
gcc -static-pie -o static-pie five.c 2> /dev/null &&
    expect "static, position-independent" 5 'statically linked' "$sluice" ./static-pie

# A copy of the program with other bytes at an offset.
patch() { python3 -c 'import sys
data = bytearray(open(sys.argv[1], "rb").read()); at = int(sys.argv[3]); new = eval(sys.argv[4])
if at < 0: at = data.index(b"/ld-", 0x40) ; at = data.rindex(b"\0", 0, at) + 1; new += bytes(data.index(0, at) - at - len(new))
data[at:at + len(new)] = new
open(sys.argv[2], "wb").write(data)' "$@"; chmod +x "$2"; }
patch five foreign 18 'b"\x28\x00"'
expect "of another architecture" 0 'another architecture' "$sluice" -t ./foreign
expect "which gets no library" 0 '!LD_PRELOAD' "$sluice" -t ./foreign
patch five musl -1 'b"/lib/ld-musl-x86_64.so.1"'
expect "of another libc" 0 'another libc \(musl\)' "$sluice" -t ./musl
expect "which gets no library either" 0 '!LD_PRELOAD' "$sluice" -t ./musl
printf '#!%s/musl\n' "$work" > of-musl
chmod +x of-musl
expect "a script whose interpreter has another libc" 0 'interpreter .* another libc' "$sluice" -t ./of-musl
printf '#!/usr/bin/env -S ./musl -x\n' > of-env
chmod +x of-env
expect "a script by env whose program has another libc" 0 'another libc' "$sluice" -t ./of-env
printf '#!/no/such/interpreter\n' > of-nothing
chmod +x of-nothing
expect "a script whose interpreter is missing" 127 'interpreter /no/such/interpreter .* missing' "$sluice" ./of-nothing
expect "the loader itself is no static program" 0 '^hi$' "$sluice" "$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2> /dev/null | head -n 1)" /bin/echo hi

# MARK: privilege, and an installed Sluice

expect "install --prefix" 0 'install: in' "$top/Scripts/install" --prefix "$work/installed"
installed=$work/installed/bin/sluice
expect "the installed onload" 0 "^library: $work/installed/lib/sluice/libsluice.so" "$work/installed/bin/onload" -t true
expect "the installed launcher finds the installed library" 0 "^library: $work/installed/lib/sluice/libsluice.so" "$installed" -t true
expect "and the installed profiles" 0 '^EF_POLL_USEC=100000$' "$installed" -p latency env
expect "the manual of the settings, made from the table" 0 'EF_POLL_USEC' cat "$work/installed/share/man/man7/sluice-settings.7"
for page in sluice sluicestat sluicebench; do
    expect "the manual page of $page is there" 0 "^.TH ${page^^} 1" cat "$work/installed/share/man/man1/$page.1"
done
expect "the schema of sluicestat's JSON is there" 0 '"[$]defs"' cat "$work/installed/share/sluice/sluicestat.schema.json"
page=$work/installed/share/man/man7/sluice-settings.7
# in_section NAME SECTION: the section of the page that has the variable.
in_section() { [ "$(awk -v name="$1" '/^\.SH /{ s = substr($0, 5) } $1 == ".BR" && $2 == name { print s }' "$page")" = "$2" ] && ok "$1 is in the section $2" || not_ok "$1 is in the section $2"; }
in_section EF_LOG_FILE VARIABLES
in_section EF_UDP VARIABLES
in_section EF_UDP_RECV_SPIN VARIABLES
in_section EF_UDP_SEND_SPIN 'ACCEPTED, WITHOUT EFFECT'
in_section EF_NAME 'ACCEPTED, WITHOUT EFFECT'
in_section EF_RXQ_SIZE 'NOT APPLICABLE'
if [ -n "$(type -P groff)" ]; then
    for page in "$work"/installed/share/man/man*/*; do expect "groff finds no fault in ${page##*/}" 0 '!.' groff -man -ww -z "$page"; done
else
    skip "the manual pages by groff" "no groff here"
fi
# completed COMMAND WORD...: what bash offers for the last word.
completed() { bash -c 'source "$1/share/bash-completion/completions/$2"; COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2)) COMP_LINE="${*:2}"; COMP_POINT=${#COMP_LINE}; "_$2" "$2" "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"; printf "%s\n" "${COMPREPLY[@]}"' - "$work/installed" "$@"; }
[[ $(completed sluicestat ne) =~ netstat ]] && ok "bash completes commands of sluicestat" || not_ok "bash completes commands of sluicestat" "$(completed sluicestat ne 2>&1)"
[[ $(completed sluicebench --qu) =~ --quick ]] && ok "bash completes options of sluicebench" || not_ok "bash completes options of sluicebench" "$(completed sluicebench --qu 2>&1)"
expect "zsh has a completion" 0 '^#compdef sluicestat' cat "$work/installed/share/zsh/site-functions/_sluicestat"
expect "fish has a completion" 0 'complete .*sluicebench' cat "$work/installed/share/fish/vendor_completions.d/sluicebench.fish"
# Options that the tool's help names and its page does not; then how many there are.
options_without_words() {
    local option page count=0
    page=$(sed 's/\\//g' "$work/installed/share/man/man1/sluicebench.1")
    for option in $("$build/bin/sluicebench" --help | grep -oE '^ +(-h, )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
        grep -qF -- "$option" <<< "$page" || say "$option"
        count=$((count + 1))
    done
    say "$count options"
}
[[ $(options_without_words) =~ ^[1-9][0-9]\ options$ ]] && ok "sluicebench.1 has every option" || not_ok "sluicebench.1 has every option" "$(options_without_words)"
if [ "$(id -u)" -eq 0 ]; then
    nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    cp five set-uid && chmod 4755 set-uid
    cp five set-gid && chmod 2755 set-gid
    expect "set-uid" 5 'is set-uid' "${nobody[@]}" "$installed" ./set-uid
    expect "set-gid" 5 'is set-gid' "${nobody[@]}" "$installed" ./set-gid
    expect "set-uid to oneself raises nothing" 5 '!.' "$installed" ./set-uid
    if cp five capable && PATH=$PATH:/usr/sbin:/sbin setcap cap_net_raw+ep capable 2> /dev/null; then
        expect "file capabilities" 5 'has file capabilities' "${nobody[@]}" "$installed" ./capable
    else
        skip "file capabilities" "no setcap here"
    fi
else
    skip "set-uid, set-gid, file capabilities" "needs root"
fi
expect "install --uninstall" 0 'removed' "$top/Scripts/install" --prefix "$work/installed" --uninstall
expect "leaves no file and no folder" 0 '!.' find "$work/installed" -mindepth 1
mkdir -p "$work/installed/bin" && echo theirs > "$work/installed/bin/onload"
expect "another onload stays" 0 "bin/onload is another program's and stays" "$top/Scripts/install" --prefix "$work/installed"
expect "also when Sluice goes" 0 '^theirs$' bash -c "'$top/Scripts/install' --prefix '$work/installed' --uninstall > /dev/null; cat '$work/installed/bin/onload'"
for script in setup build demo test install package fuzz; do expect "$script --help" 0 '^usage: Scripts/' "$top/Scripts/$script" --help; done

finish
