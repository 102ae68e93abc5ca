# Tangled from chapters/66-writing.md; edit there.
# usage: sh code/preview.sh FOLDER RUN TANGLE PANDOC...
# Keeps FOLDER/page.html, a page of the chapter that was saved last, until it is
# interrupted. RUN: the folder of a run, for its numbers; TANGLE: the tangler; PANDOC:
# the command that weaves a page, but for what is said here.
# PREVIEW_PAUSE in the environment: seconds from one look to the next.
set -u
mkdir -p "$1" || exit 1
folder=$(readlink -f "$1") run=$2 tangle=$3
shift 3

# Weave one chapter
# weave CHAPTER PANDOC...: makes page.new of it
weave() {
    chapter=$1 values=$run/values.json
    shift
    "$tangle" -o "$folder/tangled" --xref "$folder/xref.json" chapters/*.md || return 1
    [ -f "$values" ] || values=$folder/values.json
    [ -f "$values" ] || echo '{}' >"$values"
    "$@" -M values="$values" -M xref="$folder/xref.json" -M figures=. \
        -M preview="$(echo chapters/*.md)" -A "$folder/script.html" \
        -o "$folder/page.new" "$chapter" && draw
}

# Draw the figures of a chapter
# draw: has gnuplot draw the figures of $chapter, beside the page
draw() {
    home=$(readlink -m "$run") needs=' data='
    [ ! -d "$home" ] || needs='^$'
    for figure in $(grep -v -e "$needs" "$chapter" |
        sed -n 's:^\:\:\:.* script=figures/\([a-z]*\)\.gp.*:\1:p'); do
        (cd "$folder/tangled" && gnuplot -e "results='$home'; terminal='svg'" \
            -e "output='$folder/$figure.svg'" "figures/$figure.gp") || return 1
    done
}

# Show a chapter, or what is wrong with it
# show CHAPTER PANDOC...: puts it on the page
show() {
    stamp=$(sha256sum chapters/*.md "$1" | sha256sum | cut -c 1-16)
    cat >"$folder/script.html" <<END
<script>
const shown = "$stamp";
function stamp(now) { if (now !== shown) location.reload(); }
setInterval(() => {
    const look = document.createElement("script");
    look.src = "stamp.js?" + Date.now();
    look.onload = look.onerror = () => look.remove();
    document.head.append(look);
}, 500);
</script>
END
    if ! weave "$@" 2>"$folder/said"; then
        # Put what is wrong on the page
        {
            echo '<!DOCTYPE html><meta charset="utf-8"><title>Not woven</title>'
            echo "<h1>$1 is not woven</h1><pre>"
            sed 's/&/\&amp;/g; s/</\&lt;/g' "$folder/said"
            echo '</pre>'
            cat "$folder/script.html"
        } >"$folder/page.new"
    fi
    cat "$folder/said" >&2
    mv "$folder/page.new" "$folder/page.html"
    echo "stamp('$stamp');" >"$folder/stamp.js.new"
    mv "$folder/stamp.js.new" "$folder/stamp.js"
}

seen=$(sha256sum chapters/*.md)
echo "preview: file://$folder/page.html shows each chapter that is saved"
show "$(ls -t chapters/*.md | head -n 1)" "$@"
while sleep "${PREVIEW_PAUSE:-0.5}"; do
    sums=$(sha256sum chapters/*.md)
    saved=$(printf '%s\n' "$sums" | grep -vxF "$seen" | tail -n 1 | cut -c 67-)
    seen=$sums
    [ -z "$saved" ] || show "$saved" "$@"
done
