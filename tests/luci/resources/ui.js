'use strict';
'require baseclass';
'require dom';
'require uci';

/* A stand-in of LuCI's widgets, dialogs, notifications and tabs, as far as the pages under test use them. A widget's `validate` decides
   as LuCI's does: an empty value that is not optional is wrong, and otherwise its own function says true or what is expected. */

const Widget = class {
	constructor(value, choices, options) {
		this.value = value;
		this.choices = choices;
		this.options = options || {};
	}

	/* The node, which knows its widget; `change` of anything within is told to the form. */
	frame(node) {
		node.id = this.options.id;
		node.classList.add('cbi-widget');
		dom.bindClassInstance(node, this);
		node.addEventListener('input', () => this.changed(node));
		node.addEventListener('change', () => this.changed(node));
		this.node = node;

		return node;
	}

	changed(node) {
		this.triggerValidation();
		node.dispatchEvent(new CustomEvent('widget-change', { bubbles: true }));
	}

	faultOf(value) {
		const is_empty = value == null || value === '' || (Array.isArray(value) && !value.length);

		if (is_empty && !this.options.optional)
			return _('Expecting: %s').format(_('non-empty value'));

		for (const item of Array.isArray(value) ? value : [ value ]) {
			const answer = this.options.validate ? this.options.validate(item == null ? '' : item) : true;

			if (answer !== true)
				return answer;
		}

		return null;
	}

	triggerValidation() {
		const fault = this.faultOf(this.getValue());

		this.node.classList.toggle('cbi-input-invalid', fault != null);
		this.node.setAttribute('data-tooltip', fault || '');
		this.fault = fault;

		return fault == null;
	}

	isValid() {
		return this.triggerValidation();
	}

	getValue() {
		return this.input.value;
	}
};

const Textfield = class extends Widget {
	render() {
		this.input = E('input', { 'id': 'widget.%s'.format(this.options.id), 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.options.placeholder, 'value': this.value });
		return this.frame(E('div', [ this.input ]));
	}
};

const Checkbox = class extends Widget {
	render() {
		this.input = E('input', { 'id': 'widget.%s'.format(this.options.id), 'type': 'checkbox', 'checked': this.value == '1' ? '' : null });
		return this.frame(E('div', { 'class': 'cbi-checkbox' }, [ this.input, E('label', { 'for': 'widget.%s'.format(this.options.id) }) ]));
	}

	getValue() {
		return this.input.checked ? '1' : '0';
	}
};

const Select = class extends Widget {
	render() {
		this.input = E('select', { 'id': 'widget.%s'.format(this.options.id), 'class': 'cbi-input-select' }, this.choices.map(choice =>
			E('option', { 'value': choice[0], 'selected': choice[0] == (this.value || '') ? '' : null }, [ choice[1] ])));
		return this.frame(E('div', [ this.input ]));
	}
};

const DynamicList = class extends Widget {
	render() {
		this.items = E('div', L.toArray(this.value).map(item => this.item(item)));
		this.input = E('input', { 'id': 'widget.%s'.format(this.options.id), 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.options.placeholder, 'keydown': ev => {
			if (ev.key == 'Enter')
				this.add();
		} });

		return this.frame(E('div', { 'class': 'cbi-dynlist' }, [
			this.items,
			E('div', { 'class': 'add-item' }, [ this.input, E('button', { 'class': 'cbi-button cbi-button-add', 'type': 'button', 'title': _('Add'), 'click': () => this.add() }, [ '+' ]) ])
		]));
	}

	item(text) {
		const node = E('div', { 'class': 'item', 'data-value': text }, [
			E('span', [ text ]),
			E('button', { 'class': 'cbi-button remove', 'type': 'button', 'title': _('Delete'), 'click': () => {
				node.remove();
				this.changed(this.node);
			} }, [ '×' ])
		]);

		return node;
	}

	add() {
		if (this.input.value != '' && this.faultOf(this.input.value) == null) {
			this.items.append(this.item(this.input.value));
			this.input.value = '';
			this.changed(this.node);
		}
	}

	/* What is typed and not yet added is part of it, as with LuCI. */
	getValue() {
		const items = Array.from(this.items.children, node => node.getAttribute('data-value'));
		return this.input.value == '' ? items : items.concat(this.input.value);
	}
};

const Hiddenfield = class extends Widget {
	render() {
		this.input = E('input', { 'type': 'hidden', 'value': this.value });
		return this.frame(E('div', [ this.input ]));
	}
};

const tabs = {
	initTabGroup: function(panes) {
		const found = Array.from(panes).filter(pane => pane.nodeType == 1 && pane.hasAttribute('data-tab'));

		if (!found.length)
			return;

		const menu = E('ul', { 'class': 'cbi-tabmenu' }, found.map(pane => E('li', { 'data-tab': pane.getAttribute('data-tab') }, [
			E('a', { 'href': '#', 'click': ev => {
				ev.preventDefault();
				tabs.select(menu, found, pane);
			} }, pane.getAttribute('data-tab-title'))
		])));
		const group = found[0].parentNode;

		group.parentNode.insertBefore(menu, group);
		tabs.select(menu, found, found[0]);
	},

	select: function(menu, panes, selected) {
		panes.forEach(pane => pane.setAttribute('data-tab-active', pane == selected));
		menu.querySelectorAll('li').forEach(item => {
			item.className = item.getAttribute('data-tab') == selected.getAttribute('data-tab') ? 'cbi-tab' : 'cbi-tab-disabled';
		});
		requestAnimationFrame(() => selected.dispatchEvent(new CustomEvent('cbi-tab-active', { detail: { tab: selected.getAttribute('data-tab') } })));
	}
};

function hideModal() {
	document.getElementById('modal_overlay')?.remove();
}

function showModal(title, children, ...classes) {
	hideModal();

	const dialog = E('div', { 'class': [ 'modal' ].concat(classes).join(' '), 'role': 'dialog', 'aria-modal': true }, [ E('h4', {}, title) ]);

	// Here too a lone string is HTML.
	dom.append(dialog, children);
	document.body.append(E('div', { 'id': 'modal_overlay' }, [ dialog ]));

	return dialog;
}

function addNotification(title, children, ...classes) {
	const note = E('div', { 'class': [ 'alert-message', 'fade-in' ].concat(classes).join(' ') }, [
		E('button', { 'class': 'btn', 'style': 'float:right', 'click': () => note.remove() }, [ _('Dismiss') ])
	]);

	if (title != null)
		dom.append(note, E('h4', {}, title));

	dom.append(note, children);
	document.getElementById('maincontent').prepend(note);

	return note;
}

/* A button's handler: the button is off until what it began has ended. */
function createHandlerFn(self, work, ...values) {
	const call = typeof(work) == 'string' ? self[work] : work;

	return ev => {
		const button = ev.currentTarget;

		button.classList.add('spinning');
		button.disabled = true;

		return Promise.resolve(call.apply(self, values.concat(ev))).finally(() => {
			button.classList.remove('spinning');
			button.disabled = false;
		});
	};
}

return baseclass.extend({
	Textfield, Checkbox, Select, DynamicList, Hiddenfield,
	tabs, showModal, hideModal, addNotification, createHandlerFn,

	changes: {
		/* 'Apply': what the session has pending becomes the file, and the service hears of it. */
		apply: () => uci.apply().then(() => document.body.setAttribute('data-applied', String(Date.now())))
	}
});
