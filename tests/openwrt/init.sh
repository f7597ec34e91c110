# What the init script asks of procd, and what it does to the router's files.

# shellcheck shell=dash
# shellcheck disable=SC2154 # lib.sh sets status, said and complained.

GOOD="config local 'local'"
TWO_FAULTS="config local 'local'
	option port '99999'
config remote 'remote'
	option enabeld '1'"

it_starts_the_bus_as_a_user_of_its_own_and_again_after_a_crash() {
	does start
	asked "procd_set_param command /usr/sbin/fosquitto serve --log syslog"
	asked "procd_set_param user fosquitto"
	asked "procd_set_param group fosquitto"
	asked "procd_set_param respawn 3600 2 25"
	asked "procd_set_param pidfile /var/run/fosquitto.pid"
	asked "procd_set_param stderr 1"
	asked "procd_set_param term_timeout 10"
	in_order "procd_open_instance" "procd_close_instance" "procd: starts it"
	never_asked "outside of"
}

it_starts_before_the_programs_that_need_it_and_stops_before_the_disks_go() {
	does start
	asked "START=65 STOP=40"
}

it_lets_procd_restart_what_a_signal_cannot_change() {
	does start
	never_asked "reload_signal"
	never_asked "procd_set_param file"
}

it_refuses_a_start_with_all_faults_in_the_log_and_a_failing_status() {
	uci_file "$TWO_FAULTS"
	refuses start
	grep "logger .*-p daemon.err .*/etc/config/fosquitto:2: fosquitto.local.port: '99999'" "$ASKED" || fail "the first fault is missing"
	grep "logger .*-p daemon.err .*/etc/config/fosquitto:4: fosquitto.remote.enabeld" "$ASKED" || fail "the second fault is missing"
	asked "logger -s -t fosquitto -p daemon.err -- not started: the configuration has faults"
	complains "'99999' is not"
	never_asked "procd_open_instance"
	never_asked "procd: "
}

it_starts_by_itself_when_a_refused_configuration_is_corrected() {
	uci_file "$TWO_FAULTS"
	refuses start
	asked "procd_add_reload_trigger fosquitto network"
	uci_file "$GOOD"
	does reload
	asked "procd: starts it"
}

it_does_not_take_its_word_from_the_environment() {
	uci_file "$TWO_FAULTS"
	export SOUND=1 REFUSED=1 MOUNTED=" $R/etc/ssl" WAITS_FOR_DEVICE=1
	refuses start
	uci_file "$GOOD"
	does start
	asked "procd_add_jail_mount /etc/ssl"
	never_asked "interface"
}

it_leaves_a_running_bus_alone_when_a_start_is_refused() {
	does start
	uci_file "$TWO_FAULTS"
	forget
	refuses start
	complains "not started"
	never_asked "procd: "
}

it_starts_no_second_time() {
	does start
	forget
	does start
	asked "procd: leaves it as it is"
}

it_signals_a_reload_once_and_keeps_the_process() {
	does start
	uci_file "$GOOD" "	option port '1884'"
	forget
	does reload
	asked_once "procd_send_signal fosquitto * HUP"
	asked "procd: leaves it as it is"
}

it_gives_the_rights_that_a_reload_needs_before_it_signals() {
	does start
	make_ca
	forget
	does reload
	in_order "chgrp fosquitto /etc/ssl/ca/remote/01.key" "procd_send_signal fosquitto * HUP"
}

it_reloads_from_the_file_that_holds() {
	does start
	uci_file "config listener 'new'" "	list interface 'lan'"
	cat >"$R/etc/config/network" <<-END
		config interface 'lan'
			option device 'br-lan'
	END
	chmod 0600 "$R/etc/config/network"
	forget
	does reload
	in_order "chgrp fosquitto /etc/config/network" "procd_send_signal fosquitto * HUP"
}

it_keeps_the_bus_as_it_is_when_a_reload_is_refused() {
	does start
	uci_file "$TWO_FAULTS"
	forget
	refuses reload
	asked "logger -s -t fosquitto -p daemon.err -- not reloaded: the bus goes on with the configuration that it has"
	complains "'99999' is not"
	never_asked "procd_send_signal"
	never_asked "procd_open_service"
	never_asked "procd: "
}

it_starts_a_bus_that_is_stopped_when_it_is_reloaded() {
	does reload
	never_asked "procd_send_signal"
	never_asked "procd: signals nobody"
	asked "procd: starts it"
}

