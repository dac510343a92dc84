# SPDX-License-Identifier: MIT
#
# Builds everything under build/ (with SAN=address,undefined or SAN=thread beside it, under
# build/san-…). Sources are found by wildcard: a new file needs no change here. BUILD=… puts the
# whole tree somewhere else, for two builds at a time.

DAEMONS  := gateway auth-svc message-svc group-svc presence-svc
# Folders of tests that are programs linked with everything, one program a file.
SUITES   := store bus load

comma    := ,
BUILD    ?= build
B        := $(BUILD)$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

# Objects and generated C have a folder of their own: build/gateway is the program.
O        := $(B)/obj

# All cores, unless this is a make within a make, which shares its parent's. Output is kept together
# per file, but not for what runs long and should be seen while it does.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
ifeq ($(filter run suite test unit check e2e fuzz demo lint,$(MAKECMDGOALS)),)
MAKEFLAGS += --output-sync=target
endif
endif
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

# ---- Flags ---------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wold-style-definition -Wformat=2 -Wundef -Wpointer-arith -Wcast-align -Wwrite-strings \
            -Wvla -Wimplicit-fallthrough -Wconversion -Wno-sign-conversion -Werror
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fPIE -fno-omit-frame-pointer \
            $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
PACKAGES := libmariadb hiredis jansson libjwt libuv libprotobuf-c libsodium sqlite3 libutf8proc \
            rdkafka openssl zlib
# -isystem: warnings in generated and foreign headers are not ours.
INCLUDES := -I. -isystem $(O) \
            $(patsubst -I%,-isystem %,$(shell pkg-config --cflags-only-I $(PACKAGES) 2>/dev/null))
CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
BASE     := -std=gnu17 -D_GNU_SOURCE -O2 -g $(HARDEN) $(INCLUDES)
LDFLAGS_ := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
LIBS     := -lssl -lcrypto -lrdkafka -lmariadb -lhiredis -ljansson -ljwt -luv -lprotobuf-c -lsodium \
            -lsqlite3 -lutf8proc -lz -lpthread -lm
H2O_LIBS := -lh2o-evloop

# libh2o's headers assume libuv unless told otherwise; a mismatch changes struct layouts silently.
flags_of = $(BASE) $(WARNINGS) $(if $(findstring gateway/,$(1)),-DH2O_USE_LIBUV=0) $(CFLAGS)

# ---- Sources -------------------------------------------------------------------------------------

