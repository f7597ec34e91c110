'use strict';
'require form';
'require uci';
'require fosquitto.bus as bus';
'require fosquitto.fields as fields';

/* The sections 'listener'. */

function places(section_id) {
	const lists = [ 'address', 'interface', 'device', 'unix' ].map(name => L.toArray(uci.get('fosquitto', section_id, name)));
	return [].concat.apply([], lists).join(', ') || _('all addresses');
}

return fields.FormView.extend({
	load: function() {
		return uci.load('fosquitto');
	},

	render: function() {
		const map = new form.Map('fosquitto', _('Message bus: listeners'));
		const grid = fields.grid(map, 'listener', _('Listeners'), _('Add a listener'));

		grid.tab('where', _('Where'));
		grid.tab('tls', _('TLS'));
		grid.tab('clients', _('Clients'));

		const where = fields.addAll(grid, 'where', [
			[ 'listener.enabled', _('Enabled') ],
			[ 'listener.port', _('Port') ],
			[ 'listener.address', _('Addresses') ],
			[ 'listener.interface', _('Interfaces') ],
			[ 'listener.device', _('Devices') ],
			[ 'listener.unix', _('Unix sockets') ],
			[ 'listener.protocol', _('Protocol') ],
			[ 'listener.origin', _('Origins of pages') ]
		]);
		const tls = fields.addAll(grid, 'tls', [
			[ 'listener.tls', _('TLS') ],
			[ 'listener.cert', _('Certificate') ],
			[ 'listener.key', _('Key') ],
			[ 'listener.ca', _('CA of clients') ],
			[ 'listener.crl', _('Revocation list') ],
			[ 'listener.tls_min', _('Oldest version') ],
			[ 'listener.require_certificate', _('Clients need a certificate') ]
		]);
		const clients = fields.addAll(grid, 'clients', [
			[ 'listener.identity', _('Who a client is') ],
			[ 'listener.allow_anonymous', _('Anonymous clients') ],
			[ 'listener.max_connections', _('Connections') ],
			[ 'listener.mount_point', _('Mount point') ],
			[ 'listener.max_qos', _('Highest QoS') ],
			[ 'listener.retain_available', _('Retained messages') ],
			[ 'listener.max_topic_alias', _('Topic aliases') ],
			[ 'listener.moved_to', _('Moved to') ]
		]);

		where.concat(tls, clients).filter(option => option).forEach(option => { option.modalonly = true; });

		// What the table shows of each.
		where[0].modalonly = null;
		where[0].editable = true;
		where[1].modalonly = null;
		where[1].textvalue = function(section_id) {
			const value = this.cfgvalue(section_id);
			return '%h'.format(value != null ? value : (fields.isOn(section_id, 'tls') ? '8883' : '1883'));
		};
		tls[0].modalonly = null;

		const summary = grid.option(form.DummyValue, '_places', _('Listens on'));
		summary.modalonly = false;
		summary.textvalue = section_id => '%h'.format(places(section_id));

		tls.slice(1).filter(option => option).forEach(option => option.depends('tls', '1'));
		where[7].depends('protocol', 'websocket');

		return map.render().then(node => E([ bus.style(), node ]));
	}
});