it_restarts_in_order() {
	does start
	forget
	does restart
	in_order "procd_kill fosquitto" "procd: starts it"
}

it_keeps_the_bus_running_when_a_restart_is_refused() {
	does start
	uci_file "$TWO_FAULTS"
	forget
	refuses restart
	asked "logger -s -t fosquitto -p daemon.err -- not restarted: the bus goes on with the configuration that it has"
	never_asked "procd_kill"
	never_asked "procd: "
}

it_restarts_a_stopped_bus_like_a_start() {
	does restart
	asked "procd: starts it"
	does stop
	uci_file "$TWO_FAULTS"
	forget
	refuses restart
	complains "not started"
	asked "procd_add_reload_trigger fosquitto network"
}

it_checks_once_and_not_while_the_bus_is_away() {
	mv "$R/usr/sbin/fosquitto" "$R/usr/sbin/real"
	# shellcheck disable=SC2016 # It is the script's to expand.
	printf '#!/bin/sh\necho "fosquitto $1" >>"$ASKED"\nexec "%s" "$@"\n' "$R/usr/sbin/real" >"$R/usr/sbin/fosquitto"
	chmod 755 "$R/usr/sbin/fosquitto"
	does start
	forget
	does restart
	asked_once "fosquitto check"
	in_order "fosquitto check" "procd_kill fosquitto"
}

it_goes_on_restarting_when_its_caller_is_a_child_of_the_bus() {
	does start
	# The stand-in of procd_kill ends its caller, as the end of the bus may.
	# shellcheck disable=SC2016 # It is the script's to expand.
	echo 'procd_kill() { kill -TERM $$; record survived; rm -f "$PROCD/running"; }' >>"$R/lib/functions/procd.sh"
	does restart
	in_order "survived" "procd: starts it"
}

it_stops() {
	does start
	does stop
	asked "procd_kill fosquitto"
}

it_reads_uci_by_its_path_so_that_uncommitted_changes_do_not_count() {
	does start
	asked "config_load /etc/config/fosquitto"
	never_asked "config_load fosquitto"
}

it_reads_the_override_in_the_place_of_the_file() {
	mkdir -p "$R/var/run/uci"
	echo "$GOOD" >"$R/var/run/uci/fosquitto"
	does start
	asked "config_load /var/run/uci/fosquitto"
	never_asked "config_load /etc/config/fosquitto"
}

it_starts_without_a_file() {
	rm "$R/etc/config/fosquitto"
	does start
	asked "procd: starts it"
}

it_runs_as_root_and_says_so_without_the_user() {
	make_ca
	: >"$R/etc/passwd"
	service start
	[ "$status" = 0 ] || fail "it does not start"
	asked "logger -s -t fosquitto -p daemon.warning -- runs as root: the user 'fosquitto' is missing"
	asked "procd: starts it"
	never_asked "procd_set_param user"
	never_asked "procd_set_param group"
	never_asked "^ch"
}

it_runs_as_root_and_says_so_without_the_group() {
	: >"$R/etc/group"
	service start
	complains "runs as root"
	never_asked "procd_set_param user"
}

it_says_nothing_of_root_when_there_is_a_user() {
	does start
	never_asked "runs as root"
}

it_locks_the_bus_into_a_jail_that_sees_folders_and_has_no_capabilities() {
	does start
	in_order "procd_set_param no_new_privs 1" "procd_add_jail fosquitto log"
	asked "procd_set_param capabilities /etc/capabilities/fosquitto.json"
	asked "procd_add_jail_mount_rw /etc/fosquitto"
	asked "procd_add_jail_mount_rw /var/run/fosquitto"
	asked "procd_add_jail_mount /etc/config"
	asked "procd_add_jail_mount /var/run/uci"
	asked "procd_add_jail_mount /etc/ssl"
	[ "$(grep -c jail_mount "$ASKED")" = 5 ] || fail "there are other mounts"
	for folder in /etc/fosquitto /var/run/fosquitto /var/run/uci /etc/ssl; do
		[ -d "$R$folder" ] || fail "$folder is not there to be mounted"
	done
}

it_runs_without_a_jail_and_says_so_where_there_is_none() {
	rm "$R/sbin/ujail"
	service start
	[ "$status" = 0 ] || fail "it does not start"
	asked "logger -s -t fosquitto -p daemon.notice -- runs without a jail: procd-ujail is not installed"
	asked "procd: starts it"
	never_asked "procd_add_jail"
	never_asked "no_new_privs"
	never_asked "capabilities"
}

