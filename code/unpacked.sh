# Tangled from chapters/59-trust.md; edit there.
# usage: sh code/unpacked.sh ARTIFACT PLACE COMMAND...
# Has COMMAND look at a run: ARTIFACT if that is a folder, or else the one folder that
# an archive holds, which is unpacked beside PLACE and removed again.
set -u
artifact=$1 place=$2.$$
shift 2
refuse() {
    echo "verify: $artifact: $1" >&2
    exit 1
}
[ ! -d "$artifact" ] || exec "$@" "$artifact"
[ -f "$artifact" ] || refuse "expected a run, or what make artifact packed"
trap 'rm -rf "$place"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$place"
tar -xJf "$artifact" --no-same-owner -C "$place" ||
    refuse "is damaged, or not what make artifact packed; ask for it again"
set -- "$@" "$place"/*
for run; do :; done
[ "$(ls "$place" | wc -l)" = 1 ] && [ -f "$run/SHA256SUMS" ] ||
    refuse "expected one folder in it, and in that SHA256SUMS"
"$@"
