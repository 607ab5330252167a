#!/bin/bash
# The packages that Scripts/package makes: what is in them, that they are the same each time, and each of them installed in a
# clean root directory, used there by two programs, and removed without a trace.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
package=("$top/Scripts/package" --built --output)
root=$work/root

if [ -z "$(type -P dpkg-deb)" ]; then
    skip "packages" "no dpkg-deb here"
    finish
    exit
fi
expect "package" 0 '\.deb$' "${package[@]}" "$work"
tar=$(ls "$work"/*.tar.gz) deb=$(ls "$work"/*.deb)
version=$("$top/Scripts/sluice" --version)
version=${version#sluice }

# MARK: what is in them

quietly "$top/Scripts/install" --built --prefix "$work/prefix" || not_ok "install" "failed"
(cd "$work/prefix" && find . ! -type d | sed 's,^\./,,' | sort) > "$work/installed"
# Unpacks an archive into a folder and lists it: mode, owner, size, date, time, name.
unpack() { mkdir -p "$1" && TZ=UTC tar -C "$1" --full-time --numeric-owner -xvvf -; }
gzip -dc "$tar" | unpack "$work/opt" > "$work/tar.list"
dpkg-deb --fsys-tarfile "$deb" | unpack "$work/tree" > "$work/deb.list"
dpkg-deb -e "$deb" "$work/tree/DEBIAN"
# What each package has of its own in a name, taken away.
own="^sluice-$version/|^\./(usr/)?"
moment=$(TZ=UTC date -d "@$(git -C "$top" log -1 --format=%ct)" '+%Y-%m-%d %H:%M:%S')
for name in tar deb; do
    awk '/^[-l]/ { print $6 }' "$work/$name.list" | sed -E "s,$own,,; s,/sluice/copyright\$,/sluice/LICENSE," | sort > "$work/$name.files"
    difference=$(diff "$work/installed" "$work/$name.files") && ok "$name: what install installs, $(wc -l < "$work/installed") files" ||
        not_ok "$name: what install installs" "$difference"
    difference=$(grep -vE "^([d-]rwxr-xr-x|-rw-r--r--|lrwxrwxrwx) 0/0 +[0-9]+ $moment " "$work/$name.list") && not_ok "$name: owner, mode and time" "$difference" ||
        ok "$name: owner, mode and time"
done
cmp -s "$top/LICENSE" "$work/tree/usr/share/doc/sluice/copyright" && ok "deb: the licence is whole" || not_ok "deb: the licence is whole"
rm -rf "$work/prefix"

forms=(--deb)
[ "${SLUICE_TEST_ALL:-0}" -eq 0 ] || forms=(--tar --deb)
for form in "${forms[@]}"; do
    expect "package $form again, with other umask and zone" 0 'package: ' bash -c 'umask 077; TZ=Asia/Tokyo "$@"' - "${package[@]}" "$work/again" "$form"
done
for file in "$work"/again/*; do
    cmp -s "$file" "$work/${file##*/}" && ok "${file##*.}: the same bytes" || not_ok "${file##*.}: the same bytes" "$(cmp "$file" "$work/${file##*/}" 2>&1)"
done
expect "nothing else is left" 0 "^$(ls "$work/again" | wc -l)\$" bash -c "ls -A '$work/again' | wc -l"

# MARK: the control fields

[ "$(dpkg-deb -f "$deb" Version)" = "$version" ] && ok "deb: the launcher's version" || not_ok "deb: the launcher's version" "$(dpkg-deb -f "$deb" Version)"
(cd "$work/tree" && md5sum --quiet -c DEBIAN/md5sums) > "$work/sums" 2>&1 && ok "deb: its sums" || not_ok "deb: its sums" "$(cat "$work/sums")"
summed=$(wc -l < "$work/tree/DEBIAN/md5sums")
[ "$summed" -eq "$(grep -c ^- "$work/deb.list")" ] && ok "deb: a sum for each file" || not_ok "deb: a sum for each file" "$summed"
# An independent look at what the programs need: the newest version of the C library that a symbol of theirs asks for.
newest=$(nm -D --undefined-only "$work"/tree/usr/bin/sluice?* "$work"/tree/usr/lib/sluice/* | grep -oE '@GLIBC_[0-9.]+' | sort -Vu | tail -n 1)
depends=$(dpkg-deb -f "$deb" Depends)
grep -qF "libc6 (>= ${newest#@GLIBC_})," <<< "$depends," && ok "deb: depends on C library ${newest#@GLIBC_}" ||
    not_ok "deb: depends on C library ${newest#@GLIBC_}" "$depends"
# And that is what README promises: no newer one, and the libstdc++ of GCC 11.
[ "$(sed 's/libgcc-s1[^,]*, //' <<< "$depends")" = 'libc6 (>= 2.34), libstdc++6 (>= 11)' ] && ok "deb: depends on what README says" ||
    not_ok "deb: depends on what README says" "$depends" \
        "$(nm -D --undefined-only "$work"/tree/usr/bin/sluice?* | grep -E '@GLIBC_2\.(3[5-9]|[4-9])|@GLIBCXX_3\.4\.([3-9][0-9])')"
# The control fields alone, in a package without files.
rm -rf "$work/tree"/{usr,DEBIAN/md5sums}
quietly dpkg-deb -Znone --build "$work/tree" "$work/empty.deb" || not_ok "deb: its control fields make a package" "no"

# MARK: a clean root directory

# What a minimal Debian has of the things that launcher and tools run.
make_root() {
    local name file files=()
    mkdir -p "$root"/usr/{bin,lib,lib64} "$root"/{dev,proc,opt}
    ln -s usr/bin "$root/bin"
    ln -s usr/lib "$root/lib"
    ln -s usr/lib64 "$root/lib64"
    for name in bash cat grep head mkfifo od printenv readlink rm sort tail tar tr; do files+=("$(PATH=/usr/bin:/bin type -P "$name")"); done
    for name in libstdc++.so.6 libgcc_s.so.1; do files+=("$(ldd "$build/bin/sluicestat" | awk -v name="$name" '$1 == name { print $3 }')"); done
    quietly "${CC:-gcc}" -O1 -Wall -Wextra -o "$root/talk" "$here/Talk.c" && cp "$here/in-root.sh" "$root/" || return 1
    while read -r file; do
        mkdir -p "$root${file%/*}" && cp -L "$file" "$root$file" || return 1
    done < <({ printf '%s\n' "${files[@]}"; ldd "${files[@]}" "$root/talk" | grep -oE '/[^ :]+ \(0x' | sed 's/ .*//'; } | sort -u)
    ln -s /proc/self/fd "$root/dev/fd"
    mknod -m 666 "$root/dev/null" c 1 3
}

# inside: in the root directory, with processes and mounts of its own and no variable of ours.
inside=(timeout --kill-after=5 60 unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" env -i PATH=/usr/bin
    "$(PATH=$PATH:/usr/sbin type -P chroot)" "$root")
# Everything in the root directory but the package database, its log, and what in-root.sh makes.
seen() { (cd "$root" && find . -path ./var -prune -o ! -path './proc/*' ! -name sockets.json ! -name port ! -name said ! -name go -print | sort); }

# use NAME FOLDER-OF-THE-TOOLS
use() {
    local said bytes launcher
    expect "$1: launcher" 0 "^sluice $version\$" "${inside[@]}" "$2/sluice" --version
    expect "$1: stat tool" 0 "^$version\$" "${inside[@]}" "$2/sluicestat" --version
    expect "$1: its own library" 0 "^library: ${2%/bin}/lib/sluice/libsluice.so" "${inside[@]}" "$2/sluice" -t -p latency /talk
    for launcher in "$2/sluice" ''; do
        said=$("${inside[@]}" /bin/bash /in-root.sh "$2" $launcher 2>&1)
        if [[ ! $said =~ ^port\ ([0-9]+),\ verified\ 1000$ ]]; then not_ok "$1: two programs" "$said"; continue; fi
        bytes=$(python3 "$here/../Programs/ring_bytes.py" "${BASH_REMATCH[1]}" < "$root/sockets.json")
        if [ -n "$launcher" ]; then
            [ "$bytes" -gt 64000 ] && ok "$1: two programs, $bytes bytes by ring" || not_ok "$1: bytes by ring" "$bytes"
        else
            [ "$bytes" -eq 0 ] && ok "$1: without the launcher all bytes by the kernel" || not_ok "$1: without the launcher" "$bytes by ring"
        fi
    done
}

# database [VERSION]: dpkg's database in the root directory, in which the C library has this version or its own.
database() {
    local name
    rm -rf "$root/var"
    mkdir -p "$root"/var/lib/dpkg/{info,updates,triggers} "$root/var/log"
    for name in libc6 libgcc-s1 libstdc++6; do
        dpkg-query -s "$name" && echo
        : > "$root/var/lib/dpkg/info/$name:$(dpkg --print-architecture).list"
    done > "$root/var/lib/dpkg/status"
    [ $# -eq 0 ] || sed -i "/^Package: libc6\$/,/^\$/s/^Version: .*/Version: $1/" "$root/var/lib/dpkg/status"
}
dpkg_in_root=(dpkg --root="$root" --force-unsafe-io --path-include='*')

if [ "$(id -u)" -ne 0 ]; then
    skip "installed and used in a clean root directory" "needs root"
elif ! make_root; then
    not_ok "a clean root directory" "cannot be made"
elif ! "${inside[@]}" /bin/bash -c ': < <(:)' 2> "$work/why"; then
    skip "installed and used in a clean root directory" "no root directory of one's own here: $(head -n 1 "$work/why")"
else
    before=$(seen)
    mv "$work/opt/sluice-$version" "$root/opt/"
    use tar "/opt/sluice-$version/bin"
    rm -rf "$root/opt/sluice-$version"
    difference=$(diff <(say "$before") <(seen)) && ok "tar: removed without a trace" || not_ok "tar: removed without a trace" "$difference"

    database 2.33
    expect "deb: refused on an older C library" 1 'depends on libc6 \(>= 2\.3[0-9]\)' "${dpkg_in_root[@]}" -i "$work/empty.deb"
    database
    expect "deb: installed" 0 'Setting up sluice' "${dpkg_in_root[@]}" -i "$deb"
    use deb /usr/bin
    expect "deb: purged" 0 'Removing sluice' "${dpkg_in_root[@]}" -P sluice
    difference=$(diff <(say "$before") <(seen)) && ok "deb: removed without a trace" || not_ok "deb: removed without a trace" "$difference"
fi
finish
