'use strict';
'require dom';
'require poll';
'require ui';
'require view';
'require fosquitto.bus as bus';

/* What happens on the bus, as it happens: connections, their ends and denials always, packets while their client or their topic is
   watched. Watching ends by itself, also for who closes the page. */

const INTERVAL_S = 2;
const ROWS_MAX = 500;
/* So many pages are asked for at once: more than the bus remembers. */
const PAGES_MAX = 12;

/* For how long something is watched. */
const TIMES = [ [ 60, _('for a minute') ], [ 600, _('for 10 minutes') ], [ 3600, _('for an hour') ], [ 86400, _('for a day') ] ];
const KINDS = [ [ 'client_id', _('what a client does') ], [ 'filter', _('messages on topics') ] ];
const DIRECTIONS = { 'in': _('received'), 'out': _('sent') };

function select(name, title, choices, chosen) {
	return E('select', { 'class': 'cbi-input-select', 'data-trace': name, 'aria-label': title, 'disabled': bus.readonly() },
		choices.map(choice => E('option', { 'value': choice[0], 'selected': choice[0] == chosen ? 'selected' : null }, [ choice[1] ])));
}

function button(title, style, work, may_write) {
	return E('button', { 'class': 'btn cbi-button-%s'.format(style), 'click': work, 'disabled': may_write ? bus.readonly() : null }, [ title ]);
}

/* The time of day, with milliseconds. */
function clock(date) {
	const digits = (value, count) => String(value).padStart(count, '0');

	return '%s.%s'.format([ date.getHours(), date.getMinutes(), date.getSeconds() ].map(part => digits(part, 2)).join(':'), digits(date.getMilliseconds(), 3));
}

/* The numbers of a packet, and what is said of it. */
function details(it) {
	const counts = it.what == 'PUBLISH' ? bus.bytes(it.size) : _('%d filters').format(it.size);

	return [
		it.qos == null ? null : 'QoS %d'.format(it.qos),
		it.retain ? 'retain' : null,
		it.duplicate ? 'dup' : null,
		it.packet_id == null ? null : 'id %d'.format(it.packet_id),
		it.size == null ? null : counts,
		it.reason ? '0x%s'.format(it.reason.toString(16).toUpperCase()) : null,
		it.words
	].filter(word => word != null).join(', ');
}

/* The client that another page has asked for behind '#'. */
function asked() {
	try {
		return decodeURIComponent(window.location.hash.slice(1));
	}
	catch (error) {
		return '';
	}
}