it_runs_without_a_jail_where_the_list_of_capabilities_is_missing() {
	rm "$R/etc/capabilities/fosquitto.json"
	service start
	complains "runs without a jail"
	never_asked "procd_add_jail"
}

it_shows_the_jail_the_folders_of_certificates_each_once() {
	uci_file "config listener 'a'" "	option tls '1'" "	option ca '/srv/ca/ca.crt'" "	option cert '/srv/a/a.crt'" \
		"	option key '/srv/a/a.key'" "	option crl '/srv/crl/ca.crl'" \
		"config listener 'b'" "	option port '8884'" "	option tls '1'" "	option cert '/srv/a/b.crt'" "	option key '/srv/a/b.key'"
	does start
	asked_once "procd_add_jail_mount /srv/ca"
	asked_once "procd_add_jail_mount /srv/a"
	asked_once "procd_add_jail_mount /srv/crl"
}

it_shows_the_jail_single_files_of_etc_and_nothing_twice() {
	uci_file "config listener 'a'" "	option tls '1'" "	option cert '$R/etc/uhttpd.crt'" "	option key '/own.key'" \
		"config listener 'b'" "	option port '8884'" "	option tls '1'" "	option cert '$R/etc/ssl/b.crt'" "	option key '$R/etc/fosquitto/b.key'"
	does start
	asked_once "procd_add_jail_mount /etc/uhttpd.crt"
	asked_once "procd_add_jail_mount /own.key"
	never_asked "jail_mount /etc$"
	never_asked "jail_mount $"
	[ "$(grep -c jail_mount "$ASKED")" = 7 ] || fail "there are other mounts"
}

it_shows_the_jail_nothing_of_a_listener_that_is_disabled() {
	uci_file "config listener 'a'" "	option enabled '0'" "	option tls '1'" "	option cert '/srv/a/a.crt'" "	option key '/srv/a/a.key'"
	does start
	never_asked "/srv"
}

it_lets_the_jail_make_sockets_in_their_folders() {
	uci_file "config listener 'a'" "	list unix '/srv/one/socket'" "	list unix '/srv/two/socket'"
	does start
	asked "procd_add_jail_mount_rw /srv/one"
	asked "procd_add_jail_mount_rw /srv/two"
}

it_says_that_a_socket_cannot_be_made_beside_the_routers_files() {
	uci_file "config listener 'a'" "	list unix '$R/etc/socket'" "	list unix '/socket'"
	service start
	asked "logger -s -t fosquitto -p daemon.warning -- no Unix socket can be made at /etc/socket: it needs a folder of its own"
	complains "at /socket:"
	never_asked "jail_mount_rw /etc$"
	never_asked "jail_mount_rw $"
}

it_restarts_a_bus_whose_jail_needs_another_mount() {
	does start
	uci_file "config listener 'a'" "	option tls '1'" "	option cert '/srv/a/a.crt'" "	option key '/srv/a/a.key'"
	forget
	does reload
	asked "procd: restarts it"
}

it_gives_the_bus_its_folders_and_follows_no_links_in_them() {
	does start
	has_mode 700 /etc/fosquitto
	asked "chown -hR fosquitto:fosquitto /etc/fosquitto/. /var/run/fosquitto/."
}

it_lets_the_bus_read_its_key_and_no_other() {
	make_ca
	chmod 0644 "$R/etc/ssl/ca/remote/ca.key" "$R/etc/ssl/ca/remote/02.key"
	does start
	in_order "chown -hR root:root /etc/ssl/ca/remote/." "chgrp fosquitto /etc/ssl/ca/remote/01.key"
	has_mode 440 /etc/ssl/ca/remote/01.key
	has_mode 400 /etc/ssl/ca/remote/ca.key
	has_mode 400 /etc/ssl/ca/remote/02.key
	never_asked "chgrp.*ca.key"
	never_asked "chgrp.*02.key"
}

