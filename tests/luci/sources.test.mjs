// Rules for the app's sources that no page shows when they are broken.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { APP, pages } from './router.mjs';

const RESOURCES = join(APP, 'htdocs/luci-static/resources');
const SOURCES = [ 'fosquitto', 'view/fosquitto' ].flatMap(folder => readdirSync(join(RESOURCES, folder)).map(name => `${folder}/${name}`))
	.filter(name => name.endsWith('.js'));

/** What may not stand in a source, and why. */
const FORBIDDEN = [
	[ /\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|rawhtml|document\.write/, 'clients choose what pages show' ],
	[ /\beval\b|new Function/, 'nothing is made into a program' ],
	[ /(?:=>|\breturn)\s*\/[^/*]/, "LuCI's minifier takes a regular expression here for a division" ],
	[ /`[^`]*\$\{/, "LuCI's minifier does not know what stands in a template" ],
	[ /\?\.|\?\?/, 'older browsers do not know the operator' ],
	[ /https?:\/\/(?!host|www\.w3\.org)/, 'a router may be without the internet' ]
];

for (const name of SOURCES) {
	test(`${name} keeps the rules`, () => {
		const lines = readFileSync(join(RESOURCES, name), 'utf8').split('\n');

		assert.equal(lines[0], "'use strict';");
		lines.forEach((line, index) => {
			for (const [ pattern, why ] of FORBIDDEN)
				assert.doesNotMatch(line, pattern, `${name}:${index + 1}: ${why}`);
		});
	});
}

test('every page of the menu has a view, and every view a place in the menu', () => {
	const views = SOURCES.filter(name => name.startsWith('view/')).map(name => name.slice('view/'.length, -'.js'.length));

	assert.deepEqual(pages().map(([ , , view ]) => view).sort(), views.sort());
});
