'use strict';
'require dom';
'require form';
'require uci';
'require ui';
'require fosquitto.bus as bus';
'require fosquitto.fields as fields';

/* Who has a password, and the sections 'user'. Passwords go to the router's file of passwords and never into UCI: nothing here is part of
   'save' and 'apply'. */

const PASSWORD_MIN = 8;

return fields.FormView.extend({
	load: function() {
		return Promise.all([ uci.load('fosquitto'), this.names() ]);
	},

	/* The users with a password, or the reason why they cannot be told. */
	names: function() {
		return bus.ask('list_users').then(answer => L.toArray(answer.users), error => error);
	},

	render: function(data) {
		const map = new form.Map('fosquitto', _('Message bus: users'));
		const grid = fields.grid(map, 'user', _('Groups and certificates'), _('Add a user'));

		fields.addAll(grid, null, [
			[ 'user.name', _('User name') ],
			[ 'user.group', _('Groups') ]
		]);
		fields.add(grid, 'user.pin', _('Certificates')).modalonly = true;
		grid.children[0].textvalue = function(section_id) {
			const value = this.cfgvalue(section_id);
			return '%h'.format(value != null ? value : section_id);
		};

		this.content = E('div', { 'class': 'cbi-section' });
		this.show(data[1]);

		return map.render().then(node => E([ bus.style(), node, this.content ]));
	},

	refresh: function() {
		return this.names().then(names => this.show(names));
	},

	show: function(names) {
		const rows = names instanceof Error ? [] : names.map(name => [
			name,
			E('div', { 'class': 'actions' }, [
				E('button', { 'class': 'btn cbi-button-neutral', 'click': () => this.setPassword(name), 'disabled': bus.readonly() }, [ _('New password') ]),
				E('button', { 'class': 'btn cbi-button-negative', 'click': () => this.remove(name), 'disabled': bus.readonly() }, [ _('Remove') ])
			])
		]);

		dom.content(this.content, [
			E('h3', [ _('Passwords') ]),
			E('div', { 'class': 'cbi-section-descr' }, [
				_("Users with a password. They are written to the router's file of passwords at once. The router's own programs have the user 'local', whose password is generated.")
			]),
			names instanceof Error ? E('div', { 'class': 'alert-message warning' }, [ names.message ]) : '',
			bus.table([ _('User'), '' ], rows, _('Nobody has a password yet.'), { 'data-table': 'users' }),
			E('div', { 'class': 'cbi-section-create' }, [
				E('button', { 'class': 'btn cbi-button-add', 'click': () => this.setPassword(null), 'disabled': bus.readonly() }, [ _('Add a user with a password') ])
			])
		]);
	},

	/* Asks for a password, twice, for a user or for a new one. */
	setPassword: function(name) {
		const input = (id, title, type, value) => E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title', 'for': id }, [ title ]),
			E('div', { 'class': 'cbi-value-field' }, [
				E('input', { 'id': id, 'type': type, 'class': 'cbi-input-text', 'value': value, 'autocomplete': type == 'password' ? 'new-password' : 'off' })
			])
		]);
		const user = input('fosquitto-user', _('User'), 'text', name);
		const once = input('fosquitto-password', _('Password'), 'password');
		const twice = input('fosquitto-again', _('Once more'), 'password');
		const fault = E('div', { 'class': 'fosquitto-denied', 'role': 'alert' });
		const text = node => node.querySelector('input').value;

		user.querySelector('input').readOnly = name != null;

		const act = () => {
			if (text(user) == '')
				return dom.content(fault, [ _('The user name is missing.') ]);

			if (text(once).length < PASSWORD_MIN)
				return dom.content(fault, [ _('A password has at least %d characters.').format(PASSWORD_MIN) ]);

			if (text(once) != text(twice))
				return dom.content(fault, [ _('The two passwords differ.') ]);

			return bus.ask('set_password', { user: text(user), password: text(once) })
				.then(() => {
					ui.hideModal();
					return this.refresh();
				})
				// The dialog stays, with what was typed.
				.catch(error => dom.content(fault, [ error.message ]));
		};

		ui.showModal(name == null ? _('New user') : _('New password'), [
			user, once, twice, fault,
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Cancel') ]), ' ',
				E('button', { 'class': 'btn cbi-button-positive important', 'click': ui.createHandlerFn(this, act) }, [ _('Set password') ])
			])
		]);
	},

	remove: function(name) {
		bus.confirm(_('Remove a user'), [ _('Take the password of this user away? Whoever is logged in by it is disconnected.'), E('pre', [ name ]) ],
			_('Remove'), () => bus.ask('remove_user', { user: name }).then(() => this.refresh()));
	}
});
