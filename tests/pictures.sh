# The pictures of the book say what the code does: who includes whom, and which arrays a layer keeps.
set -u
. tests/check.sh

drawn() { # drawn FIGURE: its arrays, a line for each place: the name of the array and what is there
    names=$(sed -n 's/^array \([a-z_]*\)\(\[[0-9]*\]\)* = .*/\1/p' "figures/$1.gp")
    gnuplot -e "results='.'; terminal='svg'; output='$folder/$1.svg'; load 'figures/$1.gp'; set print '$folder/$1'$(
        for name in $names; do printf '%s' "; do for [i = 1:|$name|] { print '$name ', $name[i] }"; done)" 2>&1 && cat "$folder/$1"
}

# an include is a pair of files, "kernels fail"; files of several devices count as one
includes() {
    grep -H '^#include "' code/*.h code/*.c code/*.cu | sed 's|^code/\([a-z]*\)[^:]*:#include "\([a-z]*\).*|\1 \2|' |
        awk '$1 != $2' | sort -u
}
against() { # against: what is wrong with the picture of the house
    awk '
        FNR == NR && $1 == "file" { rooms++; for (i = 2; i <= NF; i++) home[$i] = rooms }
        FNR == NR && $1 == "from" { from[++arrows] = $2 }
        FNR == NR && $1 == "to" { below[from[++ends], $2] = arrow[from[ends], $2] = 1 }
        FNR == NR { next }
        FNR == 1 {
            for (k = 1; k <= rooms; k++) for (i = 1; i <= rooms; i++) for (j = 1; j <= rooms; j++)
                if (((i, k) in below) && ((k, j) in below)) below[i, j] = 1
            for (i = 1; i <= rooms; i++) if ((i, i) in below) print "room " i " is below itself" }
        !($1 in home) || !($2 in home) { print $1 " or " $2 " lives nowhere"; next }
        home[$1] != home[$2] && !((home[$1], home[$2]) in below) { print $1 " includes " $2 ", and no arrow leads there" }
        { used[home[$1], home[$2]] = 1 }
        END { for (a in arrow) if (!(a in used)) { sub(SUBSEP, " to ", a); print "no include is behind the arrow from " a } }' "$@"
}
includes >"$folder/includes"
check "the house can be drawn" drawn house
drawn house >"$folder/house.arrays"
check "there are includes to compare" test "$(wc -l <"$folder/includes")" -gt 100
check "includes go along the arrows of the house" same "$(against "$folder/house.arrays" "$folder/includes")" ""
apart=" $(sed -n '/ apart\[\] = {/,/};/p' code/rules.c | grep -o '"[a-z]*"' | tr -d '"' | xargs) "
told() { for file in $(grep '^file' "$folder/house.arrays" | sed -n '1,2s/^file//p'); do case $apart in *" $file "*) ;; *) echo "$file" ;; esac; done; }
check "what only tells of a run is part of no key" same "$(told)" ""
echo "fail encoder" >>"$folder/includes"
check "one against them is seen" same "$(against "$folder/house.arrays" "$folder/includes")" "fail includes encoder, and no arrow leads there"

# members of a struct with the shapes of their comments, "qkv [tokens, 3 width]"
members() {
    sed -n "/^struct $1 {/,/^}/s|^ *[a-z ]* \**\([a-z]*\); *\/\* \(\[[^]]*\]\).*|\1 \2|p" code/encoder.h
}
pairs() { # pairs NAMES SHAPES: what two arrays of the picture have at the same place
    awk -v names="$1" -v shapes="$2" '$1 == names { $1 = ""; name[++n] = substr($0, 2) }
        $1 == shapes { $1 = ""; print name[++m] " " substr($0, 2) }' "$folder/layer.arrays"
}
check "a layer can be drawn" drawn layer
drawn layer >"$folder/layer.arrays"
check "a layer keeps what is drawn, in that order" same "$(pairs kept shape | grep -v '^hidden')" "$(members layer)"
# of the gradients one is for what does not learn
check "the gradients are those that are drawn" same "$(pairs passed size | sort -u)" "$(members backward | grep -v '^unread' | sort)"
exit $failed
