# Tangled from chapters/30-data.md; edit there.
# usage: sh code/generated.sh VIEW KEYS PROGRAM ARGUMENT...
# Has PROGRAM make the folder VIEW, which it is told of with --out, unless VIEW is as it
# was made from KEYS/toyland.key. Leaves the sum of it all in KEYS/data.key.
set -eu
export LC_ALL=C
view=$1 keys=$2
shift 2
whole() {
    cmp -s "$keys/toyland.key" "$view/.key" &&
        (cd "$view" && sha256sum --strict --status -c .sums)
}

if ! whole; then
    rm -rf "$view.new"
    "$@" --out "$view.new"
    cp "$keys/toyland.key" "$view.new/.key"
    (cd "$view.new" && find . -type f ! -name '.*' | sort | xargs sha256sum >.sums)
    rm -rf "$view"
    mv "$view.new" "$view"
fi
sha256sum <"$view/.sums" >"$keys/data.key.new"
mv "$keys/data.key.new" "$keys/data.key"
rm -f "$keys/missing"
