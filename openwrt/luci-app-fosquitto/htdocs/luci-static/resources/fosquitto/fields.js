'use strict';
'require baseclass';
'require form';
'require uci';
'require ui';
'require view';
'require fosquitto.bus as bus';
'require fosquitto.options as options';
'require fosquitto.values as values';

/* Forms that are made from the daemon's table of options. A page says which option stands where and what it is called; its kind, its
   bounds, its default and its help come from the table, and before anything is applied the daemon itself reads the whole of it. */

const CODE = /`([^`]*)`/g;
const QUOTE = /'/g;

/* Help as LuCI takes it, which is HTML: escaped, with what stands in backticks as code. */
function html(text) {
	return '%h'.format(text).replace(CODE, '<code>$1</code>');
}

function help(row) {
	const absent = row.absent != null ? row.absent : '`%s`'.format(row.default);

	return '%s <span class="fosquitto-default">%s</span>'.format(html(row.doc), html(_('Default: %s').format(absent)));
}

function widgetOf(row) {
	if (row.list)
		return form.DynamicList;

	switch (row.kind) {
	case 'bool': return form.Flag;
	case 'word': return form.ListValue;
	default: return form.Value;
	}
}

/* What the widgets of LuCI would not read as the daemon does. */
function loaded(row, value) {
	if (row.list)
		return value == null || Array.isArray(value) ? value : [ value ];

	if (row.kind == 'bool' && values.bool(value) != null)
		return values.bool(value) ? '1' : '0';

	return value;
}

function setUp(option, row) {
	const load = option.load;

	option.load = function(section_id) {
		return Promise.resolve(load.call(this, section_id)).then(value => loaded(row, value));
	};

	option.rmempty = true;
	// A field that another one hides keeps its value.
	option.retain = true;
	option.validate = function(section_id, text) {
		const fault = text == null || text === '' ? null : values.fault(row, String(text));

		return fault == null ? true : _("'%s' is not %s").format(text, fault);
	};

	if (row.kind != 'bool')
		option.textvalue = function(section_id) {
			const value = this.cfgvalue(section_id);
			return '%h'.format(Array.isArray(value) ? value.join(', ') : value || row.default || '-');
		};

	if (row.kind == 'bool') {
		option.default = row.default;
	}
	else if (row.kind == 'word') {
		option.optional = true;
		option.value('', row.default != null ? _('default (%s)').format(row.default) : _('default'));
		row.words.forEach(word => option.value(word, word));
	}
	else {
		option.placeholder = row.default != null ? row.default : '';
	}
}

/* The text of a UCI file with the sections as they would be after 'apply'. */
function uciText() {
	const quoted = value => "'%s'".format(String(value).replace(QUOTE, "'\\''"));
	let text = '';

	uci.sections('fosquitto').forEach(section => {
		text += section['.anonymous']
			? 'config %s\n'.format(section['.type']) : 'config %s %s\n'.format(section['.type'], quoted(section['.name']));

		Object.keys(section).filter(name => !name.startsWith('.')).forEach(name => {
			const value = section[name];

			(Array.isArray(value) ? value : [ value ]).forEach(item => {
				text += '\t%s %s %s\n'.format(Array.isArray(value) ? 'list' : 'option', name, quoted(item));
			});
		});
	});

	return text;
}

/* What the daemon would say of the edited configuration: its faults and its warnings, as lines. There are none if it cannot be asked. */
function verdictOfEdit() {
	return bus.ask('check', { config: uciText() }).then(
		answer => ({ faults: L.toArray(answer.faults), warnings: L.toArray(answer.warnings) }),
		() => ({ faults: [], warnings: [] }));
}

/* Tells the faults, or else the warnings, above the form. */
function tell(verdict, is_refused) {
	const lines = verdict.faults.length ? verdict.faults : verdict.warnings;

	document.querySelectorAll('.fosquitto-faults').forEach(node => node.remove());

	if (!lines.length)
		return;

	document.getElementById('view').prepend(E('div', { 'class': 'alert-message %s fosquitto-faults'.format(verdict.faults.length ? 'warning' : 'notice') }, [
		E('h4', [ !verdict.faults.length
			? _('The daemon takes this configuration. It warns:')
			: is_refused
				? _('Not applied: the daemon would refuse this configuration.')
				: _('Saved, but the daemon would refuse this configuration.') ]),
		E('ul', {}, lines.map(line => E('li', [ line ])))
	]));
}

/* Not by 'super', which begins above the class of the object: for a page that is this method itself. */
const save = view.prototype.handleSave;

const FormView = view.extend({
	handleSave: function(ev) {
		return save.call(this, ev).then(verdictOfEdit).then(verdict => tell(verdict, false));
	},

	handleSaveApply: function(ev, mode) {
		return save.call(this, ev).then(verdictOfEdit).then(verdict => {
			tell(verdict, true);

			if (!verdict.faults.length)
				ui.changes.apply(mode == '0');
		});
	}
});

return baseclass.extend({
	/* A page with a form. Its 'save' asks the daemon what it thinks of the edit; its 'apply' does nothing that it would refuse. */
	FormView: FormView,

	/* Whether the daemon has sections of this type. */
	has: type => options.sections.hasOwnProperty(type),

	/* Help of a section. */
	about: type => html(options.sections[type].doc),

	html: html,

	/* Adds a field for the option 'TYPE.NAME' to a section of a form, or to a tab of it. An option that the daemon does not have gets
	   none. Returns the field, or null. */
	add: function(section, path, title, tab) {
		const at = path.indexOf('.');
		const type = options.sections[path.slice(0, at)];
		const name = path.slice(at + 1);
		const row = type ? type.options[name] : null;

		if (!row)
			return null;

		const option = tab != null
			? section.taboption(tab, widgetOf(row), name, title, help(row))
			: section.option(widgetOf(row), name, title, help(row));

		setUp(option, row);

		return option;
	},

	/* Whether a section has a yes in an option. */
	isOn: (section_id, name) => values.bool(uci.get('fosquitto', section_id, name)) == true,

	/* Fields for several options of a type, [ name, title ] each. */
	addAll: function(section, tab, fields) {
		return fields.map(field => this.add(section, field[0], field[1], tab));
	},

	/* A table of the sections of a type, edited in a dialog. */
	grid: function(map, type, title, add_title) {
		const section = map.section(form.GridSection, type, title, this.about(type));

		section.addremove = true;
		section.nodescriptions = true;
		/* Newer LuCI sorts all sections by a column whose head is clicked. The order of these is their meaning, or nobody's wish. */
		section.handleSort = () => {};
		section.addbtntitle = add_title;
		section.anonymous = !options.sections[type].named;
		section.modaltitle = section_id => '%s: %s'.format(title,
			section.anonymous ? _('entry %d').format(section.cfgsections().indexOf(section_id) + 1) : section_id);

		return section;
	},

	/* A section that there is one of, whose name is the daemon's. It is made when something is first saved in it. */
	single: function(map, type, title) {
		const name = options.sections[type].name;

		if (uci.get('fosquitto', name) == null)
			uci.add('fosquitto', type, name);

		return map.section(form.NamedSection, name, type, title, this.about(type));
	}
});
