# Sourced by the run.sh of the test folders, after Scripts/lib.sh: cases that count themselves.
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); printf 'ok   %s\n' "$1"; }
not_ok() { failed=$((failed + 1)); printf 'FAIL %s\n' "$1"; shift; [ $# -eq 0 ] || printf '%s\n' "$@" | sed 's/^/     /'; }
# skip NAME REASON
skip() { skipped=$((skipped + 1)); printf 'skip %s: %s\n' "$1" "$2"; }

# expect NAME CODE PATTERN COMMAND...: the exit code, and an extended regular expression that the output (both) must hold;
# a PATTERN that begins with ! must not be found.
expect() {
    local name=$1 code=$2 pattern=$3 output status=0
    shift 3
    output=$(timeout 60 "$@" 2>&1 < /dev/null) || status=$?
    if [ "$status" -ne "$code" ]; then
        not_ok "$name" "exit code $status, expected $code" "$output"
    elif [ "${pattern:0:1}" = '!' ] && grep -qE -- "${pattern:1}" <<< "$output"; then
        not_ok "$name" "found: ${pattern:1}" "$output"
    elif [ "${pattern:0:1}" != '!' ] && ! grep -qE -- "$pattern" <<< "$output"; then
        not_ok "$name" "not found: $pattern" "$output"
    else
        ok "$name"
    fi
}

# The last line of a suite.
finish() {
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ]
}
