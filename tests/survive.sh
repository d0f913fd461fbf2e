#!/bin/bash
# Puts Setpoint through all that it must survive, and writes what it came to between the marks in docs/faults.md.
# It takes about two hours. `tests/survive.sh quick` takes as long as the builds; PAIRS, KILLS, YEARS and CASES say how much of
# each otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."

pairs=${PAIRS:-all} kills=${KILLS:-1200} years=${YEARS:-10000} cases=${CASES:-20000}
if [[ ${1-} == quick ]]; then
    pairs=16 kills=20 years=10 cases=256
fi
seed=${SETPOINT_SEED:-$RANDOM}
log=$(mktemp)
rows=$(mktemp)
trap 'rm --force "$log" "$rows"' EXIT

# A row: what, how many trials, how much in them, how much simulated time. Whoever comes so far broke no rule.
row() { echo "| $1 | $2 | $3 | $4 | 0 |" | tee --append "$rows"; }
# With its thousands apart.
number() { sed --regexp-extended ':again; s/([0-9])([0-9]{3})($|,)/\1,\2\3/; t again' <<<"$1"; }
suite() {
    echo "== $*"
    env "$@" 2>&1 | tee "$log"
}

suite SETPOINT_FAULT_PAIRS=$pairs SETPOINT_FAULT_SEED=$seed SETPOINT_DAEMON_SEED=$seed SETPOINT_DAEMON_LIVES=8 \
    SETPOINT_DAEMON_HOURS=12 cargo test --release --locked --test faults -- --nocapture
while IFS='|' read -r _ what trials evaluations simulated _; do
    row "$(xargs <<<"$what")" "$(number "$(xargs <<<"$trials")")" "$(number "$(xargs <<<"$evaluations")") evaluations" "$(xargs <<<"$simulated")"
done < <(grep '^| ' "$log")

suite SETPOINT_REQUIRE_SERVERS=1 cargo test --release --locked --test incidents --test disk
passed=$(awk '/^test result: ok/ { sum += $4 } END { print sum }' "$log")
row "incidents of others, a day without Prometheus, eight hours without AWS, faults of the disk" "$passed" "" ""

suite SETPOINT_KILLS=$kills cargo test --release --locked --test crash -- --nocapture
read -r calls orders < <(awk -F'[ ,]+' '/ looks, / { print $3, $5 }' "$log")
row "kill -9" "$(number "$(awk '/ kills: / { print $1 }' "$log")")" "$(number "$calls") calls, $(number "$orders") orders" ""

suite SETPOINT_LIFETIMES_YEARS=$years SETPOINT_LIFETIMES_SEED="$((seed * 1000 + 1))" \
    cargo test --release --locked --no-default-features --test lifetimes -- --nocapture
row "lives of the decision core" "$(number "$(awk -v first="$((seed * 1000))" '/ years, seeds up to / { print $NF - first }' "$log")")" "" "$(number "$years") years"

suite PROPTEST_CASES=$cases cargo test --release --locked --test corpora
row "altered inputs, for each place where the bytes of others come in" "7" "$(number "$cases") inputs each" ""

table=$(printf '| suite | trials | in them | simulated | violations |\n|---|---|---|---|---|\n' && cat "$rows")
awk -v table="$table" '/<!-- survived -->/ { print; print table; skip = 1 } /<!-- end -->/ { skip = 0 } !skip' \
    docs/faults.md >"$log"
cat "$log" >docs/faults.md
