/* A stand-in of LuCI's client code, written for these tests: the classes that pages require, with the same names, arguments and habits.
   The habits that can hurt are kept on purpose: a lone string that becomes a child is taken for HTML, `super` begins above the class of the
   object, a required class is made once, and what ubus refuses arrives as a code.

   What it does not have: themes, sessions that end, and every widget that the pages under test do not use. */

(() => {
	'use strict';

	const FORMAT = /%(%|[-+ 0]*\d*(?:\.\d+)?[hdsfjx])/g;

	const escaped = text => String(text).replace(/[&<>"']/g, letter => '&#%d;'.replace('%d', letter.charCodeAt(0)));

	String.prototype.format = function(...values) {
		let next = 0;

		return this.replace(FORMAT, (all, spec) => {
			if (spec == '%')
				return '%';

			const value = values[next++];
			const precision = /\.(\d+)/.exec(spec);

			switch (spec.at(-1)) {
			case 'h': return value == null ? '' : escaped(value);
			case 'd': return String(Math.trunc(Number(value) || 0));
			case 'f': return (Number(value) || 0).toFixed(precision ? Number(precision[1]) : 6);
			case 'x': return Math.trunc(Number(value) || 0).toString(16);
			case 'j': return JSON.stringify(value);
			default: return String(value == null ? '' : value);
			}
		});
	};

	/* Classes: `extend` makes one, `__init__` is its constructor, `super` calls the method of a class above. */
	let above = null;

	class Base {
		super(name, values) {
			let from = Object.getPrototypeOf(above || Object.getPrototypeOf(this));

			while (from && !Object.hasOwn(from, name))
				from = Object.getPrototypeOf(from);

			if (!from)
				return null;

			const before = above;
			above = from;

			try {
				return from[name].apply(this, values || []);
			}
			finally {
				above = before;
			}
		}
	}

	function extend(Parent, properties) {
		const Class = function(...values) {
			let from = this;

			while (from && !Object.hasOwn(from, '__init__'))
				from = Object.getPrototypeOf(from);

			if (from)
				from.__init__.apply(this, values);
		};

		Class.prototype = Object.create(Parent.prototype);
		Object.assign(Class.prototype, properties);
		Class.prototype.constructor = Class;
		Class.is_class = true;
		Class.extend = more => extend(Class, more);

		return Class;
	}

	const Class = { extend: properties => extend(Base, properties) };

	const isElement = thing => thing != null && typeof(thing) == 'object' && 'nodeType' in thing;
	const instances = new WeakMap();

	const dom = {
		elem: isElement,

		append: function(node, children) {
			if (Array.isArray(children)) {
				children.forEach(child => {
					if (isElement(child))
						node.appendChild(child);
					else if (child != null)
						node.appendChild(document.createTextNode(String(child)));
				});
			}
			else if (typeof(children) == 'function') {
				return dom.append(node, children(node));
			}
			else if (isElement(children)) {
				node.appendChild(children);
			}
			else if (children != null) {
				// The habit that pages must know of.
				node.innerHTML = String(children);
			}

			return node.lastChild;
		},

		content: function(node, children) {
			node.replaceChildren();
			return dom.append(node, children);
		},

		attr: function(node, attributes) {
			Object.entries(attributes || {}).forEach(([ key, value ]) => {
				if (value == null)
					return;

				if (typeof(value) == 'function')
					node.addEventListener(key, value);
				else
					node.setAttribute(key, typeof(value) == 'object' ? JSON.stringify(value) : value);
			});
		},

		create: function(what, attributes, children) {
			if (!(attributes instanceof Object) || Array.isArray(attributes)) {
				children = attributes;
				attributes = null;
			}

			let node;

			if (Array.isArray(what)) {
				node = document.createDocumentFragment();
				what.forEach(part => node.appendChild(dom.create(part)));
			}
			else if (isElement(what)) {
				node = what;
			}
			else if (what.startsWith('<')) {
				node = new DOMParser().parseFromString(what, 'text/html').body.firstChild;
			}
			else {
				node = document.createElement(what);
			}

			if (attributes)
				dom.attr(node, attributes);

			dom.append(node, children);

			return node;
		},

		bindClassInstance: (node, instance) => instances.set(node, instance),

		findClassInstance: function(node) {
			while (node && !instances.has(node))
				node = node.parentNode;

			return node ? instances.get(node) : null;
		},

		callClassMethod: function(node, method, ...values) {
			const instance = dom.findClassInstance(node);
			return instance && typeof(instance[method]) == 'function' ? instance[method](...values) : null;
		}
	};

	const poll = {
		queue: [],

		add: function(work, interval_s) {
			const entry = { work, interval_s: interval_s || 5, left_s: 0, is_idle: true };
			poll.queue.push(entry);
			poll.timer = poll.timer || window.setInterval(poll.step, 1000);
			return true;
		},

		step: function() {
			poll.queue.forEach(entry => {
				if (entry.left_s-- > 0 || !entry.is_idle)
					return;

				entry.left_s = entry.interval_s - 1;
				entry.is_idle = false;
				Promise.resolve(entry.work()).finally(() => { entry.is_idle = true; });
			});
		}
	};

	/* Requests of one frame go in one batch. */
	let batch = [];

	function flush() {
		const sent = batch;
		batch = [];

		fetch('/ubus', { method: 'POST', body: JSON.stringify(sent.map(call => call.message)) })
			.then(reply => reply.json())
			.then(replies => sent.forEach((call, i) => call.resolve(replies[i])))
			.catch(() => sent.forEach(call => call.reject(new Error('XHR request aborted by browser'))));
	}

	const UBUS_CODES = { 2: 'Invalid argument', 3: 'Method not found', 4: 'Resource not found', 5: 'No data received', 6: 'Permission denied', 7: 'Request timeout' };

	const rpc = {
		declare: options => (...values) => {
			const params = {};

			(options.params || []).forEach((name, i) => {
				if (values[i] !== undefined)
					params[name] = values[i];
			});

			return new Promise((resolve, reject) => {
				batch.push({ resolve, reject, message: { object: options.object, method: options.method, params } });

				if (batch.length == 1)
					requestAnimationFrame(flush);
			}).then(reply => {
				const [ code, data ] = reply;

				if (code != 0 && options.reject)
					throw new Error('RPC call to %s/%s failed with ubus code %d: %s'.format(options.object, options.method, code, UBUS_CODES[code] || ''));

				const [ [ key, empty ] ] = Object.entries(options.expect || { '': {} });
				const found = key == '' ? data : data?.[key];

				return found == null || Array.isArray(found) != Array.isArray(empty) ? empty : found;
			});
		}
	};

	const View = Class.extend({
		__init__: function() {
			const place = document.getElementById('view');

			dom.content(place, E('div', { 'class': 'spinning' }, [ _('Loading view…') ]));

			return Promise.resolve(this.load()).then(data => this.render(data)).then(nodes => {
				dom.content(place, nodes);
				dom.append(place, this.addFooter());
				document.body.setAttribute('data-view', 'shown');
			}).catch(error => {
				dom.content(place, E('pre', { 'class': 'alert-message error' }, [ String(error.stack || error) ]));
				throw error;
			});
		},

		load: () => null,
		render: () => null,

		maps: () => Array.from(document.querySelectorAll('#maincontent .cbi-map')),

		handleSave: function() {
			return Promise.all(this.maps().map(map => dom.callClassMethod(map, 'save')));
		},

		handleSaveApply: function(ev, mode) {
			return this.handleSave(ev).then(() => L.ui.changes.apply(mode == '0'));
		},

		handleReset: function() {
			return Promise.all(this.maps().map(map => dom.callClassMethod(map, 'reset')));
		},

		addFooter: function() {
			const footer = E('div', { 'class': 'cbi-page-actions' });
			const add = (style, title, work, ...values) => work && dom.append(footer, [
				E('button', { 'class': 'cbi-button cbi-button-%s important'.format(style), 'click': L.ui.createHandlerFn(this, work, ...values), 'disabled': L.hasViewPermission() ? null : true }, [ title ]), ' '
			]);

			if (document.querySelector('#maincontent .cbi-map')) {
				add('apply', _('Save & Apply'), this.handleSaveApply && 'handleSaveApply', '0');
				add('save', _('Save'), this.handleSave && 'handleSave');
				add('reset', _('Reset'), this.handleReset && 'handleReset');
			}

			return footer;
		}
	});

	/* What is required: the ones above, and files below /luci-static/resources. A class is made once. */
	const classes = { baseclass: Class, view: View, dom, poll, rpc };
	const REQUIRE = /^\s*(?:\/\*[^]*?\*\/\s*)*(['"])(require|use)\s+(\S+)(?:\s+as\s+(\w+))?\1;?/;

	async function load(name) {
		const reply = await fetch('/luci-static/resources/%s.js'.format(name.replaceAll('.', '/')));

		if (!reply.ok)
			throw new Error('HTTP error %d while loading class file "%s"'.format(reply.status, name));

		const source = await reply.text();
		const names = [], waited = [];

		for (let rest = source, found; (found = REQUIRE.exec(rest)); rest = rest.slice(found[0].length)) {
			if (found[2] == 'require') {
				names.push(found[4] || found[3].replace(/[^a-zA-Z0-9_]/g, '_'));
				waited.push(L.require(found[3]));
			}
		}

		const made = new Function('window', 'document', 'L', ...names, source + '\n//# sourceURL=' + name);
		const Made = made(window, document, L, ...await Promise.all(waited));

		if (!Made || !Made.is_class)
			throw new TypeError('"%s" factory yields invalid constructor'.format(name));

		return new Made();
	}

	const L = {
		env: JSON.parse(document.getElementById('env').textContent),
		Class, dom, poll, rpc,

		require: name => {
			classes[name] = classes[name] || load(name);
			return Promise.resolve(classes[name]);
		},

		toArray: value => {
			if (value == null)
				return [];

			if (typeof(value) == 'object')
				return Array.isArray(value) ? value : [ value ];

			return String(value).trim() == '' ? [] : String(value).trim().split(/\s+/);
		},

		url: (...parts) => [ '' ].concat(parts).join('/'),
		resource: (...parts) => [ '/luci-static/resources' ].concat(parts).join('/'),
		hasViewPermission: () => !L.env.readonly,
		bind: (work, self, ...values) => work.bind(self, ...values)
	};

	window.L = L;
	window.E = dom.create;
	window._ = text => L.env.translations[text] || text;
	window.N_ = (count, one, many) => _(count == 1 ? one : many);

	document.addEventListener('DOMContentLoaded', () => {
		Promise.all([ L.require('ui'), L.require('uci'), L.require('form') ])
			.then(([ ui ]) => {
				L.ui = ui;
				return L.require('view.%s'.format(L.env.view.replaceAll('/', '.')));
			});
	});
})();
