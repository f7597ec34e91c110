// UCI files as sections, and back: what the tests' stand-in of rpcd needs. It reads what the router's tools and the pages write, and no
// more of the syntax than that; the daemon's own reader is what is tested elsewhere.

const WORDS = /'((?:[^']|'\\'')*)'|"([^"]*)"|([^\s'"#]+)|(#.*)/g;

function words(line) {
	return Array.from(line.matchAll(WORDS)).filter(found => found[4] === undefined)
		.map(found => found[1] !== undefined ? found[1].replaceAll("'\\''", "'") : found[2] ?? found[3]);
}

/** The sections of a file by their names, as LuCI has them: with `.type`, `.name`, `.anonymous` and `.index`. */
export function parse(text) {
	const sections = {};
	let section = null, count = 0;

	for (const line of text.split('\n')) {
		const [ keyword, one, two ] = words(line);

		if (keyword == 'config') {
			const name = two || 'cfg%s'.replace('%s', String(count).padStart(6, '0'));
			section = sections[name] = { '.type': one, '.name': name, '.anonymous': two === undefined, '.index': count++ };
		}
		else if (keyword == 'option') {
			section[one] = two;
		}
		else if (keyword == 'list') {
			section[one] = (section[one] || []).concat(two);
		}
	}

	return sections;
}

const quoted = value => `'${String(value).replaceAll("'", "'\\''")}'`;

/** A file with these sections, in their order. */
export function write(sections) {
	return sections.map(section => {
		const name = section['.anonymous'] ? '' : ` ${quoted(section['.name'])}`;
		const options = Object.entries(section).filter(([ key ]) => !key.startsWith('.')).flatMap(([ key, value ]) =>
			[].concat(value).map(item => `\t${Array.isArray(value) ? 'list' : 'option'} ${key} ${quoted(item)}\n`));

		return `config ${section['.type']}${name}\n${options.join('')}`;
	}).join('\n');
}