PROTOS    := $(wildcard proto/*.proto)
PROTO_C   := $(PROTOS:%.proto=$(O)/%.pb-c.c)
PROTO_H   := $(PROTO_C:.c=.h)
SCHEMAS   := $(wildcard *-svc/schema.sql)
SCHEMA_H  := $(SCHEMAS:%.sql=$(O)/%.h)
WEB       := $(wildcard gateway/web/*)

objects    = $(patsubst %.c,$(O)/%.o,$(filter-out %/main.c %/standalone.c,$(wildcard $(1)/*.c)))
has_main   = $(wildcard $(1)/main.c)

BUILT_DAEMONS  := $(strip $(foreach d,$(DAEMONS),$(if $(call has_main,$d),$d)))
# Folders that have an archive.
LIBRARIES      := $(strip $(foreach d,$(DAEMONS),$(if $(call objects,$d),$d)))
ALL_ARCHIVES   := $(LIBRARIES:%=$(B)/%.a)
COMMON         := $(B)/libcommon.a $(if $(PROTOS),$(B)/libproto.a)
STANDALONE     := $(if $(wildcard gateway/standalone.c),$(B)/standalone)
PROGRAMS       := $(BUILT_DAEMONS:%=$(B)/%) $(STANDALONE)

UNIT_SOURCES   := $(wildcard tests/unit/*/test_*.c)
UNIT_TESTS     := $(UNIT_SOURCES:%.c=$(B)/%)
SUITE_SOURCES  := $(foreach s,$(SUITES),$(wildcard tests/$s/*.c))
SUITE_TESTS    := $(SUITE_SOURCES:%.c=$(B)/%)
FUZZ_TESTS     := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

C_FILES        := $(wildcard common/*.c $(DAEMONS:%=%/*.c) tests/*/*.c tests/unit/*/*.c)
H_FILES        := $(wildcard common/*.h $(DAEMONS:%=%/*.h) tests/*/*.h tests/unit/*/*.h)

# ---- What to ask for -----------------------------------------------------------------------------

.PHONY: help all run suite test unit check e2e fuzz lint format tidy demo clean tests fuzzers FORCE

help: ## this list
	@echo "make <target> [SAN=address,undefined | SAN=thread] [CC=gcc | clang]"
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 12

all: $(PROGRAMS) ## the five daemons and standalone, under build/

run: ## install what is missing, build, and run everything as one process (build/standalone)
	@deploy/install.sh build
	@$(MAKE) -s --no-print-directory all
	@exec $(B)/standalone

suite: ## install what is missing, build, and run the suite: Kafka, MariaDB, Redis, five daemons
	@deploy/install.sh build suite
	@$(MAKE) -s --no-print-directory all
	@exec deploy/local/suite.sh

test: ## install what is missing, build, and run all tests and lints
	@deploy/install.sh build suite lint
	@$(MAKE) -s --no-print-directory all tests
	@BUILD=$(B) tests/run.sh

unit: ## build and run the unit tests
	@$(MAKE) -s --no-print-directory $(UNIT_TESTS)
	@BUILD=$(B) tests/unit/run.sh

check: ## test, then the unit tests and the end-to-end tests of standalone under the sanitizers
	@$(MAKE) -s --no-print-directory test
	@$(MAKE) -s --no-print-directory SAN=address,undefined unit
	@$(MAKE) -s --no-print-directory SAN=thread unit
	@$(MAKE) -s --no-print-directory SAN=address,undefined e2e
	@$(MAKE) -s --no-print-directory SAN=thread e2e

e2e: all ## build standalone and the daemons, run the end-to-end tests on standalone
	@BUILD=$(B) tests/e2e/run.py standalone

fuzz: ## fuzz each target of tests/fuzz for FUZZ_SECONDS (60), with clang and libFuzzer
	@$(MAKE) -s --no-print-directory BUILD=$(BUILD)/fuzz CC=clang SAN=address,undefined \
	  CFLAGS='-fsanitize=fuzzer-no-link -w' LIBFUZZER=1 fuzzers
	@BUILD=$(BUILD)/fuzz/san-address-undefined tests/fuzz/fuzz.sh

lint: ## the checks of the source tree: layers, banned functions, sizes, documents, format, shell
	@tests/lint/run.sh

format: ## let clang-format rewrite the sources
	@clang-format -i $(C_FILES) $(H_FILES)

tidy: $(PROTO_H) $(SCHEMA_H) ## clang-tidy over all sources
	@set -e; for f in $(C_FILES); do echo "$$f"; \
	  clang-tidy --quiet "$$f" -- -std=gnu17 -D_GNU_SOURCE -DH2O_USE_LIBUV=0 $(INCLUDES); done

demo: ## install what is missing, build, and show two users, a group and a message hop by hop
	@deploy/install.sh build demo
	@$(MAKE) -s --no-print-directory all
	@BUILD=$(B) deploy/demo.sh

clean: ## remove build/
	rm -rf $(BUILD)

tests: $(UNIT_TESTS) $(SUITE_TESTS) $(FUZZ_TESTS)

fuzzers: $(FUZZ_TESTS)

# ---- How it is built -----------------------------------------------------------------------------

# Rewritten only when the compiler or the flags change; objects then follow.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(call flags_of,gateway/) $(LDFLAGS_)' | cmp -s - $@ || \
	 printf '%s\n' '$(CC) $(call flags_of,gateway/) $(LDFLAGS_)' > $@

$(O)/%.o: %.c $(B)/flags | $(PROTO_H) $(SCHEMA_H)
	@mkdir -p $(@D)
	$(info CC $<)@$(CC) $(call flags_of,$<) -MMD -MP -c -o $@ $<

# protoc-c writes with its own idea of conversions.
$(O)/proto/%.pb-c.o: $(O)/proto/%.pb-c.c $(B)/flags | $(PROTO_H)
	@$(CC) $(BASE) -w $(CFLAGS) -MMD -MP -c -o $@ $<

# One .proto may import another: any change makes all anew.
$(O)/proto/%.pb-c.c $(O)/proto/%.pb-c.h: proto/%.proto $(PROTOS)
	@mkdir -p $(@D)
	@command -v protoc-c >/dev/null || { echo 'protoc-c is missing: deploy/install.sh build'; exit 1; }
	$(info PROTO $<)@protoc-c --proto_path=proto --c_out=$(O)/proto $<

# X-svc/schema.sql as X_schema_sql, a C string (byte by byte: no limit of length, no quoting).
$(O)/%-svc/schema.h:
	@mkdir -p $(@D)
	@printf '#pragma once\nextern const char %s_schema_sql[];\n' '$*' > $@

$(O)/%-svc/schema.c: %-svc/schema.sql $(O)/%-svc/schema.h
	@{ printf '#include "%s-svc/schema.h"\nconst char %s_schema_sql[] = {' '$*' '$*'; \
	   od -An -v -tx1 $< | sed "s/ \(..\)/'\\\\x\1',/g"; echo '0};'; } > $@

$(O)/%-svc/schema.o: $(O)/%-svc/schema.c $(B)/flags
	@$(CC) $(BASE) $(CFLAGS) -c -o $@ $<

# The files of gateway/web/ as web_files (gateway/web.h). The folder's own time says that one is gone.
$(O)/gateway/web_files.c: gateway/web $(WEB)
	@mkdir -p $(@D)
	@{ printf '#include "gateway/web.h"\n'; i=0; for f in $(WEB); do \
	   printf 'static const unsigned char data_%d[] = {' $$i; od -An -v -tx1 $$f | sed 's/ \(..\)/0x\1,/g'; \
	   echo '0};'; i=$$((i + 1)); done; \
	   echo 'const struct web_file web_files[] = {'; i=0; for f in $(WEB); do \
	   printf '{"%s", "\\"%s\\"", data_%d, sizeof(data_%d) - 1},\n' \
	     $${f##*/} "$$(sha256sum <$$f | cut -c1-32)" $$i $$i; i=$$((i + 1)); done; echo '{0}};'; } > $@

