#!/bin/bash
# Each check script is fed a bad sample, on which it must be red, and a good one, on which it must be green.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
checks=$top/Scripts
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
shared() { gcc -shared -fPIC -O1 -o "$1" -x c - "${@:2}"; }

# MARK: the library

printf '{\n  global: /* doors */\n    good_one;\n    good_two; # two\n  local: *;\n};\n' > map
shared good.so -Wl,--version-script=map -nodefaultlibs -lc <<< 'int good_one(void) { return 1; } int good_two(void) { return 2; } int inner(void) { return 3; }'
shared extra.so <<< 'int good_one(void) { return 1; } int good_two(void) { return 2; } int swift_retain(void) { return 3; }'
shared fewer.so <<< 'int good_one(void) { return 1; }'
expect "exports: as the map" 0 '!.' "$checks/check-exports" good.so map
expect "exports: one more" 1 'not in the map: swift_retain' "$checks/check-exports" extra.so map
expect "exports: one fewer" 1 'not exported: good_two' "$checks/check-exports" fewer.so map
expect "needed: libc alone" 0 '!.' "$checks/check-needed" good.so
shared libm.so -Wl,--no-as-needed -lm <<< 'int x;'
expect "needed: another library" 1 'needs libm.so.6' "$checks/check-needed" libm.so
shared path.so -Wl,-rpath,/somewhere <<< 'int x;'
expect "needed: a run path" 1 'run path' "$checks/check-needed" path.so
shared newest.so <<< '#include <stdlib.h>
void *x(size_t n) { return malloc(n); }'
expect "symbol versions: old ones" 0 '!.' "$checks/check-symbol-versions" newest.so
# A libc that offers a symbol of a version to come.
printf 'GLIBC_2.99 { global: to_come; };\n' > to-come.map
shared libtocome.so -Wl,--version-script=to-come.map <<< 'int to_come(void) { return 1; }'
shared newer.so -L. -ltocome <<< 'int to_come(void); int x(void) { return to_come(); }'
expect "symbol versions: a newer one" 1 'to_come needs GLIBC_2.99' "$checks/check-symbol-versions" newer.so

# MARK: hot paths

shared hot.so <<< '#include <stdlib.h>
int plain(int a) { return a * 2; }
int traps(int a) { if (a < 0) __builtin_trap(); return a; }
void *allocates(int a) { char *p = malloc(a); if (p) *p = 1; return p; }
void swift_retain(void *p) { __asm__ volatile(""); }
int counts(void *p) { swift_retain(p); return 1; }'
for name in plain traps allocates counts gone; do say "$name" > "$name.list"; done
expect "hot paths: plain" 0 '!.' "$checks/check-hot-paths" hot.so plain.list
expect "hot paths: a trap" 1 'traps: traps' "$checks/check-hot-paths" hot.so traps.list
expect "hot paths: an allocation" 1 'allocates: calls malloc' "$checks/check-hot-paths" hot.so allocates.list
expect "hot paths: a reference count" 1 'counts: calls swift_retain' "$checks/check-hot-paths" hot.so counts.list
expect "hot paths: a function that is gone" 1 'gone is listed' "$checks/check-hot-paths" hot.so gone.list

# MARK: the sources

# A package of two rooms: Upper may use Lower.
package() {
    local root=$1
    mkdir -p "$root/Sources/Upper" "$root/Sources/Lower" "$root/Sources/CThing/include"
    cat > "$root/Package.swift" <<'END'
// swift-tools-version: 6.2
import PackageDescription
let package = Package(
    name: "sample",
    targets: [
        .target(name: "Upper", dependencies: ["Lower"]),
        .target(name: "Lower", swiftSettings: [.enableExperimentalFeature("Embedded")]),
        .target(name: "CThing"),
    ])
END
    say 'import Lower' > "$root/Sources/Upper/Upper.swift"
    say 'public func low() {}' > "$root/Sources/Lower/Lower.swift"
    say '#include "CThing.h"' > "$root/Sources/CThing/CThing.c"
    say 'void CThing_do(void);' > "$root/Sources/CThing/include/CThing.h"
    : > "$root/list"
}
package rooms
expect "rooms: in order" 0 '!.' "$checks/check-rooms" rooms
say 'public import Upper' >> rooms/Sources/Lower/Lower.swift
expect "rooms: an import upwards" 1 'Lower.swift: imports Upper' "$checks/check-rooms" rooms
package foundation
say 'import Foundation' >> foundation/Sources/Lower/Lower.swift
expect "rooms: Foundation in an embedded room" 1 'imports Foundation' "$checks/check-rooms" foundation
package header
say '#include "Elsewhere.h"' >> header/Sources/CThing/CThing.c
expect "rooms: a header of nobody" 1 'includes Elsewhere.h' "$checks/check-rooms" header
package upward
sed -i 's/\.target(name: "CThing")/.target(name: "CThing", dependencies: ["Upper"])/' upward/Package.swift
expect "rooms: a dependency upwards" 1 'CThing depends on Upper, which stands above' "$checks/check-rooms" upward

