'use strict';
'require baseclass';
'require dom';
'require uci';
'require ui';

/* A stand-in of LuCI's forms: maps of sections of options. What is shown, read, checked and written is as there: descriptions and titles are
   HTML, a cell of a table is what `textvalue` says (HTML if it is a string), an option whose condition does not hold is hidden and, unless
   it is to be retained, removed. */

const Node = class {
	constructor(title, description) {
		this.title = title || '';
		this.description = description || '';
		this.children = [];
	}
};

const Map = class extends Node {
	constructor(config, title, description) {
		super(title, description);
		this.config = config;
	}

	section(Section, ...values) {
		const section = new Section(this, ...values);

		this.children.push(section);
		return section;
	}

	load() {
		return uci.load(this.config).then(() => Promise.all(this.children.map(section => section.load())));
	}

	parse() {
		return Promise.all(this.children.map(section => section.parse()));
	}

	save(work, is_silent) {
		this.checkDepends();

		return this.parse().then(work).then(() => uci.save()).then(() => this.load()).catch(error => {
			if (!is_silent)
				ui.showModal(_('Save error'), [
					E('p', [ _('An error occurred while saving the form:') ]), E('p', [ E('em', [ error.message ]) ]),
					E('div', { 'class': 'right' }, [ E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Dismiss') ]) ])
				]);

			throw error;
		}).then(() => this.renderContents());
	}

	reset() {
		return this.renderContents();
	}

	render() {
		return this.load().then(() => this.renderContents());
	}

	renderContents() {
		this.root = this.root || E('div', { 'id': 'cbi-%s'.format(this.config), 'class': 'cbi-map' });
		dom.bindClassInstance(this.root, this);
		dom.content(this.root, [
			this.title ? E('h2', { 'name': 'content' }, this.title) : null,
			this.description ? E('div', { 'class': 'cbi-map-descr' }, this.description) : null
		].concat(this.children.map(section => section.render())));
		this.root.querySelectorAll('.cbi-section-node-tabbed').forEach(group => ui.tabs.initTabGroup(group.childNodes));
		this.checkDepends();

		return this.root;
	}

	/* Again until nothing changes: one option may hang on another that hangs on a third. */
	checkDepends() {
		for (let round = 0; round < 10 && this.children.some(section => section.checkDepends()); round++);
	}
};

const Section = class extends Node {
	constructor(map, type, title, description) {
		super(title, description);
		this.map = map;
		this.config = map.config;
		this.sectiontype = type;
	}

	tab(name, title) {
		this.tabs = this.tabs || [];
		this.tabs.push({ name, title });
	}

	option(Option, ...values) {
		const option = new Option(this.map, this, ...values);

		this.children.push(option);
		return option;
	}

	taboption(tab, ...values) {
		if (!this.tabs?.some(known => known.name == tab))
			throw new ReferenceError('Associated tab not declared');

		const option = this.option(...values);

		option.tab = tab;
		return option;
	}

	load() {
		return Promise.all(this.cfgsections().flatMap(section_id => this.children.map(option =>
			Promise.resolve(option.load(section_id)).then(value => option.cfgvalue(section_id, value)))));
	}

	parse() {
		return Promise.all(this.cfgsections().flatMap(section_id => this.children.map(option => option.parse(section_id))));
	}

	checkDepends() {
		return this.cfgsections().map(section_id => this.children.map(option => option.checkDepends(section_id)).some(changed => changed)).some(changed => changed);
	}

	head() {
		return [
			this.title ? E('h3', {}, this.title) : null,
			this.description ? E('div', { 'class': 'cbi-section-descr' }, this.description) : null
		];
	}

	/* The options of a section, in tabs if there are any. */
	fields(section_id) {
		const node = E('div', { 'class': 'cbi-section-node', 'data-section-id': section_id });

		if (!this.tabs)
			return dom.append(node, this.children.map(option => option.render(section_id))), node;

		node.classList.add('cbi-section-node-tabbed');
		this.tabs.forEach(tab => node.append(E('div', { 'data-tab': tab.name, 'data-tab-title': tab.title },
			this.children.filter(option => option.tab == tab.name).map(option => option.render(section_id)))));

		return E('div', [ node ]);
	}
};

const NamedSection = class extends Section {
	constructor(map, section_id, ...values) {
		super(map, ...values);
		this.section = section_id;
	}

	cfgsections() {
		return [ this.section ];
	}

	render() {
		return E('div', { 'class': 'cbi-section' }, this.head().concat(uci.get(this.config, this.section) ? this.fields(this.section) : []));
	}
};

const GridSection = class extends Section {
	cfgsections() {
		return uci.sections(this.config, this.sectiontype).map(section => section['.name']);
	}

	columns() {
		return this.children.filter(option => !option.modalonly);
	}

	parse() {
		return Promise.all(this.cfgsections().flatMap(section_id =>
			this.columns().filter(option => option.editable).map(option => option.parse(section_id))));
	}

	render() {
		const rows = this.cfgsections().map(section_id => this.row(section_id));
		const titles = (this.anonymous ? [] : [ '' ]).concat(this.columns().map(option => option.title), [ '' ]);
		const placeholder = E('tr', { 'class': 'tr cbi-section-table-row placeholder' }, [ E('td', { 'class': 'td' }, [ E('em', [ _('This section contains no values yet') ]) ]) ]);

		return E('div', { 'class': 'cbi-section cbi-tblsection', 'id': 'cbi-%s-%s'.format(this.config, this.sectiontype) }, this.head().concat(
			E('table', { 'class': 'table cbi-section-table' }, [
				E('tr', { 'class': 'tr cbi-section-table-titles' }, titles.map((title, column) => E('th', {
					'class': 'th cbi-section-table-cell', 'click': this.sortable ? ui.createHandlerFn(this, 'handleSort', column) : null
				}, title)))
			].concat(rows.length ? rows : [ placeholder ])),
			this.renderSectionAdd()));
	}

	row(section_id) {
		const cells = this.columns().map(option => option.editable
			? E('td', { 'class': 'td cbi-value-field', 'data-title': option.title, 'data-name': option.option }, [ option.widget(section_id) ])
			: E('td', { 'class': 'td cbi-value-field', 'data-title': option.title, 'data-name': option.option }, this.text(option, section_id)));

		return E('tr', {
			'class': 'tr cbi-section-table-row', 'data-sid': section_id, 'data-section-id': section_id,
			'draggable': this.sortable || null, 'dragstart': ev => this.dragStart(ev), 'dragover': ev => ev.preventDefault(), 'drop': ev => this.drop(ev)
		}, (this.anonymous ? [] : [ E('td', { 'class': 'td cbi-section-table-cell', 'data-title': _('Name') }, [ section_id ]) ]).concat(cells, [
			E('td', { 'class': 'td cbi-section-table-cell nowrap cbi-section-actions' }, [ E('div', this.actions(section_id)) ])
		]));
	}

	text(option, section_id) {
		const text = option.textvalue(section_id);
		return text != null ? text : E('em', _('none'));
	}

	actions(section_id) {
		return [
			this.sortable ? E('button', { 'title': _('Drag to reorder'), 'class': 'cbi-button drag-handle center', 'style': 'cursor:move' }, [ '☰' ]) : null,
			E('button', { 'class': 'cbi-button cbi-button-edit', 'click': ui.createHandlerFn(this, 'renderMoreOptionsModal', section_id) }, [ _('Edit') ]),
			this.addremove ? E('button', { 'class': 'cbi-button cbi-button-remove', 'click': ui.createHandlerFn(this, 'handleRemove', section_id) }, [ _('Delete') ]) : null
		];
	}

	dragStart(ev) {
		this.dragged = ev.currentTarget;
		ev.dataTransfer.setData('text', 'drag');
	}

	drop(ev) {
		const target = ev.currentTarget, box = target.getBoundingClientRect();
		const is_after = ev.clientY > box.top + box.height / 2;

		ev.preventDefault();
		uci.move(this.config, this.dragged.getAttribute('data-sid'), target.getAttribute('data-sid'), is_after);
		target.parentNode.insertBefore(this.dragged, is_after ? target.nextSibling : target);
	}

	/* Sorts the sections by what stands in a column, as newer LuCI does where they can be dragged. */
	handleSort(column, ev) {
		const rows = Array.from(ev.currentTarget.closest('table').querySelectorAll('tr[data-sid]'));
		const text = row => row.children[column].innerText;

		rows.sort((one, other) => text(one).localeCompare(text(other))).reduce((before, row) => {
			if (before)
				uci.move(this.config, row.getAttribute('data-sid'), before.getAttribute('data-sid'), true);
			row.parentNode.appendChild(row);
			return row;
		}, null);
	}

	renderSectionAdd() {
		if (!this.addremove)
			return E([]);

		const name = E('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'aria-label': _('Name') });
		const add = E('button', { 'class': 'cbi-button cbi-button-add', 'click': ui.createHandlerFn(this, ev => {
			if (!this.anonymous && !/^[a-zA-Z0-9_]+$/.test(name.value))
				return name.classList.add('cbi-input-invalid');

			return this.handleAdd(ev, this.anonymous ? null : name.value);
		}) }, [ this.addbtntitle || _('Add') ]);

		return E('div', { 'class': 'cbi-section-create cbi-tblsection-create' }, this.anonymous ? [ add ] : [ name, ' ', add ]);
	}

	handleAdd(ev, name) {
		this.added = uci.add(this.config, this.sectiontype, name);
		return this.renderMoreOptionsModal(this.added);
	}

	handleRemove(section_id) {
		uci.remove(this.config, section_id);
		return this.map.save(null, true);
	}

	/* The dialog is a map of its own with copies of the options. */
	renderMoreOptionsModal(section_id) {
		const map = new Map(this.config);
		const section = map.section(NamedSection, section_id, this.sectiontype);

		section.tabs = this.tabs;
		this.children.filter(option => option.modalonly !== false).forEach(option => {
			const clone = section.option(option.constructor, option.option, option.title, option.description);

			Object.keys(option).filter(key => ![ 'map', 'section', 'option', 'title', 'description' ].includes(key)).forEach(key => { clone[key] = option[key]; });
		});

		const title = typeof(this.modaltitle) == 'function' ? this.modaltitle(section_id) : this.modaltitle;
		const cancel = () => {
			if (this.added != null)
				uci.remove(this.config, this.added);

			this.added = null;
			ui.hideModal();
		};
		const save = () => map.save(null, true).then(() => this.map.load()).then(() => this.map.reset()).then(() => {
			this.added = null;
			ui.hideModal();
		}).catch(() => null);

		return map.render().then(nodes => ui.showModal(title, [
			nodes,
			E('div', { 'class': 'right button-row' }, [
				E('button', { 'class': 'btn', 'click': cancel }, [ _('Dismiss') ]), ' ',
				E('button', { 'class': 'cbi-button cbi-button-positive important', 'click': ui.createHandlerFn(this, save) }, [ _('Save') ])
			])
		], 'cbi-modal'));
	}
};

const Value = class extends Node {
	constructor(map, section, option, title, description) {
		super(title, description);
		this.map = map;
		this.section = section;
		this.config = map.config;
		this.option = option;
		this.conditions = [];
		this.rmempty = true;
		this.default = null;
		this.values = {};
	}

	value(key, title) {
		this.choices = (this.choices || []).concat([ [ key, title ] ]);
	}

	depends(option, value) {
		this.conditions.push([ option, value ]);
	}

	cbid(section_id) {
		return 'cbid.%s.%s.%s'.format(this.config, section_id, this.option);
	}

	load(section_id) {
		return uci.get(this.config, section_id, this.option);
	}

	cfgvalue(section_id, ...loaded) {
		if (loaded.length)
			this.values = Object.assign({}, this.values, { [section_id]: loaded[0] });

		return this.values[section_id];
	}

	node(section_id) {
		return this.map.root?.querySelector('[id="%s"]'.format(this.cbid(section_id)));
	}

	formvalue(section_id) {
		const node = this.node(section_id);
		return node ? dom.callClassMethod(node, 'getValue') : null;
	}

	textvalue(section_id) {
		const value = this.cfgvalue(section_id) ?? this.default;
		return value != null ? '%h'.format(value) : null;
	}

	validate() {
		return true;
	}

	isActive(section_id) {
		const field = this.map.root?.querySelector('[data-field="%s"]'.format(this.cbid(section_id)));
		return field != null && !field.classList.contains('hidden');
	}

	checkDepends(section_id) {
		const field = this.map.root?.querySelector('[data-field="%s"]'.format(this.cbid(section_id)));

		if (!field)
			return false;

		const holds = !this.conditions.length || this.conditions.some(([ name, value ]) => {
			const other = this.section.children.find(option => option.option == name);
			return other && other.isActive(section_id) && other.formvalue(section_id) == value;
		});
		const changes = field.classList.contains('hidden') == holds;

		field.classList.toggle('hidden', !holds);
		return changes;
	}

	parse(section_id) {
		const is_active = this.isActive(section_id);

		if (!is_active)
			return this.retain || !this.node(section_id) ? null : this.remove(section_id);

		const node = this.node(section_id);

		if (!dom.callClassMethod(node, 'isValid'))
			return Promise.reject(new TypeError(_('Option "%s" contains an invalid input value.').format(this.title)));

		return this.store(section_id, this.formvalue(section_id));
	}

	store(section_id, value) {
		const is_empty = value == null || value === '' || (Array.isArray(value) && !value.length);

		if (!is_empty)
			return JSON.stringify(this.cfgvalue(section_id)) == JSON.stringify(value) ? null : this.write(section_id, value);

		return this.rmempty || this.optional ? this.remove(section_id) : null;
	}

	write(section_id, value) {
		return uci.set(this.config, section_id, this.option, value);
	}

	remove(section_id) {
		return uci.unset(this.config, section_id, this.option);
	}

	make(Widget, section_id) {
		return new Widget(this.cfgvalue(section_id) ?? this.default, this.choices, {
			id: this.cbid(section_id), placeholder: this.placeholder, optional: this.optional || this.rmempty,
			validate: value => this.validate(section_id, value)
		}).render();
	}

	inner(section_id) {
		return this.make(ui.Textfield, section_id);
	}

	/* The widget with the frame that says whether it is active. */
	widget(section_id) {
		return E('div', { 'data-field': this.cbid(section_id), 'widget-change': () => this.map.checkDepends() }, [ this.inner(section_id) ]);
	}

	render(section_id) {
		return E('div', { 'class': 'cbi-value', 'data-field': this.cbid(section_id), 'data-name': this.option, 'widget-change': () => this.map.checkDepends() }, [
			E('label', { 'class': 'cbi-value-title', 'for': 'widget.%s'.format(this.cbid(section_id)) }, this.title),
			E('div', { 'class': 'cbi-value-field' }, [
				this.inner(section_id), this.description ? E('div', { 'class': 'cbi-value-description' }, this.description) : null
			])
		]);
	}
};

const Flag = class extends Value {
	constructor(...values) {
		super(...values);
		this.default = '0';
	}

	inner(section_id) {
		return this.make(ui.Checkbox, section_id);
	}

	textvalue(section_id) {
		return (this.cfgvalue(section_id) ?? this.default) == '1' ? _('Yes') : _('No');
	}

	store(section_id, value) {
		return value == this.default && (this.optional || this.rmempty) ? this.remove(section_id) : this.write(section_id, value);
	}
};

const ListValue = class extends Value {
	inner(section_id) {
		return this.make(ui.Select, section_id);
	}
};

const ListOfValues = class extends Value {
	inner(section_id) {
		return this.make(ui.DynamicList, section_id);
	}
};

const DummyValue = class extends Value {
	inner(section_id) {
		return E('div', [ E('div', [ this.cfgvalue(section_id) ]), this.make(ui.Hiddenfield, section_id) ]);
	}

	store() {
		return null;
	}
};

return baseclass.extend({
	Map, NamedSection, GridSection, Value, Flag, ListValue, DynamicList: ListOfValues, DummyValue
});