it_lets_the_bus_read_the_certificates_of_a_closed_ca() {
	make_ca
	chmod 0700 "$R/etc/ssl/ca/remote"
	chmod 0600 "$R/etc/ssl/ca/remote/ca.crt" "$R/etc/ssl/ca/remote/01.crt" "$R/etc/ssl/ca/remote/ca.crl"
	does start
	asked "chgrp fosquitto /etc/ssl/ca/remote"
	has_mode 750 /etc/ssl/ca/remote
	for name in ca.crt 01.crt ca.crl; do
		asked "chgrp fosquitto /etc/ssl/ca/remote/$name"
		has_mode 640 "/etc/ssl/ca/remote/$name"
	done
}

it_lets_the_bus_read_the_keys_that_a_listener_names_and_enter_their_folders() {
	file 0600 /srv/acme/key
	file 0644 /srv/cert
	chmod 0700 "$R/srv/acme"
	uci_file "config listener 'a'" "	option tls '1'" "	option cert '$R/srv/cert'" "	option key '$R/srv/acme/key'"
	does start
	asked "chgrp fosquitto /srv/acme/key"
	has_mode 640 /srv/acme/key
	asked "chgrp fosquitto /srv/acme"
	has_mode 710 /srv/acme
	never_asked "chgrp fosquitto /srv/cert"
	has_mode 644 /srv/cert
	never_asked "chgrp fosquitto /srv$"
}

it_follows_the_link_of_a_fetched_key_and_shows_the_jail_where_it_is() {
	file 0600 /srv/state/key
	file 0644 /srv/state/cert
	mkdir -p "$R/etc/ssl/acme"
	ln -s "$R/srv/state/key" "$R/etc/ssl/acme/key"
	uci_file "config listener 'a'" "	option tls '1'" "	option cert '$R/srv/state/cert'" "	option key '$R/etc/ssl/acme/key'"
	does start
	has_mode 640 /srv/state/key
	asked_once "procd_add_jail_mount /srv/state"
}

it_takes_no_right_from_a_group_that_has_it() {
	file 0640 /srv/key
	file 0644 /srv/cert
	uci_file "config listener 'a'" "	option tls '1'" "	option cert '$R/srv/cert'" "	option key '$R/srv/key'"
	service start
	[ "$status" = 0 ] || fail "it does not start"
	never_asked "chgrp fosquitto /srv/key"
	complains "/srv/key belongs to another group"
}

it_says_nothing_of_a_key_that_it_has_the_right_to_already() {
	file 0640 /srv/key
	file 0644 /srv/cert
	# A stand-in: the group of the bus is not on this machine.
	# shellcheck disable=SC2016 # It is the script's to expand.
	printf '#!/bin/sh\necho "-rw-r-----    1 root     fosquitto    5 Jan  1 00:00 $2"\n' >"$R/bin/ls"
	chmod 755 "$R/bin/ls"
	uci_file "config listener 'a'" "	option tls '1'" "	option cert '$R/srv/cert'" "	option key '$R/srv/key'"
	does start
	never_asked "chgrp.*key"
}

it_gives_no_rights_through_links_in_folders_of_others() {
	file 0600 /etc/shadow
	mkdir -p "$R/etc/fosquitto" "$R/etc/ssl/ca/remote"
	ln -s "$R/etc/shadow" "$R/etc/fosquitto/key"
	ln -s "$R/etc/shadow" "$R/etc/ssl/ca/remote/02.key"
	uci_file "config listener 'a'" "	option tls '1'" "	option cert '$R/etc/ssl/ca/remote/02.key'" "	option key '$R/etc/fosquitto/key'"
	does start
	never_asked "chgrp.*shadow"
	has_mode 600 /etc/shadow
}

it_leaves_the_files_of_a_listener_that_is_off() {
	file 0600 /srv/key
	file 0644 /srv/cert
	uci_file "config listener 'a'" "	option enabled '0'" "	option tls '1'" "	option cert '$R/srv/cert'" "	option key '$R/srv/key'"
	does start
	has_mode 600 /srv/key
	never_asked "jail_mount /srv"
}

it_shows_the_jail_where_the_database_is() {
	uci_file "config persistence 'persistence'" "	option path '$R/srv/bus/fosquitto.db'"
	does start
	asked "procd_add_jail_mount_rw /srv/bus"
	uci_file "config persistence 'persistence'" "	option path '$R/etc/bus.db'"
	service start
	complains "no database can be kept at"
	never_asked "procd_add_jail_mount_rw /etc$"
	uci_file "config persistence 'persistence'" "	option path '$R/etc/fosquitto/other.db'"
	forget
	does start
	asked_once "procd_add_jail_mount_rw /etc/fosquitto"
}

