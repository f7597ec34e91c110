'use strict';
'require dom';
'require poll';
'require ui';
'require view';
'require fosquitto.bus as bus';
'require fosquitto.graph as graph';

/* What is on the bus, now. It changes nothing but by a button that asks first. */

const INTERVAL_S = 3;
const SAMPLES = 100;
const ROWS_MAX = 500;
const DETAILS_MAX = 100;

/* From this part of its ceiling on a bar warns. */
const HIGH = 0.85;

function list(pairs) {
	return E('dl', pairs.flatMap(pair => [ E('dt', [ pair[0] ]), E('dd', [ pair[1] == null ? '-' : pair[1] ]) ]));
}

function card(title, content) {
	return E('div', { 'class': 'fosquitto-card' }, [ E('h4', [ title ]) ].concat(content));
}

function bar(value, ceiling) {
	const part = ceiling > 0 ? Math.min(1, value / ceiling) : 0;

	return E('div', { 'class': 'fosquitto-bar' }, [
		E('div', { 'class': part >= HIGH ? 'high' : '', 'style': 'width:%s%%'.format((part * 100).toFixed(1)) })
	]);
}

function button(title, style, work, may_write) {
	return E('button', { 'class': 'btn cbi-button-%s'.format(style), 'click': work, 'disabled': may_write ? bus.readonly() : null }, [ title ]);
}

function has(text, sought) {
	return String(text == null ? '' : text).toLowerCase().includes(sought.toLowerCase());
}

