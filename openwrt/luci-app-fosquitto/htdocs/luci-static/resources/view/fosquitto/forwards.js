'use strict';
'require form';
'require uci';
'require fosquitto.bus as bus';
'require fosquitto.fields as fields';

/* The sections 'bridge', 'subordinate' and 'subsubordinate'. */

const BRIDGE_TABS = {
	where: [
		[ 'bridge.enabled', _('Enabled') ],
		[ 'bridge.address', _('Addresses') ],
		[ 'bridge.port', _('Port') ],
		[ 'bridge.username', _('User name') ],
		[ 'bridge.password_file', _('File of the password') ],
		[ 'bridge.client_id', _('Client id') ],
		[ 'bridge.protocol', _('MQTT version') ],
		[ 'bridge.bind_address', _('Local address') ],
		[ 'bridge.bind_device', _('Local device') ]
	],
	topics: [
		[ 'bridge.topic', _('Topics') ],
		[ 'bridge.retain_out', _('Retain out') ],
		[ 'bridge.retain_in', _('Retain in') ],
		[ 'bridge.retain_handling', _('Retained at connect') ],
		[ 'bridge.max_hops', _('Bridges at most') ],
		[ 'bridge.try_private', _('Say it is a bridge') ]
	],
	tls: [
		[ 'bridge.tls', _('TLS') ],
		[ 'bridge.ca', _('CA') ],
		[ 'bridge.cert', _('Certificate') ],
		[ 'bridge.key', _('Key') ],
		[ 'bridge.pin', _('Pinned certificates') ],
		[ 'bridge.verify_name', _('Check the name') ],
		[ 'bridge.sni', _('Name asked for') ],
		[ 'bridge.alpn', _('ALPN') ],
		[ 'bridge.tls_min', _('Oldest version') ]
	],
	connection: [
		[ 'bridge.clean_start', _('Clean start') ],
		[ 'bridge.session_expiry', _('Session expiry') ],
		[ 'bridge.keepalive', _('Keep alive') ],
		[ 'bridge.connect_timeout', _('Time to connect') ],
		[ 'bridge.restart_timeout', _('Wait at first') ],
		[ 'bridge.restart_timeout_max', _('Wait at most') ],
		[ 'bridge.notifications', _('Tell its state') ],
		[ 'bridge.notifications_local_only', _('Tell it here only') ],
		[ 'bridge.notification_topic', _('Topic of its state') ]
	],
	queue: [
		[ 'bridge.queue_messages', _('Waiting messages') ],
		[ 'bridge.queue_bytes', _('Waiting bytes') ],
		[ 'bridge.queue_ttl', _('Waiting time') ],
		[ 'bridge.qos0_queue_ttl', _('Waiting time, QoS 0') ],
		[ 'bridge.max_inflight', _('Messages on the way') ]
	]
};

const TAB_TITLES = {
	where: _('Where'), topics: _('Topics'), tls: _('TLS'), connection: _('Connection'), queue: _('Queue')
};

function addBridges(map) {
	const grid = fields.grid(map, 'bridge', _('Bridges'), _('Add a bridge'));

	Object.keys(BRIDGE_TABS).forEach(tab => {
		grid.tab(tab, TAB_TITLES[tab]);
		fields.addAll(grid, tab, BRIDGE_TABS[tab]).filter(option => option).forEach(option => {
			option.modalonly = true;

			if (tab == 'tls' && option.option != 'tls')
				option.depends('tls', '1');
		});
	});

	const shown = { enabled: true, address: true, topic: true };
	grid.children.filter(option => shown[option.option]).forEach(option => {
		option.modalonly = null;

		option.editable = option.option == 'enabled';
	});
}

return fields.FormView.extend({
	load: function() {
		return uci.load('fosquitto');
	},

	render: function() {
		const map = new form.Map('fosquitto', _('Message bus: forwards'));

		if (fields.has('bridge'))
			addBridges(map);

		const subordinates = fields.grid(map, 'subordinate', _('Subordinate devices'), _('Add a device'));
		fields.addAll(subordinates, null, [
			[ 'subordinate.enabled', _('Enabled') ],
			[ 'subordinate.address', _('Address') ],
			[ 'subordinate.port', _('Port') ]
		]);

		const behind = fields.grid(map, 'subsubordinate', _('Devices behind them'), _('Add a device'));
		fields.addAll(behind, null, [
			[ 'subsubordinate.enabled', _('Enabled') ],
			[ 'subsubordinate.via', _('Reached through') ]
		]);

		[ subordinates, behind ].forEach(grid => grid.children.filter(option => option.option == 'enabled').forEach(option => { option.editable = true; }));

		return map.render().then(node => E([ bus.style(), node ]));
	}
});
