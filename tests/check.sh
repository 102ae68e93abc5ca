# What the test scripts share. A script takes it in with `. tests/check.sh`, from the repository's root, and ends with
# `exit $failed`. It has then a folder of its own, $folder, which goes when it ends, and the program, $distil.
root=$PWD
distil=$root/${BUILD:-build}/distil
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

check() { # check WHAT COMMAND …: one test, ok if the command succeeds; if it does not, shows what it said
    what=$1
    shift
    if "$@" >"$folder/log" 2>&1; then
        echo "ok - $what"
    else
        echo "not ok - $what"
        sed 's/^/    /' "$folder/log" | head -n 40
        failed=1
    fi
}

run() { # run STATUS ARGUMENT …: whether distil exits with that status; what it said stays in $folder/out and err
    wanted=$1
    shift
    "$distil" "$@" >"$folder/out" 2>"$folder/err"
    [ $? = "$wanted" ] || { cat "$folder/err"; return 1; }
}

same() { [ "$1" = "$2" ] || { echo "expected: $2"; echo "found:    $1"; return 1; }; }

house() { # house FOLDER: a checkout of its own with what is built, for make to go on with
    mkdir -p "$1/build" "$1/results"
    cp -a Makefile chapters code figures "$1"
    (cd "${BUILD:-build}" && cp -a ./*.o ./*.d compiled.from distil tangle tangled "$1/build")
}

small() { # small TASK: the tiny profile of one task, one seed, a teacher and its student
    sed "s/^tasks = .*/tasks = $1/; s/^models = .*/models = teacher student/; s/^seeds = .*/seeds = 1/" tests/fixtures/tiny.settings
}
