# DistilBERT, woven. `make help` lists the targets; README.md says how to begin.

# Settings ----------------------------------------------------------------------------------------------------------
# Change them here or on the command line: make report PROFILE=mini TITLE="My report".

PROFILE  ?= $(if $(GPU),full,mini)
TITLE    ?= DistilBERT, reproduced
AUTHOR   ?=
COURSE   ?=
DATA_DIR ?=
DATA_MIRROR ?=
EXTENDED ?=
UNTIL    ?=
TEACHER  ?=
CORPUS   ?=
SET      ?=
JOBS     ?=
RANKS    ?= 1
LAUNCH   ?=
BUILD    ?= build
CC       ?= cc
CFLAGS   ?= -O3 -march=native
NVCC     ?= $(firstword $(wildcard $(addsuffix /nvcc,$(subst :, ,$(PATH)) /usr/local/cuda/bin)))
CUDA_ARCH ?= $(if $(GPU),native,75)
V        ?= 0
WAIT     ?=

# PROFILE   mini, compact, full, or a settings file of your own
# DATA_DIR  a folder that holds the data sets; make data says what it wants, and downloads what is not there
# DATA_MIRROR  a first home for all downloads, http://… or file:///…, laid out like data/
# EXTENDED  1 adds the models that the profile lists as extended
# UNTIL     the last tier to run, as make plan calls them
# TEACHER   a model folder, or scratch; by default the profile's
# CORPUS    what a teacher from scratch learns to read, below the data folder; by default the profile's corpus:
#           CORPUS="enwiki/*.txt imdb/unsup.txt wikitext-2-raw/wiki.train.raw|wikitext-2/wiki.train.tokens"
# CUDA_ARCH what the GPU code is for: 75 (a T4, and PTX for newer chips), native, or 75-ptx (the PTX alone); or all at
#           once, as in CUDA_ARCH="75 90"
# NVCC      the CUDA compiler; empty: leave CUDA out
# ARTIFACT  for make verify: a run that somebody sent, its folder, or the archive that make artifact packed
# HOSTCXX   the C++ compiler that nvcc works with; by default its own choice, or the newest g++-N here that it takes
# SET       settings to override, say SET="--distill.epochs 2 --run.jobs 1"; a value of several words stands in quotes:
#           SET="--distill.epochs 2 --finetune.seeds '1 2'"
# JOBS      how many stages run side by side; by default the profile's
# LAUNCH    what stands before the command of each stage, as in LAUNCH="srun -n1 -c4 --gpus=1"; "sh code/gpu.sh" takes a
#           free GPU of this machine
# RANKS     how many processes train one model together, by Open MPI; make deps RANKS=2 installs that
# MPI       its name for pkg-config; empty: leave it out
# V         1 shows every command
# WAIT      1 waits while another make has the build or the run's folder to itself, which otherwise ends this one

# What is typed is taken as it is: a dollar in it is no variable of make's. A text reaches the shell as $(call quoted,TEXT).
$(foreach v,PROFILE TEACHER TITLE AUTHOR COURSE CORPUS SET DATA_DIR DATA_MIRROR ARTIFACT LAUNCH,\
    $(if $(filter file,$(origin $(v))),,$(eval override $(v) := $$(value $(v)))))
