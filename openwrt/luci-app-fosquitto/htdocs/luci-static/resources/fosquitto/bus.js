'use strict';
'require baseclass';
'require rpc';
'require ui';

/* The ubus object 'fosquitto', and what all pages show in the same way. Whatever a client of the bus chose - identifiers, user names,
   topics - reaches a page as the text of a node: children are given in lists, because LuCI takes a lone string for HTML. */

const METHODS = {
	status: [],
	clients: [ 'from' ],
	sessions: [ 'from' ],
	subscriptions: [ 'client_id', 'from' ],
	retained: [ 'filter', 'from' ],
	queues: [ 'client_id', 'from' ],
	bridges: [],
	denials: [],
	why: [ 'action', 'topic', 'user', 'client_id', 'listener' ],
	trace: [ 'from', 'client_id' ],
	trace_start: [ 'client_id', 'filter', 'for_s' ],
	trace_stop: [ 'client_id', 'filter' ],
	kick: [ 'client_id' ],
	drop: [ 'client_id' ],
	clear: [ 'topic', 'filter', 'from' ],
	reload: [],
	log_level: [ 'level' ],
	log: [ 'lines' ],
	check: [ 'config' ],
	list_users: [],
	set_password: [ 'user', 'password' ],
	remove_user: [ 'user' ]
};

const calls = {};

Object.keys(METHODS).forEach(method => {
	calls[method] = rpc.declare({
		object: 'fosquitto', method: method, params: METHODS[method], expect: { '': {} }, reject: true
	});
});

/* Calls a method with arguments by their names. What goes wrong rejects the promise, with the reason as an Error's message. */
function ask(method, args) {
	const given = METHODS[method].map(name => args ? args[name] : undefined);

	return calls[method].apply(calls, given).then(answer => {
		if (answer == null || typeof(answer) != 'object')
			throw new Error(_('The router gives no answer.'));

		if (answer.error != null)
			throw new Error(String(answer.error));

		return answer;
	});
}

/* The items of a method's pages, so many at most, and whether there are more. */
function askPages(method, args, count, items) {
	const found = items || [];

	return ask(method, args).then(page => {
		found.push.apply(found, L.toArray(page.items));

		if (page.next == null || found.length >= count)
			return { items: found.slice(0, count), more: page.next != null || found.length > count };

		return askPages(method, Object.assign({}, args, { from: page.next }), count, found);
	});
}

function bytes(count) {
	if (count == null)
		return '-';

	const units = [ 'B', 'KiB', 'MiB', 'GiB', 'TiB' ];
	let size = Number(count), unit = 0;

	while (size >= 1024 && unit + 1 < units.length) {
		size /= 1024;
		unit++;
	}

	return '%s %s'.format(unit && size < 100 ? size.toFixed(1) : String(Math.round(size)), units[unit]);
}

function time(seconds) {
	if (seconds == null)
		return '-';

	const s = Math.max(0, Math.round(seconds));

	if (s < 120)
		return _('%d s').format(s);

	if (s < 7200)
		return _('%d min').format(Math.floor(s / 60));

	if (s < 172800)
		return _('%d h').format(Math.floor(s / 3600));

	return _('%d days').format(Math.floor(s / 86400));
}

/* A cell's children: nodes as they are, and everything else as text. */
function children(content) {
	if (content == null || content === '')
		return [ '-' ];

	return Array.isArray(content) ? content : [ content ];
}

return baseclass.extend({
	ask: ask,
	askPages: askPages,
	bytes: bytes,
	time: time,

	/* What is read as one, and not broken where there is room. */
	word: text => text == null ? null : E('span', { 'class': 'word' }, [ text ]),

	/* Tells what went wrong, beside whatever the page shows. */
	complain: function(error) {
		ui.addNotification(null, E('p', [ error.message || String(error) ]), 'danger');
	},

	/* Whether this session may change anything; a button's attribute. */
	readonly: () => L.hasViewPermission() ? null : true,

	/* A table: columns are titles, rows lists of cells. On a phone each cell stands under its title. */
	table: function(titles, rows, nothing, attributes) {
		const cells = row => row.map((cell, i) => E('td', { 'class': 'td', 'data-title': titles[i] || null }, children(cell)));
		const head = E('tr', { 'class': 'tr table-titles' }, titles.map(title => E('th', { 'class': 'th' }, [ title ])));
		const body = rows.map((row, i) => E('tr', { 'class': 'tr cbi-rowstyle-%d'.format(1 + i % 2) }, cells(row)));
		const placeholder = E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td', 'colspan': titles.length }, [ E('em', [ nothing ]) ]) ]);

		return E('table', Object.assign({ 'class': 'table fosquitto-table' }, attributes), [ head ].concat(body.length ? body : [ placeholder ]));
	},

	/* Asks before something is done that cannot be undone. */
	confirm: function(title, question, verb, work) {
		const act = () => Promise.resolve(work()).then(ui.hideModal, error => {
			ui.hideModal();
			this.complain(error);
		});

		ui.showModal(title, [
			E('p', children(question)),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Cancel') ]), ' ',
				E('button', { 'class': 'btn cbi-button-negative important', 'click': ui.createHandlerFn(this, act) }, [ verb ])
			])
		]);
	},

	/* The pages' own style. */
	style: () => E('link', { 'rel': 'stylesheet', 'href': L.resource('fosquitto/fosquitto.css') })
});
