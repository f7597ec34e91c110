'use strict';
'require dom';
'require form';
'require poll';
'require uci';
'require ui';
'require fosquitto.bus as bus';
'require fosquitto.fields as fields';

/* What the bus has logged, how much it logs, and for a while how much more. */

const INTERVAL_S = 5;
const LINES = 300;
const LEVELS = [ 'error', 'warning', 'notice', 'info', 'debug' ];

return fields.FormView.extend({
	load: function() {
		return Promise.all([
			uci.load('fosquitto'),
			bus.ask('status').catch(() => null),
			bus.ask('log', { lines: LINES }).catch(error => error)
		]);
	},

	render: function(data) {
		const map = new form.Map('fosquitto', _('Message bus: log'));
		const global = fields.single(map, 'global', _('What is logged'));

		global.description = null;
		fields.addAll(global, null, [
			[ 'global.log_level', _('Level') ],
			[ 'global.debug', _('Everything') ]
		]);

		this.lines = E('pre', { 'class': 'fosquitto-log' });
		this.show(data[2]);
		poll.add(() => bus.ask('log', { lines: LINES }).catch(error => error).then(answer => this.show(answer)), INTERVAL_S);

		return map.render().then(node => E([ bus.style(), node, this.levelNow(data[1]), E('div', { 'class': 'cbi-section' }, [
			E('h3', [ _('Log') ]), this.lines
		]) ]));
	},

	/* The level until the next reload. */
	levelNow: function(answer) {
		const select = E('select', { 'class': 'cbi-input-select', 'data-level': 'now', 'disabled': bus.readonly() },
			LEVELS.map(level => E('option', { 'value': level, 'selected': answer && answer.log_level == level ? 'selected' : null }, [ level ])));
		const said = E('span', { 'role': 'status' });
		const act = () => bus.ask('log_level', { level: select.value })
			.then(now => dom.content(said, [ _('Now: %s').format(now.level) ]))
			.catch(error => dom.content(said, [ error.message ]));

		return E('div', { 'class': 'cbi-section' }, [
			E('h3', [ _('For a while') ]),
			E('div', { 'class': 'cbi-section-descr' }, [ _('A level that holds until the next change of the configuration, and is not saved.') ]),
			E('div', { 'class': 'fosquitto-tools' }, [
				select, E('button', { 'class': 'btn cbi-button-action', 'click': ui.createHandlerFn(this, act), 'disabled': bus.readonly() }, [ _('Set') ]), said
			])
		]);
	},

	/* The newest line is the last; who has scrolled up to read stays there. */
	show: function(answer) {
		const node = this.lines;
		const at_end = !node.isConnected || node.scrollTop + node.clientHeight >= node.scrollHeight - 4;

		dom.content(node, [ answer instanceof Error ? answer.message : L.toArray(answer.lines).join('\n') || _('Nothing is logged yet.') ]);

		if (at_end)
			window.requestAnimationFrame(() => { node.scrollTop = node.scrollHeight; });
	}
});
