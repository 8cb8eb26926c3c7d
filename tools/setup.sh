#!/bin/bash
# Installs what folk needs on this machine: setup.sh run|test|bench
# On Debian and its relatives through apt; elsewhere it names what is missing and stops.
set -euo pipefail

say() { printf '== %s\n' "$*" >&2; }

# Words: "command-or-check=package".
declare -a wanted
case "${1:-run}" in
    run) wanted=(php=php-cli) ;;
    test) wanted=(php=php-cli phpunit=phpunit file:/usr/share/php/Nyholm/Psr7/autoload.php=php-nyholm-psr7) ;;
    bench) wanted=(php=php-cli wrk=wrk nginx=nginx-light php-fpm8.2=php-fpm python3=python3) ;;
    *) echo "usage: tools/setup.sh run|test|bench" >&2; exit 2 ;;
esac

if ! command -v cargo >/dev/null; then
    say "cargo is not in PATH: install a Rust toolchain (https://rustup.rs), then run this again"
    exit 1
fi
if ! command -v cc >/dev/null; then
    wanted+=(cc=gcc)
fi

missing=()
for want in "${wanted[@]}"; do
    have=${want%%=*} package=${want#*=}
    case $have in
        file:*) [ -e "${have#file:}" ] || missing+=("$package") ;;
        *) command -v "$have" >/dev/null || [ -x "/usr/sbin/$have" ] || missing+=("$package") ;;
    esac
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    say "missing: ${missing[*]} (names as Debian has them). Install them and run this again."
    exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        say "missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}"
        exit 1
    fi
    sudo=(sudo)
fi
say "installing ${missing[*]} with apt"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { "${sudo[@]}" apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
# The list of packages may be missing or old; only then is it fetched.
install || { "${sudo[@]}" apt-get update >"$log" 2>&1 && install; } || {
    cat "$log" >&2
    say "apt could not install ${missing[*]}; see above"
    exit 1
}
say "installed ${missing[*]}"
