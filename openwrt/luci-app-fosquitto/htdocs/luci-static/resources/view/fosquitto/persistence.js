'use strict';
'require form';
'require uci';
'require fosquitto.bus as bus';
'require fosquitto.fields as fields';

/* The sections 'persistence', 'durability' and 'keeper'. */

return fields.FormView.extend({
	load: function() {
		return uci.load('fosquitto');
	},

	render: function() {
		const map = new form.Map('fosquitto', _('Message bus: persistence'));

		fields.addAll(fields.single(map, 'persistence', _('What is kept')), null, [
			[ 'persistence.durability', _('Durability') ],
			[ 'persistence.path', _('Database') ],
			[ 'persistence.flush_interval', _('Written every') ],
			[ 'persistence.size_limit', _('Largest size') ],
			[ 'persistence.daily_budget', _('Bytes a day') ]
		]);

		const classes = fields.grid(map, 'durability', _('Topics of another class'), _('Add topics'));
		classes.sortable = true;
		fields.addAll(classes, null, [
			[ 'durability.topic', _('Topics') ],
			[ 'durability.class', _('Durability') ]
		]);
		classes.children.forEach(option => { option.rmempty = false; });
		classes.children[1].optional = false;

		const keepers = fields.grid(map, 'keeper', _('Keepers'), _('Add a keeper'));
		fields.addAll(keepers, null, [
			[ 'keeper.enabled', _('Enabled') ],
			[ 'keeper.request', _('Requests') ],
			[ 'keeper.request_ttl', _('Requests wait') ],
			[ 'keeper.reply', _('Replies') ],
			[ 'keeper.reply_ttl', _('Replies wait') ]
		]);
		keepers.children[0].editable = true;

		return map.render().then(node => E([ bus.style(), node ]));
	}
});
