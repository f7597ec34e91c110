# What is taken over from the package mosquitto.

# shellcheck shell=dash

SHIPPED="config local 'local'
	option port '11883'"

# mosquitto LINE...: its UCI file, used.
mosquitto() {
	printf '%s\n' "config owrt 'owrt'" "	option use_uci '1'" "$@" >"$R/etc/config/mosquitto"
	echo "$SHIPPED" >"$R/etc/config/fosquitto"
}

# As the package manager and the boot do it.
uci_defaults() {
	# It takes nothing from its environment.
	INDEX=7 TAKEN=1 HAS=1 USES_UCI=1 ANONYMOUS=1 MOSQUITTO_STARTS=1 \
		"$BUSYBOX" ash -c ". '$R/etc/uci-defaults/81-fosquitto-mosquitto'" || fail "it fails, and would be run again and again"
	tidy_asked
	"$R/usr/sbin/fosquitto" check --root "$R" || fail "the configuration is not sound"
	[ ! -e "$R/etc/config/fosquitto.mosquitto" ] || fail "a draft is left"
}

has_line() {
	grep -Fx -- "	$1" "$R/etc/config/fosquitto" >/dev/null || fail "there is no '$1' in: $(cat "$R/etc/config/fosquitto")"
}

has_no() {
	! grep -- "$1" "$R/etc/config/fosquitto" || fail "there is '$1'"
}

it_takes_a_listener_over() {
	mosquitto "config mosquitto 'mosquitto'" "	option allow_anonymous '1'" \
		"config listener" "	option port '1883'" "	option no_remote_access '1'" "	option max_connections '50'" "	option mount_point 'a/'" \
		"config listener 'web'" "	option port '9001'" "	option protocol 'websockets'" "	option max_connections '-1'" \
		"config listener 'nothing'"
	uci_defaults
	grep -Fx "config listener 'mosquitto_1'" "$R/etc/config/fosquitto" || fail "it has no name"
	has_line "option port '1883'"
	has_line "list address '127.0.0.1'"
	has_line "list address '::1'"
	has_line "option max_connections '50'"
	has_line "option mount_point 'a/'"
	has_line "option allow_anonymous '1'"
	grep -Fx "config listener 'web'" "$R/etc/config/fosquitto" || fail "it has another name"
	has_line "option protocol 'websocket'"
	has_no "-1"
	has_no "nothing"
	has_no "enabled"
	has_no "require_certificate"
	has_line "option port '11883'"
	never_asked logger
}

it_takes_certificates_over() {
	mosquitto "config listener 'tls'" "	option port '8883'" "	option cafile '/srv/ca'" "	option certfile '/srv/cert'" "	option keyfile '/srv/key'" \
		"	option crlfile '/srv/crl'" "	option require_certificate '1'" "	option use_identity_as_username '1'" "	option tls_version 'tlsv1.3'"
	uci_defaults
	for option in "tls '1'" "ca '/srv/ca'" "cert '/srv/cert'" "key '/srv/key'" "crl '/srv/crl'" "require_certificate '1'" "identity 'cn'" "tls_min '1.3'"; do
		has_line "option $option"
	done
	mosquitto "config listener 'tls'" "	option port '8883'" "	option cafile '/srv/ca'" "	option certfile '/srv/cert'" "	option keyfile '/srv/key'" \
		"	option require_certificate '1'" "	option use_subject_as_username '1'"
	uci_defaults
	has_line "option identity 'subject'"
}

it_takes_the_default_listener_its_passwords_and_says_what_it_cannot_take() {
	file 0640 /etc/mosquitto/passwords
	# shellcheck disable=SC2016 # It is a hash.
	echo 'anna:$6$AAECAwQFBgcICQoL$IqzzGyHXNhyhGRGJpmaEkfP+oYE8T7Y0wMJ56lLwZsIlm8OhK9VPj23Smvsw+rVi7Y+IBxpxl1V30YoYH5EUQQ==' >"$R/etc/mosquitto/passwords"
	mosquitto "config mosquitto 'mosquitto'" "	option port '1884'" "	option password_file '$R/etc/mosquitto/passwords'" "	option acl_file '/etc/mosquitto/acl'"
	uci_defaults
	has_line "option port '1884'"
	has_no allow_anonymous
	grep '^anna:' "$R/etc/fosquitto/passwd" || fail "her password is lost"
	has_mode 600 /etc/fosquitto/passwd
	asked "logger -t fosquitto -p daemon.warning -- mosquitto's rules in /etc/mosquitto/acl are not taken over: make 'acl' sections of them"
}

