// Translations: what the pages' sources say, and what a .po file says of it.

import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const CALL = /\b_\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/g;

function files(folder) {
	return readdirSync(folder).sort().flatMap(name => {
		const path = join(folder, name);
		return statSync(path).isDirectory() ? files(path) : [ path ];
	});
}

const unescaped = text => text.replace(/\\(.)/g, '$1');

/** Every text of the app that is shown, in order and once, with the files where it stands. */
export function texts(app) {
	const found = new Map();
	const add = (text, place) => found.set(text, (found.get(text) || []).filter(other => other != place).concat(place));

	for (const path of files(join(app, 'htdocs')).filter(path => path.endsWith('.js'))) {
		for (const call of readFileSync(path, 'utf8').matchAll(CALL))
			add(unescaped(call[1] ?? call[2]), path.slice(app.length + 1));
	}

	for (const path of files(join(app, 'root')).filter(path => path.endsWith('.json'))) {
		for (const shown of readFileSync(path, 'utf8').matchAll(/"(?:title|description)": "([^"]*)"/g))
			add(shown[1], path.slice(app.length + 1));
	}

	return found;
}

const quoted = text => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;

/** The template for translators. */
export function template(app) {
	const entries = Array.from(texts(app), ([ text, places ]) =>
		`${places.map(place => `#: ${place}\n`).join('')}msgid ${quoted(text)}\nmsgstr ""\n`);

	return `msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n\n${entries.join('\n')}`;
}

/** The translations of a .po file, those that are not empty or all. */
export function read(path, with_empty = false) {
	const translations = {};
	let key = null;

	for (const line of readFileSync(path, 'utf8').split('\n')) {
		const found = /^(msgid|msgstr) "(.*)"$/.exec(line);

		if (found?.[1] == 'msgid')
			key = unescaped(found[2]);
		else if (found && key && (found[2] || with_empty))
			translations[key] = unescaped(found[2]);
	}

	return translations;
}
