'use strict';
'require baseclass';
'require rpc';

/* A stand-in of LuCI's view of UCI: what is edited stays in the page until `save` hands it to the session's pending changes by ubus; only
   `apply` makes it the file. */

const callGet = rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} }, reject: true });
const callPut = rpc.declare({ object: 'uci', method: 'set_all', params: [ 'config', 'sections' ], reject: true });
const callApply = rpc.declare({ object: 'uci', method: 'apply', params: [], reject: true });

const state = {};
let made = 0;

function copy(value) {
	return Array.isArray(value) ? value.slice() : value;
}

return baseclass.extend({
	load: function(configs) {
		return Promise.all(L.toArray(configs).map(config => state[config] || callGet(config).then(values => {
			state[config] = values;
		}))).then(() => Object.keys(state));
	},

	unload: configs => L.toArray(configs).forEach(config => delete state[config]),

	sections: function(config, type, work) {
		const found = Object.values(state[config] || {})
			.filter(section => type == null || section['.type'] == type).sort((one, other) => one['.index'] - other['.index']);

		if (work)
			found.forEach(section => work(section, section['.name']));

		return found;
	},

	get: function(config, section_id, option) {
		const section = state[config]?.[section_id];

		if (!section || option == null)
			return section || null;

		return section[option] == null ? null : copy(section[option]);
	},

	set: function(config, section_id, option, value) {
		const section = state[config]?.[section_id];

		if (!section)
			return;

		if (value == null || value === '')
			delete section[option];
		else
			section[option] = Array.isArray(value) ? value.map(String) : String(value);
	},

	unset: function(config, section_id, option) {
		this.set(config, section_id, option, null);
	},

	add: function(config, type, name) {
		const section_id = name || 'new%s'.format(String(++made).padStart(6, '0'));
		const last = Math.max(-1, ...Object.values(state[config]).map(section => section['.index']));

		state[config][section_id] = { '.type': type, '.name': section_id, '.anonymous': name == null, '.index': last + 1 };

		return section_id;
	},

	remove: (config, section_id) => { delete state[config][section_id]; },

	move: function(config, moved, other, is_after) {
		const order = this.sections(config).map(section => section['.name']).filter(name => name != moved);

		order.splice(order.indexOf(other) + (is_after ? 1 : 0), 0, moved);
		order.forEach((name, index) => { state[config][name]['.index'] = index; });
	},

	save: function() {
		return Promise.all(Object.keys(state).map(config => callPut(config, this.sections(config)))).then(() => {
			const configs = Object.keys(state);

			this.unload(configs);
			return this.load(configs);
		});
	},

	apply: () => callApply()
});