it_keeps_passwords_that_are_there() {
	file 0600 /etc/fosquitto/passwd
	file 0600 /etc/mosquitto/passwords
	echo 'anna:x' >"$R/etc/mosquitto/passwords"
	mosquitto "config mosquitto 'mosquitto'" "	option password_file '$R/etc/mosquitto/passwords'"
	uci_defaults
	[ ! -s "$R/etc/fosquitto/passwd" ] || fail "they are replaced"
}

it_leaves_out_what_the_daemon_would_refuse_and_takes_the_rest() {
	mosquitto "config listener 'wrong'" "	option port '99999'" "config listener 'right'" "	option port '1883'"
	uci_defaults
	has_no wrong
	has_line "option port '1883'"
	grep "logger -t fosquitto -p daemon.warning -- mosquitto's listener on port 99999 is not taken over: .*'99999' is not a port" "$ASKED" || fail "it does not say so"
}

it_disables_what_it_takes_while_mosquitto_still_starts() {
	mkdir -p "$R/etc/rc.d"
	: >"$R/etc/rc.d/S80mosquitto"
	mosquitto "config listener 'a'" "	option port '1883'"
	uci_defaults
	has_line "option enabled '0'"
	asked "logger -t fosquitto -p daemon.notice -- mosquitto's listeners and bridges are taken over and disabled: enable them when mosquitto is gone"
}

it_says_nothing_of_what_is_disabled_where_nothing_is_taken() {
	mkdir -p "$R/etc/rc.d"
	: >"$R/etc/rc.d/S80mosquitto"
	mosquitto "config listener 'nothing'"
	uci_defaults
	never_asked "taken over and disabled"
}

it_takes_nothing_that_mosquitto_did_not_use() {
	mosquitto "config listener 'a'" "	option port '1883'"
	sed -i "s/use_uci '1'/use_uci '0'/" "$R/etc/config/mosquitto"
	uci_defaults
	[ "$(cat "$R/etc/config/fosquitto")" = "$SHIPPED" ] || fail "it has changed"
}

it_takes_nothing_of_a_file_that_does_not_say_that_mosquitto_uses_it() {
	mosquitto
	printf "config listener 'a'\n\toption port '1883'\n" >"$R/etc/config/mosquitto"
	uci_defaults
	[ "$(cat "$R/etc/config/fosquitto")" = "$SHIPPED" ] || fail "it has changed"
}

it_takes_nothing_where_there_are_listeners_or_bridges_of_our_own() {
	mosquitto "config listener 'a'" "	option port '1883'"
	printf "config listener 'own'\n\toption port '1885'\n" >>"$R/etc/config/fosquitto"
	before=$(cat "$R/etc/config/fosquitto")
	uci_defaults
	[ "$(cat "$R/etc/config/fosquitto")" = "$before" ] || fail "it has changed"
	printf "%s\nconfig bridge 'own'\n\tlist address 'a'\n\tlist topic 'a'\n" "$SHIPPED" >"$R/etc/config/fosquitto"
	before=$(cat "$R/etc/config/fosquitto")
	uci_defaults
	[ "$(cat "$R/etc/config/fosquitto")" = "$before" ] || fail "it has changed"
}

it_does_nothing_without_mosquitto() {
	echo "$SHIPPED" >"$R/etc/config/fosquitto"
	uci_defaults
	[ "$(cat "$R/etc/config/fosquitto")" = "$SHIPPED" ] || fail "it has changed"
}

