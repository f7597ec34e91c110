#!/bin/sh
# The feed's test of the installed package: test.sh PACKAGE VERSION
# A bus of its own starts in a scratch root, lets the user in whose password it has made, and stops.
set -e

[ "$1" = fosquitto ] || exit 0

fosquitto --version | grep -F "fosquitto $2"
fosquitto check

root=$(mktemp -d)
mkdir -p "$root/etc/config"
printf "config local 'local'\n\toption port '0'\n" >"$root/etc/config/fosquitto"
fosquitto serve --root "$root" 2>"$root/log" &
bus=$!
trap 'kill "$bus" 2>/dev/null || true; cat "$root/log"; rm -rf "$root"' EXIT

# Under emulation a start takes a while.
waited=0
until grep -F ready "$root/log"; do
	[ "$waited" -lt 60 ] || exit 1
	waited=$((waited + 1))
	sleep 1
done
sed -n 's/^local://p' "$root/etc/fosquitto/credentials.plain" | fosquitto passwd --root "$root" --check local
fosquitto status --root "$root" | grep -F "$2"
fosquitto rpcd --root "$root" list | grep -F kick
kill -HUP "$bus"
until grep -F reloaded "$root/log"; do
	[ "$waited" -lt 60 ] || exit 1
	waited=$((waited + 1))
	sleep 1
done
kill "$bus"
wait "$bus"
grep -F stopped "$root/log"
