// What a .po file says, for the pages in another language. Whether the translations are whole is tested in tests/it/tidy/translations.rs.

import { readFileSync } from 'node:fs';

const unescaped = text => text.replace(/\\(.)/g, '$1');

/** The translations of a .po file. */
export function read(path) {
	const translations = {};
	let key = null;

	for (const line of readFileSync(path, 'utf8').split('\n')) {
		const found = /^(msgid|msgstr) "(.*)"$/.exec(line);

		if (found?.[1] == 'msgid')
			key = unescaped(found[2]);
		else if (found && key && found[2])
			translations[key] = unescaped(found[2]);
	}

	return translations;
}