it_leaves_open_certificates_as_they_are() {
	make_ca
	does start
	has_mode 644 /etc/ssl/ca/remote/ca.crt
	never_asked "chgrp.*crt"
}

it_does_nothing_through_links_that_the_former_owner_of_the_ca_left() {
	file 0600 /etc/shadow
	file 0644 /etc/open
	make_ca
	rm "$R/etc/ssl/ca/remote/01.key"
	ln -s "$R/etc/shadow" "$R/etc/ssl/ca/remote/01.key"
	ln -s "$R/etc/open" "$R/etc/ssl/ca/remote/03.key"
	does start
	has_mode 600 /etc/shadow
	has_mode 644 /etc/open
	never_asked "chgrp.*01.key"
}

it_starts_where_there_is_no_ca() {
	does start
	never_asked "/etc/ssl/ca/remote"
}

it_starts_with_a_ca_that_has_no_keys_yet() {
	mkdir -p "$R/etc/ssl/ca/remote"
	does start
}

it_lets_the_bus_read_its_configuration_also_after_the_next_commit() {
	chmod 0600 "$R/etc/config/fosquitto"
	mkdir -p "$R/var/run/uci"
	echo "$GOOD" >"$R/var/run/uci/fosquitto"
	chmod 0600 "$R/var/run/uci/fosquitto"
	does start
	has_mode 644 /etc/config/fosquitto
	has_mode 644 /var/run/uci/fosquitto
}

it_opens_the_network_file_only_to_the_bus_and_only_when_it_is_needed() {
	cat >"$R/etc/config/network" <<-END
		config interface 'lan'
			option device 'br-lan'
	END
	chmod 0600 "$R/etc/config/network"
	uci_file "config listener 'a'" "	option enabled '0'" "	list interface 'lan'" "config listener 'b'" "	option port '1884'"
	does start
	has_mode 600 /etc/config/network
	never_asked "/etc/config/network"
	uci_file "config listener 'a'" "	list interface 'lan'"
	does reload
	has_mode 640 /etc/config/network
	asked "chgrp fosquitto /etc/config/network"
}

it_is_reloaded_when_its_configuration_or_the_network_changes() {
	does start
	asked "procd_add_reload_trigger fosquitto network"
	never_asked "interface"
}

it_hears_of_the_interfaces_that_listeners_name() {
	cat >"$R/etc/config/network" <<-END
		config interface 'lan'
			option device 'br-lan'
		config interface 'guest'
			option device 'br-guest'
		config interface 'off'
			option device 'br-off'
	END
	uci_file "config listener 'a'" "	list interface 'lan'" "	list interface 'guest'" \
		"config listener 'b'" "	option enabled '0'" "	option port '1884'" "	list interface 'off'"
	does start
	asked "procd_add_reload_interface_trigger lan"
	asked "procd_add_reload_interface_trigger guest"
	never_asked "procd_add_reload_interface_trigger off"
	never_asked "interface[.]"
}

it_hears_of_the_interfaces_of_a_configuration_that_it_refused() {
	uci_file "config listener 'a'" "	list interface 'lan'"
	refuses start
	complains "'lan' is not an interface"
	asked "procd_add_reload_interface_trigger lan"
}

it_hears_of_every_interface_when_a_listener_waits_for_a_device() {
	uci_file "config listener 'a'" "	list device 'br-lan'" "config listener 'b'" "	option port '1884'" "	list device 'br-guest'"
	does start
	asked_once "procd_add_raw_trigger interface.*.up 2000 /etc/init.d/fosquitto reload"
}

it_hears_of_every_interface_when_an_address_belongs_to_a_device() {
	uci_file "config listener 'a'" "	list address 'fe80::1%br-lan'"
	does start
	asked_once "procd_add_raw_trigger interface.*.up 2000 /etc/init.d/fosquitto reload"
	uci_file "config listener 'a'" "	list address '192.0.2.1'"
	forget
	does reload
	never_asked "interface"
}

it_announces_the_remote_side_with_the_routers_serial_number() {
	export SERIAL_NUMBER=0000000A00000214
	uci_file "config remote 'remote'" "	option enabled '1'" "	option port '8883'"
	does start
	asked "procd_add_mdns fosquitto tcp 8883 id=0000000A00000214"
	in_order "procd_open_instance" "procd_add_mdns fosquitto tcp 8883 id=0000000A00000214" "procd_close_instance"
	uci_file "config remote 'remote'" "	option enabled '1'"
	does reload
	asked "procd_add_mdns fosquitto tcp 11884 id=0000000A00000214"
	asked "procd: leaves it as it is"
}

