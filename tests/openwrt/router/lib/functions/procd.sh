# Stand-ins of procd and of its shell functions: they record what they are asked, and what procd would do with it. Below PROCD,
# `running` is there while an instance runs, and holds what it was started with.

# shellcheck shell=dash

procd_open_service() {
	rm -f "$PROCD/new"
	record procd_open_service "$@"
}

procd_open_instance() {
	: >"$PROCD/new"
	record procd_open_instance "$@"
}

procd_close_instance() {
	record procd_close_instance
}

# What a process is started with; mDNS and triggers are not of it.
describe() {
	[ -e "$PROCD/new" ] || record "outside of an instance: $*"
	printf '%s\n' "$*" >>"$PROCD/new"
	record "$@"
}

procd_set_param() {
	describe procd_set_param "$@"
}

procd_append_param() {
	describe procd_append_param "$@"
}

procd_add_jail() {
	: >"$PROCD/jail"
	describe procd_add_jail "$@"
}

procd_add_jail_mount() {
	[ -e "$PROCD/jail" ] || record "outside of a jail: $*"
	describe procd_add_jail_mount "$@"
}

procd_add_jail_mount_rw() {
	[ -e "$PROCD/jail" ] || record "outside of a jail: $*"
	describe procd_add_jail_mount_rw "$@"
}

procd_add_mdns() {
	record procd_add_mdns "$@"
}

procd_add_reload_trigger() {
	record procd_add_reload_trigger "$@"
}

procd_add_raw_trigger() {
	record procd_add_raw_trigger "$@"
}

procd_add_reload_interface_trigger() {
	record procd_add_reload_interface_trigger "$@"
}

procd_close_service() {
	service_triggers
	if [ ! -e "$PROCD/new" ]; then
		[ ! -e "$PROCD/running" ] || record "procd: stops it"
		rm -f "$PROCD/running"
	elif [ ! -e "$PROCD/running" ]; then
		record "procd: starts it"
		mv "$PROCD/new" "$PROCD/running"
	elif cmp -s "$PROCD/new" "$PROCD/running"; then
		record "procd: leaves it as it is"
	elif grep -q reload_signal "$PROCD/running"; then
		record "procd: signals it"
	else
		record "procd: restarts it"
		mv "$PROCD/new" "$PROCD/running"
	fi
}

procd_kill() {
	record procd_kill "$@"
	rm -f "$PROCD/running"
}

procd_running() {
	[ "$1" = fosquitto ] && [ -e "$PROCD/running" ]
}

procd_send_signal() {
	# To an instance that does not run procd's kill() would have no process, and reach others.
	[ -e "$PROCD/running" ] || record "procd: signals nobody knows whom"
	record procd_send_signal "$@"
}