package unsafe
say '/// UnsafePointer in a comment' > unsafe/Sources/Lower/Lower.swift
say 'func f(_ p: UnsafeRawPointer) {}' > unsafe/Sources/Lower/Ring+Unsafe.swift
expect "unsafe: in its file" 0 '!.' "$checks/check-unsafe" unsafe unsafe/list
say 'func g(_ p: UnsafeMutablePointer<Int>) {}' > unsafe/Sources/Upper/Upper.swift
expect "unsafe: outside" 1 'Upper.swift:1: UnsafeMutablePointer' "$checks/check-unsafe" unsafe unsafe/list
say 'Sources/Upper/Upper.swift the doors take pointers' > unsafe/list
expect "unsafe: listed with a reason" 0 '!.' "$checks/check-unsafe" unsafe unsafe/list
say 'Sources/Upper/Upper.swift' > unsafe/list
expect "unsafe: listed without a reason" 1 'has no reason' "$checks/check-unsafe" unsafe unsafe/list
say 'Sources/Lower/Lower.swift it was unsafe once' >> unsafe/list
expect "unsafe: listed, but safe" 1 'holds nothing unsafe' "$checks/check-unsafe" unsafe unsafe/list

package sizes
lines() { seq -f "$1" "$2"; }
{ say 'func fits() {'; lines '    print(%g, "}")' 68; say '}'; } > sizes/Sources/Lower/Lower.swift
{ say '#include "CThing.h"'; say 'void CThing_do(void) {'; lines '    volatile int a%g;' 68; say '}'; } > sizes/Sources/CThing/CThing.c
expect "sizes: 70 lines" 0 '!.' "$checks/check-sizes" sizes sizes/list
{ say 'struct S {'; say '    func long() -> Int {'; lines '        print(%g)' 70; say '    }'; say '}'; } > sizes/Sources/Lower/Lower.swift
expect "sizes: a long Swift function" 1 'Lower.swift:2: long has 72 lines' "$checks/check-sizes" sizes sizes/list
say 'Sources/Lower/Lower.swift:long one table of values' > sizes/list
expect "sizes: with a reason" 0 '!.' "$checks/check-sizes" sizes sizes/list
{ say 'static int'; say 'CThing_long(int a,'; say '            int b)'; say '{'; lines '    if (a == %g) { b = 1; }' 70; say '    return b;'; say '}'; } > sizes/Sources/CThing/CThing.c
expect "sizes: a long C function" 1 'CThing.c:1: CThing_long has 76 lines' "$checks/check-sizes" sizes sizes/list
lines '// %g' 401 > sizes/Sources/Upper/Upper.swift
expect "sizes: a long file" 1 'Upper.swift: 401 lines' "$checks/check-sizes" sizes sizes/list

printf 'func f() -> Int {\n    1\n}\n' > Good.swift
printf 'func f() -> Int {\n  1 ;\n}\n' > Bad.swift
expect "format: as it should be" 0 '!error' "$checks/check-format" Good.swift
expect "format: other indentation" 1 'Indentation' "$checks/check-format" Bad.swift

mkdir words
say 'a plain sentence' > words/text
expect "words: none" 0 '!.' "$checks/check-words" words
say "see /ho""me/somebody/x" > words/text
expect "words: a path of somebody" 1 'words/text|^text|\./text' "$checks/check-words" words
say "// TO""DO: later" > words/text
expect "words: unfinished" 1 'text' "$checks/check-words" words

printf '#!/bin/bash\nset -u\na=1\nb=2\n' > good.sh
printf '#!/bin/bash\nset -u\nif true; then\n' > broken.sh
printf '#!/bin/bash\na=1\nb=2\nc=3\n' > loose.sh
expect "shell: good" 0 '!.' "$checks/check-shell" good.sh
expect "shell: cannot be read" 1 'syntax error' "$checks/check-shell" broken.sh
expect "shell: unset variables pass" 1 'no set -u' "$checks/check-shell" loose.sh

finish
