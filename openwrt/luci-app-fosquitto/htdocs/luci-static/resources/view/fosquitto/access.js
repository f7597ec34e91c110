'use strict';
'require dom';
'require form';
'require uci';
'require ui';
'require fosquitto.bus as bus';
'require fosquitto.fields as fields';

/* The sections 'acl' in their order, what holds beyond them, and a tester that asks the running bus. */

const ACTIONS = [
	[ 'publish', _('publish') ], [ 'subscribe', _('subscribe') ], [ 'read', _('receive') ], [ 'will', _('leave a will') ]
];

function who(section_id) {
	const all = [ 'user', 'group', 'listener' ].flatMap(name =>
		L.toArray(uci.get('fosquitto', section_id, name)).map(value => '%s %s'.format(name, value)));

	return all.join(', ') || _('everyone');
}

function denies(section_id) {
	return [ 'action', 'access' ].some(name => uci.get('fosquitto', section_id, name) == 'deny');
}

/* A rule's name as the daemon says it. */
function nameOf(section_id, all) {
	const section = uci.get('fosquitto', section_id);
	return section && section['.anonymous'] ? '@acl[%d]'.format(all.indexOf(section_id)) : section_id;
}

return fields.FormView.extend({
	load: function() {
		return uci.load('fosquitto');
	},

	render: function() {
		const map = new form.Map('fosquitto', _('Message bus: access'));
		const grid = fields.grid(map, 'acl', _('Rules'), _('Add a rule'));

		grid.sortable = true;

		const rule = fields.addAll(grid, null, [
			[ 'acl.user', _('Users') ],
			[ 'acl.group', _('Groups') ],
			[ 'acl.listener', _('Listeners') ],
			[ 'acl.action', _('Action') ],
			[ 'acl.access', _('Access') ],
			[ 'acl.topic', _('Topics') ]
		]);

		rule.slice(0, 3).forEach(option => { option.modalonly = true; });
		// 'access deny' forbids everything, whatever the action says.
		rule[3].textvalue = section_id => denies(section_id) ? _('deny') : _('allow');
		rule[4].textvalue = function(section_id) {
			const access = this.cfgvalue(section_id) || 'readwrite';
			return access == 'deny' ? _('everything') : '%h'.format(access);
		};
		rule[5].rmempty = false;

		// What the table shows before that.
		const shown = [
			[ '_rule', _('Rule'), section_id => nameOf(section_id, grid.cfgsections()) ],
			[ '_who', _('Who'), who ]
		].map(column => {
			const option = grid.option(form.DummyValue, column[0], column[1]);
			option.modalonly = false;
			option.textvalue = section_id => '%h'.format(column[2](section_id));
			return option;
		});
		grid.children = shown.concat(rule);

		const beyond = fields.single(map, 'global', _('Without a rule'));
		beyond.description = null;
		fields.add(beyond, 'global.acl_default', _('What holds'));

		return map.render().then(node => E([ bus.style(), node, this.tester() ]));
	},

	/* Asks what the rules of the running bus say: not of what is edited and not yet applied. */
	tester: function() {
		const field = (name, title, placeholder) => E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title', 'for': 'fosquitto-why-%s'.format(name) }, [ title ]),
			E('div', { 'class': 'cbi-value-field' }, [
				E('input', { 'id': 'fosquitto-why-%s'.format(name), 'type': 'text', 'class': 'cbi-input-text', 'data-why': name, 'placeholder': placeholder })
			])
		]);
		const action = E('select', { 'id': 'fosquitto-why-action', 'class': 'cbi-input-select', 'data-why': 'action' },
			ACTIONS.map(pair => E('option', { 'value': pair[0] }, [ pair[1] ])));
		const answer = E('div', { 'class': 'fosquitto-answer', 'role': 'status' });
		const inputs = [
			field('user', _('User'), _('anonymous')),
			field('client_id', _('Client id'), _('any')),
			field('listener', _('Listener'), _('any')),
			field('topic', _('Topic'), _('home/kitchen/light'))
		];

		const act = () => {
			const question = { action: action.value };

			inputs.forEach(node => {
				const input = node.querySelector('input');

				if (input.value != '')
					question[input.getAttribute('data-why')] = input.value;
			});

			if (question.topic == null)
				return dom.content(answer, [ _('A topic is missing.') ]);

			return bus.ask('why', question).then(reason => dom.content(answer, [
				E('span', { 'class': reason.allowed ? 'fosquitto-allowed' : 'fosquitto-denied' }, [ reason.allowed ? _('Allowed') : _('Denied') ]),
				': %s'.format(reason.words),
				E('div', { 'class': 'cbi-value-description' }, [
					reason.section != null ? _('Rule %s, line %d of %s').format(reason.section, reason.line, reason.file) : ''
				])
			])).catch(error => dom.content(answer, [ error.message ]));
		};

		return E('div', { 'class': 'cbi-section fosquitto-tester' }, [
			E('h3', [ _('Try it') ]),
			E('div', { 'class': 'cbi-section-descr' }, [ _('What the rules of the running bus say; changes count once they are applied.') ]),
			E('div', { 'class': 'cbi-section-node' }, [
				E('div', { 'class': 'cbi-value' }, [
					E('label', { 'class': 'cbi-value-title', 'for': 'fosquitto-why-action' }, [ _('May a client') ]),
					E('div', { 'class': 'cbi-value-field' }, [ action ])
				])
			].concat(inputs, [
				E('div', { 'class': 'cbi-value' }, [
					E('div', { 'class': 'cbi-value-title' }),
					E('div', { 'class': 'cbi-value-field' }, [
						E('button', { 'class': 'btn cbi-button-action', 'click': ui.createHandlerFn(this, act) }, [ _('Ask') ]), answer
					])
				])
			]))
		]);
	}
});
