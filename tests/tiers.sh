# A run in tiers: what it says before it begins, where it stops, what it weaves on the way, and what it does without.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL DISTIL_LOCKS
. tests/check.sh
house "$folder/tree"
cp tests/fixtures/tiny.settings "$folder/tree"
cd "$folder/tree" || exit 1
# made ARGUMENT…: make, which says what it trains
made() { make "$@" PROFILE=tiny.settings BUILD=build NVCC= CHECKED= >said 2>&1 || { cat said; return 1; }; }
records() { find results/tiny/stages -name '*.json' 2>/dev/null | wc -l; }

check "a plan can be had before there is anything" made plan
check "it has the tiers with their stages" same "$(awk '/ stages, / { print $1, $2 }' said | xargs)" "core 8 seeds 6 ablations 7"
check "and says how long all of it takes" grep -qE '^plan: 0 of 21 stages are done; about [0-9.]+ (s|min|h) left, as counted$' said
check "and how much it leaves on the disk" grep -qE '^plan: [0-9]+ MB more on the disk for models and checkpoints$' said
check "a run on a GPU can be planned where there is none" made plan SET="--run.device cuda --run.bits any"
check "and be handed on to a machine that has one" made gpu-plan SET="--run.device cuda --run.bits any"
check "an unknown tier is refused" eval '! made verify UNTIL=first && grep -q "UNTIL: expected core, seeds, .* found \"first\"" said && test "$(records)" = 0'
check "a run ends where it is told to" made verify UNTIL=core
check "that is the core" same "$(find results/tiny/stages -name '*.json' | sed 's:.*/::; s:\.json$::' | LC_ALL=C sort | xargs)" \
    "distill-student finetune-cola-student-1 finetune-cola-teacher-1 finetune-imdb-student-1 finetune-imdb-teacher-1 finetune-mrpc-student-1 finetune-mrpc-teacher-1 teacher"
check "it began with its plan" sh -c 'grep -n "^core \|^due: teacher\|^plan: results/tiny takes up to" said | sed "s/:.*//" | sort -nc'
check "each stage says where the run stands" grep -qE '^plan: core, 2 of 8 stages done, about [0-9.]+ (s|min) left$' said
check "what it has is judged" grep -q '^6 claims are held' said
room() { build/distil plan --room --profile tiny.settings --run results/tiny --data build/tiny/data "$@"; }
check "what is to come in further tiers needs no room before" test "$(room --until core)" -lt "$(room)"
check "the plan knows what is done, and goes by what it took" eval 'made plan && grep -q "^plan: 8 of 21 stages are done; about .* left, by what those took$" said'

# a report after each tier: the book itself is of paper here, and whoever sets it notes how many stages are done
mkdir bin
cat >bin/pandoc <<END
#!/bin/sh
case "\$*" in *"-o build/tiny/weave/"*) ;; *) exec $(command -v pandoc) "\$@" ;; esac
while [ \$# -gt 0 ]; do [ "\$1" != -o ] || echo tex >"\$2"; shift; done
END
cat >bin/pdflatex <<END
#!/bin/sh
for tex; do :; done
case \$tex in report.tex | summary.tex) ;; *) exec $(command -v pdflatex) "\$@" ;; esac
echo "\$tex \$(ls '$PWD/results/tiny/stages'/*.json | wc -l)" >>'$PWD/set'
: >"\${tex%.tex}.log"
echo "\$(ls '$PWD/results/tiny/stages'/*.json | wc -l)" >"\${tex%.tex}.pdf"
END
chmod +x bin/pandoc bin/pdflatex
reported() { (PATH=$PWD/bin:$PATH && made report DRAWN= "$@"); }
check "the rest is run" reported SET="--run.weave 0"
check "nothing of the core again" eval '! grep "^due: teacher\|^due: distill-student:" said'
check "a report was set after each tier" same "$(grep '^report' set | sort -u | cut -d ' ' -f 2 | sort -n | xargs)" "8 14 21"
check "the last one is of all" grep -qx 21 results/tiny/report.pdf
rm -r results build/tiny set
cp tiny.settings whole.settings
sed 's/^tasks = .*/tasks = cola/' whole.settings >tiny.settings
check "tiers of a few seconds" reported
check "are worth one report" same "$(grep '^report' set | sort -u | cut -d ' ' -f 2 | xargs)" 9

# a task that cannot be had costs its own rows; the next make asks again
build/distil toyland --out away --seed 3 --paragraphs 60 --train 60 --dev 40
mv away/glue/MRPC later
rm -r results build/tiny
sed 's/^tasks = .*/tasks = cola mrpc/; s/^models = .*/models = teacher student/' whole.settings >tiny.settings
away() { made verify DATA_DIR="$PWD/away" SET="--run.data real" "$@"; }
export DATA_STORE=$PWD/store DATA_SOURCES=$PWD/sources
sed '/ home /d' code/data.sources >sources # none that answers
check "a task that is missing does not stop a run" away
check "its stages are left out, and no others" same "$(find results/tiny/stages -name 'finetune-*-teacher-1.json' | sed 's/.*finetune-//' | sort | xargs)" \
    cola-teacher-1.json
check "it is named before the first step" grep -q '^plan: without mrpc' said
check "and in the report" grep -q '"unavailable": "Missing: glue/MRPC' results/tiny/values.json
mkdir -p away/glue && mv later away/glue/MRPC
check "when it is there, the next make has it" away
check "and trains nothing else" same "$(sed -n 's/^due: \([^:]*\):.*/\1/p' said | grep -v '^finetune-mrpc-' | xargs)" bench
exit $failed