it_tells_the_bus_by_which_id_its_controller_is_known() {
	export SERIAL_NUMBER=0000000A00000214
	does start
	asked "procd_set_param env FOSQUITTO_CONTROLLER_ID=0000000A00000214"
	unset SERIAL_NUMBER
	forget
	does reload
	never_asked "procd_set_param env"
}

it_lets_a_bridge_read_its_files_and_resolve_names_in_the_jail() {
	echo 127.0.0.1 localhost >"$R/etc/hosts"
	echo nameserver 127.0.0.1 >"$R/etc/resolv.conf"
	uci_file "config bridge 'up'" "	list address 'broker.example'" "	list topic '#'" "	option tls '1'" \
		"	option ca '/srv/ca/ca.crt'" "	option cert '$R/etc/fosquitto/up.crt'" "	option key '$R/etc/fosquitto/up.key'" \
		"	option username 'me'" "	option password_file '/srv/secret/up'"
	does start
	asked_once "procd_add_jail_mount /srv/ca"
	asked_once "procd_add_jail_mount /srv/secret"
	asked_once "procd_add_jail_mount /etc/hosts"
	asked_once "procd_add_jail_mount /etc/resolv.conf"
	[ "$(grep -c jail_mount "$ASKED")" = 9 ] || fail "there are other mounts"
	uci_file "config bridge 'up'" "	option enabled '0'" "	list address 'broker.example'" "	list topic '#'"
	forget
	does reload
	never_asked "procd_add_jail_mount /etc/hosts"
}

it_mounts_no_resolver_that_is_not_there() {
	rm -f "$R/etc/hosts" "$R/etc/resolv.conf"
	uci_file "config bridge 'up'" "	list address 'broker.example'" "	list topic '#'"
	does start
	[ "$(grep -c jail_mount "$ASKED")" = 5 ] || fail "there are other mounts"
}

it_announces_nothing_when_the_remote_side_is_off_or_has_no_name() {
	export SERIAL_NUMBER=0000000A00000214
	does start
	never_asked "procd_add_mdns"
	uci_file "config remote 'remote'" "	option enabled '1'"
	unset SERIAL_NUMBER
	does reload
	never_asked "procd_add_mdns"
	rm "$R/bin/crypto-wrapper"
	does reload
	never_asked "procd_add_mdns"
}

it_checks_on_demand() {
	does check
	says "/etc/config/fosquitto: ok"
	never_asked "logger"
	uci_file "$TWO_FAULTS"
	refuses check
	complains "'99999' is not"
	echo "$GOOD" >"$R/other"
	does check "$R/other"
	says "/other: ok"
}

it_says_where_the_passwords_are_and_shows_one_only_when_asked() {
	file 0600 /etc/fosquitto/credentials.plain
	printf 'local:0123456789ABCDEF\nother:secret\n' >"$R/etc/fosquitto/credentials.plain"
	does credentials
	says "/etc/fosquitto/credentials.plain"
	says "/etc/fosquitto/passwd"
	case "$said" in
	*0123*) fail "it shows the password" ;;
	esac
	does credentials -p
	[ "$said" = 0123456789ABCDEF ] || fail "-p says: $said"
}

it_says_when_there_are_no_passwords_yet() {
	refuses credentials
	complains "not there yet"
	refuses credentials -p
	complains "not there yet"
}

it_names_its_commands() {
	does help
	says "check"
	says "credentials"
}

# A stand-in of the program that says what it was called with.
program_says() {
	rm "$R/usr/sbin/fosquitto"
	# shellcheck disable=SC2016 # It is the script's to expand.
	printf '#!/bin/sh\necho "asked for: $*"\n' >"$R/usr/sbin/fosquitto"
	chmod 755 "$R/usr/sbin/fosquitto"
}

it_says_how_the_bus_is_after_whether_it_runs() {
	refuses status
	[ "$said" = inactive ] || fail "it says: $said"
	[ "$status" = 3 ] || fail "the exit status is $status"
	does start
	program_says
	does status --json
	says "running
asked for: status --root $R --json"
}

it_says_who_is_connected() {
	program_says
	does clients --json
	says "asked for: clients --root $R --json"
}
