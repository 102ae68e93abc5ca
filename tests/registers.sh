# What nvcc makes of the GPU's kernels, for a T4 and for an H100, against a budget: registers, shared memory, and in the
# PTX what is slow on every element. No GPU is needed. A change of the kernels that means to need more renews the budget
# by `sh tests/registers.sh renew`, and is committed with it.
set -u
. tests/check.sh
budget=$root/tests/fixtures/registers.tsv
nvcc=${NVCC-$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)}
if [ -z "$nvcc" ]; then
    echo "ok - nvcc is not here, and no kernel is held to its budget"
    # shared memory at least is known without: in the harness's object it is the one thread's own storage
    check "the harness's kernels are there" nm "${BUILD:-build}/tests/cuda-harness.o"
    nm -SC "${BUILD:-build}/tests/cuda-harness.o" | awk '
        function value(hex,    n, i) {
            for (i = 1; i <= length(hex); i++) n = 16 * n + index("123456789abcdef", substr(hex, i, 1))
            return n }
        $3 == "b" && /_kernel.*\)::/ {
            name = $0; sub(/^[^ ]+ [^ ]+ b /, "", name); sub(/\(.*/, "", name); shared[name] += value($2) }
        END { for (name in shared) if (shared[name] > 49152) print name ": " shared[name] }' >"$folder/shared"
    check "no kernel has more shared memory than 48 KB" same "$(cat "$folder/shared")" ""
    exit $failed
fi
slack=4 # registers that a kernel may have above its budget: compilers differ from patch to patch
release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')

# one compilation for all: the PTX is kept on the way, and nothing is compiled for the host
compile() {
    mkdir "$folder/kept" && "$nvcc" ${CCBIN-} -O3 -std=c++17 -gencode arch=compute_75,code=sm_75 \
        -gencode arch=compute_90,code=sm_90 -Xptxas -v -Icode -fatbin -keep -keep-dir "$folder/kept" \
        -o "$folder/kernels.fatbin" code/kernels_cuda.cu 2>"$folder/ptxas" || { cat "$folder/ptxas"; return 1; }
}

# measured: a row for each kernel. Its name is without parameters, as in softmax_loss_kernel<float, 4>.
measured() {
    printf '# nvcc %s\nkernel\tsm_75\tsm_90\tspilled\tshared\tlocal\tdivisions\tnarrow\n' "$release"
    { cat "$folder/ptxas"; echo '# PTX'; cat "$folder"/kept/*compute_75.ptx; } | c++filt | awk '
        function bytes(what) { return match($0, "[0-9]+ bytes " what) ? substr($0, RSTART) + 0 : 0 }
        function named(text) { sub(/^void /, "", text); sub(/\(.*/, "", text); gsub(/> >/, ">>", text); return text }
        /Compiling entry function/ { split($0, part, "\047"); name = named(part[2]); chip = part[4]; known[name] = 1 }
        /spill stores/ { spilled[name] += bytes("spill stores") + bytes("spill loads") }
        / Used [0-9]+ registers/ {
            match($0, /Used [0-9]+/); registers[name, chip] = substr($0, RSTART + 5) + 0
            if (bytes("smem") > shared[name]) shared[name] = bytes("smem") }
        /^# PTX/ { ptx = 1 }
        ptx && /\.(entry|func) / { sub(/.*\.(entry|func) +(\([^)]*\) +)?/, ""); name = named($0); known[name] = 1 }
        ptx && /[ \t](ld|st)\.local/ { local[name]++ }
        ptx && /[ \t]div\.rn/ { divisions[name]++ }
        ptx && /[ \t]st\.shared\.[bu]16/ { narrow[name]++ }
        END { for (name in known)
            printf "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", name, registers[name, "sm_75"], registers[name, "sm_90"],
                spilled[name], shared[name], local[name], divisions[name], narrow[name] }' | LC_ALL=C sort
}

# over CONDITION: the kernels of which it is true, with what they need (is) and may (may). It names the columns.
over() {
    awk -F '\t' '
        BEGIN { registers75 = 2; registers90 = 3; spilled = 4; shared = 5; local = 6; divisions = 7; narrow = 8 }
        function may(column) { return budget[$1, column] }
        function allowed(    line, i) { for (i = 2; i <= NF; i++) line = line "\t" may(i); return line }
        FNR <= 2 { next }
        NR == FNR { for (i = 1; i <= NF; i++) budget[$1, i] = $i; next }
        '"$1"' { print $0; print "    may be" allowed(); bad = 1 }
        END { exit bad }' "$budget" "$folder/measured"
}

check "the kernels compile for a T4 and an H100" compile
[ $failed = 0 ] || exit 1
measured >"$folder/measured"
if [ "${1:-}" = renew ]; then
    cp "$folder/measured" "$budget"
fi
listed() { for f in "$budget" "$folder/measured"; do sed 1d "$f" | cut -f 1 >"$folder/$(basename "$f").names"; done
    diff "$folder/registers.tsv.names" "$folder/measured.names"; }
check "the budget lists the kernels that there are" listed
check "none spills, or has more shared memory than 48 KB" over '$spilled > 0 || $shared > 49152'
check "kernels in fp16 keep nothing in local memory" over '/half/ && $local > 0'
check "none has outgrown its shared memory" over '$shared > may(shared)'
# the rest is the compiler's to say, and another one says otherwise
if grep -q "^# nvcc $release\$" "$budget"; then
    check "nor its registers" \
        over "\$registers75 > may(registers75) + $slack || \$registers90 > may(registers90) + $slack"
    check "none divides more, or has more in local memory, or stores more by two bytes" \
        over '$divisions > may(divisions) || $local > may(local) || $narrow > may(narrow)'
else
    echo "ok - the budget of registers and instructions is another compiler's, $(head -n 1 "$budget" | tr -d '#')"
fi
exit $failed
