'use strict';
'require baseclass';

/* What is wrong with the text of an option's value, in the daemon's own words. It decides nothing by itself: the kinds are those of the
   daemon's table of options (options.js), and the daemon's tests hold the answers here to its own, value by value.

   Each kind has a function that says whether a text is right, and one that says what is expected. */

const DIGITS = /^[0-9]+$/;
const WITH_UNIT = /^([0-9]+)([A-Za-z]?)$/;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const LOW = /[\u0000-\u001f]/;
const DEVICE = /^[!-.0-9;-~]{1,15}$/;
const FINGERPRINT = /^(?:[0-9A-Fa-f]{64}|(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2})$/;
const OCTET = /^(?:0|[1-9][0-9]{0,2})$/;
const GROUP = /^[0-9A-Fa-f]{1,4}$/;
const ORIGIN = /^[0-9A-Za-z]+:\/\/[!"$-)+\-.0-?A-~]+$/;
const ORIGIN_NOT = /[?#@,*]/;
const PLAIN_HOST = /^[!-+\--.0-Z\\^-~]{1,255}$/;
const WILDCARD = /[+#]/;
const WILDCARD_OR_RESERVED = /[+#$]/;
const PLACEHOLDER = /%[uc]/;
const VISIBLE = /^[!-~]{1,255}$/;
const LABEL = /^[0-9A-Za-z_-]{1,63}$/;
const LAST_IS_NUMBER = /^(?:[0-9]*|0[xX].*)$/;
const LAST_DOT = /\.$/;
const BLANKS = /[ \t\n\f\r]+/;
const SHARED = /^\$share\//;

const SIZE_UNITS = { '': 1, K: 1024, M: 1048576, G: 1073741824 };
const TIME_UNITS = { '': 1, s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
const TOPIC_BYTES_MAX = 65535;

function byteLength(text) {
	return new TextEncoder().encode(text).length;
}

function count(text) {
	return DIGITS.test(text) ? Number(text) : null;
}

function withUnit(text, units) {
	const parts = WITH_UNIT.exec(text);
	const factor = parts ? units[parts[2]] : null;
	return factor ? Number(parts[1]) * factor : null;
}

function size(text) {
	const parts = WITH_UNIT.exec(text);
	return parts ? withUnit(parts[1] + parts[2].toUpperCase(), SIZE_UNITS) : null;
}

function duration(text) {
	return withUnit(text, TIME_UNITS);
}

function within(number, row) {
	return number != null && number >= row.min && number <= row.max;
}

function isPort(text, least) {
	const port = count(text);
	return port != null && port >= least && port <= 65535;
}

function isIp4(text) {
	const octets = text.split('.');
	return octets.length == 4 && octets.every(octet => OCTET.test(octet) && Number(octet) <= 255);
}

/* The number of groups that a part of an IPv6 address beside '::' has, or null. An IPv4 address may be its end. */
function groups(text, is_end) {
	if (text == '')
		return 0;

	const parts = text.split(':');
	const last = parts.pop();
	const ends_in_ip4 = is_end && last.includes('.');

	if (!parts.every(part => GROUP.test(part)) || !(ends_in_ip4 ? isIp4(last) : GROUP.test(last)))
		return null;

	return parts.length + (ends_in_ip4 ? 2 : 1);
}

function isIp6(text) {
	const halves = text.split('::');

	if (halves.length > 2)
		return false;

	const before = groups(halves[0], halves.length == 1);
	const after = halves.length == 2 ? groups(halves[1], true) : 0;

	if (before == null || after == null)
		return false;

	return halves.length == 1 ? before == 8 : before + after < 8;
}

function isIp(text) {
	return isIp4(text) || isIp6(text);
}

function isDevice(text) {
	return DEVICE.test(text) && text != '.' && text != '..';
}

function isLinkLocal(ip) {
	const first = ip.split(':')[0];
	return ip.includes(':') && first.length == 4 && (parseInt(first, 16) & 0xffc0) == 0xfe80;
}

function isAddress(text) {
	const at = text.indexOf('%');
	const device = at < 0 ? null : text.slice(at + 1);
	let ip = at < 0 ? text : text.slice(0, at);

	if (device != null && !isDevice(device))
		return false;

	if (ip.startsWith('[') && ip.endsWith(']')) {
		ip = ip.slice(1, -1);

		if (!isIp6(ip))
			return false;
	}

	return isIp(ip) && isLinkLocal(ip) == (device != null);
}

/* Why a text is not a topic filter in which whole levels may be %u and %c; null if it is one. */
function patternFault(text) {
	if (text == '')
		return _('it is empty');

	if (byteLength(text) > TOPIC_BYTES_MAX)
		return _('it is longer than 65535 bytes');

	if (text.includes('\0'))
		return _('it contains a zero character');

	const levels = text.split('/');

	for (let i = 0; i < levels.length; i++) {
		if (levels[i].includes('#') && (levels[i] != '#' || i + 1 < levels.length))
			return _("'#' must be its last level, and alone in it");

		if (levels[i].includes('+') && levels[i] != '+')
			return _("'+' must be alone in its level");

		if (byteLength(levels[i]) > 2 && PLACEHOLDER.test(levels[i]))
			return _("'%u' and '%c' must be alone in their level");
	}

	return null;
}

/* The same for a topic filter that means the same topics whoever the client is. */
function filterFault(text) {
	const fault = patternFault(text);

	if (fault != null)
		return fault;

	const placeholder = text.split('/').find(level => level == '%u' || level == '%c');

	return placeholder
		? _("'%s' means something in 'acl' sections only: '+' stands for any level").format(placeholder) : null;
}

function isMountPoint(text) {
	return text != '' && byteLength(text) <= 1024 && !WILDCARD_OR_RESERVED.test(text) && !CONTROL.test(text);
}

/* A host and perhaps a port: a name, an IPv4 address, or an IPv6 address in brackets. */
function isServer(text) {
	let host = text, port = null;

	if (text.startsWith('[')) {
		const end = text.indexOf(']');
		const rest = text.slice(end + 1);

		if (end < 0 || !isIp6(text.slice(1, end)) || (rest != '' && !rest.startsWith(':')))
			return false;

		host = text.slice(1, end);
		port = rest == '' ? null : rest.slice(1);
	}
	else if (text.includes(':')) {
		host = text.slice(0, text.indexOf(':'));
		port = text.slice(text.indexOf(':') + 1);
	}

	return PLAIN_HOST.test(host) && (port == null || isPort(port, 1));
}

/* A host's name as DNS has it, or its address. What looks like a part of an address is no name. */
function isHost(text) {
	if (isAddress(text))
		return true;

	const name = text.replace(LAST_DOT, '');
	const labels = name.split('.');

	return name.length <= 253 && labels.every(label => LABEL.test(label)) && !LAST_IS_NUMBER.test(labels[labels.length - 1]);
}

/* Another broker: a host and perhaps a port. An IPv6 address with a port needs brackets. */
function isRemote(text) {
	if (text.startsWith('[')) {
		const end = text.indexOf(']');
		const ip = text.slice(1, end);
		const rest = text.slice(end + 1);

		return end > 0 && ip.includes(':') && isAddress(ip) && (rest == '' || (rest.startsWith(':') && isPort(rest.slice(1), 1)));
	}

	const colon = text.indexOf(':');

	return colon < 0 ? isHost(text) : isHost(text.slice(0, colon)) && isPort(text.slice(colon + 1), 1);
}

function isTopicName(text) {
	return text != '' && byteLength(text) <= TOPIC_BYTES_MAX && !WILDCARD.test(text) && !text.includes('\0');
}

function isFilter(text) {
	const levels = text.split('/');

	return text != '' && byteLength(text) <= TOPIC_BYTES_MAX && !text.includes('\0') && levels.every((level, i) =>
		(!level.includes('#') || (level == '#' && i + 1 == levels.length)) && (!level.includes('+') || level == '+'));
}

/* Why a text is not what a bridge forwards; null if it is. The words are PATTERN DIRECTION QOS LOCAL_PREFIX REMOTE_PREFIX. */
function bridgeTopicFault(text) {
	const words = text.split(BLANKS).filter(word => word != '');
	const unquoted = word => word == null || word == '""' ? '' : word;
	const pattern = unquoted(words[0]), prefixes = [ unquoted(words[3]), unquoted(words[4]) ];
	const filters = prefixes.map(prefix => prefix + pattern);

	if (!words.length)
		return _('it is empty');

	if (words.length > 1 && ![ 'out', 'in', 'both' ].includes(words[1].toLowerCase()))
		return _('the second word is none of out, in and both');

	if (words.length > 2 && ![ '0', '1', '2' ].includes(words[2]))
		return _('the third word is no QoS (0, 1 or 2)');

	if (words.length > 5)
		return _('there are more than five words');

	if (prefixes.some(prefix => prefix != '' && !isTopicName(prefix)))
		return _('a prefix has no + or #');

	if (pattern == '' && prefixes.includes(''))
		return _('without a pattern both prefixes are needed: the topic here and the topic there');

	if (!filters.every(isFilter))
		return _('prefix and pattern together are no topic filter: + and # must be alone in their level, and # in the last');

	return filters.some(filter => SHARED.test(filter)) ? _('a shared subscription has no topics of its own to forward') : null;
}

/* The largest unit that divides a number, as the daemon writes bounds. */
function inUnits(number, units) {
	const unit = units.find(unit => number > 0 && number % unit[0] == 0);
	return unit ? '%d%s'.format(number / unit[0], unit[1]) : '%d'.format(number);
}

function inBytes(number) {
	return inUnits(number, [ [ 1073741824, 'G' ], [ 1048576, 'M' ], [ 1024, 'K' ] ]);
}

function inTime(number) {
	return inUnits(number, [ [ 86400, 'd' ], [ 3600, 'h' ], [ 60, 'm' ] ]);
}

const KINDS = {
	bool: {
		is: text => bool(text) != null,
		expected: () => _('a yes or no (1 or 0, true or false, yes or no, on or off, enabled or disabled)')
	},
	size: {
		is: (text, row) => within(size(text), row),
		expected: row => _('a size (bytes, or with K, M or G; %s to %s)').format(inBytes(row.min), inBytes(row.max))
	},
	duration: {
		is: (text, row) => within(duration(text), row),
		expected: row => _('a time (seconds, or with m, h, d or w; %s to %s)').format(inTime(row.min), inTime(row.max))
	},
	count: {
		is: (text, row) => within(count(text), row),
		expected: row => _('a number (%d-%d)').format(row.min, row.max)
	},
	port: { is: text => isPort(text, 0), expected: () => _('a port (1-65535)') },
	word: {
		is: (text, row) => row.words.includes(text),
		expected: row => _('one of %s').format(row.words.join(', '))
	},
	name: {
		is: text => text != '' && byteLength(text) <= 65535 && !CONTROL.test(text),
		expected: () => _('a name (not empty, no control characters)')
	},
	path: { is: text => text.startsWith('/') && !LOW.test(text), expected: () => _('an absolute path') },
	address: {
		is: isAddress,
		expected: () => _('an IP address (a link-local one needs its device: fe80::1%br-lan)')
	},
	ip: { is: isIp, expected: () => _('an IP address') },
	device: { is: isDevice, expected: () => _("a network device's name (1 to 15 characters)") },
	fingerprint: {
		is: text => FINGERPRINT.test(text),
		expected: () => _('a SHA-256 fingerprint (64 hexadecimal digits)')
	},
	topic: { is: text => patternFault(text) == null, expected: () => _('a topic filter'), why: patternFault },
	filter: { is: text => filterFault(text) == null, expected: () => _('a topic filter'), why: filterFault },
	mountpoint: { is: isMountPoint, expected: () => _('the beginning of a topic (no +, # or $)') },
	origin: {
		is: text => text == '*' || (ORIGIN.test(text) && !ORIGIN_NOT.test(text)),
		expected: () => _('an origin (https://host or http://host:port without a path, or *)')
	},
	owntopic: {
		is: text => isMountPoint(text) && patternFault(text) == null,
		expected: () => _("a topic (no +, # or $; '%u' and '%c' must be alone in their level)")
	},
	server: { is: isServer, expected: () => _('a server (host, host:port, or [IPv6 address]:port)') },
	remote: {
		is: isRemote,
		expected: () => _("a broker's address (host, host:port, IPv4:port, or [IPv6 address]:port)")
	},
	remoteport: { is: text => isPort(text, 1), expected: () => _('a port (1-65535)') },
	host: { is: isHost, expected: () => _("a host's name or address") },
	alpn: { is: text => VISIBLE.test(text), expected: () => _("a protocol's name (1 to 255 visible characters)") },
	topicname: { is: text => isTopicName(text) && byteLength(text) <= 1024, expected: () => _('a topic (no + or #)') },
	bridgetopic: {
		is: text => bridgeTopicFault(text) == null,
		expected: () => _('PATTERN [out, in or both [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]'),
		why: bridgeTopicFault
	}
};

function bool(text) {
	switch (text) {
	case '1': case 'true': case 'yes': case 'on': case 'enabled': return true;
	case '0': case 'false': case 'no': case 'off': case 'disabled': return false;
	default: return null;
	}
}

return baseclass.extend({
	/* libuci's words for yes and no; null for others. */
	bool: bool,

	/* Bytes as a number; null if it is no size. */
	size: size,

	/* Seconds as a number; null if it is no time. */
	duration: duration,

	/* Whether there is such a kind. */
	knows: kind => KINDS.hasOwnProperty(kind),

	/* What is expected of an option's value instead of this text; null if the text is right. */
	fault: function(row, text) {
		const kind = KINDS[row.kind];

		if (!kind || kind.is(text, row))
			return null;

		const why = kind.why ? kind.why(text) : null;

		return why ? '%s: %s'.format(kind.expected(row), why) : kind.expected(row);
	}
});
