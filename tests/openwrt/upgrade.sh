# From the original's files to this package's, and through an upgrade of the system.

# shellcheck shell=dash

# The UCI file, the passwords and the CA as the original leaves them.
originals_files() {
	uci_file "config global 'global'" "	option debug '0'" \
		"config local 'local'" "	option port 11883" \
		"config remote 'remote'" "	option enabled '1'" "	option port '11884'" \
		"config subordinate '0000000A00000214'" "	option enabled '1'" "	option address '192.168.1.8'" "	option port '11884'" \
		"config subsubordinate '0000000A00000215'" "	option enabled '1'" "	option via '0000000A00000214'"
	chmod 0600 "$R/etc/config/fosquitto"
	file 0600 /etc/fosquitto/credentials.plain
	echo 'local:0123456789ABCDEF0123456789ABCDEF' >"$R/etc/fosquitto/credentials.plain"
	file 0600 /etc/fosquitto/bridges/0000000A00000214/token.key
	make_ca
}

# As the package manager and the boot do it: a script that fails is kept.
uci_defaults() {
	"$BUSYBOX" ash -c "cd '$R/etc/uci-defaults' && . ./80-fosquitto" && rm "$R/etc/uci-defaults/80-fosquitto"
	tidy_asked
}

it_starts_with_the_originals_files_and_keeps_them() {
	originals_files
	before=$(cat "$R/etc/config/fosquitto" "$R/etc/fosquitto/credentials.plain")
	uci_defaults
	does start
	asked "procd: starts it"
	[ "$(cat "$R/etc/config/fosquitto" "$R/etc/fosquitto/credentials.plain")" = "$before" ] || fail "the files have changed"
	[ -e "$R/etc/fosquitto/bridges/0000000A00000214/token.key" ] || fail "the token is gone"
	asked "chown -hR fosquitto:fosquitto /etc/fosquitto/. /var/run/fosquitto/."
	asked "chown -hR root:root /etc/ssl/ca/remote/."
	never_asked "uci -q delete"
}

it_takes_out_of_the_uci_file_what_the_original_read_past() {
	originals_files
	cat >>"$R/etc/config/fosquitto" <<-END
		config subordinate '0000000A00000216'
			option custom_name 'attic'
		config subsubordinate '0000000A00000217'
			option via '0000000A00000216'
			option custom_name 'cellar'
		config main 'main'
			option bus 'mqtt'
	END
	refuses check
	uci_defaults
	asked "uci -q delete fosquitto.0000000A00000216.custom_name"
	asked "uci -q delete fosquitto.0000000A00000217.custom_name"
	in_order "uci -q delete fosquitto.main" "uci -q commit fosquitto"
	never_asked "delete.*214"
	[ ! -e "$R/etc/uci-defaults/80-fosquitto" ] || fail "it is run again at each boot"
}

it_tries_again_at_the_next_boot_when_the_overlay_is_full() {
	export UCI_FULL=1
	uci_defaults
	[ -e "$R/etc/uci-defaults/80-fosquitto" ] || fail "it is gone"
}

it_leaves_a_section_of_ours_that_is_called_main() {
	uci_file "config listener 'main'"
	uci_defaults
	never_asked "uci -q delete"
}

# rpcd STATUS: a stand-in of its init script, which says with STATUS whether it runs.
rpcd() {
	# shellcheck disable=SC2016 # It is the script's to expand.
	printf '#!/bin/sh\necho "rpcd $*" >>"$ASKED"\n[ "$1" != running ] || exit %s\n' "$1" >"$R/etc/init.d/rpcd"
	chmod 755 "$R/etc/init.d/rpcd"
}

it_lets_rpcd_find_the_object_on_ubus() {
	cp "$R/etc/uci-defaults/80-fosquitto" "$R/again"
	rpcd 0
	uci_defaults
	in_order "rpcd running" "rpcd reload"
	forget
	rpcd 1
	mv "$R/again" "$R/etc/uci-defaults/80-fosquitto"
	uci_defaults
	never_asked "rpcd reload"
}

it_keeps_passwords_and_tokens_through_an_upgrade_of_the_system() {
	originals_files
	file 0600 /etc/fosquitto/credentials.hashed
	file 0600 /etc/fosquitto/passwd
	file 0600 /etc/fosquitto/scram
	file 0600 /etc/fosquitto/scram.secret
	# As sysupgrade collects its files.
	# shellcheck disable=SC2046 # One path a word.
	kept=$(cd "$R" && find $(sed 's|^/||' "$R/lib/upgrade/keep.d/fosquitto") -type f)
	for file in credentials.plain credentials.hashed passwd scram scram.secret bridges/0000000A00000214/token.key; do
		printf '%s\n' "$kept" | grep -qx "etc/fosquitto/$file" || fail "$file is lost"
	done
}

# start_bus: the program itself, until it is ready; $bus is its process, which ends with the test.
start_bus() {
	: >"$R/log"
	"$R/usr/sbin/fosquitto" --root "$R" serve 2>"$R/log" &
	bus=$!
	trap 'kill "$bus" 2>/dev/null' EXIT
	until grep -F "notice: ready" "$R/log"; do
		grep -E "^State:.*[RSD] " "/proc/$bus/status" >/dev/null || fail "the bus does not start: $(cat "$R/log")"
	done
}

stop_bus() {
	kill "$bus"
	wait "$bus" || fail "the bus ends with $?: $(cat "$R/log")"
}

source_hook() {
	# shellcheck source=/dev/null # It lies below a scratch root.
	. "$R/lib/upgrade/fosquitto.sh"
}

it_keeps_the_state_of_a_running_bus_through_an_upgrade_of_the_system() {
	uci_file "config local 'local'" "	option port '0'"
	start_bus
	database=$R/etc/fosquitto/fosquitto.db
	# As sysupgrade does it, with the list that an upgrade with -c has.
	printf '%s\n' "$database" "$database-wal" "$database-journal" "$database.kept" "$R/etc/config/fosquitto" >"$R/list"
	sysupgrade_init_conffiles=add_conffiles
	source_hook
	[ "$sysupgrade_init_conffiles" = "add_conffiles fosquitto_keep_store" ] || fail "not called: $sysupgrade_init_conffiles"
	fosquitto_keep_store "$R/list" || fail "the upgrade would not go on"
	[ "$(cat "$R/list")" = "$R/etc/config/fosquitto
$database.kept" ] || fail "the list is $(cat "$R/list")"
	[ ! -e "$R/list.fosquitto" ] || fail "a draft is left"
	has_mode 600 /etc/fosquitto/fosquitto.db.kept
	stop_bus
	# The new system has what was kept.
	rm -rf "$database" "$database-wal" "$R/var/run/fosquitto"
	start_bus
	grep -F "the copy that was kept is the database now" "$R/log" || fail "it was not taken: $(cat "$R/log")"
	[ ! -e "$database.kept" ] || fail "it is still there"
	stop_bus
}

it_goes_on_with_an_upgrade_where_there_is_no_state() {
	uci_file "config persistence 'persistence'" "	option durability 'volatile'"
	echo /etc/config/fosquitto >"$R/list"
	source_hook
	fosquitto_keep_store "$R/list" || fail "the upgrade would not go on"
	[ "$(cat "$R/list")" = /etc/config/fosquitto ] || fail "the list is $(cat "$R/list")"
}
