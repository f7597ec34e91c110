'use strict';
'require baseclass';

/* A graph of a few lines over the last minutes, drawn as SVG. It has one scale, from 0 to what is round above the highest value. */

const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 170, LEFT = 48, RIGHT = 8, TOP = 8, BOTTOM = 22;
/* As long as the page has not said how wide it is. */
const WIDTH = 600;
const STEPS = [ 1, 2, 5 ];

function node(name, attributes, text) {
	const made = document.createElementNS(SVG, name);

	Object.keys(attributes).forEach(key => made.setAttribute(key, attributes[key]));

	if (text != null)
		made.textContent = text;

	return made;
}

/* 1, 2 or 5 times a power of ten: the first that is not less. */
function roundAbove(value) {
	for (let power = 1; power < 1e12; power *= 10)
		for (const step of STEPS)
			if (step * power >= value)
				return step * power;

	return value;
}

const Graph = baseclass.extend({
	__init__: function(lines, samples, interval_s) {
		this.lines = lines;
		this.count = samples;
		this.interval_s = interval_s;
		this.samples = [];
		this.root = node('svg', { 'class': 'fosquitto-graph', 'role': 'img', 'aria-label': lines.map(line => line.title).join(', ') });
	},

	/* Adds one value for each line, and draws anew. */
	push: function(values) {
		this.samples.push(values);

		if (this.samples.length > this.count)
			this.samples.shift();

		this.draw();
	},

	draw: function() {
		// One unit is one pixel, so that the text is as large on a phone.
		const width = this.root.clientWidth || WIDTH;
		const highest = Math.max.apply(null, [ 0 ].concat(this.samples.flat()));
		const top = roundAbove(Math.max(1, highest));
		const x = i => LEFT + (width - LEFT - RIGHT) * (i + this.count - this.samples.length) / (this.count - 1);
		const y = value => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;

		this.root.setAttribute('viewBox', '0 0 %d %d'.format(width, HEIGHT));
		this.root.replaceChildren();

		[ 0, 0.5, 1 ].forEach(part => {
			this.root.append(
				node('line', { x1: LEFT, x2: width - RIGHT, y1: y(top * part), y2: y(top * part), 'class': 'grid' }),
				node('text', { x: LEFT - 6, y: y(top * part) + 4, 'text-anchor': 'end' }, String(Number((top * part).toFixed(1)))));
		});

		const minutes = this.count * this.interval_s / 60;
		this.root.append(
			node('text', { x: LEFT, y: HEIGHT - 5 }, _('%d minutes ago').format(minutes)),
			node('text', { x: width - RIGHT, y: HEIGHT - 5, 'text-anchor': 'end' }, _('now')));

		this.lines.forEach((line, index) => {
			const points = this.samples.map((values, i) => '%s,%s'.format(x(i).toFixed(1), y(values[index]).toFixed(1)));
			this.root.append(node('polyline', { 'points': points.join(' '), 'class': 'line %s'.format(line.name) }));
		});
	},

	/* What the lines are, with their last values. */
	legend: function() {
		const last = this.samples[this.samples.length - 1];

		return E('div', { 'class': 'fosquitto-legend' }, this.lines.map((line, i) => E('span', { 'class': line.name }, [
			'%s: %s'.format(line.title, last ? last[i].toFixed(1) : '-')
		])));
	}
});

return baseclass.extend({
	/* new graph.Graph(LINES, SAMPLES, INTERVAL_S): a line has a name, for its style, and a title. */
	Graph: Graph
});
