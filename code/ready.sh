# Tangled from chapters/49-start.md; edit there.
# usage: sh code/ready.sh book FOLDER
#        sh code/ready.sh page
# Sees that the programs are there that set the book, or its one page of HTML; for the
# book also that TeX has all files, and every character of TITLE, AUTHOR and COURSE, by
# setting them, in FOLDER. Exits with 1, saying what is missing.
set -u
missing=

# Note what is missing
# need PACKAGE WHAT COMMAND...: notes WHAT, from PACKAGE, as missing if COMMAND fails
need() {
    package=$1 what=$2
    shift 2
    "$@" >/dev/null 2>&1 || missing="$missing
    $what, of the package $package"
}

need pandoc pandoc command -v pandoc
need lua5.4 lua5.4 command -v lua5.4
need gnuplot-nox gnuplot command -v gnuplot
if [ "$1" = book ]; then
    # Ask for what sets a book
    need gnuplot-nox "gnuplot's terminal tikz" gnuplot -e 'set terminal tikz'
    need texlive-latex-recommended pdflatex command -v pdflatex
    need texlive-latex-recommended kpsewhich command -v kpsewhich
    loaded='s/^\\usepackage.*{\(.*\)}$/\1/p; s/^\\documentclass.*{\(.*\)}$/\1.cls/p'
    for file in tikz $(sed -n "$loaded" code/book.tex code/figure.tex | tr , ' '); do
        case $file in
        gnuplot-lua-tikz) continue ;; # which gnuplot makes
        lmodern) package=lmodern ;;
        tikz) package=texlive-pictures ;;
        accsupp | adjustbox | framed | fvextra | needspace | newunicodechar | placeins | \
            standalone.*)
            package=texlive-latex-extra ;;
        *) package=texlive-latex-recommended ;;
        esac
        case $file in *.cls) ;; *) file=$file.sty ;; esac
        need "$package" "$file" kpsewhich "$file"
    done
fi
# Refuse what is missing or too old
[ -z "$missing" ] || {
    echo "ready: not all is there that the report needs;" \
        "make deps installs it:$missing" >&2
    exit 1
}
gnuplot --version | awk '{ exit !($2 >= 5.4) }' || {
    echo "ready: gnuplot 5.4 or newer is needed; this is $(gnuplot --version)" >&2
    exit 1
}
version=$(pandoc --version | awk 'NR == 1 { print $2 }')
lua5.4 -e "PANDOC_VERSION = '$version'" code/weave.lua || exit 1
[ "$1" != book ] || {
    # Set the title of the book
    page=$2
    mkdir -p "$page"
    {
        printf '%s\n' "${TITLE:-}" "${AUTHOR:-}" "${COURSE:-}"
        pdflatex --version
        cat code/book.tex code/weave.lua
    } | sha256sum >"$page/key.new"
    cmp -s "$page/key.new" "$page/key" && exit
    # Weave a book that is only its title
    printf '# %s\n' One >"$page/page.md"
    echo '{"run": {"profile": "", "device": "", "date": ""}}' >"$page/values.json"
    echo '{"chunks": [], "identifiers": []}' >"$page/xref.json"
    pandoc --lua-filter code/weave.lua -M bibliography=chapters/references.bib \
        -M values="$page/values.json" -M values=chapters/published.json \
        -M xref="$page/xref.json" --template code/book.tex -o "$page/page.tex" \
        "$page/page.md" || exit 1
    (cd "$page" &&
        max_print_line=1000 pdflatex -interaction=nonstopmode page.tex >page.txt 2>&1) &&
        ! grep -q 'Missing character' "$page/page.log" || {
        # Say what could not be set
        letters=$(sed -n 's/.*Unicode character \(.* (U+[0-9A-F]*)\).*/\1/p
            s/.*Missing character: There is no \(.*\) in font.*/\1/p' "$page/page.log" |
            sort -u | xargs -d '\n')
        if [ -n "$letters" ]; then
            echo "ready: TITLE, AUTHOR or COURSE: TeX here cannot set $letters" >&2
        else
            echo "ready: a page with TITLE, AUTHOR and COURSE could not be set:" >&2
            grep -A 6 '^!' "$page/page.log" >&2
        fi
        exit 1
    }
    mv "$page/key.new" "$page/key"
}
