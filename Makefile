# DistilBERT, woven. `make help` lists the targets; README.md says how to begin.

# Settings ----------------------------------------------------------------------------------------------------------
# Change them here or on the command line: make report PROFILE=mini TITLE="My report".

PROFILE  ?= $(if $(GPU),full,mini)
TITLE    ?= DistilBERT, reproduced
AUTHOR   ?=
COURSE   ?=
DATA_DIR ?=
DATA_MIRROR ?=
EXTENDED ?= 0
TEACHER  ?= $(call setting,teacher,source)
CORPUS   ?=
SET      ?=
RANKS    ?= 1
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
# TEACHER   a model folder, or scratch
# CORPUS    what a teacher from scratch learns to read, below the data folder; by default the profile's corpus:
#           CORPUS="enwiki/*.txt imdb/unsup.txt wikitext-2-raw/wiki.train.raw|wikitext-2/wiki.train.tokens"
# CUDA_ARCH what the GPU code is for: 75 (a T4, and PTX for newer chips), native, or 75-ptx (the PTX alone); or all at
#           once, as in CUDA_ARCH="75 90"
# NVCC      the CUDA compiler; empty: leave CUDA out
# ARTIFACT  for make verify: a run that somebody sent, its folder, or the archive that make artifact packed
# HOSTCXX   the C++ compiler that nvcc works with; by default its own choice, or the newest g++-N here that it takes
# SET       settings to override, say SET="--distill.epochs 2 --run.jobs 1"; a value of several words stands in quotes:
#           SET="--distill.epochs 2 --finetune.seeds '1 2'"
# RANKS     how many processes train one model together, by Open MPI; make deps RANKS=2 installs that
# MPI       its name for pkg-config; empty: leave it out
# V         1 shows every command
# WAIT      1 waits while another make has the build or the run's folder to itself, which otherwise ends this one

# What is typed is taken as it is: a dollar in it is no variable of make's. A text reaches the shell as $(call quoted,TEXT).
$(foreach v,PROFILE TEACHER TITLE AUTHOR COURSE CORPUS SET DATA_DIR DATA_MIRROR ARTIFACT,\
    $(if $(filter file,$(origin $(v))),,$(eval override $(v) := $$(value $(v)))))