return view.extend({
	load: function() {
		this.events = [];
		this.sought = '';
		return this.fetch().catch(error => error);
	},

	render: function(fetched) {
		this.watches = E('div', { 'class': 'fosquitto-watches' });
		this.content = E('div', { 'class': 'fosquitto-content' });
		this.told = E('div', { 'role': 'status' });
		this.show(fetched);
		poll.add(() => this.update(), INTERVAL_S);

		return E('div', { 'class': 'fosquitto-trace' }, [
			bus.style(), E('h2', [ _('Message bus: trace') ]),
			E('div', { 'class': 'cbi-section' }, [
				E('h3', [ _('Watch') ]),
				E('div', { 'class': 'cbi-section-descr' }, [
					_('Connections, their ends, denials and failed logins are always traced; packets while their client or their topic is watched. What messages say is never traced.')
				]),
				this.starter(), this.watches
			]),
			E('div', { 'class': 'cbi-section' }, [ E('h3', [ _('What happens') ]), this.tools(), this.told, this.content ])
		]);
	},

	/* What begins to be watched. */
	starter: function() {
		const kind = select('kind', _('What is watched'), KINDS);
		const time = select('time', _('For how long'), TIMES, 600);
		const name = E('input', {
			'type': 'text', 'class': 'cbi-input-text', 'data-trace': 'name', 'value': asked(), 'disabled': bus.readonly(),
			'aria-label': _('Client id or topic filter'), 'placeholder': _('Client id')
		});
		const fault = E('span', { 'class': 'fosquitto-denied', 'role': 'alert' });
		const start = () => {
			const args = { for_s: Number(time.value) };

			if (name.value == '')
				return dom.content(fault, [ kind.value == 'filter' ? _('A topic is missing.') : _('The client id is missing.') ]);

			args[kind.value] = name.value;

			return bus.ask('trace_start', args).then(answer => {
				dom.content(fault, []);
				this.showWatches(answer.watches);
			}).catch(error => dom.content(fault, [ error.message ]));
		};

		kind.addEventListener('change', () => {
			name.placeholder = kind.value == 'filter' ? _('topic filter, such as home/#') : _('Client id');
		});

		return E('div', { 'class': 'fosquitto-tools' }, [
			kind, name, time, button(_('Start'), 'action', ui.createHandlerFn(this, start), true), fault
		]);
	},

	tools: function() {
		const pause = button(_('Pause'), 'neutral', () => {
			this.paused = !this.paused;
			dom.content(pause, [ this.paused ? _('Go on') : _('Pause') ]);
			return this.update();
		});

		return E('div', { 'class': 'fosquitto-tools' }, [
			E('input', {
				'type': 'text', 'class': 'cbi-input-text', 'data-search': 'trace', 'placeholder': _('client or topic'), 'aria-label': _('client or topic'),
				'input': ev => {
					this.sought = ev.target.value.toLowerCase();
					this.showEvents();
				}
			}),
			pause,
			button(_('Clear'), 'neutral', () => {
				this.events = [];
				this.showEvents();
			})
		]);
	},

	/* All that has happened since the last time; the first time, all that is remembered. */
	fetch: function(pages) {
		const from = this.next;

		return bus.ask('trace', { from: from }).then(page => {
			// A bus that was started anew counts from 0: what it remembers is new.
			if (from != null && Number(page.next) < Number(from)) {
				this.next = null;
				return this.fetch(pages);
			}

			const now = Date.now();

			this.next = page.next;
			this.lost = (pages ? this.lost : 0) + (from == null ? 0 : page.lost);
			this.events = L.toArray(page.items).map(it => Object.assign({ at: clock(new Date(now - it.ago_ms)) }, it)).reverse()
				.concat(this.events).slice(0, ROWS_MAX);

			return page.more && (pages || 0) < PAGES_MAX ? this.fetch((pages || 0) + 1) : page;
		});
	},

	update: function() {
		return this.paused ? Promise.resolve() : this.fetch().catch(error => error).then(fetched => this.show(fetched));
	},

	show: function(fetched) {
		if (fetched instanceof Error)
			return dom.content(this.told, [ E('div', { 'class': 'alert-message warning' }, [ _('The bus does not answer: %s').format(fetched.message) ]) ]);

		dom.content(this.told, this.lost ? [ E('em', [ _('%d events came too fast to be shown.').format(this.lost) ]) ] : []);
		this.showWatches(fetched.watches);

		// A table that stays as it is can be read and copied from.
		if (this.shown != this.next) {
			this.shown = this.next;
			this.showEvents();
		}
	},

	showWatches: function(watches) {
		const stop = it => ui.createHandlerFn(this, () => bus.ask('trace_stop', it.client_id != null ? { client_id: it.client_id } : { filter: it.filter })
			.then(answer => this.showWatches(answer.watches)).catch(error => bus.complain(error)));
		const rows = L.toArray(watches).map(it => [
			it.client_id != null ? _('client') : _('topics'), it.client_id != null ? it.client_id : it.filter, bus.time(it.left_s),
			E('div', { 'class': 'actions' }, [ button(_('Stop'), 'negative', stop(it), true) ])
		]);

		dom.content(this.watches, [ bus.table([ _('Watched'), _('Name'), _('For'), '' ], rows, _('Nothing is watched.'), { 'data-table': 'watches' }) ]);
	},

	showEvents: function() {
		const has = text => text != null && text.toLowerCase().includes(this.sought);
		const rows = this.events.filter(it => has(it.client_id) || has(it.topic)).map(it => [
			bus.word(it.at), DIRECTIONS[it.direction] ? bus.word(DIRECTIONS[it.direction]) : '', it.client_id, bus.word(it.what), it.topic, details(it)
		]);

		dom.content(this.content, [ bus.table([
			_('Time'), _('Way'), _('Client'), _('What'), _('Topic'), _('Details')
		], rows, _('Nothing has happened.'), { 'data-table': 'trace' }) ]);
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
