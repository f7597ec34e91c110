# What the tests of the router's scripts have in common. `run` sources this file and then the tests'.

# shellcheck shell=dash

R=$IPKG_INSTROOT

# The usual router: user, jail and the shipped configuration are there, nothing runs.
set_up() {
	: >"$ASKED"
	echo 'fosquitto:x:32768:32768:fosquitto:/var/run/fosquitto:/bin/false' >"$R/etc/passwd"
	echo 'fosquitto:x:32768:fosquitto' >"$R/etc/group"
	mkdir -p "$R/sbin"
	: >"$R/sbin/ujail"
	chmod 755 "$R/sbin/ujail"
}

fail() {
	echo "$*"
	exit 1
}

# With the paths as they are on a router.
tidy_asked() {
	sed -i "s|$R/|/|g" "$ASKED"
}

# service ACTION...: calls the init script as a router does; $status, $said and $complained are what comes of it.
service() {
	"$BUSYBOX" ash "$R/etc/rc.common" "$R/etc/init.d/fosquitto" "$@" >"$R/said" 2>"$R/complained"
	status=$?
	said=$(cat "$R/said")
	complained=$(cat "$R/complained")
	tidy_asked
}

# The same, and it has to succeed without a word of complaint.
does() {
	service "$@"
	[ "$status" = 0 ] || fail "'$*' fails with $status: $complained"
	[ -z "$complained" ] || fail "'$*' complains: $complained"
}

refuses() {
	service "$@"
	[ "$status" != 0 ] || fail "'$*' succeeds"
}

# Forgets what was asked until now.
forget() {
	: >"$ASKED"
}

# asked LINE: exactly this was asked.
asked() {
	grep -Fx -- "$1" "$ASKED" >/dev/null || fail "not asked: $1"
}

# asked_once LINE
asked_once() {
	[ "$(grep -Fxc -- "$1" "$ASKED")" = 1 ] || fail "not asked exactly once: $1"
}

# never_asked REGEX: no line that was asked matches.
never_asked() {
	! grep -- "$1" "$ASKED" || fail "asked: $1"
}

# in_order LINE LINE...: each was asked after the one before.
in_order() {
	local last=0 line at
	for line; do
		at=$(tail -n "+$((last + 1))" "$ASKED" | grep -Fxn -- "$line" | head -n 1 | cut -d: -f1)
		[ -n "$at" ] || fail "not asked, or too early: $line"
		last=$((last + at))
	done
}

says() {
	case "$said" in
	*"$1"*) ;;
	*) fail "does not say '$1' but: $said" ;;
	esac
}

complains() {
	case "$complained" in
	*"$1"*) ;;
	*) fail "does not complain '$1' but: $complained" ;;
	esac
}

# uci_file LINE...: writes the UCI file.
uci_file() {
	printf '%s\n' "$@" >"$R/etc/config/fosquitto"
}

# has_mode MODE FILE
has_mode() {
	[ "$(stat -c %a "$R$2")" = "$1" ] || fail "$2 has mode $(stat -c %a "$R$2"), expected $1"
}

# file MODE PATH: an empty file.
file() {
	mkdir -p "$R${2%/*}"
	: >"$R$2"
	chmod "$1" "$R$2"
}

# The CA as turris-cagen makes it.
make_ca() {
	file 0644 /etc/ssl/ca/remote/ca.crt
	file 0644 /etc/ssl/ca/remote/ca.crl
	file 0400 /etc/ssl/ca/remote/ca.key
	file 0644 /etc/ssl/ca/remote/01.crt
	file 0400 /etc/ssl/ca/remote/01.key
	file 0400 /etc/ssl/ca/remote/02.key
}