quoted   = '$(subst ','\'',$(1))'
# $(call plain,WHAT,VALUE): the value, where it goes into names of files and targets: none may mean something to a shell
MEANING := ; & | < > ( ) ` ' " \ * ? [ ] { } ! $$ \#
plain    = $(if $(strip $(foreach c,$(MEANING),$(findstring $(c),$(2)))),$(error $(1): expected plain words or numbers, found $(2)))$(2)
$(if $(filter %0 %1 %2 %3 %4 %5 %6 %7 %8 %9,$(call plain,RANKS,$(RANKS))),,$(error RANKS: expected a number, found $(RANKS)))
path     = $(if $(word 2,$(2)),$(error $(1): expected one path without spaces, found $(2)))$(call plain,$(1),$(2))

GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)
Q   := $(if $(filter 1,$(V)),,@)

# every program sorts, counts and compares alike, wherever its user lives; make itself has to be asked to, by $(sort)
export LC_ALL := C.UTF-8
unexport LANGUAGE CDPATH # with a CDPATH, cd speaks

# threads that wait sleep instead of spinning, so that a busy neighbour does not stall them
export OMP_WAIT_POLICY := passive
# what was cut into pieces once is kept, for as long as the code that cut it is the same
export DISTIL_CACHE := $(call path,BUILD,$(BUILD))/tokens/$(shell cat code/cache.c code/tokenizer.c code/corpus.c code/task.c 2>/dev/null | sha256sum | cut -c1-16)

# Whoever writes into a run's folder has it alone, and so has whoever changes what all runs share, the build; lock.sh sees
# to it (chapter 50). What is done then is the target with .alone behind its name.
RUNNING  := report $(if $(ARTIFACT),,verify) artifact bench weave html data
PACKING  := gpu-plan gpu-bundle
BUILDING := tangle build compile check
DRY       = $(findstring n,$(firstword -$(MAKEFLAGS)))
alone     = $(if $(DRY),,$(1:%=sh code/lock.sh %))
export WAIT

DEPS := gcc g++ libc6-dev make pkg-config pandoc gnuplot-nox lua5.4 poppler-utils lmodern xz-utils curl ca-certificates unzip procps \
        texlive-latex-recommended texlive-latex-extra texlive-pictures texlive-fonts-recommended \
        libopenblas-openmp-dev libjansson-dev libutf8proc-dev libssl-dev libcmocka-dev
DEPS_CHECK := clang libclang-rt-dev valgrind cppcheck
DEPS_RANKS := libopenmpi-dev openmpi-bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help deps test checked room stages sanitized valgrind clean FORCE $(RUNNING) $(BUILDING) $(PACKING)
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
included = sed 's:$(NUMBERED)/:code/:g' $@.d.new >$@.d.part && mv $@.d.part $(basename $@).d && rm $@.d.new

STANDARD := -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -fopenmp -pthread
LIBS     := -lopenblas -ljansson -lutf8proc -lcrypto -lm
# Open MPI, where it is
MPI      ?= $(shell pkg-config --exists ompi-c 2>/dev/null && echo ompi-c)
MPI      := $(MPI)
MPI_LIBS := $(if $(MPI),$(shell pkg-config --libs $(MPI)))

CHAPTERS := $(sort $(wildcard chapters/*.md))
SOURCES   = $(filter-out code/tangle.c $(if $(MPI),,code/ranks_mpi.c),$(sort $(wildcard code/*.c)))
OBJECTS   = $(SOURCES:code/%.c=$(BUILD)/%.o)
DISTIL   := $(BUILD)/distil
TANGLE   := $(BUILD)/tangle
NUMBERED := $(BUILD)/src

# code/ is for people; NUMBERED has the same with #line directives, so that the compiler speaks of the chapters.
# A tangler that has just tangled a new tangler is built again, and so on until it agrees with itself; under make -n it
# would never be.
tangle.alone: $(TANGLE) ## write code/ and figures/ from the chapters
	$(Q)$(TANGLE) --lines $(NUMBERED) --xref $(BUILD)/xref.json $(CHAPTERS)
	$(Q)$(if $(DRY),:,cmp -s code/tangle.c $(TANGLE).c || $(MAKE) --no-print-directory tangle.alone)

$(TANGLE): code/tangle.c FORCE
	@mkdir -p $(@D)
	$(Q)[ -x $@ ] && cmp -s $< $@.c || { cp $< $@.new.c && $(CC) -O2 -o $@.new $@.new.c && rm -f $@.c && $(whole) && mv $@.new.c $@.c; }

build.alone: tangle.alone ## compile the trainer
	$(Q)$(MAKE) --no-print-directory compile.alone

# times may lie: what was compiled from another text, or by another compiler, goes before make looks at them
compile.alone:
	$(Q)sh code/due.sh objects $(BUILD) '$(CC) $(CFLAGS)$(MPI:%= with %)' '$(NVCC) $(CUDA_ARCH)'
	$(Q)$(MAKE) --no-print-directory $(if $(filter 1,$(V)),,-s) $(DISTIL)

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

$(DISTIL): $(OBJECTS) $(CUDA_OBJECT)
	$(Q)$(CC) $(CFLAGS) -fopenmp -o $@.new $^ $(LIBS) $(MPI_LIBS) $(if $(CUDA_OBJECT),$(CUDA_LIBS)) && $(whole)
	@$(if $(NVCC),:,echo "build: no nvcc here, so CUDA is left out")

# An object depends on code/, which knows no line numbers of the book: prose that moves lines recompiles nothing.
$(BUILD)/%.o: code/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(STANDARD) $(compiled) -c $(NUMBERED)/$*.c && $(included) && $(whole)

$(BUILD)/kernels_cuda.o: code/kernels_cuda.cu code/kernels.h code/random.h code/fail.h
	@mkdir -p $(@D)
	$(Q)$(if $(filter none,$(HOSTCXX)),$(need_host))
	$(Q)$(NVCC) $(CCBIN) -O3 -std=c++17 -Xcompiler -Wall,-Wextra $(foreach a,$(CUDA_ARCH),$(call gencode,$(a))) -Icode -c -o $@.new $(NUMBERED)/kernels_cuda.cu && $(whole)

# Loops of the kernels vectorise better when a square root need not set errno, and a product and a sum may be one step.
$(BUILD)/kernels_cpu.o: STANDARD += -fno-math-errno -ffp-contract=fast

$(BUILD)/ranks_mpi.o: STANDARD += $(if $(MPI),$(shell pkg-config --cflags $(MPI)))

# The experiment ----------------------------------------------------------------------------------------------------
# Each stage is a target. What it runs, its settings and its data make its key; a record with another key, or none, runs it
# again (chapter 50). Times decide nothing here, so all of it is looked at each time.

SETTINGS := $(if $(filter %.settings,$(call path,PROFILE,$(PROFILE))),$(PROFILE),code/$(PROFILE).settings)
# the words of SET, each quoted for the shell
WORDS    := $(if $(SET),$(shell sh code/words.sh $(call quoted,$(SET)))$(if $(filter-out 0,$(.SHELLSTATUS)),$(error SET is not of that form)))
NAME     := $(basename $(notdir $(PROFILE)))
RUN      := results/$(NAME)
WORK     := $(BUILD)/$(NAME)
DATA     := $(WORK)/data

$(RUNNING):
	$(Q)$(call alone,$(RUN)) $(MAKE) --no-print-directory $@.alone

$(BUILDING):
	$(Q)$(call alone,$(BUILD)) $(MAKE) --no-print-directory $@.alone

$(PACKING):
	$(Q)$(call alone,$(RUN) $(BUILD)) $(MAKE) --no-print-directory $@.alone

# $(call setting,SECTION,KEY): a value from SET, or else from the profile, with the indented lines that go on with it
setting = $(shell option= found=; for word in $(WORDS); do [ "$$option" != --$(1).$(2) ] || found=1 value=$$word; option=$$word; done; \
    [ -z "$$found" ] || { printf '%s\n' "$$value"; exit; }; awk -v section='[$(1)]' -v key='$(2)' '{ sub(/[\#].*/, "") } /^\[/ { inside = $$1 == section; goes_on = 0 } \
    goes_on && /^ / && !/=/ { print } /=/ { goes_on = inside && $$1 == key } goes_on && /=/ { sub(/^[^=]*= */, ""); print }' $(SETTINGS))
# the same, of words or numbers
names   = $(call plain,[$(1)] $(2),$(call setting,$(1),$(2)))

TASKS   := $(call names,finetune,tasks)
JOBS     = $(call names,run,jobs)
# $(call listed,TASK): the models that are fine-tuned for it, or for all. A task's own lists come before [finetune]'s; a
# task that has one of models has no others, unless it lists extended ones too
listed   = $(or $(call names,$(1),models),$(call names,finetune,models)) $(if $(filter 1,$(EXTENDED)),$(call \
    names,$(if $(call names,$(1),models)$(call names,$(1),extended),$(1),finetune),extended))
models   = $(MODELS.$(1))
seeds    = $(SEEDS.$(1))
ifneq ($(wildcard $(SETTINGS)),)
$(foreach t,$(TASKS),$(eval MODELS.$(t) := $(strip $(call listed,$(t)))))
$(foreach t,$(TASKS),$(eval SEEDS.$(t) := $(or $(call names,$(t),seeds),$(call names,finetune,seeds))))
endif
# a student that is distilled twice begins as another one: $(call parent,STUDENT), its own name for all others
LISTED  := $(sort $(foreach t,$(TASKS),$(MODELS.$(t))))
$(foreach m,$(LISTED),$(eval PARENT.$(m) := $(or $(call names,$(m),from),$(m))))
parent   = $(PARENT.$(1))
twice    = $(filter-out $(call parent,$(1)),$(1))
STUDENTS = $(sort $(foreach m,$(LISTED),$(filter student%,$(call parent,$(m)))))
CORES   := $(shell nproc)
TEACHER_FOLDER = $(if $(filter scratch,$(call path,TEACHER,$(TEACHER))),scratch,$(firstword $(wildcard $(TEACHER)/config.json $(DATA)/$(TEACHER)/config.json)))
TEACHER_PATH   = $(patsubst %/config.json,%,$(TEACHER_FOLDER))
# an adopted teacher is fine-tuned from its own folder, which has its pooler
MODEL_PATH     = $(if $(filter-out teacher,$(1))$(filter scratch,$(TEACHER)),$(RUN)/models/$(or $(call parent,$(1)),$(1)),$(TEACHER_PATH))

# what the run needs, and what for: LABEL:FILE or LABEL:NAME, as data.sh takes it
ifneq ($(wildcard $(SETTINGS)),)
PRETRAINING := $(call setting,teacher,vocabulary) $(or $(CORPUS),$(call setting,teacher,train))
WANTS  := $(addprefix corpus:,$(call setting,corpus,train) $(call setting,corpus,validation)) \
          $(addprefix teacher:,$(if $(filter scratch,$(TEACHER)),$(PRETRAINING),$(if $(wildcard $(TEACHER)/config.json),,$(TEACHER)))) \
          $(foreach s,$(STUDENTS),$(addprefix $(s):,$(call setting,$(s),folder))) $(join $(TASKS:%=%:),$(TASKS))
LABELS := $(sort $(foreach w,$(WANTS),$(firstword $(subst :, ,$(w)))))
endif
# $(call sums,LABEL…): the keys of the data that is wanted under these labels
sums = $(patsubst %,$(WORK)/keys/data-%.key,$(filter $(1),$(LABELS)))

STAGE_CODE := main room pretrain distill finetune results run measure tables values verdicts trust verify artifact bench estimate watch toyland tokenize inspect gradients
ENGINE      = $(filter-out code/tangle.c $(STAGE_CODE:%=code/%.c) $(STAGE_CODE:%=code/%.h),$(sort $(wildcard code/*.[ch] code/*.cu)))
OPTIONS     = --profile $(SETTINGS) --run $(RUN) --data $(DATA) --resume --key $$(cat $<) $(if $(filter-out 1,$(JOBS)),--lines) $(WORDS)

# $(call heard,TASK,STUDENT): refuses a student that hears more fine-tuned teachers than the task has
heard = teachers='$(call names,$(2),teachers)'; seeds=$(words $(and $(filter teacher,$(call models,$(1))),$(call seeds,$(1)))); \
    [ $$seeds -ge $${teachers:-0} ] || { echo "$(basename $@): $(2) hears $$teachers teachers of $(1), which has $$seeds; a teacher is trained" \
    "for each of its seeds" >&2; exit 1; };

# the experiments that are due, and what comes of them
define finish_run
	$(Q)$(foreach t,$(TASKS),$(foreach m,$(call models,$(t)),$(if $(call twice,$(m)),$(call heard,$(t),$(m))))) :
	@echo "$(basename $@): profile $(NAME)$(if $(filter override,$(origin PROFILE)),, \
	    ($(if $(GPU),a CUDA GPU is here: $(GPU),no CUDA GPU is here)))"
	$(Q)$(MAKE) --no-print-directory data.alone
	$(Q)$(MAKE) --no-print-directory room
	$(Q)$(MAKE) --no-print-directory -j$(JOBS) stages
	$(Q)$(call alone,$(BUILD)) $(MAKE) --no-print-directory checked
	$(Q)$(MAKE) --no-print-directory $(RUN)/values.json
endef

report.alone: build ## run the experiments that are due, then weave results/PROFILE/report.pdf
	$(Q)sh code/ready.sh book $(WORK)/ready # hours before it is needed
	$(finish_run)
	$(Q)$(MAKE) --no-print-directory weave.alone

CODE_KEY = $$(cat $(sort $(wildcard code/*.[ch] code/*.cu)) | sha256sum | cut -c1-16)

ifeq ($(ARTIFACT),)
verify.alone: build ## run the experiments that are due, then say for each claim PASS, FAIL or not decided; or check ARTIFACT=FILE
	$(finish_run)
	$(Q)$(DISTIL) verify --key $(CODE_KEY) --run $(RUN)
else
verify: build
	$(Q)sh code/unpacked.sh $(call quoted,$(ARTIFACT)) $(BUILD)/unpacked $(DISTIL) verify --key $(CODE_KEY) --run
endif

artifact.alone: build ## pack the finished run for a grader, without its models: results/PROFILE/artifact.tar.xz
	$(Q)[ -f $(RUN)/results.json ] || { echo "artifact: $(RUN) has no results; 'make report PROFILE=$(PROFILE)' makes them" >&2; exit 1; }
	$(Q)$(MAKE) --no-print-directory weave.alone
	$(Q)$(MAKE) --no-print-directory $(RUN)/artifact.tar.xz

# the same run gives the same bytes: files in order, and no time or user
$(RUN)/artifact.tar.xz: FORCE
	$(Q)rm -rf $(WORK)/artifact && $(DISTIL) artifact --run $(RUN) --out $(WORK)/artifact/$(NAME) --title "$$TITLE" --author "$$AUTHOR"
	$(Q)tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf $(WORK)/artifact.tar \
	    -C $(WORK)/artifact $(NAME) && xz -c -T1 $(WORK)/artifact.tar >$@.new && rm $(WORK)/artifact.tar && $(whole)
	@echo "artifact: $@, $$(du -k $@ | cut -f1) KiB"

# what a stage is made from: its code, its sections of the profile, overrides, the data, and the stages before it
key = sh code/due.sh key $@ $(SETTINGS) '$(2)' '$(ENGINE) $(1)' '$(filter %.key,$^)' $(WORDS) $(3)
# the record of a stage, unless it has the stage's key: $(run) COMMAND
run = OMP_NUM_THREADS=$(THREADS) RANKED='$(RANKED)' sh code/due.sh run $@ $<
# several processes train one model, chapter 54
RANKED = $(if $(filter-out 1,$(RANKS)),sh code/ranks.sh $(RANKS))

$(WORK)/keys/teacher.key: $(call sums,corpus teacher) $(WORK)/keys/weights.key FORCE
	$(Q)$(call key,code/pretrain.c,run corpus teacher head)

$(foreach s,$(STUDENTS),$(if $(call sums,$(s)),$(eval $(WORK)/keys/distill-$(s).key: $(call sums,$(s)))))
$(STUDENTS:%=$(WORK)/keys/distill-%.key): $(WORK)/keys/distill-%.key: $(call sums,corpus) $(WORK)/keys/teacher.key FORCE
	$(Q)$(call key,code/distill.c,run corpus distill $*)

$(WORK)/keys/weights.key: FORCE
	@mkdir -p $(@D)
	$(Q)[ -n "$(TEACHER_PATH)" ] || { echo "report: $(TEACHER): expected a model folder there or below $(DATA);" \
	    "give TEACHER=FOLDER or TEACHER=scratch" >&2; exit 1; }
	$(Q){ printf '%s\n' $(call quoted,corpus $(CORPUS)); [ $(TEACHER) = scratch ] && echo scratch || (cd $(TEACHER_PATH) && sha256sum $(ADOPTED)) || :; } >$@.new
	$(Q)mv $@.new $@

ADOPTED    = model.safetensors config.json vocab.txt
PRETRAINED = $(if $(CORPUS),--teacher.train $(call quoted,$(CORPUS))) --teacher $(TEACHER_PATH)

$(RUN)/stages/teacher.json: $(WORK)/keys/teacher.key FORCE
	$(Q)$(run) $(DISTIL) pretrain $(OPTIONS) $(PRETRAINED)

$(STUDENTS:%=$(RUN)/stages/distill-%.json): $(RUN)/stages/distill-%.json: $(WORK)/keys/distill-%.key $(RUN)/stages/teacher.json FORCE
	$(Q)$(run) $(DISTIL) distill $(OPTIONS) --student $*

THREADS = $(shell expr $(CORES) / $(JOBS) / $(RANKS) '|' 1)

# Data: generated for mini; for the others found, fetched and unpacked by data.sh (chapter 35)
data.alone: build ## make ready the data that the profile needs: DATA_DIR, or downloads into data/
	$(Q)$(MAKE) --no-print-directory $(WORK)/keys/data.key

ifeq ($(filter-out toyland,$(call setting,run,data)),)
$(WORK)/keys/toyland.key: FORCE
	$(Q)$(call key,code/toyland.c,run toyland)

# a folder that is there whole or not at all, with the key that it was made from, and as it was made
$(WORK)/keys/data.key: $(WORK)/keys/toyland.key FORCE
	$(Q)cmp -s $< $(DATA)/.key && (cd $(DATA) && sha256sum --strict --status -c .sums) || { rm -rf $(DATA).new && \
	    $(DISTIL) toyland --out $(DATA).new --seed $(call names,run,seed) \
	    $(foreach n,paragraphs train dev,--$(n) $(call names,toyland,$(n))) && cp $< $(DATA).new/.key && \
	    (cd $(DATA).new && find . -type f ! -name '.*' | sort | xargs sha256sum >.sums) && rm -rf $(DATA) && mv $(DATA).new $(DATA); }
	$(Q)sha256sum <$(DATA)/.sums >$@.new
	$(Q)mv $@.new $@

$(LABELS:%=$(WORK)/keys/data-%.key): $(WORK)/keys/data-%.key: $(WORK)/keys/data.key
	$(Q)cp $< $@.new && mv $@.new $@
else
$(WORK)/keys/data.key: FORCE
	$(Q)DATA_DIR=$(call quoted,$(DATA_DIR)) DATA_MIRROR=$(call quoted,$(DATA_MIRROR)) DATA_DERIVED=$(BUILD)/data \
	    sh code/lock.sh "$${DATA_STORE:-data}" sh code/data.sh $(DATA) $(@D) $(foreach w,$(WANTS),$(call quoted,$(w)))

$(LABELS:%=$(WORK)/keys/data-%.key): $(WORK)/keys/data-%.key: $(WORK)/keys/data.key
	@:
endif

# fine-tuning: one target for each task, model and seed; one key for each task and model
tuned = --task $(1) --model $(call MODEL_PATH,$(2)) --name $(2) --seed $(3)
tune  = $$(DISTIL) finetune $$(OPTIONS) $(call tuned,$(1),$(2),$(3))
define finetune_key
$(WORK)/keys/finetune-$(1)-$(2).key: $(call sums,$(1)) $(WORK)/keys/$(if $(filter teacher,$(2)),teacher,distill-$(call parent,$(2))).key \
    $(if $(call twice,$(2)),$(WORK)/keys/finetune-$(1)-teacher.key) FORCE
	$$(Q)$$(call key,code/finetune.c,run finetune $(1) $(if $(call twice,$(2)),$(2)),$(if $(call twice,$(2)),--$(2).heard '$(call seeds,$(1))'))
endef
define finetune
$(RUN)/stages/finetune-$(1)-$(2)-$(3).json: $(WORK)/keys/finetune-$(1)-$(2).key \
    $(RUN)/stages/$(if $(filter teacher,$(2)),teacher,distill-$(call parent,$(2))).json \
    $(if $(call twice,$(2)),$(foreach s,$(call seeds,$(1)),$(RUN)/stages/finetune-$(1)-teacher-$(s).json)) FORCE
	$$(Q)$(if $(filter teacher,$(2)),$(call keep,$(1),$(3))) $$(run) $(call tune,$(1),$(2),$(3)) $$$${KEPT:+--out $$$$KEPT}
endef
# teachers of a task that is distilled a second time are kept; those that went before are trained again
keep = $(if $(strip $(foreach m,$(call models,$(1)),$(call twice,$(m)))),export KEPT=$(RUN)/teachers/$(1)-$(2);)
ifneq ($(wildcard $(SETTINGS)),)
$(foreach t,$(TASKS),$(foreach m,$(call models,$(t)),$(eval $(call finetune_key,$(t),$(m)))))
$(foreach t,$(TASKS),$(foreach m,$(call models,$(t)),$(foreach s,$(call seeds,$(t)),$(eval $(call finetune,$(t),$(m),$(s))))))
endif

FINETUNED = $(foreach t,$(TASKS),$(foreach m,$(call models,$(t)),$(foreach s,$(call seeds,$(t)),$(RUN)/stages/finetune-$(t)-$(m)-$(s).json)))

# the benchmark has the machine to itself, so it is not one of the stages that run side by side
BENCH_COMMAND = $(DISTIL) bench --profile $(SETTINGS) --run $(RUN) --data $(DATA) --student student \
    --model $(call MODEL_PATH,teacher) --full code/full.settings --published chapters/published.json $(WORDS)
BENCH_CODE    = $(foreach c,bench estimate watch distill,code/$(c).c code/$(c).h)

$(WORK)/keys/bench.key: $(WORK)/keys/distill-student.key FORCE
	$(Q)$(call key,$(BENCH_CODE) code/full.settings chapters/published.json,run corpus distill finetune $(TASKS) student)

$(RUN)/bench.json: $(WORK)/keys/bench.key $(RUN)/stages/distill-student.json FORCE
	$(Q)sh code/due.sh run $@ $< $(BENCH_COMMAND) --key $$(cat $<) >/dev/null

PYTHON ?= python3
bench.alone: build ## measure latency and throughput, beside PyTorch where it is installed
	$(Q)$(MAKE) --no-print-directory $(RUN)/stages/distill-student.json
	$(Q)if $(PYTHON) -c 'import torch, transformers' 2>/dev/null; then \
	    $(PYTHON) tests/reference/bench.py --run $(RUN) --teacher $(call MODEL_PATH,teacher) -- $(BENCH_COMMAND); \
	else $(BENCH_COMMAND); fi

# figures that the book quotes from its tests: {{check.…}}
CHECKED = $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(shell grep -l check_report tests/*.c)))

checked: $(CHECKED)
	@:

$(WORK)/checks.tsv: $(CHECKED)
	@mkdir -p $(@D)
	$(Q): >$@.new; for t in $(CHECKED); do CHECKS=$@.new $$t >/dev/null 2>&1 || { echo "$$t failed" >&2; exit 1; }; done
	$(Q)LC_ALL=C sort -u -o $@.new $@.new && $(whole)

$(RUN)/values.json: $(RUN)/bench.json $(WORK)/checks.tsv $(DISTIL) stages
	$(Q)rm -f $@ # written last: tables of two runs are never woven together
	$(Q)$(DISTIL) results --profile $(SETTINGS) --run $(RUN) --checks $(WORK)/checks.tsv --reference results/reference \
	    --key $(CODE_KEY) $(WORDS) \
	    $(if $(filter 1,$(EXTENDED)),$(foreach t,finetune $(TASKS),$(if $(call setting,$(t),extended),--$(t).models "$(strip $(call listed,$(t)))")))

RECORDS = $(RUN)/stages/teacher.json $(STUDENTS:%=$(RUN)/stages/distill-%.json) $(FINETUNED)
stages: $(RECORDS)

# memory and disk for the stages that have left no record yet
MISSING = $(filter-out $(wildcard $(RUN)/stages/*.json),$(RECORDS))
KEPT_TEACHERS = $(foreach t,$(TASKS),$(if $(strip $(foreach m,$(call models,$(t)),$(call twice,$(m)))),$(addprefix $(t)-,$(call seeds,$(t)))))
room:
	$(Q)$(if $(and $(MISSING),$(TEACHER_PATH)),sh code/room.sh $(RUN) $(DATA) $(BUILD)/tokens $(words $(MISSING)) $(DISTIL) room \
	    --profile $(SETTINGS) --run $(RUN) --data $(DATA) --teacher $(TEACHER_PATH) --student '$(STUDENTS)' --name '$(KEPT_TEACHERS)' $(WORDS),:)

# Weaving -----------------------------------------------------------------------------------------------------------
# pandoc makes LaTeX or HTML of the chapters, through the filter code/weave.lua; three passes of pdflatex make the PDF.

export TITLE AUTHOR COURSE
DRAWN  = $(patsubst figures/%.gp,%,$(filter-out figures/style.gp,$(sort $(wildcard figures/*.gp))))
PANDOC = pandoc --preserve-tabs --wrap=none --lua-filter code/weave.lua --citeproc -M link-citations=true -M bibliography=chapters/references.bib \
    -M values=$(RUN)/values.json -M values=chapters/published.json -M results=$(RUN) -M xref=$(BUILD)/xref.json \
    -M command='make report PROFILE=$(NAME)'
WOVEN  = $(CHAPTERS) $(WORK)/weave/key code/weave.lua chapters/references.bib chapters/published.json

# results are what `distil results` left, by the sums in results.json; committed ones have no such record
define sound_results
	$(Q)[ -f $(RUN)/values.json ] || { echo "$(basename $@): $(RUN)/values.json is not there; 'make report PROFILE=$(PROFILE)' makes it" >&2; exit 1; }
	$(Q)[ ! -f $(RUN)/results.json ] || sed -n 's/^    "\([^"]*\)": "\([0-9a-f]\{64\}\)",*$$/\2  \1/p' $(RUN)/results.json | \
	    (cd $(RUN) && sha256sum --strict --quiet -c -) || { echo "$(basename $@): $(RUN) is damaged; 'make report PROFILE=$(PROFILE)' mends it" >&2; exit 1; }
endef

# a PDF that is not the one that was set is set again
set_again = [ ! -f $(RUN)/$(1) ] || [ ! -f $(WORK)/weave/$(1).sum ] || sha256sum <$(RUN)/$(1) | cmp -s - $(WORK)/weave/$(1).sum || { echo "$(basename $@): $(RUN)/$(1) is not as it was set" >&2; rm $(RUN)/$(1); }

weave.alone: tangle ## set results/PROFILE/report.pdf and summary.pdf anew from the results that are there
	$(sound_results)
	$(Q)sh code/ready.sh book $(WORK)/ready
	$(Q)$(foreach f,report.pdf summary.pdf,$(call set_again,$(f));)
	$(Q)$(MAKE) --no-print-directory -j2 $(RUN)/report.pdf $(RUN)/summary.pdf

html.alone: tangle ## the same as one HTML file, results/PROFILE/report.html
	$(sound_results)
	$(Q)sh code/ready.sh page
	$(Q)$(MAKE) --no-print-directory $(RUN)/report.html

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

$(WORK)/weave/book.tex: $(WOVEN) code/book.tex
	$(Q)$(PANDOC) -t latex --top-level-division=chapter --template code/book.tex -M figures=. -o $@.new $(CHAPTERS) && $(whole)

$(WORK)/weave/summary.tex: $(WOVEN) code/book.tex
	$(Q)$(PANDOC) -t latex --top-level-division=chapter --template code/book.tex -M figures=. -M summary=true -o $@.new $(CHAPTERS) && $(whole)

# neither the time nor the folder of the run may show in a PDF
PDFLATEX = SOURCE_DATE_EPOCH=0 FORCE_SOURCE_DATE=1 max_print_line=1000 pdflatex -interaction=nonstopmode -halt-on-error

# $(call typeset,NAME): three passes, and what its log complains of: references, characters, lines of code that are too long
define typeset
cd $(WORK)/weave && rm -f $(1).aux $(1).toc $(1).out && for pass in -draftmode -draftmode ''; do \
    $(PDFLATEX) $$pass $(1).tex >$(1).txt || { echo "weave: $(WORK)/weave/$(1).log has the error:" >&2; grep -A 6 '^!' $(1).log >&2; exit 1; }; done; \
awk -v book=$(1) '/^LaTeX Warning: (Reference|Label|Citation|There were)|Missing character/ { print "weave: " book ": " $$0 } \
    /^Overfull .hbox/ { box = $$0; getline; if (/lmtt\/[a-z]+\/[a-z]+\/8 /) print "weave: " book ": " box ": " $$0 } \
    /^Output written on summary.pdf/ { gsub(/[^0-9 ]/, ""); if ($$1 > 6) print "weave: the summary has " $$1 " pages; it should have six" }' $(1).log >&2
endef

put_pdf = sha256sum <$(WORK)/weave/$(1).pdf >$(WORK)/weave/$(@F).sum && cp $(WORK)/weave/$(1).pdf $@.new && $(whole)

$(RUN)/report.pdf: $(WORK)/weave/book.tex $(DRAWN:%=$(WORK)/weave/%.pdf)
	$(Q)$(call typeset,book)
	$(Q)$(call put_pdf,book)
	@echo "weave: $@"

$(RUN)/summary.pdf: $(WORK)/weave/summary.tex $(DRAWN:%=$(WORK)/weave/%.pdf)
	$(Q)$(call typeset,summary)
	$(Q)$(call put_pdf,summary)
	@echo "weave: $@"

# what pandoc 2.19 and newer call the wish for one file with all that it shows
ONE_FILE = $(if $(shell pandoc --help | grep -e --embed-resources),--embed-resources,--self-contained)

$(RUN)/report.html: $(WOVEN) $(DRAWN:%=$(WORK)/weave/%.svg)
	$(Q)$(PANDOC) -t html5 -s $(ONE_FILE) --mathml --toc --toc-depth=2 --number-sections -M figures=$(WORK)/weave -o $@.new $(CHAPTERS) && $(whole)
	@echo "html: $@"

# Tests -------------------------------------------------------------------------------------------------------------

RACE_TESTS = $(BUILD)/tests/races $(BUILD)/tests/harness-races
TESTS = $(patsubst tests/%.c,$(BUILD)/tests/%,$(filter-out tests/catch.c,$(sort $(wildcard tests/*.c)))) $(BUILD)/tests/harness \
        $(RACE_TESTS)

# $(call link_test,OPTIONS): where catch.o is linked, catch.c is not, though a list from an older edition may name it
link_test = $(CC) $(CFLAGS) $(STANDARD) -Icode -Itests $(compiled) $(filter-out $(BUILD)/fail.o $(BUILD)/main.o $(if $(filter %/catch.o,$^),tests/catch.c),$(filter tests/%.c %.o,$^)) -lcmocka $(LIBS) $(MPI_LIBS) $(1) && \
    $(included) && $(whole)
CAUGHT = $(BUILD)/tests/catch.o $(OBJECTS)

$(BUILD)/tests/catch.o: tests/catch.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(STANDARD) -Icode -Itests $(compiled) -c $< && $(included) && $(whole)

$(BUILD)/tests/%: tests/%.c $(CAUGHT)
	@mkdir -p $(@D)
	$(Q)$(call link_test)

# The GPU's kernels on the CPU, by the harness in tests/cuda: no CUDA is needed. -fPIC: a block's shared memory is a thread's
# own storage here, and gcc 14 folds offsets into its addresses that the linker cannot hold unless they are looked up.
HARNESS = $(CXX) $(CFLAGS) -fPIC -std=c++17 -Wall -Wextra -Werror -Wno-clobbered -Wno-unknown-pragmas -U_FORTIFY_SOURCE -ftrivial-auto-var-init=pattern \
    -Itests/cuda -Icode -Itests $(compiled) -c

$(BUILD)/tests/cuda-harness.o: code/kernels_cuda.cu
	@mkdir -p $(@D)
	$(Q)$(HARNESS) -x c++ $(NUMBERED)/kernels_cuda.cu && $(included) && $(whole)

$(BUILD)/tests/harness-tests.o: tests/harness.cc
	@mkdir -p $(@D)
	$(Q)$(HARNESS) $< && $(included) && $(whole)

$(BUILD)/tests/cuda $(BUILD)/tests/dry $(BUILD)/tests/nccl: $(BUILD)/tests/%: tests/%.c $(BUILD)/tests/cuda-harness.o $(CAUGHT)
	$(Q)$(call link_test,-lstdc++)

$(BUILD)/tests/harness: $(BUILD)/tests/harness-tests.o $(BUILD)/tests/cuda-harness.o tests/catch.c $(OBJECTS)
	$(Q)$(call link_test,-lstdc++)

# The same under watch for races: before each access the compiler has a function of the harness called; no library of
# the sanitizer's is linked.
RACES = -O2 -g -fsanitize=thread --param tsan-instrument-func-entry-exit=0

$(BUILD)/tests/cuda-races.o: code/kernels_cuda.cu
	@mkdir -p $(@D)
	$(Q)$(HARNESS) $(RACES) -x c++ $(NUMBERED)/kernels_cuda.cu && $(included) && $(whole)

$(BUILD)/tests/harness-tests-races.o: tests/harness.cc
	@mkdir -p $(@D)
	$(Q)$(HARNESS) $(RACES) $< && $(included) && $(whole)

$(BUILD)/tests/races: tests/cuda.c $(BUILD)/tests/cuda-races.o $(CAUGHT)
	$(Q)$(call link_test,-DRACES -lstdc++)

$(BUILD)/tests/harness-races: $(BUILD)/tests/harness-tests-races.o $(BUILD)/tests/cuda-races.o tests/catch.c $(OBJECTS)
	$(Q)$(call link_test,-lstdc++)

# Where there is a GPU, the same tests on it; tests/gpu.sh runs them.
GPU_TESTS = $(if $(GPU),$(if $(NVCC),$(BUILD)/tests/cuda-gpu))

$(BUILD)/tests/cuda-gpu: tests/cuda.c $(CUDA_OBJECT) $(CAUGHT)
	@mkdir -p $(@D)
	$(Q)$(call link_test,$(CUDA_LIBS))

test: build ## run every test
	$(Q)$(call alone,$(BUILD)) $(MAKE) --no-print-directory $(TESTS) $(GPU_TESTS)
	$(Q)BUILD=$(BUILD) NVCC=$(NVCC) CCBIN='$(if $(NVCC),$(CCBIN))' CUDA_HOME=$(CUDA_HOME) sh tests/run.sh $(TESTS) $(sort $(filter-out tests/run.sh tests/lint.sh tests/check.sh tests/gpu-day.sh $(if $(GPU_TESTS),,tests/gpu.sh),$(wildcard tests/*.sh)))

# A GPU's day: programs, settings, tests, data and the stages of PROFILE in one archive, for a machine that has a GPU and
# neither make nor headers. tests/gpu-day.sh is what runs there; what it leaves in results/ goes on here, where make finds
# nothing left to train. Students that hear fine-tuned teachers are not among the stages: they need make.
# ELSEWHERE: a teacher that is not among the data
GPU_DAY  := $(BUILD)/gpu
PORTABLE  = MPI= NUMBERED=$(NUMBERED) CFLAGS='-O3 -march=x86-64-v3' LIBS='-Wl,-Bstatic $(filter-out -lm,$(LIBS)) -Wl,-Bdynamic -lm'
packed    = $(foreach m,$(call models,$(1)),$(if $(call twice,$(m)),,$(m)))
ELSEWHERE = $(filter-out scratch $(DATA)/%,$(TEACHER_PATH))
PACKED_AT = $(patsubst $(DATA)/%,data/%,$(if $(ELSEWHERE),$(patsubst $(ELSEWHERE),data/teacher,$(1)),$(1)))
PLANNED   = $(call quoted,teacher pretrain $(call PACKED_AT,$(PRETRAINED)) $(WORDS)) \
    $(foreach s,$(STUDENTS),$(call quoted,distill-$(s) distill --student $(s) $(WORDS))) \
    $(foreach t,$(TASKS),$(foreach m,$(call packed,$(t)),$(foreach s,$(call seeds,$(t)),\
    $(call quoted,finetune-$(t)-$(m) finetune $(call PACKED_AT,$(call tuned,$(t),$(m),$(s))) $(WORDS)))))
PLANNED_KEYS = $(WORK)/keys/teacher.key $(STUDENTS:%=$(WORK)/keys/distill-%.key) $(WORK)/keys/bench.key \
    $(foreach t,$(TASKS),$(foreach m,$(call packed,$(t)),$(WORK)/keys/finetune-$(t)-$(m).key))

gpu-plan.alone: build
	$(Q)$(MAKE) --no-print-directory data.alone
	$(Q)$(MAKE) --no-print-directory $(PLANNED_KEYS)
	$(Q)rm -rf $(GPU_DAY) && mkdir -p $(addprefix $(GPU_DAY)/,build/tests settings stages keys/$(NAME))
	$(Q)cp $(SETTINGS) $(GPU_DAY)/settings/$(NAME).settings
	$(Q)cp $(PLANNED_KEYS) $(GPU_DAY)/keys/$(NAME) && cp -rL $(DATA) $(GPU_DAY)/data
	$(Q)$(if $(ELSEWHERE),cp -rL $(ELSEWHERE) $(GPU_DAY)/data/teacher)
	$(Q)printf '%s\n' $(PLANNED) | sed 's/ *$$//' >$(GPU_DAY)/stages/$(NAME)

gpu-bundle.alone: gpu-plan.alone ## pack what a machine with a GPU, but without make, needs for PROFILE: build/gpu.tar.xz
	$(Q)$(MAKE) --no-print-directory -j$(CORES) $(PORTABLE) BUILD=$(BUILD)/portable CUDA_ARCH='75 90' compile.alone
	$(Q)$(MAKE) --no-print-directory $(PORTABLE) BUILD=$(BUILD)/portable CUDA_ARCH='75 90' $(BUILD)/portable/tests/cuda-gpu
	$(Q)$(MAKE) --no-print-directory -j$(CORES) $(PORTABLE) BUILD=$(BUILD)/portable-ptx CUDA_ARCH=75-ptx $(BUILD)/portable-ptx/tests/cuda-gpu
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
FUZZED  = $(filter-out code/tangle.c code/main.c code/fail.c code/ranks_mpi.c $(shell grep -l omp.h code/*.c),$(wildcard code/*.c))
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined

check.alone: $(TANGLE) ## lint, sanitizers, valgrind, fuzz smoke (make deps check installs the tools)
	$(Q)$(TANGLE) --check --strict $(CHAPTERS)
	$(Q)$(MAKE) --no-print-directory build.alone
	$(Q)sh tests/lint.sh
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/sanitized NUMBERED=$(NUMBERED) CFLAGS='-O1 -g -march=native $(SANITIZE)' sanitized
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/valgrind NUMBERED=$(NUMBERED) CFLAGS='-O1 -g -march=x86-64-v3' valgrind
	$(Q)$(MAKE) --no-print-directory $(FUZZERS)
	$(Q)BUILD=$(BUILD) sh tests/fuzz/seeds.sh $(BUILD)/fuzz/seeds
	$(Q)set -e; for f in $(FUZZERS); do echo "$$f: $(FUZZ_SECONDS) seconds"; \
	    $$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -verbosity=0 -close_fd_mask=3 \
	        $(BUILD)/fuzz/seeds/$$(basename $$f); done

# One sanitizer does not go with another, so the tests of races are none of theirs.
# what a test abandons when it catches a failure is not freed, so leaks are valgrind's and the sanitizer's to ignore
sanitized: $(filter-out $(RACE_TESTS),$(TESTS))
	$(Q)ASAN_OPTIONS=detect_leaks=0 sh tests/run.sh $^

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
