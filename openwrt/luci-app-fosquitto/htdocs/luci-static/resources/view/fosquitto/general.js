'use strict';
'require form';
'require uci';
'require fosquitto.bus as bus';
'require fosquitto.fields as fields';

/* The sections 'global', 'local' and 'remote'. */

return fields.FormView.extend({
	load: function() {
		return uci.load('fosquitto');
	},

	render: function() {
		const map = new form.Map('fosquitto', _('Message bus: general'));
		const global = fields.single(map, 'global', _('The whole bus'));

		global.tab('limits', _('Memory and queues'));
		global.tab('sessions', _('Sessions'));
		global.tab('connections', _('Connections'));
		global.tab('mqtt5', _('MQTT 5'));

		fields.addAll(global, 'limits', [
			[ 'global.memory_limit', _('Memory') ],
			[ 'global.max_packet_size', _('Largest packet') ],
			[ 'global.max_inflight', _('Messages on the way') ],
			[ 'global.queue_messages', _('Waiting messages') ],
			[ 'global.queue_bytes', _('Waiting bytes') ],
			[ 'global.sys_interval', _('$SYS interval') ]
		]);
		fields.addAll(global, 'sessions', [
			[ 'global.session_expiry', _('MQTT 3 sessions') ],
			[ 'global.max_session_expiry', _('MQTT 5 sessions') ],
			[ 'global.qos0_queue_ttl', _('QoS 0 messages') ]
		]);
		fields.addAll(global, 'connections', [
			[ 'global.connect_timeout', _('Time to connect') ],
			[ 'global.max_unauthenticated', _('Not yet logged in') ],
			[ 'global.connection_rate', _('Connections a second') ],
			[ 'global.login_delay', _('Delay of wrong logins') ]
		]);
		fields.addAll(global, 'mqtt5', [
			[ 'global.max_keep_alive', _('Longest keep alive') ],
			[ 'global.response_information', _('Response topic') ],
			[ 'global.server_reference', _('Other servers') ]
		]);

		const local = fields.single(map, 'local', _("The router's own programs"));
		fields.addAll(local, null, [
			[ 'local.enabled', _('Enabled') ],
			[ 'local.port', _('Port') ]
		]);

		const remote = fields.single(map, 'remote', _('Other devices, by certificate'));
		fields.addAll(remote, null, [
			[ 'remote.enabled', _('Enabled') ],
			[ 'remote.port', _('Port') ]
		]);

		return map.render().then(node => E([ bus.style(), node ]));
	}
});