$(O)/gateway/web_files.o: $(O)/gateway/web_files.c gateway/web.h $(B)/flags
	@$(CC) $(BASE) $(CFLAGS) -c -o $@ $<

# Made anew each time, so that the objects of removed sources do not stay behind.
archive = @rm -f $@ && ar rcsD $@ $(filter %.o,$^)

$(B)/libcommon.a: $(call objects,common)
	$(archive)

$(B)/libproto.a: $(PROTO_C:.c=.o)
	$(archive)

define library
$(B)/$(1).a: $(call objects,$(1)) $(patsubst %.sql,$(O)/%.o,$(wildcard $(1)/schema.sql)) \
              $(if $(wildcard $(1)/web),$(O)/$(1)/web_files.o)
	$$(archive)
endef
$(foreach d,$(LIBRARIES),$(eval $(call library,$d)))

# $(1): objects and archives; $(2): more libraries
link = mkdir -p $(@D) && $(CC) $(BASE) $(CFLAGS) $(LDFLAGS_) -o $@ -Wl,--start-group $(1) -Wl,--end-group $(2) $(LIBS)

# ThreadSanitizer does not know the C11 threads of librdkafka.
SHIM := $(if $(findstring thread,$(SAN)),$(O)/tests/sanitizers/c11_threads.o)

define daemon
$(B)/$(1): $(O)/$(1)/main.o $(filter $(B)/$(1).a,$(ALL_ARCHIVES)) $(COMMON) $(SHIM)
	$$(info LD $$@)@$$(call link,$$(filter %.o %.a,$$^),$(if $(filter gateway,$(1)),$(H2O_LIBS)))
endef
$(foreach d,$(DAEMONS),$(eval $(call daemon,$d)))

$(B)/standalone: $(O)/gateway/standalone.o $(ALL_ARCHIVES) $(COMMON) $(SHIM)
	$(info LD $@)@$(call link,$(filter %.o %.a,$^),$(H2O_LIBS))

# A unit test is its object and whatever it pulls from the folder that it tests.
define unit_folder
$(filter $(B)/tests/unit/$(1)/%,$(UNIT_TESTS)): $(B)/%: $(O)/%.o $(filter $(B)/$(1).a,$(ALL_ARCHIVES)) $(COMMON)
	@$$(call link,$$(filter %.o %.a,$$^),$(if $(filter gateway,$(1)),$(H2O_LIBS)))
endef
$(foreach d,$(sort $(notdir $(patsubst %/,%,$(dir $(UNIT_SOURCES))))),$(eval $(call unit_folder,$d)))

$(SUITE_TESTS): $(B)/%: $(O)/%.o $(ALL_ARCHIVES) $(COMMON) $(SHIM)
	@$(call link,$(filter %.o %.a,$^),$(H2O_LIBS))

# With LIBFUZZER its main fuzzes (make fuzz); else ours replays the corpus (make test).
$(FUZZ_TESTS): $(B)/%: $(O)/%.o $(if $(LIBFUZZER),,$(O)/tests/fuzz/replay.o) \
               $(filter $(B)/gateway.a,$(ALL_ARCHIVES)) $(COMMON)
	@$(call link,$(filter %.o %.a,$^),$(H2O_LIBS) $(if $(LIBFUZZER),-fsanitize=fuzzer))

-include $(shell [ -d $(O) ] && find $(O) -name '*.d')
