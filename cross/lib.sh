# shellcheck shell=sh
# What the scripts of this folder share: where things lie, and what is known of a target. It is read by them and runs nothing.

# The project and the folder that everything is made in. The paths are absolute: the compilers run in folders of their own.
project=$(cd "$(dirname "$0")/.." && pwd)
work=$project/target/cross

die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# The lines of the table of targets.
all_targets() {
	grep -v '^#' "$project/cross/targets" | grep .
}

# Sets zig_target, zig_cpu, openssl_target, qemu, endian and the folder `out` for the target that is named.
know_target() {
	target=$1
	line=$(all_targets | awk -v target="$target" '$1 == target')
	[ -n "$line" ] || die "no target '$target'; there are: $(all_targets | awk '{ printf "%s ", $1 }')"
	# The words of the line, one variable each.
	# shellcheck disable=SC2086
	set -- $line
	# They are for the script that reads this file.
	# shellcheck disable=SC2034
	{
		zig_target=$2
		zig_cpu=$3
		openssl_target=$4
		qemu=qemu-$5
		endian=$6
		out=$work/$target
	}
}