it_takes_a_bridge_over_and_keeps_its_password_out_of_uci() {
	mosquitto "config bridge" "	option connection 'cloud'" "	option address 'broker.example:8883 other.example'" \
		"	list topic 'status/# out 1'" "	list topic 'command/# in 1 \"\" it'\\''s/'" "	option cafile '/srv/ca'" "	option certfile '/srv/cert'" \
		"	option keyfile '/srv/key'" "	option remote_clientid 'router'" "	option remote_username 'me'" "	option remote_password 'se cret'" \
		"	option cleansession '1'" "	option keepalive_interval '30'" "	option try_private '0'" "	option protocol_version 'mqttv311'" \
		"	option notifications '0'" "	option notifications_local_only '1'" "	option notification_topic 'bridge/state'" "	option insecure '1'" \
		"	option tls_version 'tlsv1.3'"
	uci_defaults
	grep -Fx "config bridge 'mosquitto_1'" "$R/etc/config/fosquitto" || fail "it is not there"
	for line in "list address 'broker.example:8883'" "list address 'other.example'" "list topic 'status/# out 1'" "list topic 'command/# in 1 \"\" it'\\''s/'" \
		"option tls '1'" "option ca '/srv/ca'" "option cert '/srv/cert'" "option key '/srv/key'" "option client_id 'router'" "option username 'me'" \
		"option clean_start '1'" "option keepalive '30'" "option try_private '0'" "option protocol '3.1.1'" "option notifications '0'" \
		"option notifications_local_only '1'" "option notification_topic 'bridge/state'" "option verify_name '0'" "option tls_min '1.3'" \
		"option password_file '$R/etc/fosquitto/bridges/mosquitto_1.password'"; do
		has_line "$line"
	done
	has_no "se cret"
	[ "$(cat "$R/etc/fosquitto/bridges/mosquitto_1.password")" = "se cret" ] || fail "the password is lost"
	has_mode 600 /etc/fosquitto/bridges/mosquitto_1.password
}

it_takes_a_bridge_that_shows_a_certificate_and_has_no_password() {
	mosquitto "config bridge 'up'" "	option connection 'up'" "	option address 'broker.example'" "	list topic 'a/# out'" \
		"	option certfile '/srv/cert'" "	option keyfile '/srv/key'"
	uci_defaults
	has_line "option tls '1'"
	has_line "option cert '/srv/cert'"
	has_no password
	[ ! -e "$R/etc/fosquitto/bridges" ] || fail "there is a file for a password"
	has_no restart_timeout
}

it_takes_a_bridge_with_the_old_names_of_options() {
	mosquitto "config bridge 'up'" "	option connection 'up'" "	option address 'broker.example'" "	list topic 'a/# out'" \
		"	option clientid 'router'" "	option username 'me'" "	option password 'secret'" "	option protocol_version 'mqttv50'" \
		"config bridge 'nowhere'" "	option connection 'x'"
	uci_defaults
	has_line "option client_id 'router'"
	has_line "option username 'me'"
	has_line "option protocol '5'"
	has_no "option tls"
	has_no nowhere
	never_asked logger
	[ "$(cat "$R/etc/fosquitto/bridges/up.password")" = secret ] || fail "the password is lost"
}

it_says_what_of_a_bridge_has_no_counterpart() {
	mosquitto "config bridge 'one'" "	option connection 'one'" "	option address 'broker.example other.example'" "	list topic 'status/# out 1'" \
		"	option round_robin '1'" "	option start_type 'lazy'" "	option restart_timeout '10 60'"
	uci_defaults
	has_line "option restart_timeout '10'"
	has_line "option restart_timeout_max '60'"
	asked "logger -t fosquitto -p daemon.warning -- mosquitto's round_robin of bridge one is not taken over: the addresses are tried in their order, and a connection that holds stays"
	asked "logger -t fosquitto -p daemon.warning -- mosquitto's start_type lazy of bridge one is not taken over: it is connected as long as it is enabled"
}

it_sends_nothing_in_the_clear_that_a_shared_key_has_encrypted() {
	mosquitto "config bridge 'secret'" "	option connection 'secret'" "	option address 'broker.example'" "	list topic 'status/# out 1'" \
		"	option identity 'router'" "	option psk 'c0ffee'" \
		"config bridge 'plain'" "	option connection 'plain'" "	option address 'broker.example'" "	list topic 'status/# out 1'" "	option restart_timeout '60'"
	uci_defaults
	has_no secret
	grep -Fx "config bridge 'plain'" "$R/etc/config/fosquitto" || fail "the other one is not there"
	has_line "option restart_timeout_max '60'"
	asked "logger -t fosquitto -p daemon.warning -- mosquitto's bridge secret is not taken over: there are no pre-shared keys; give it certificates (tls, ca, cert, key) or a fingerprint (tls, pin)"
}
