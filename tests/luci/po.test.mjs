// The translations: the template and each language have all that the pages themselves say. Of the help of options, which changes with the
// daemon, some may still be missing.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as po from './po.mjs';
import { APP } from './router.mjs';

const TEMPLATE = join(APP, 'po/templates/fosquitto.pot');
const PLACEHOLDER = /%[ds]/g;

/** What the pages themselves say: everything but the help of options. */
const of_pages = Array.from(po.texts(APP)).filter(([ , places ]) => !places.every(place => place.endsWith('fosquitto/options.js'))).map(([ text ]) => text);

test('the template for translators has what the pages say', () => {
	if (process.env.UPDATE_EXPECT)
		writeFileSync(TEMPLATE, po.template(APP));

	const texts = po.read(TEMPLATE, true);

	assert.deepEqual(of_pages.filter(text => !(text in texts)), [], 'UPDATE_EXPECT=1 writes it anew');
});

for (const lang of [ 'cs', 'de' ]) {
	test(`the translation '${lang}' says all that the pages say`, () => {
		const translations = po.read(join(APP, 'po', lang, 'fosquitto.po'));

		assert.deepEqual(of_pages.filter(text => !translations[text]), []);

		for (const [ text, translation ] of Object.entries(translations))
			assert.deepEqual((translation.match(PLACEHOLDER) || []), (text.match(PLACEHOLDER) || []), text);
	});
}
