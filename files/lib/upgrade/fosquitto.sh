# A part of sysupgrade, which sources it: keeps the bus's state through an upgrade of the system.
#
# The files are collected while the bus runs, and a database that is copied while it is written may be torn. So a consistent copy is
# made beside it and kept in its place; the first start afterwards finds no database and takes the copy. What else is kept stands in
# keep.d/fosquitto.

# shellcheck shell=dash

# fosquitto_keep_store LIST: adds the copy to the list of files that are kept, and takes out what belongs to the database itself, which
# an upgrade that keeps the whole overlay (-c) has in it. Without a copy the list stays as it is, and the upgrade goes on.
fosquitto_keep_store() {
	local list="$1" copy database
	copy="$("$IPKG_INSTROOT/usr/sbin/fosquitto" backup --root "${IPKG_INSTROOT:-/}" --kept)" || return 0
	database="${copy%.kept}"
	grep -vxF -e "$copy" -e "$database" -e "$database-wal" -e "$database-journal" "$list" >"$list.fosquitto"
	echo "$copy" >>"$list.fosquitto"
	cat "$list.fosquitto" >"$list"
	rm -f "$list.fosquitto"
}

# shellcheck disable=SC2034 # sysupgrade runs these, each with the path of the list.
sysupgrade_init_conffiles="$sysupgrade_init_conffiles fosquitto_keep_store"
