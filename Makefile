# Settings: change them here, or on the command line (make report PROFILE=mini).

BUILD   ?= build
CC      ?= cc
CFLAGS  ?= -O3 -march=native
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)

DEPS := gcc make pkg-config pandoc gnuplot-nox lua5.4 poppler-utils lmodern \
        texlive-latex-recommended texlive-latex-extra texlive-pictures texlive-fonts-recommended \
        libopenblas-openmp-dev libjansson-dev libutf8proc-dev libcmocka-dev

STANDARD := -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -fopenmp
LIBS     := -lopenblas -ljansson -lutf8proc -lm

CHAPTERS := $(sort $(wildcard chapters/*.md))
SOURCES   = $(filter-out code/tangle.c,$(wildcard code/*.c))
OBJECTS   = $(SOURCES:code/%.c=$(BUILD)/%.o)
TESTS     = $(patsubst tests/%.c,$(BUILD)/tests/%,$(filter-out tests/catch.c,$(wildcard tests/*.c)))

.DEFAULT_GOAL := help

.PHONY: help build compile test tangle clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

tangle: ## write code/ and figures/ from the chapters
	$(Q)lua5.4 tests/tangle.lua $(CHAPTERS)

build: tangle ## compile the trainer
	$(Q)$(MAKE) --no-print-directory compile

compile: $(OBJECTS) $(if $(wildcard code/main.c),$(BUILD)/distil)

$(BUILD)/distil: $(OBJECTS)
	$(Q)$(CC) $(CFLAGS) -fopenmp -o $@ $^ $(LIBS)

$(BUILD)/%.o: code/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(STANDARD) -MMD -c -o $@ $<

$(BUILD)/tests/%: tests/%.c tests/catch.c $(OBJECTS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(STANDARD) -Icode -Itests -MMD -o $@ $< tests/catch.c \
	    $(filter-out $(BUILD)/fail.o $(BUILD)/main.o,$(OBJECTS)) -lcmocka $(LIBS)

test: build ## run every test
	$(Q)$(MAKE) --no-print-directory $(TESTS)
	$(Q)for t in $(TESTS); do $$t || exit 1; done

clean: ## remove what was built
	rm -rf $(BUILD)

-include $(wildcard $(BUILD)/*.d $(BUILD)/tests/*.d)
