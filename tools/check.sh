#!/bin/bash
# What has to hold beside the tests: formatting, lints, documentation, licences, syntax of PHP.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*"; }
failed=0
run() {
    say "$*"
    "$@" || { say "FAILED: $*"; failed=1; }
}

if cargo fmt --version >/dev/null 2>&1; then
    run cargo fmt --all --check
else
    say "skipped: this toolchain has no rustfmt"
fi
if cargo clippy --version >/dev/null 2>&1; then
    run cargo clippy --workspace --all-targets --locked -- -D warnings
else
    say "skipped: this toolchain has no clippy"
fi
RUSTDOCFLAGS="-D warnings" run cargo doc --workspace --no-deps --locked --quiet
if cargo deny --version >/dev/null 2>&1; then
    run cargo deny --log-level error --offline check licenses bans sources
else
    say "skipped: cargo-deny is not installed (cargo install cargo-deny)"
fi
if command -v php >/dev/null; then
    say "php -l over php/ and examples/"
    while IFS= read -r file; do
        php -l "$file" >/dev/null || { say "FAILED: php -l $file"; failed=1; }
    done < <(git ls-files '*.php' | grep -v 'fixtures/parse-error')
fi
say "the layers: api knows no sibling, core no runtime and no plugin"
if grep -qE '^folk-(core|runtime|plugin|server|goridge)' crates/api/Cargo.toml; then
    say "FAILED: crates/api depends on a sibling"; failed=1
fi
if sed -n '/^\[dependencies\]/,/^\[dev/p' crates/core/Cargo.toml | grep -qE '^folk-(runtime|plugin|server)'; then
    say "FAILED: crates/core depends on a runtime or a plugin"; failed=1
fi
[ "$failed" -eq 0 ] && say "all is well"
exit "$failed"
