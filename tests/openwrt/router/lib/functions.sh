# Stand-ins of OpenWrt's shell functions for UCI and users. A UCI file with quoted values is shell that calls `config`, `option` and
# `list`, which is how the router reads what `uci export` prints.

# shellcheck shell=dash
# shellcheck disable=SC2154 # The variables have names that are made here.

# record WORD...: a line for the test.
record() {
	printf '%s\n' "$*" >>"$ASKED"
}

config_load() {
	local name
	record config_load "$1"
	for name in $UCI_NAMES; do
		unset "$name"
	done
	UCI_NAMES=
	UCI_SECTIONS=
	case "$1" in
	/*) ;;
	*) set -- "$IPKG_INSTROOT/etc/config/$1" ;;
	esac
	[ -f "$1" ] || return 1
	# shellcheck source=/dev/null
	. "$1"
}

config() {
	UCI_SECTION=${2:-cfg$(printf '%s' "$UCI_SECTIONS" | wc -w)}
	UCI_SECTIONS="$UCI_SECTIONS $UCI_SECTION"
	option TYPE "$1"
}

option() {
	UCI_NAMES="$UCI_NAMES UCI_${UCI_SECTION}_$1"
	eval "UCI_${UCI_SECTION}_$1=\$2"
}

# A list is its items with blanks between them, as config_get gives it, and each by itself for config_list_foreach.
list() {
	local before count
	eval "before=\${UCI_${UCI_SECTION}_$1} count=\${UCI_${UCI_SECTION}_${1}_LENGTH:-0}"
	option "$1" "${before:+$before }$2"
	option "${1}_ITEM$((count + 1))" "$2"
	option "${1}_LENGTH" "$((count + 1))"
}

config_list_foreach() {
	local count index=0 item
	config_get count "$1" "${2}_LENGTH" 0
	while [ "$index" -lt "$count" ]; do
		index=$((index + 1))
		config_get item "$1" "${2}_ITEM$index"
		"$3" "$item"
	done
}

config_get() {
	eval "$1=\${UCI_${2}_$3:-\$4}"
}

config_get_bool() {
	config_get "$@"
	eval "set -- \"$1\" \"\${$1}\" \"$4\""
	case "$2" in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	0 | off | false | no | disabled) eval "$1=0" ;;
	*) eval "$1=\$3" ;;
	esac
}

config_foreach() {
	local section type
	for section in $UCI_SECTIONS; do
		config_get type "$section" TYPE
		[ "$type" != "$2" ] || "$1" "$section"
	done
}

user_exists() {
	grep -q "^$1:" "$IPKG_INSTROOT/etc/passwd"
}

group_exists() {
	grep -q "^$1:" "$IPKG_INSTROOT/etc/group"
}
