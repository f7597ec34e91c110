# What happens when the clock becomes true.

# shellcheck shell=dash

# A stand-in of the init script is enough, and a bus that runs.
running() {
	: >"$PROCD/running"
	# shellcheck disable=SC2016 # It is the script's to expand.
	printf '#!/bin/sh\necho "init $*" >>"$ASKED"\n' >"$R/etc/init.d/fosquitto"
}

# event ACTION: as ntpd's script runner does it.
event() {
	ACTION=$1 "$BUSYBOX" ash -c ". '$R/lib/functions.sh'; . '$R/etc/hotplug.d/ntp/25-fosquitto'" || fail "the hook fails"
}

it_reloads_once_when_the_clock_is_true() {
	running
	mkdir -p "$R/var/run"
	event stratum
	asked_once "init reload"
	event stratum
	asked_once "init reload"
}

it_waits_for_the_event_that_says_so() {
	running
	mkdir -p "$R/var/run"
	event step
	event periodic
	event unsync
	never_asked "init"
}

it_starts_no_bus_that_is_stopped() {
	running
	mkdir -p "$R/var/run"
	rm "$PROCD/running"
	event stratum
	never_asked "init"
}
