# What happens when an interface or a certificate has changed.

# shellcheck shell=dash

# A stand-in of the init script is enough, and a bus that runs.
running() {
	: >"$PROCD/running"
	# shellcheck disable=SC2016 # It is the script's to expand.
	printf '#!/bin/sh\necho "init $*" >>"$ASKED"\n' >"$R/etc/init.d/fosquitto"
	uci_file "config bridge 'cloud'"
}

# event KIND [VARIABLE=VALUE...]: as hotplug-call does it, each script in a shell of its own.
event() {
	local kind=$1
	shift
	env "$@" "$BUSYBOX" ash -c ". '$R/lib/functions.sh'; (. '$R/etc/hotplug.d/$kind/80-fosquitto')" || fail "the hook fails"
	tidy_asked
}

it_makes_connections_anew_when_an_interface_is_up() {
	running
	event iface ACTION=ifup INTERFACE=wan
	asked_once "init reload"
	asked "config_load /etc/config/fosquitto"
}

it_makes_them_anew_when_addresses_have_changed() {
	running
	event iface ACTION=ifupdate INTERFACE=wan IFUPDATE_DATA=1
	never_asked "init"
	event iface ACTION=ifupdate INTERFACE=wan IFUPDATE_ADDRESSES=1
	asked_once "init reload"
}

it_does_not_care_for_other_events_of_interfaces() {
	running
	event iface ACTION=ifdown INTERFACE=wan
	event iface ACTION=ifup INTERFACE=loopback
	never_asked "init"
}

it_does_nothing_for_an_interface_where_nothing_connects() {
	running
	uci_file "config bridge 'cloud'" "	option enabled '0'" "config listener 'a'"
	event iface ACTION=ifup INTERFACE=wan
	never_asked "init"
	uci_file "config subordinate '0000000A00000214'"
	event iface ACTION=ifup INTERFACE=wan
	asked_once "init reload"
}

it_reads_the_override_of_the_configuration_there_too() {
	running
	uci_file "config listener 'a'"
	mkdir -p "$R/var/run/uci"
	echo "config bridge 'cloud'" >"$R/var/run/uci/fosquitto"
	event iface ACTION=ifup INTERFACE=wan
	asked "init reload"
}

it_does_not_take_its_word_from_the_environment_of_an_event() {
	running
	uci_file "config listener 'a'"
	event iface ACTION=ifup INTERFACE=wan CONNECTS=1
	never_asked "init"
}

it_reads_certificates_that_were_issued_or_renewed() {
	running
	event acme ACTION=renewed
	asked_once "init reload"
	event acme ACTION=issued
	[ "$(grep -c "init reload" "$ASKED")" = 2 ] || fail "not reloaded"
	event acme ACTION=prepare
	[ "$(grep -c "init reload" "$ASKED")" = 2 ] || fail "reloaded for nothing"
}

it_starts_no_bus_that_is_stopped_by_an_event() {
	running
	rm "$PROCD/running"
	event iface ACTION=ifup INTERFACE=wan
	event acme ACTION=renewed
	never_asked "init"
}
