# What a package leaves on a router, installed there: the files are those of the package, which FILES names.

# shellcheck shell=dash

# As OpenWrt's default_postinst does it: what is to be done once, then the service is enabled and started.
it_is_started_by_what_comes_after_the_installation() {
	for script in "$R"/etc/uci-defaults/*; do
		"$BUSYBOX" ash -c "cd '$R/etc/uci-defaults' && . '$script'" || fail "${script##*/} fails"
		rm "$script"
	done
	does start
	asked "procd: starts it"
	asked_once "procd_set_param command /usr/sbin/fosquitto serve --log syslog"
}
