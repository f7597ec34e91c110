// The translations: the template is what the pages say, and each language says all that the pages themselves do. Of the help texts of
// options, which change with the daemon, some may still be in English.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as po from './po.mjs';
import { APP } from './router.mjs';

const TEMPLATE = join(APP, 'po/templates/fosquitto.pot');
const PLACEHOLDER = /%[ds]/g;

test('the template for translators has what the pages say', () => {
	const expected = po.template(APP);

	if (process.env.UPDATE_EXPECT)
		writeFileSync(TEMPLATE, expected);

	assert.equal(readFileSync(TEMPLATE, 'utf8'), expected, 'UPDATE_EXPECT=1 writes it anew');
});

for (const lang of [ 'cs', 'de' ]) {
	test(`the translation '${lang}' says all that the pages say`, () => {
		const texts = po.texts(APP);
		const translations = po.read(join(APP, 'po', lang, 'fosquitto.po'));
		const of_pages = Array.from(texts).filter(([ , places ]) => !places.every(place => place.endsWith('fosquitto/options.js'))).map(([ text ]) => text);

		assert.deepEqual(of_pages.filter(text => !translations[text]), []);

		for (const [ text, translation ] of Object.entries(translations))
			assert.deepEqual((translation.match(PLACEHOLDER) || []), (text.match(PLACEHOLDER) || []), text);
	});
}
