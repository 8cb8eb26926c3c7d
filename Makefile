# make run    serve examples/hello on http://127.0.0.1:8080
# make test   every test: Rust, PHP, and the stories against the real binary
# make check  formatting, lints, documentation, licences, generated files
# make bench  folk beside nginx + php-fpm
#
# Each installs what it needs on Debian and its relatives, and says so; elsewhere it names what is
# missing and stops.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FOLK := target/release/folk

.PHONY: help setup setup-test setup-bench build run test test-rust test-php check fmt bench fuzz

help:
	@sed -n 's/^# //p' Makefile | sed '/^Each installs/,$$d'

setup:
	@tools/setup.sh run

setup-test:
	@tools/setup.sh test

setup-bench:
	@tools/setup.sh bench

build: setup
	@cargo build --release --locked -p folk-server

run: build
	@exec $(FOLK) serve -c examples/hello/folk.toml

test: setup-test test-rust test-php

test-rust:
	@cargo test --workspace --locked

test-php:
	@cd php && phpunit --configuration phpunit.xml.dist

check:
	@tools/check.sh

fmt:
	@cargo fmt --all

bench: setup-bench build
	@bench/serve.py

# Needs a nightly toolchain and cargo-fuzz. Each target runs for a minute.
fuzz:
	@tools/fuzz.sh