return view.extend({
	load: function() {
		return bus.ask('status').catch(error => error);
	},

	/* The parts of the page; each tab fetches what it shows when it is shown. */
	render: function(status) {
		this.graph = new graph.Graph([
			{ name: 'received', title: _('received') },
			{ name: 'sent', title: _('sent') },
			{ name: 'dropped', title: _('dropped') }
		], SAMPLES, INTERVAL_S);
		this.cards = E('div', { 'class': 'fosquitto-cards' });
		this.faults = E('div');
		this.legend = E('div');
		this.tabs = {};

		const tab = (name, title, tools) => {
			this.tabs[name] = E('div', { 'class': 'fosquitto-content' });
			return E('div', { 'data-tab': name, 'data-tab-title': title, 'cbi-tab-active': () => this.refresh(name) }, (tools || []).concat([ this.tabs[name] ]));
		};
		const panes = E('div', { 'class': 'cbi-map-tabbed' }, [
			tab('clients', _('Clients'), [ this.tools('clients', _('client, user or address')) ]),
			tab('sessions', _('Sessions and queues'), [ this.tools('sessions', _('client or user')) ]),
			tab('retained', _('Retained messages'), [ this.retainedTools() ]),
			tab('denials', _('Denied')),
			tab('listeners', _('Listeners')),
			tab('bridges', _('Bridges'))
		]);

		const page = E('div', { 'class': 'fosquitto-status' }, [
			bus.style(), E('h2', [ _('Message bus') ]), this.faults, this.cards,
			card(_('Messages a second'), [ this.graph.root, this.legend ]), panes
		]);

		ui.tabs.initTabGroup(panes.childNodes);
		this.show(status);
		poll.add(() => this.update(), INTERVAL_S);

		return page;
	},

	/* A field that narrows what a tab shows. */
	tools: function(name, placeholder) {
		this.sought = this.sought || {};
		this.sought[name] = '';

		return E('div', { 'class': 'fosquitto-tools' }, [
			E('input', {
				'type': 'text', 'class': 'cbi-input-text', 'placeholder': placeholder, 'aria-label': placeholder, 'data-search': name,
				'input': ev => {
					this.sought[name] = ev.target.value;
					this.refresh(name);
				}
			})
		]);
	},

	retainedTools: function() {
		const input = E('input', {
			'type': 'text', 'class': 'cbi-input-text', 'placeholder': _('topic filter, such as home/#'), 'aria-label': _('topic filter'), 'data-search': 'retained'
		});
		const filter = () => input.value.trim() || '#';

		// What the bus tells of itself, below $SYS, is for who asks for it.
		this.filter = filter;

		return E('div', { 'class': 'fosquitto-tools' }, [
			input,
			button(_('Show'), 'action', () => this.refresh('retained')),
			button(_('Clear all that match'), 'negative', () => this.clearAll(filter()), true)
		]);
	},

	update: function() {
		return bus.ask('status').catch(error => error).then(status => {
			this.show(status);

			// What may be long is not asked for again and again: the filter and a button do that.
			const active = Object.keys(this.tabs).find(name => this.tabs[name].parentNode.getAttribute('data-tab-active') == 'true');
			return active == 'retained' ? null : this.refresh(active);
		});
	},

	/* The cards, and the tabs that the status itself fills. */
	show: function(status) {
		if (status instanceof Error) {
			this.status = null;
			dom.content(this.cards, []);
			dom.content(this.faults, [ E('div', { 'class': 'alert-message warning fosquitto-away' }, [
				_('The bus does not answer: %s').format(status.message)
			]) ]);
			return;
		}

		this.measure(status.traffic);
		this.status = status;
		dom.content(this.cards, [ this.busCard(status), this.memoryCard(status), this.flashCard(status.store) ]);
		dom.content(this.faults, this.faultsCard(status));
		dom.content(this.legend, [ this.graph.legend() ]);
	},

	/* Messages a second since the last time. A bus that was started anew counts from 0. */
	measure: function(traffic) {
		const now = Date.now() / 1000;
		const before = this.before;
		const keys = [ 'messages_received', 'messages_sent', 'messages_dropped' ];

		if (before && now > before.now)
			this.graph.push(keys.map(key => Math.max(0, (traffic[key] - before.traffic[key]) / (now - before.now))));
		else
			this.graph.draw();

		this.before = { now: now, traffic: traffic };
	},

	busCard: function(status) {
		const counts = status.counts;

		return card(_('Bus'), [ list([
			[ _('Version'), status.version ],
			[ _('Up for'), bus.time(status.uptime_s) ],
			[ _('Clients'), '%d'.format(counts.clients) ],
			[ _('Sessions'), '%d'.format(counts.sessions) ],
			[ _('Subscriptions'), '%d'.format(counts.subscriptions) ],
			[ _('Retained messages'), '%d'.format(counts.retained) ],
			[ _('Messages that wait'), '%d'.format(counts.waiting) ],
			[ _('Denied'), '%d'.format(counts.denied) ],
			[ _('Failed logins'), '%d'.format(counts.logins_failed) ]
		]) ]);
	},

	memoryCard: function(status) {
		const memory = status.memory;

		return card(_('Memory'), [
			E('div', [ _('%s of %s for clients').format(bus.bytes(memory.held), bus.bytes(memory.held_max)) ]),
			bar(memory.held, memory.held_max),
			list([
				[ _('Highest'), bus.bytes(memory.held_highest) ],
				[ _('Sessions and messages'), bus.bytes(memory.sessions_and_messages) ],
				[ _('Subscriptions'), bus.bytes(memory.subscriptions) ],
				[ _('Network'), bus.bytes(memory.network) ],
				[ _('The whole process'), bus.bytes(memory.process) ]
			])
		]);
	},

	flashCard: function(store) {
		if (store.path == null)
			return card(_('Flash'), [ E('div', [ _('Nothing is kept: a restart forgets everything.') ]) ]);

		const has_budget = store.daily_budget > 0;
		const used = has_budget
			? _('%s of %s in the last 24 hours').format(bus.bytes(store.flash_bytes_day), bus.bytes(store.daily_budget))
			: _('%s in the last 24 hours').format(bus.bytes(store.flash_bytes_day));

		return card(_('Flash'), [
			E('div', [ used ]),
			has_budget ? bar(store.flash_bytes_day, store.daily_budget) : '',
			list([
				[ _('Durability'), store.class ],
				[ _('Since the start'), bus.bytes(store.flash_bytes) ],
				[ _('Last written'), store.last_commit_s == null ? _('not yet') : _('%s ago').format(bus.time(store.last_commit_s)) ],
				[ _('Changes to go'), '%d'.format(store.pending) ],
				[ _('Database'), store.path ]
			]),
			store.error ? E('div', { 'class': 'alert-message warning' }, [ _('It cannot be written: %s').format(store.error) ])
				: store.last_error ? E('p', [ E('em', [ _('It could not be written until %s ago: %s').format(bus.time(store.last_error_s), store.last_error) ]) ]) : ''
		]);
	},

	/* What is wrong: with the configuration, a listener or a certificate's date. */
	faultsCard: function(status) {
		const faults = L.toArray(status.configuration.faults).concat(
			status.listeners.flatMap(listener => L.toArray(listener.faults).map(fault => '%s: %s'.format(listener.name, fault))),
			L.toArray(status.certificates).filter(file => file.due).map(file => (file.left_s < 0)
				? _('%s of listener %s has expired').format(file.path, file.listener)
				: _('%s of listener %s expires in %s').format(file.path, file.listener, bus.time(file.left_s))));

		return faults.length ? [ E('div', { 'class': 'alert-message warning fosquitto-faults' }, [
			E('h4', [ _('What is wrong') ]), E('ul', faults.map(fault => E('li', [ fault ])))
		]) ] : [];
	},

	refresh: function(name) {
		const content = this.tabs[name];
		const put = nodes => dom.content(content, nodes);
		const failed = error => put([ E('p', [ E('em', [ error.message ]) ]) ]);

		switch (name) {
		case 'clients':
			return bus.askPages('clients', {}, ROWS_MAX).then(found => put(this.clients(found))).catch(failed);
		case 'sessions':
			return bus.askPages('sessions', {}, ROWS_MAX).then(found => put(this.sessions(found))).catch(failed);
		case 'retained':
			return bus.askPages('retained', { filter: this.filter() }, ROWS_MAX).then(found => put(this.retained(found))).catch(failed);
		case 'bridges':
			return bus.ask('bridges').then(found => put(this.bridges(L.toArray(found.items)))).catch(failed);
		case 'denials':
			return Promise.resolve(put(this.status ? this.denials(this.status.denials) : []));
		case 'listeners':
			return Promise.resolve(put(this.status ? this.listeners(this.status) : []));
		default:
			return Promise.resolve();
		}
	},

	more: function(found) {
		return found.more ? [ E('p', [ E('em', [ _('There are more; the first %d are shown.').format(ROWS_MAX) ]) ]) ] : [];
	},

	clients: function(found) {
		const sought = this.sought.clients;
		const rows = found.items.filter(it => has(it.client_id, sought) || has(it.user, sought) || has(it.address, sought)).map(it => [
			it.client_id,
			it.user == null ? E('em', [ _('anonymous') ]) : it.user,
			'%s (%s%s)'.format(it.address, it.listener, it.tls ? ', TLS' : ''),
			it.version,
			bus.time(it.connected_s),
			'%d'.format(it.subscriptions),
			'%d (%s)'.format(it.queued, bus.bytes(it.queued_bytes)),
			E('div', { 'class': 'actions' }, [
				button(_('Details'), 'neutral', () => this.details(it.client_id)),
				button(_('Kick'), 'negative', () => this.kick(it.client_id), true)
			])
		]);

		return [ bus.table([
			_('Client'), _('User'), _('Address'), _('MQTT'), _('Connected'), _('Subscriptions'), _('Waiting'), ''
		], rows, _('No client is connected.'), { 'data-table': 'clients' }) ].concat(this.more(found));
	},

	sessions: function(found) {
		const sought = this.sought.sessions;
		const rows = found.items.filter(it => has(it.client_id, sought) || has(it.user, sought)).map(it => [
			it.client_id,
			it.user == null ? E('em', [ it.own ? _('this bus') : _('anonymous') ]) : it.user,
			bus.word(it.connected ? _('connected') : _('away for %s').format(bus.time(it.away_s))),
			it.ends_s == null ? '-' : _('in %s').format(bus.time(it.ends_s)),
			'%d'.format(it.subscriptions),
			'%d'.format(it.inflight),
			'%d (%s)'.format(it.queued + it.queued_qos0, bus.bytes(it.queued_bytes)),
			E('div', { 'class': 'actions' }, [
				button(_('Details'), 'neutral', () => this.details(it.client_id)),
				button(_('Drop'), 'negative', () => this.drop(it.client_id, it.own), true)
			])
		]);

		return [ bus.table([
			_('Client'), _('User'), _('State'), _('Ends'), _('Subscriptions'), _('On the way'), _('Waiting'), ''
		], rows, _('There is no session.'), { 'data-table': 'sessions' }) ].concat(this.more(found));
	},

	retained: function(found) {
		const rows = found.items.map(it => [
			it.message.topic, '%d'.format(it.qos), bus.bytes(it.message.payload_bytes),
			E('div', { 'class': 'actions' }, [ button(_('Clear'), 'negative', () => this.clear(it.message.topic), true) ])
		]);

		return [ bus.table([ _('Topic'), _('QoS'), _('Size'), '' ], rows, _('No message is retained.'), { 'data-table': 'retained' }) ].concat(this.more(found));
	},

	denials: function(denials) {
		const rows = L.toArray(denials).map(it => [
			bus.word(_('%s ago').format(bus.time(it.ago_s))), '%d'.format(it.count), it.client_id, it.user, bus.word(it.address), it.action, it.topic, it.words
		]);

		return [ bus.table([
			_('Last'), _('Times'), _('Client'), _('User'), _('Address'), _('Action'), _('Topic'), _('Why')
		], rows, _('Nobody was denied anything.'), { 'data-table': 'denials' }) ];
	},

	listeners: function(status) {
		const listeners = status.listeners.map(it => [
			it.name, it.protocol + (it.tls ? ', TLS' : ''), L.toArray(it.places).join(', '),
			it.open ? _('open') : E('span', { 'class': 'fosquitto-denied' }, [ _('closed') ]),
			_('%d of %d').format(it.connections, it.connections_max)
		]);
		const files = L.toArray(status.certificates).map(it => [
			it.listener, it.kind, it.subject, it.path, it.from,
			it.due ? E('span', { 'class': 'fosquitto-late' }, [ it.until ]) : it.until
		]);

		return [
			bus.table([ _('Listener'), _('Protocol'), _('Where'), _('State'), _('Connections') ], listeners, _('There is no listener.')),
			E('h3', [ _('Certificates') ]),
			bus.table([ _('Listener'), _('Kind'), _('Subject'), _('File'), _('Valid from'), _('Valid until') ], files, _('No listener has certificates.'))
		];
	},

	bridges: function(bridges) {
		const faults = it => [
			it.state != 'connected' ? it.error : null,
			L.toArray(it.refused).length ? _('it may not subscribe to %s').format(it.refused.join(', ')) : null,
			it.rejection != null ? _('messages are refused: %s').format(it.rejection) : null
		].filter(fault => fault != null).map(fault => E('div', { 'class': 'fosquitto-denied' }, [ fault ]));
		const rows = bridges.map(it => [
			bus.word(it.name), bus.word(it.address), E('div', [ _('%s for %s').format(it.state, bus.time(it.since_s)) ].concat(faults(it))),
			'%d'.format(it.messages_in), '%d'.format(it.messages_out), '%d (%s)'.format(it.queued, bus.bytes(it.queued_bytes)),
			'%d'.format(it.dropped + it.rejected)
		]);

		return [ bus.table([ _('Bridge'), _('Address'), _('State'), _('In'), _('Out'), _('Waiting'), _('Lost') ], rows, _('There is no bridge.')) ];
	},

	/* A session's subscriptions, and what waits for it. */
	details: function(client_id) {
		const args = { client_id: client_id };

		return Promise.all([
			bus.askPages('subscriptions', args, DETAILS_MAX), bus.askPages('queues', args, DETAILS_MAX)
		]).then(found => {
			const subscriptions = found[0].items.map(it => [ it.filter, '%d'.format(it.qos) ]);
			const queue = found[1].items.map(it => [ it.message ? it.message.topic : null, it.state || it.kind, it.qos == null ? null : '%d'.format(it.qos) ]);

			ui.showModal(_('Session'), [
				E('h5', [ client_id ]),
				bus.table([ _('Filter'), _('QoS') ], subscriptions, _('It has no subscription.')),
				bus.table([ _('Topic'), _('State'), _('QoS') ], queue, _('Nothing waits for it.')),
				E('div', { 'class': 'right' }, [
					E('a', { 'class': 'btn cbi-button-neutral', 'href': '%s#%s'.format(L.url('admin/services/fosquitto/trace'), encodeURIComponent(client_id)) }, [ _('Trace') ]), ' ',
					E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Close') ])
				])
			]);
		}).catch(error => bus.complain(error));
	},

	kick: function(client_id) {
		bus.confirm(_('Kick a client'), [ _('End the connection of this client? Its session stays, and it may connect again at once.'), E('pre', [ client_id ]) ],
			_('Kick'), () => bus.ask('kick', { client_id: client_id }).then(() => this.refresh('clients')));
	},

	drop: function(client_id, is_own) {
		bus.confirm(_('Drop a session'), [
			is_own ? _('End the session of this forward? All messages that wait for the other broker are lost.')
				: _('End this session? Its subscriptions and all messages that wait for it are lost.'),
			E('pre', [ client_id ])
		],
			_('Drop'), () => bus.ask('drop', { client_id: client_id }).then(() => this.refresh('sessions')));
	},

	clear: function(topic) {
		bus.confirm(_('Clear a retained message'), [ _('Remove the retained message of this topic?'), E('pre', [ topic ]) ],
			_('Clear'), () => bus.ask('clear', { topic: topic }).then(() => this.refresh('retained')));
	},

	clearAll: function(filter) {
		const page = from => bus.ask('clear', { filter: filter, from: from })
			.then(done => done.next == null ? null : page(done.next));

		bus.confirm(_('Clear retained messages'), [ _('Remove the retained messages of all topics that match this filter?'), E('pre', [ filter ]) ],
			_('Clear'), () => page().then(() => this.refresh('retained')));
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