quoted   = '$(subst ','\'',$(1))'
option   = $(if $(2),--$(1) $(call quoted,$(2)))
export TITLE AUTHOR COURSE DATA_DIR DATA_MIRROR LAUNCH
# $(call plain,WHAT,VALUE): the value, where it goes into names of files and targets: none may mean something to a shell
MEANING := ; & | < > ( ) ` ' " \ * ? [ ] { } ! $$ \#
plain    = $(if $(strip $(foreach c,$(MEANING),$(findstring $(c),$(2)))),$(error $(1): expected plain words or numbers, found $(2)))$(2)
$(if $(filter %0 %1 %2 %3 %4 %5 %6 %7 %8 %9,$(call plain,RANKS,$(RANKS))),,$(error RANKS: expected a number, found $(RANKS)))
path     = $(if $(word 2,$(2)),$(error $(1): expected one path without spaces, found $(2)))$(call plain,$(1),$(2))

# a GPU may take a second to be asked, so only the first make asks, and tells those that it calls
ifeq ($(origin DISTIL_GPU),undefined)
export DISTIL_GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)
endif
GPU := $(DISTIL_GPU)
CHOSEN = @echo "$(basename $@): profile $(NAME)$(if $(filter file,$(origin PROFILE)), ($(or $(GPU),no CUDA GPU is here)))"
Q   := $(if $(filter 1,$(V)),,@)

# every program sorts, counts and compares alike, wherever its user lives; make itself has to be asked to, by $(sort)
export LC_ALL := C.UTF-8
unexport LANGUAGE CDPATH # with a CDPATH, cd speaks

# threads that wait spin for a fraction of a millisecond, as long as one of them has a little to do alone, and then sleep,
# so that a busy neighbour does not stall them
export OMP_WAIT_POLICY := passive
export GOMP_SPINCOUNT := 6000
# what was cut into pieces once is kept, for as long as the code that cut it is the same
export DISTIL_CACHE := $(call path,BUILD,$(BUILD))/tokens/$(shell cat code/cache.c code/tokenizer.c code/corpus.c code/task.c 2>/dev/null | sha256sum | cut -c1-16)

# Whoever writes into a run's folder has it alone, and so has whoever changes what all runs share, the build; lock.sh sees
# to it (chapters/49-start.md). What is done then is the target with .alone behind its name.
RUNNING  := report verify artifact bench weave html data plan
PACKING  := gpu-plan gpu-bundle
BUILDING := tangle stitch build compile check reference
DRY      := $(findstring n,$(firstword -$(MAKEFLAGS)))
alone     = $(if $(DRY),,$(placed) $(1:%=sh code/lock.sh %))
# what is said of a line of code/ names the chapter's, once there is the program that sees to it (chapters/66-writing.md)
placed    = $(if $(wildcard $(PLACED)),$(PLACED) $(BUILD)/places.tsv)
export WAIT
MAKEFLAGS += --no-print-directory

DEPS := gcc g++ libc6-dev make pkg-config pandoc gnuplot-nox lua5.4 poppler-utils lmodern xz-utils curl ca-certificates unzip procps \
        texlive-latex-recommended texlive-latex-extra texlive-pictures texlive-fonts-recommended \
        libopenblas-openmp-dev libjansson-dev libutf8proc-dev libssl-dev libcmocka-dev
DEPS_CHECK := clang libomp-dev libclang-rt-dev valgrind cppcheck slurm-wlm munge
DEPS_RANKS := libopenmpi-dev openmpi-bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help deps test live preview beside data.planned bench.planned gpu-stages tiers results sanitized valgrind clean FORCE $(RUNNING) $(BUILDING) $(PACKING)
$(RUNNING) $(BUILDING) $(PACKING):
	$(Q)$(call alone,$(if $(filter $@,$(filter-out $(ARTIFACT:%=verify),$(RUNNING)) $(PACKING)),$(RUN)) \
	    $(if $(filter $@,$(BUILDING) $(PACKING)),$(BUILD))) $(MAKE) $@.alone

# commands that are given together are run one after the other, whatever -j says: make deps report
$(if $(and $(filter 0,$(MAKELEVEL)),$(word 2,$(filter-out $(BUILD)/%,$(MAKECMDGOALS)))),$(eval .NOTPARALLEL:))

help: ## this list
	@awk -F '([.]alone)?:.*## ' '/^[a-z.-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

deps: ## install what is missing, by apt-get; safe to repeat
	$(Q)missing=; for p in $(DEPS) $(if $(filter check,$(MAKECMDGOALS)),$(DEPS_CHECK)) $(if $(filter-out 1,$(RANKS)),$(DEPS_RANKS)); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	[ -n "$$missing" ] || exit 0; \
	command -v apt-get >/dev/null || { echo "deps: no apt-get here; please install:$$missing" >&2; exit 1; }; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing

# The program -------------------------------------------------------------------------------------------------------
# Whatever can be interrupted makes $@.new, and a file is there whole or not at all. An object's list of what it includes
# comes first: without it a changed header would be missed.
whole    = mv $@.new $@
compiled = -MMD -MP -MT $@ -MF $@.d.new -o $@.new
included = sed 's:$(NUMBERED)/:code/:g' $@.d.new >$@.d.part && mv $@.d.part $(basename $@).d && rm $@.d.new && $(whole)

# A product and a sum are one step only where the program says so (chapters/20-kernels-cpu.md); and clang shall not mind a
# loop that it cannot vectorise.
STANDARD := -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -fopenmp -pthread -ffp-contract=off -Wno-pass-failed
LIBS     := -lopenblas -ljansson -lutf8proc -lcrypto -lm
# Open MPI, where it is
MPI      ?= $(shell pkg-config --exists ompi-c 2>/dev/null && echo ompi-c)
MPI      := $(MPI)
MPI_LIBS := $(if $(MPI),$(shell pkg-config --libs $(MPI)))

CHAPTERS := $(sort $(wildcard chapters/*.md))
SOURCES   = $(filter-out code/tangle.c code/placed.c $(if $(MPI),,code/ranks_mpi.c),$(sort $(wildcard code/*.c)))
OBJECTS   = $(SOURCES:code/%.c=$(BUILD)/%.o)
DISTIL   := $(BUILD)/distil
TANGLE   := $(BUILD)/tangle
PLACED   := $(BUILD)/placed
NUMBERED := $(BUILD)/src

# code/ is for people; NUMBERED has the same with #line directives, so that the compiler speaks of the chapters.
# A tangler that has just tangled a new tangler is built again, and so on until it agrees with itself; under make -n it
# would never be.
define tangle
	$(Q)$(TANGLE) $(1) --last $(BUILD)/tangled --lines $(NUMBERED) --xref $(BUILD)/xref.json --places $(BUILD)/places.tsv $(CHAPTERS)
	$(Q)$(if $(DRY),:,cmp -s code/tangle.c $(TANGLE).c || $(MAKE) tangle.alone)
endef

tangle.alone: $(TANGLE) $(if $(wildcard code/placed.c),$(PLACED)) ## write code/ and figures/ from the chapters
	$(call tangle)

stitch.alone: $(TANGLE) ## carry what was edited in code/ and figures/ back into the chapters
	$(call tangle,--stitch)

$(TANGLE) $(PLACED): $(BUILD)/%: code/%.c FORCE
	@mkdir -p $(@D)
	$(Q)[ -x $@ ] && cmp -s $< $@.c || { cp $< $@.new.c && $(CC) -O2 -o $@.new $@.new.c && rm -f $@.c && $(whole) && mv $@.new.c $@.c; }

build.alone: tangle.alone ## compile the trainer
	$(Q)$(MAKE) compile.alone

# times may lie: what was compiled from another text, or by another compiler, goes before make looks at them
compile.alone:
	$(Q)sh code/due.sh objects $(BUILD) '$(CC) $(CFLAGS) $(STANDARD)$(MPI:%= with %)' '$(NVCC) $(CUDA_ARCH)'
	$(Q)$(MAKE) -j$$(nproc) $(if $(filter 1,$(V)),,-s) $(DISTIL) 2>&$${DISTIL_STDERR:-2} # in colour on a terminal

COMMA := ,
# The GPU's kernels, where nvcc is. CUDA_ARCH may name several architectures; each brings its PTX along.
CUDA_HOME   = $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))
CUDA_OBJECT = $(if $(NVCC),$(BUILD)/kernels_cuda.o)
CUDA_LIBS   = -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcudart_static -lstdc++ -lpthread -ldl -lrt
gencode     = $(if $(filter native,$(1)),-arch=native,$(if $(filter %-ptx,$(1)),-gencode arch=compute_$(1:%-ptx=%)$(COMMA)code=compute_$(1:%-ptx=%),\
              -gencode arch=compute_$(1)$(COMMA)code=[sm_$(1)$(COMMA)compute_$(1)]))

# An nvcc may be too old for this machine's g++: it says so of an empty file. It is asked once, when there is something to
# compile. An nvcc that has other complaints is left to make them itself.
takes    = $(shell $(NVCC) $(1:%=-ccbin %) -E -x cu /dev/null -o /dev/null 2>/dev/null && echo yes)
GXX      = $(shell printf '%s\n' $(notdir $(wildcard $(addsuffix /g++-[0-9]*,$(subst :, ,$(PATH))))) | sort -Vru)
HOSTCXX ?= $(eval HOSTCXX := $(if $(call takes),,$(firstword $(foreach g,$(GXX),$(if $(call takes,$(g)),$(g))) none)))$(HOSTCXX)
CCBIN    = $(patsubst %,-ccbin %,$(filter-out none,$(HOSTCXX)))
# the tests are told of it; a make among them would ask nvcc again for each of its commands, to tell them
unexport CCBIN

define need_host
newest=$$($(NVCC) -E -x cu /dev/null -o /dev/null 2>&1 | sed -n 's/.*gcc versions later than \([0-9]*\) .*/\1/p' | head -n 1); \
[ -z "$$newest" ] || { echo "build: $$($(NVCC) --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p') does not take" \
    "g++ $$($(CXX) -dumpfullversion): install g++-$$newest (or older), or say NVCC= to leave CUDA out" >&2; exit 1; }
endef

$(DISTIL): $(CUDA_OBJECT) $(OBJECTS)
	$(Q)$(CC) $(CFLAGS) -fopenmp -o $@.new $^ $(LIBS) $(MPI_LIBS) $(if $(CUDA_OBJECT),$(CUDA_LIBS)) && $(whole)
	@$(if $(NVCC),:,echo "build: no nvcc here, so CUDA is left out")

# An object depends on code/, which knows no line numbers of the book: prose that moves lines recompiles nothing.
$(BUILD)/%.o: code/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(STANDARD) $(compiled) -c $(NUMBERED)/$*.c && $(included)

$(BUILD)/kernels_cuda.o: code/kernels_cuda.cu code/kernels.h code/random.h code/elementary.h code/fail.h
	@mkdir -p $(@D)
	$(Q)$(if $(filter none,$(HOSTCXX)),$(need_host))
	$(Q)$(NVCC) $(CCBIN) -O3 -std=c++17 -Xcompiler -Wall,-Wextra $(foreach a,$(CUDA_ARCH),$(call gencode,$(a))) -Icode -c -o $@.new $(NUMBERED)/kernels_cuda.cu && $(whole)

# Loops of the kernels vectorise when a square root need not set errno, and no operation may trap.
$(BUILD)/kernels_cpu.o: STANDARD += -fno-math-errno -fno-trapping-math

$(BUILD)/ranks_mpi.o: STANDARD += $(if $(MPI),$(shell pkg-config --cflags $(MPI)))

# The experiment ----------------------------------------------------------------------------------------------------
# `distil plan` reads the profile and makes rules: a target for each stage, tiers of them, the data, and a key for each
# (chapters/46-rules.md). They are made anew each time, and make calls itself to go by them. Times decide nothing here.

SETTINGS := $(if $(filter %.settings,$(call path,PROFILE,$(PROFILE))),$(PROFILE),code/$(PROFILE).settings)
NAME     := $(basename $(notdir $(PROFILE)))
RUN      := results/$(NAME)
WORK     := $(BUILD)/$(NAME)
DATA     := $(WORK)/data
KEYS     := $(WORK)/keys
CHANGES  := $(if $(strip $(SET)),$(or $(shell sh code/words.sh $(call quoted,$(SET))),$(error SET is not of that form)))
CHANGES  += $(call option,run.extended,$(EXTENDED)) $(call option,run.jobs,$(JOBS)) \
    $(call option,teacher.source,$(TEACHER)) $(call option,teacher.train,$(CORPUS))
COMMON    = --profile $(SETTINGS) --run $(RUN) --data $(DATA) $(CHANGES)
PLANNING  = $(DISTIL) plan $(COMMON) --keys $(KEYS) $(call option,until,$(UNTIL))
# $(call planned,GOAL): has make see to the data, and then reach the goal, by the rules that the plan has now
planned   = +$(Q)exec env MAKE='$(MAKE)' DRY=$(DRY) sh code/planned.sh $(WORK) '$(1)' $(PLANNING)

plan.alone: build ## print the stages of PROFILE by tiers: how many, how long they take, and what is done
	$(Q)$(PLANNING)

data.alone: build ## make ready the data that the profile needs: DATA_DIR, or downloads into data/
	$(call planned)

report.alone: build ## run the experiments that are due, tier by tier, and weave results/PROFILE/report.pdf after each
	$(Q)sh code/ready.sh book $(WORK)/ready # hours before it is needed
	$(CHOSEN)
	$(call planned,tiers)

ifndef PLAN
$(RUN)/stages/%.json: build FORCE
	$(call planned,$@)
else
include $(PLAN) # which has the data generated, or found, fetched and unpacked, and the stages run, in these words:
GENERATE = $(Q)sh code/generated.sh $(DATA) $(KEYS) $(DISTIL) toyland
FIND     = $(Q)exec env DATA_DERIVED=$(BUILD)/data sh code/lock.sh "$${DATA_STORE:-data}" sh code/data.sh $(DATA) $(KEYS)
RANKED   = $(if $(filter-out 1,$(RANKS)),sh code/ranks.sh $(RANKS))
STAGE    = $(Q)exec env OMP_NUM_THREADS=$$(expr $$(nproc) / $(JOBS) '|' 1) RANKED='$(RANKED)' \
    sh code/due.sh run $@ $(KEYS) $(DISTIL)

tiers:
	$(if $(DUE),$(Q)$(PLANNING) && sh code/room.sh $(RUN) $(DATA) $(DUE) $(PLANNING) --room $(if $(LAUNCH),--launched))
	$(Q)exec env MAKE='$(MAKE)' sh code/tiers.sh $(JOBS) $(REPORTS) $(TIERS)
endif

# What comes of a run -----------------------------------------------------------------------------------------------

CODE_KEY = $$(cat $(sort $(wildcard code/*.[ch] code/*.cu)) | sha256sum | cut -c1-16)
PYTHON  ?= python3

ifdef PLAN
results: $(RUN)/bench.json
	$(Q)$(call alone,$(BUILD)) $(MAKE) -s -j$$(nproc) $(WORK)/checks.tsv
	$(Q)rm -f $(RUN)/values.json # written last: tables of two runs are never woven together
	$(Q)$(DISTIL) results --profile $(SETTINGS) --run $(RUN) --checks $(WORK)/checks.tsv --reference results/reference \
	    --key $(CODE_KEY) --keys $(KEYS) $(CHANGES)

# the benchmark has the machine to itself, so it is not one of the stages that run side by side
BENCH = $(DISTIL) bench $(COMMON) --student student --model $(TEACHER_MODEL) --full code/full.settings \
    --published chapters/published.json

$(RUN)/bench.json: $(RUN)/stages/distill-student.json FORCE
	$(Q)exec env LAUNCH= sh code/due.sh run $@ $(KEYS) $(BENCH) >/dev/null

bench.planned: $(RUN)/stages/distill-student.json
	$(Q)! $(PYTHON) -c 'import torch, transformers' 2>/dev/null || \
	    set -- $(PYTHON) tests/reference/bench.py --run $(RUN) --teacher $(TEACHER_MODEL) --; \
	exec "$$@" $(BENCH) --key $$(cat $(KEYS)/bench.key)
endif

bench.alone: build ## measure latency and throughput, beside PyTorch where it is installed
	$(call planned,bench.planned)

# a page of what has come so far; it takes no lock
live: ## keep results/PROFILE/live.html, a page that draws the run while it goes on
	$(Q)[ -x $(DISTIL) ] || { echo "live: expected a program at $(DISTIL); make build makes it" >&2; exit 1; }
	$(Q)$(placed) sh code/live.sh $(RUN) $(DISTIL) $(SETTINGS) $$($(PLANNING) --list | cut -d ' ' -f 1)

verify.alone: build ## run the experiments that are due, then say for each claim PASS, FAIL or not decided; or check ARTIFACT=FILE
	$(if $(ARTIFACT),,$(CHOSEN))
	$(if $(ARTIFACT),,$(call planned,tiers))
	$(Q)sh code/unpacked.sh $(call quoted,$(or $(ARTIFACT),$(RUN))) $(BUILD)/unpacked $(DISTIL) verify --key $(CODE_KEY) --run

# who only wants to know what a run says has nothing woven
verify.alone: export REPORTS := never

artifact.alone: build ## pack the finished run for a grader, without its models: results/PROFILE/artifact.tar.xz
	$(Q)[ -f $(RUN)/results.json ] || { echo "artifact: $(RUN) has no results; 'make report PROFILE=$(PROFILE)' makes them" >&2; exit 1; }
	$(Q)$(MAKE) weave.alone
	$(Q)$(MAKE) $(RUN)/artifact.tar.xz

# the same run gives the same bytes: files in order, and no time or user
$(RUN)/artifact.tar.xz: FORCE
	$(Q)rm -rf $(WORK)/artifact && $(DISTIL) artifact --run $(RUN) --out $(WORK)/artifact/$(NAME) --title "$$TITLE" --author "$$AUTHOR"
	$(Q)tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf $(WORK)/artifact.tar \
	    -C $(WORK)/artifact $(NAME) && xz -c -T1 $(WORK)/artifact.tar >$@.new && rm $(WORK)/artifact.tar && $(whole)
	@echo "artifact: $@, $$(du -k $@ | cut -f1) KiB"

# figures that the book quotes from its tests: {{check.…}}
CHECKED = $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(shell grep -l check_report tests/*.c)))

$(WORK)/checks.tsv: $(CHECKED)
	@mkdir -p $(@D)
	$(Q): >$@.new; for t in $(CHECKED); do CHECKS=$@.new $$t >/dev/null 2>&1 || { echo "$$t failed" >&2; exit 1; }; done
	$(Q)LC_ALL=C sort -u -o $@.new $@.new && $(whole)

# Weaving -----------------------------------------------------------------------------------------------------------
# pandoc makes LaTeX or HTML of the chapters, through the filter code/weave.lua; three passes of pdflatex make the PDF, and a
# fourth where pages moved in the third.

DRAWN  = $(patsubst figures/%.gp,%,$(filter-out figures/style.gp figures/live.gp,$(sort $(wildcard figures/*.gp))))
COMMAND = make report PROFILE=$(NAME)
FILTER = pandoc --preserve-tabs --wrap=none --lua-filter code/weave.lua --citeproc -M link-citations=true -M bibliography=chapters/references.bib \
    -M values=chapters/published.json -M results=$(RUN) -M command='$(COMMAND)' $(COMMITTED:%=-M committed=%)
PANDOC = $(FILTER) -M values=$(RUN)/values.json -M xref=$(BUILD)/xref.json
WOVEN  = $(CHAPTERS) $(WORK)/weave/key code/weave.lua chapters/references.bib chapters/published.json

# results are what `distil results` left, by the sums in results.json; committed ones have no such record
define sound_results
	$(Q)[ -f $(RUN)/values.json ] || { echo "$(basename $@): $(RUN)/values.json is not there; 'make report PROFILE=$(PROFILE)' makes it" >&2; exit 1; }
	$(Q)[ ! -f $(RUN)/results.json ] || sed -n 's/^    "\([^"]*\)": "\([0-9a-f]\{64\}\)",*$$/\2  \1/p' $(RUN)/results.json | \
	    (cd $(RUN) && sha256sum --strict --quiet -c -) || { echo "$(basename $@): $(RUN) is damaged; 'make report PROFILE=$(PROFILE)' mends it" >&2; exit 1; }
endef

weave.alone: tangle ## set results/PROFILE/report.pdf and summary.pdf anew from the results that are there
	$(sound_results)
	$(Q)sh code/ready.sh book $(WORK)/ready
	$(Q)for f in report.pdf summary.pdf; do [ ! -f $(RUN)/$$f ] || [ ! -f $(WORK)/weave/$$f.sum ] || \
	    sha256sum <$(RUN)/$$f | cmp -s - $(WORK)/weave/$$f.sum || \
	    { echo "$(basename $@): $(RUN)/$$f is not as it was set" >&2; rm $(RUN)/$$f; }; done
	$(Q)$(MAKE) -j2 $(RUN)/report.pdf $(RUN)/summary.pdf

html.alone: tangle ## the same as a site: results/PROFILE/html/index.html and a page for each chapter
	$(sound_results)
	$(Q)sh code/ready.sh page
	$(Q)$(MAKE) $(RUN)/html/index.html

# it writes nowhere else, and takes no lock
preview: ## keep build/preview/page.html, a page of the chapter that was saved last, until interrupted
	$(Q)$(call alone,$(BUILD)) $(MAKE) $(TANGLE)
	$(Q)$(placed) sh code/preview.sh $(BUILD)/preview $(RUN) $(TANGLE) $(FILTER) -t html5 -s --mathml --css tangled/code/site.css

# what the book takes from the run and from the command line; it is not rewritten if it is the same
$(WORK)/weave/key: FORCE
	@mkdir -p $(@D)
	$(Q){ echo "$$TITLE, $$AUTHOR, $$COURSE"; cat $(RUN)/values.json $(BUILD)/xref.json; \
	    find $(RUN)/tables $(RUN)/figures -type f | LC_ALL=C sort | xargs cat; } | sha256sum >$@.new; \
	    cmp -s $@.new $@ && rm $@.new || $(whole)

PLOT = gnuplot -e "results='$(RUN)'; output='$@.new'; terminal='$(1)'" $< && $(whole)

$(WORK)/weave/gnuplot-lua-tikz.sty:
	$(Q)rm -rf $@.new && mkdir -p $@.new && (cd $@.new && gnuplot -e 'set terminal tikz createstyle')
	$(Q)mv $$(ls $@.new/* | grep -v '/$(@F)$$') $(@D) && mv $@.new/$(@F) $@ && rmdir $@.new

$(WORK)/weave/%.tikz: figures/%.gp figures/style.gp $(WORK)/weave/key
	$(Q)$(call PLOT,tikz)

$(WORK)/weave/%.svg: figures/%.gp figures/style.gp $(WORK)/weave/key
	$(Q)$(call PLOT,svg)

# drawings that read the code's constants
$(foreach f,tile banks,$(WORK)/weave/$(f).tikz $(WORK)/weave/$(f).svg): code/kernels.h code/kernels_cuda.cu

$(WORK)/weave/%.pdf: $(WORK)/weave/%.tikz code/figure.tex $(WORK)/weave/gnuplot-lua-tikz.sty
	$(Q)mkdir -p $(@D)/$*.new && cp code/figure.tex $(@D)/$*.new
	$(Q)cd $(@D) && $(PDFLATEX) -output-directory $*.new -jobname $* $*.new/figure.tex >/dev/null || \
	    { grep -A 4 '^!' $*.new/$*.log >&2; exit 1; }
	$(Q)mv $(@D)/$*.new/$*.pdf $@

$(WORK)/weave/report.tex: EDITION = --lua-filter code/works.lua
$(WORK)/weave/summary.tex: EDITION = -M summary=true
$(WORK)/weave/report.tex $(WORK)/weave/summary.tex: $(WOVEN) code/book.tex code/works.lua
	$(Q)$(PANDOC) $(EDITION) -t latex --top-level-division=chapter --template code/book.tex -M figures=. \
	    -o $@.new $(CHAPTERS) && $(whole)

# neither the time nor the folder of the run may show in a PDF
PDFLATEX = SOURCE_DATE_EPOCH=0 FORCE_SOURCE_DATE=1 max_print_line=1000 pdflatex -interaction=nonstopmode -halt-on-error

# the passes, and what the log complains of: references, characters, lines of code that are too long
$(RUN)/report.pdf $(RUN)/summary.pdf: $(RUN)/%.pdf: $(WORK)/weave/%.tex $(DRAWN:%=$(WORK)/weave/%.pdf)
	$(Q)cd $(WORK)/weave && rm -f $*.aux $*.toc $*.out && for pass in -draftmode -draftmode '' moved; do \
	    if [ "$$pass" = moved ]; then grep -q 'Label(s) may have changed' $*.log || break; pass=; fi; \
	    $(PDFLATEX) $$pass $*.tex >$*.txt || { echo "weave: $(WORK)/weave/$*.log has the error:" >&2; grep -A 6 '^!' $*.log >&2; exit 1; }; done; \
	awk -v book=$* '/^LaTeX Warning: (Reference|Label|Citation|There were)|Missing character/ { print "weave: " book ": " $$0 } \
	    /^Overfull .hbox/ { box = $$0; getline; if (/lmtt\/[a-z]+\/[a-z]+\/8 /) print "weave: " book ": " box ": " $$0 } \
	    /^Output written on summary.pdf/ { gsub(/[^0-9 ]/, ""); if ($$1 > 6) print "weave: the summary has " $$1 " pages; it should have six" }' $*.log >&2
	$(Q)sha256sum <$(WORK)/weave/$*.pdf >$(WORK)/weave/$*.pdf.sum && cp $(WORK)/weave/$*.pdf $@.new && $(whole)
	@echo "weave: $@"

# the folder is written anew and then takes the place of the old one
$(RUN)/html/index.html: $(WOVEN) code/site.lua code/site.css code/site.js $(DRAWN:%=$(WORK)/weave/%.svg)
	$(Q)rm -rf $(@D).new && mkdir $(@D).new && cp code/site.css code/site.js $(DRAWN:%=$(WORK)/weave/%.svg) $(@D).new
	$(Q)$(PANDOC) -t html5 --mathml --lua-filter code/site.lua -M folder=$(@D).new -M figures=. -o $(@D).new/index.html $(CHAPTERS)
	$(Q)rm -rf $(@D) && mv $(@D).new $(@D)
	@echo "html: $@"

# Reports of committed runs, beside them: of all in results/reference that have what a report needs, of which its sentences
# came last (chapters/68-site.md). Only figures that are shown are drawn.
REPORTED = $(patsubst %/values.json,%,$(shell grep -l '"verdicts.sentence"' results/reference/*/values.json))

reference.alone: tangle.alone ## weave report.md and summary.pdf of each run in results/reference, from what is committed there
	$(Q)sh code/ready.sh book $(BUILD)/ready
	$(Q)set -e; for run in $(REPORTED); do name=$${run##*/}; profile=$$(ls $$run/*.settings 2>/dev/null || echo $${name%-*}); \
	    $(MAKE) RUN=$$run NAME=$$name WORK=$(BUILD)/reference/$$name COMMITTED=yes COMMAND="make report PROFILE=$$profile" \
	        TITLE='DistilBERT, reproduced' AUTHOR= COURSE= $$run/report.sums; done
	$(Q)pdftoppm -f 4 -singlefile -scale-to-x 640 -scale-to-y -1 -png \
	    $$(sed -n 's/.*(\(results[^)]*summary.pdf\)).*/\1/p' README.md | head -n 1) results/reference/page

$(WORK)/weave/report.md: $(WOVEN) code/report.lua
	$(Q)$(PANDOC) -t html5 --lua-filter code/report.lua -M summary=true -M figures=. -M home=../../../chapters/ -o $@.new $(CHAPTERS) && $(whole)

$(RUN)/report.sums: $(WORK)/weave/report.md FORCE
	$(Q)$(MAKE) DRAWN="$$(grep -oE '[a-z]+[.]svg' $< | sort -u | sed 's/[.]svg//' | xargs)" beside

beside: $(RUN)/summary.pdf $(DRAWN:%=$(WORK)/weave/%.svg)
	$(Q)rm -f $(RUN)/*.svg && cp $(DRAWN:%=$(WORK)/weave/%.svg) $(WORK)/weave/report.md $(RUN)
	$(Q)sh code/woven.sh $(RUN) >$(WORK)/report.sums && mv $(WORK)/report.sums $(RUN)
	@echo "reference: $(RUN)/report.md"

# Tests -------------------------------------------------------------------------------------------------------------

RACE_TESTS = $(BUILD)/tests/races $(BUILD)/tests/harness-races
TESTS = $(patsubst tests/%.c,$(BUILD)/tests/%,$(filter-out tests/catch.c,$(sort $(wildcard tests/*.c)))) $(BUILD)/tests/harness \
        $(RACE_TESTS)

# $(call link_test,OPTIONS): where catch.o is linked, catch.c is not, though a list from an older edition may name it
link_test = $(CC) $(CFLAGS) $(STANDARD) -Icode -Itests $(compiled) $(filter-out $(BUILD)/fail.o $(BUILD)/main.o $(if $(filter %/catch.o,$^),tests/catch.c),$(filter tests/%.c %.o,$^)) -lcmocka $(LIBS) $(MPI_LIBS) $(1) && \
    $(included)
CAUGHT = $(BUILD)/tests/catch.o $(OBJECTS)

$(BUILD)/tests/catch.o: tests/catch.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(STANDARD) -Icode -Itests $(compiled) -c $< && $(included)

$(BUILD)/tests/%: tests/%.c $(CAUGHT)
	$(Q)$(call link_test)

# The GPU's kernels on the CPU, by the harness in tests/cuda: no CUDA is needed. -fPIC: a block's shared memory is a thread's
# own storage here, and gcc 14 folds offsets into its addresses that the linker cannot hold unless they are looked up.
HARNESS = $(CXX) $(CFLAGS) -fPIC -std=c++17 -Wall -Wextra -Werror -Wno-clobbered -Wno-unknown-pragmas -U_FORTIFY_SOURCE -ftrivial-auto-var-init=pattern \
    -Itests/cuda -Icode -Itests $(compiled) -c

# The same under watch for races: before each access the compiler has a function of the harness called; no library of
# the sanitizer's is linked.
$(BUILD)/tests/cuda-races.o $(BUILD)/tests/harness-tests-races.o: \
    HARNESS += -O2 -g -fsanitize=thread --param tsan-instrument-func-entry-exit=0

$(BUILD)/tests/cuda-harness.o $(BUILD)/tests/cuda-races.o: code/kernels_cuda.cu
	@mkdir -p $(@D)
	$(Q)$(HARNESS) -x c++ $(NUMBERED)/kernels_cuda.cu && $(included)

$(BUILD)/tests/harness-tests.o $(BUILD)/tests/harness-tests-races.o: tests/harness.cc
	@mkdir -p $(@D)
	$(Q)$(HARNESS) $< && $(included)

$(BUILD)/tests/cuda $(BUILD)/tests/dry $(BUILD)/tests/nccl: $(BUILD)/tests/%: tests/%.c $(BUILD)/tests/cuda-harness.o $(CAUGHT)
	$(Q)$(call link_test,-lstdc++)

$(BUILD)/tests/races: tests/cuda.c $(BUILD)/tests/cuda-races.o $(CAUGHT)
	$(Q)$(call link_test,-DRACES -lstdc++)

$(BUILD)/tests/harness: $(BUILD)/tests/harness-tests.o $(BUILD)/tests/cuda-harness.o
$(BUILD)/tests/harness-races: $(BUILD)/tests/harness-tests-races.o $(BUILD)/tests/cuda-races.o
$(BUILD)/tests/harness $(BUILD)/tests/harness-races: tests/catch.c $(OBJECTS)
	$(Q)$(call link_test,-lstdc++)

# Where there is a GPU, the same tests on it; tests/gpu.sh runs them.
GPU_TESTS = $(if $(GPU),$(if $(NVCC),$(BUILD)/tests/cuda-gpu))

$(BUILD)/tests/cuda-gpu: tests/cuda.c $(CUDA_OBJECT) $(CAUGHT)
	$(Q)$(call link_test,$(CUDA_LIBS))

test: build ## run every test
	$(Q)$(call alone,$(BUILD)) $(MAKE) $(TESTS) $(GPU_TESTS)
	$(Q)exec env BUILD=$(BUILD) NVCC=$(NVCC) CCBIN='$(if $(NVCC),$(CCBIN))' CUDA_HOME=$(CUDA_HOME) sh tests/run.sh $(TESTS) $(sort $(filter-out tests/run.sh tests/lint.sh tests/check.sh tests/gpu-day.sh $(if $(GPU_TESTS),,tests/gpu.sh),$(wildcard tests/*.sh)))

# A GPU's day: programs, settings, tests, data and the stages of PROFILE in one archive, for a machine that has a GPU and
# neither make nor headers. tests/gpu-day.sh is what runs there; what it leaves in results/ goes on here, where make finds
# nothing left to train.
GPU_DAY  := $(BUILD)/gpu
PORTABLE  = MPI= NUMBERED=$(NUMBERED) CFLAGS='-O3 -march=x86-64-v3' LIBS='-Wl,-Bstatic $(filter-out -lm,$(LIBS)) -Wl,-Bdynamic -lm'
# a teacher that is not among the data travels as one that is
LISTED    = $(DISTIL) plan --profile $(SETTINGS) --run $(RUN) --data data --keys $(KEYS) $(CHANGES) \
    $(if $(OWN_TEACHER),--teacher.source teacher)

gpu-plan.alone: build
	$(call planned,gpu-stages)

ifdef PLAN
gpu-stages:
	$(Q)rm -rf $(GPU_DAY) && mkdir -p $(addprefix $(GPU_DAY)/,build/tests settings stages keys/$(NAME))
	$(Q)cp $(KEYS)/*.key $(GPU_DAY)/keys/$(NAME) && cp -rL $(DATA) $(GPU_DAY)/data
	$(Q)$(if $(OWN_TEACHER),cp -rL $(OWN_TEACHER) $(GPU_DAY)/data/teacher)
	$(Q)$(LISTED) --list >$(GPU_DAY)/stages/$(NAME)
	$(Q)$(LISTED) --settings >$(GPU_DAY)/settings/$(NAME).settings
endif

gpu-bundle.alone: gpu-plan.alone ## pack what a machine with a GPU, but without make, needs for PROFILE: build/gpu.tar.xz
	$(Q)$(MAKE) -j$$(nproc) $(PORTABLE) BUILD=$(BUILD)/portable CUDA_ARCH='75 90' compile.alone
	$(Q)$(MAKE) $(PORTABLE) BUILD=$(BUILD)/portable CUDA_ARCH='75 90' $(BUILD)/portable/tests/cuda-gpu
	$(Q)$(MAKE) -j$$(nproc) $(PORTABLE) BUILD=$(BUILD)/portable-ptx CUDA_ARCH=75-ptx $(BUILD)/portable-ptx/tests/cuda-gpu
	$(Q)strip -o $(GPU_DAY)/build/distil $(BUILD)/portable/distil
	$(Q)strip -o $(GPU_DAY)/build/tests/cuda-gpu $(BUILD)/portable/tests/cuda-gpu
	$(Q)strip -o $(GPU_DAY)/build/tests/cuda-gpu-ptx $(BUILD)/portable-ptx/tests/cuda-gpu
	$(Q)mkdir $(GPU_DAY)/lib && cp "$$(ldd $(GPU_DAY)/build/tests/cuda-gpu | awk '/libcmocka/ { print $$3 }')" $(GPU_DAY)/lib
	$(Q)cp --parents code/*.settings chapters/published.json tests/*.sh tests/cuda.c $(GPU_DAY)
	$(Q)cp -r tests/reference tests/fixtures $(GPU_DAY)/tests
	$(Q)tar -cf - -C $(GPU_DAY) . | xz -9 -T0 >$(GPU_DAY).tar.xz.partial && mv $(GPU_DAY).tar.xz.partial $(GPU_DAY).tar.xz
	@echo "gpu-bundle: $(GPU_DAY).tar.xz, $$(du -m $(GPU_DAY).tar.xz | cut -f1) MiB"

# Deeper checks: no drift, lint, sanitizers, valgrind, and fuzzers for FUZZ_SECONDS each
FUZZ_SECONDS ?= 20
FUZZERS = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))
FUZZED  = $(filter-out code/tangle.c code/placed.c code/main.c code/fail.c code/ranks_mpi.c $(shell grep -l omp.h code/*.c),$(wildcard code/*.c))
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined

check.alone: $(TANGLE) ## lint, sanitizers, valgrind, fuzz smoke (make deps check installs the tools)
	$(Q)$(TANGLE) --check --strict $(CHAPTERS)
	$(Q)$(MAKE) build.alone
	$(Q)sh tests/lint.sh
	$(Q)$(MAKE) BUILD=$(BUILD)/sanitized NUMBERED=$(NUMBERED) CFLAGS='-O1 -g -march=native $(SANITIZE)' sanitized
	$(Q)$(MAKE) BUILD=$(BUILD)/valgrind NUMBERED=$(NUMBERED) CFLAGS='-O1 -g -march=x86-64-v3' valgrind
	$(Q)$(MAKE) $(FUZZERS)
	$(Q)exec env BUILD=$(BUILD) sh tests/fuzz/seeds.sh $(BUILD)/fuzz/seeds
	$(Q)set -e; for f in $(FUZZERS); do echo "$$f: $(FUZZ_SECONDS) seconds"; \
	    $$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -verbosity=0 -close_fd_mask=3 \
	        $(BUILD)/fuzz/seeds/$$(basename $$f); done

# One sanitizer does not go with another, so the tests of races are none of theirs.
# what a test abandons when it catches a failure is not freed, so leaks are valgrind's and the sanitizer's to ignore
sanitized: $(filter-out $(RACE_TESTS),$(TESTS))
	$(Q)exec env ASAN_OPTIONS=detect_leaks=0 sh tests/run.sh $^

# valgrind does not follow the harness's changes of stacks
valgrind: $(filter-out %/harness %/cuda %/dry %/nccl $(RACE_TESTS),$(TESTS))
	$(Q)set -e; for t in $^; do echo "valgrind $$t"; \
	    OMP_NUM_THREADS=1 valgrind -q --error-exitcode=9 --leak-check=no $$t >/dev/null; done

$(BUILD)/fuzz/tangle: code/tangle.c
$(BUILD)/fuzz/%: tests/fuzz/%.c tests/catch.c $(BUILD)/fuzz/library.a
	$(Q)clang -g -O1 -fsanitize=fuzzer $(SANITIZE) -D_POSIX_C_SOURCE=200809L -Icode -Itests -o $@.new $< tests/catch.c \
	    $(BUILD)/fuzz/library.a $(filter-out -lopenblas,$(LIBS)) && $(whole)

$(BUILD)/fuzz/library.a: $(FUZZED) $(wildcard code/*.h)
	$(Q)rm -rf $(BUILD)/fuzz && mkdir -p $(BUILD)/fuzz/objects
	$(Q)cd $(BUILD)/fuzz/objects && clang -c -g -O1 -fsanitize=fuzzer-no-link $(SANITIZE) -std=c11 -D_POSIX_C_SOURCE=200809L \
	    -Wno-unknown-pragmas -I$(abspath code) $(abspath $(FUZZED))
	$(Q)ar rc $@.new $(BUILD)/fuzz/objects/*.o && $(whole)

clean: ## remove what was built; results/ stays
	sh code/lock.sh $(BUILD) rm -rf $(BUILD)

-include $(wildcard $(BUILD)/*.d $(BUILD)/tests/*.d)
