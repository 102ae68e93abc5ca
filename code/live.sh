# Tangled from chapters/58-live.md; edit there.
# usage: sh code/live.sh RUN PROGRAM PROFILE STAGE...
# Keeps RUN/live.html, a page of what the run has come to, until nobody is at work on
# it, and exits with 0; if nobody is now, writes it once. PROFILE: the settings of the
# run, for the names of its models; STAGE: all its stages.
# Changes nothing else and takes no lock. LIVE_PAUSE in the environment: seconds from
# one look to the next.
set -u
run=$1 program=$2 profile=$3
shift 3
pause=${LIVE_PAUSE:-10}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work" "$run/live.html.partial"' EXIT
trap 'exit 1' HUP INT TERM

# Ask whether the run goes on
real=$(readlink -m "$run")
lock=${real%/*}/.${real##*/}.lock

# goes_on: whether the process that the lock tells of has it
goes_on() {
    read -r owner since <"$lock" || return 1
    for file in /proc/"$owner"/fd/*; do
        [ "$(readlink "$file")" != "$lock" ] || return 0
    done
    return 1
} 2>/dev/null

# Look once
# look STAGE...: makes new pictures, $panels; fails if something vanished meanwhile
look() {
    rm -rf "$work/look"
    mkdir "$work/look"
    nice "$program" live --profile "$profile" --run "$run" --out "$work/look" \
        --name "$*" || return
    panels=$(cd "$work/look" &&
        for table in loss-*.tsv speed.tsv accuracy.tsv scores.tsv; do
            [ ! -f "$table" ] || echo "${table%.tsv}"
        done)
    nice gnuplot -e "folder='$work/look'; panels='$panels'" figures/live.gp
} 2>"$work/said"

# Make the page
# page AGAIN STATE: a page of the last look; AGAIN: how it is loaded again
page() {
    cat <<END
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">$1
<title>${run##*/}</title>
<style>
body { font-family: sans-serif; margin: 1em; color: #222 }
progress { width: 100%; max-width: 30em }
div { overflow-x: auto }
th { text-align: left; font-weight: normal }
td { text-align: right; padding-left: 1em }
img { width: 100%; max-width: 30em }
</style>
<h1>${run##*/}</h1>
<p>$(date '+%H:%M:%S %Z'): $2</p>
<div>
$(cat "$work/look/state.html")
</div>
END
    for panel in $panels; do
        printf '<img alt="%s" src="data:image/svg+xml;base64,%s">\n' "$panel" \
            "$(base64 -w 0 "$work/look/$panel.svg")"
    done
}

# put AGAIN STATE: the page takes the old one's place
put() {
    page "$@" >"$run/live.html.partial" && mv "$run/live.html.partial" "$run/live.html"
}

# Look until the run ends
[ -d "$run/stages" ] || goes_on || {
    echo "live: $run: there is no run; make report begins one" >&2
    exit 1
}
mkdir -p "$run"
echo "live: $run/live.html, until the run ends"
again="
<meta http-equiv=\"refresh\" content=\"$pause\">"
state="the run goes on"
while [ -n "$again" ]; do
    goes_on || again= state="nobody is at work on the run"
    if look "$@"; then
        put "$again" "$state" || exit 1
    elif [ -z "$again" ]; then
        cat "$work/said" >&2
        exit 1
    fi
    [ -z "$again" ] || sleep "$pause"
done
